"""Manifests: what each column says, and what no manifest may say."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate import manifests, places
from curate.errors import SourceError
from curate.manifests import Row
from curate.recipes import Given

LIVE = Given("liveness", "", "bonafide", "")
SPOOF = {"spoof": (Given("liveness", "", "attack", "print"),)}


def written(folder: Path, text: str, name: str = "list.csv") -> str:
    (folder / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    return str(folder / name)


def read(uri: str, words: dict[str, tuple[Given, ...]] | None = None) -> list[Row]:
    return list(manifests.rows(uri, (words or {}).get))


def test_all_that_a_row_may_say(tmp_path: Path) -> None:
    uri = written(
        tmp_path,
        "subject,path,label,attack_type,clip,split,comment\n"
        "ann,a.jpg,attack,print,c1,test,x\n"
        ",deep/b.jpg,bonafide,,,,\n"
        ",../c.jpg,,,,,\n",
    )
    attack = Given("liveness", "", "attack", "print")
    assert read(uri) == [
        Row(f"{tmp_path}/a.jpg", "a.jpg", (attack,), "ann", "c1", "test"),
        Row(f"{tmp_path}/deep/b.jpg", "deep/b.jpg", (LIVE,), None, None, None),
        Row(f"{tmp_path.parent}/c.jpg", "../c.jpg", (), None, None, None),
    ]


@pytest.mark.parametrize("column", manifests.PATHS)
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_the_path_goes_by_several_names(tmp_path: Path, column: str, separator: str) -> None:
    text = separator.join((" " + column.upper(), "Label")) + "\r\n"
    (row,) = read(written(tmp_path, "\ufeff" + text + separator.join(("a.jpg", "bonafide"))))
    assert (row.uri, row.labels) == (f"{tmp_path}/a.jpg", (LIVE,))


@pytest.mark.parametrize(
    "path",
    ["/abs/a.jpg", "s3://bucket/a b.jpg", "zip://a.jpg::/x/y.zip", "file:///caf%E9.jpg"],
)
def test_whole_places_stay_as_they_are(tmp_path: Path, path: str) -> None:
    assert read(written(tmp_path, f"path\n{path}\n"))[0].uri == path


def test_names_with_newlines_quotes_commas_and_other_bytes(tmp_path: Path) -> None:
    names = [
        "two\nlines.jpg",
        'it\'s "quoted", twice.jpg',
        "caf\udce9.jpg",
        "ünï.jpg",
        " blank .jpg",
    ]
    cells = ['"' + name.replace('"', '""') + '"' for name in names]
    rows = read(written(tmp_path, "path,label\n" + "\n".join(f"{c},bonafide" for c in cells)))
    assert [places.path_of(row.uri) for row in rows] == [tmp_path / name for name in names]


def test_several_labels_of_one_image_stand_in_rows_together(tmp_path: Path) -> None:
    uri = written(
        tmp_path,
        "path,task,part,label\na.jpg,eyes,left_eye,open\na.jpg,eyes,right_eye,closed\n"
        "a.jpg,occlusion,nose,blocked\na.jpg,,,bonafide\na.jpg,,,bonafide\nb.jpg,,,\n",
    )
    first, second = read(uri)
    assert first.labels == (
        Given("eyes", "left_eye", "open", ""),
        Given("eyes", "right_eye", "closed", ""),
        Given("occlusion", "nose", "blocked", ""),
        LIVE,
    )
    assert second.labels == ()


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (["a.jpg,live,,,,,"], ["line 2", "'live'", "'bonafide', 'attack'", "--recipe"]),
        (["b.jpg,bonafide,,,,,", "a.jpg,1,,,,,"], ["line 3", "'1'", "a number means", "classes.1"]),
        (["a.jpg,0.0,,,,,"], ["what a number means"]),
        (["a.jpg,attack,glasses,,,,"], ["line 2", "'glasses'", "'print'"]),
        (["a.jpg,bonafide,print,,,,"], ["line 2", "no attack"]),
        (["a.jpg,open,,,,,"], ["allowed for liveness"]),
        (["a.jpg,open,,gaze,,,"], ["'gaze'", "'liveness', 'eyes', 'occlusion'"]),
        (["a.jpg,open,,eyes,,,"], ["part ''", "'left_eye'"]),
        (["a.jpg,open,,eyes,nose,,"], ["part 'nose'", "'left_eye'"]),
        (["a.jpg,,,,,,final"], ["split 'final'", "'train', 'dev', 'test'"]),
        ([",bonafide,,,,,"], ["line 2", "must name an image"]),
        (["a.jpg,,,,,ann,", "a.jpg,,,,,bob,"], ["line 3", "'bob'", "'ann'"]),
        (["a.jpg,,,,,,", "b.jpg,,,,,,", "a.jpg,,,,,,"], ["line 4", "named before"]),
    ],
)  # fmt: skip
def test_a_wrong_line_is_named_with_what_is_allowed(
    tmp_path: Path, rows: list[str], says: list[str]
) -> None:
    text = "path,label,attack_type,task,part,subject,split\n" + "\n".join(rows)
    with pytest.raises(SourceError) as caught:
        read(written(tmp_path, text))
    for word in says:
        assert word in str(caught.value)


@pytest.mark.parametrize("value", ["0", "1"])
def test_a_recipe_may_say_what_a_number_means(tmp_path: Path, value: str) -> None:
    uri = written(tmp_path, f"path,label\na.jpg,{value}\n")
    assert read(uri, {value: (LIVE,)})[0].labels == (LIVE,)


def test_an_attack_type_alone_is_an_attack_and_an_attack_without_one_is_unknown(
    tmp_path: Path,
) -> None:
    uri = written(tmp_path, "path,label,attack_type\na.jpg,,cutout\nb.jpg,attack,\nc.jpg,spoof,\n")
    types = [row.labels[0].attack_type for row in read(uri, SPOOF)]
    assert types == ["cutout", "unknown", "print"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("label\nbonafide\n", "no column names a path"),
        ("path,uri\na,b\n", "path, uri|uri, path"),
        ("", "no column names a path"),
        ("path\n" + '"' + "x" * 200_000 + '"\n', "field larger"),
    ],
    ids=["no path", "two paths", "empty", "endless cell"],
)
def test_what_is_no_manifest_is_an_error_not_a_crash(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(SourceError, match=says):
        read(written(tmp_path, text))


def test_a_broken_parquet_file_is_an_error_not_a_crash(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"list\.parquet"):
        read(written(tmp_path, "no table", "list.parquet"))


WORDS: Sequence[str] = ("bonafide", "attack")
TABLE = st.lists(
    st.tuples(
        st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).filter(
            lambda name: name.strip() and "://" not in name
        ),
        st.sampled_from(WORDS),
        st.sampled_from(["", "ann", "bob"]),
    ),
    unique_by=lambda row: row[0],
    min_size=1,
)


@given(TABLE)
def test_csv_and_parquet_of_one_table_say_the_same(
    tmp_path_factory: pytest.TempPathFactory, table: list[tuple[str, str, str]]
) -> None:
    folder = tmp_path_factory.mktemp("same")
    frame = pd.DataFrame(table, columns=["path", "label", "subject"])
    frame.to_csv(folder / "a.csv", index=False)
    frame.to_parquet(folder / "a.parquet")
    rows = read(str(folder / "a.csv"))
    assert rows == read(str(folder / "a.parquet"))
    assert [row.path for row in rows] == [name for name, _, _ in table]


def test_numbers_and_nulls_of_a_parquet_file(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"path": ["a", "b"], "subject": [7, None], "label": [1, 0], "odd": [[1], []]}
    )
    frame.astype({"subject": "Int64"}).to_parquet(tmp_path / "a.parquet")
    rows = read(str(tmp_path / "a.parquet"), {"1": (LIVE,), "0": ()})
    assert [(row.subject, row.labels) for row in rows] == [("7", (LIVE,)), (None, ())]


def test_a_manifest_is_read_as_it_goes(tmp_path: Path) -> None:
    good = "path\n" + "".join(f"{n}.jpg\n" for n in range(1000))
    rows = manifests.rows(written(tmp_path, good + '"' + "x" * 200_000), lambda word: None)
    assert next(rows).path == "0.jpg"


def test_a_line_that_ends_before_its_path_is_named(tmp_path: Path) -> None:
    uri = written(tmp_path, "label,path\nbonafide,a.jpg\nattack\n")
    with pytest.raises(SourceError, match="line 3: path ''"):
        read(uri)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("path,subject\na.jpg,Jos\udce9\n", "line 2: subject .*not UTF-8"),
        ("path\na.jpg\nfile:///x\udce9.jpg\n", "line 3: path .*not UTF-8"),
        ('path,label\n"a.jpg,bonafide\nb.jpg,attack\n', "line 3.*unexpected end"),
        (f"path,label\na.jpg,{'x' * 200_000}\n", "line 2.*field larger"),
        ("path,label\na.jpg,\nb.jpg,\n./a.jpg,attack\n", "line 4: path './a.jpg': named before"),
    ],
)
def test_a_line_that_no_table_could_hold_is_named(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(SourceError, match=f"list.csv, {says}"):
        read(written(tmp_path, text))


def test_backslashes_are_slashes_unless_a_file_is_called_so(tmp_path: Path) -> None:
    (tmp_path / "odd\\name.jpg").touch()
    uri = written(tmp_path, "path\ndeep\\a.jpg\n..\\b.jpg\nodd\\name.jpg\n")
    found = [f"{tmp_path}/deep/a.jpg", f"{tmp_path.parent}/b.jpg", f"{tmp_path}/odd\\name.jpg"]
    assert [row.uri for row in read(uri)] == found


def test_a_parquet_file_may_hold_bytes_but_no_lists(tmp_path: Path) -> None:
    pd.DataFrame({"path": [b"a.jpg"]}).to_parquet(tmp_path / "bytes.parquet")
    assert [row.path for row in read(str(tmp_path / "bytes.parquet"))] == ["a.jpg"]
    pd.DataFrame({"image": [{"bytes": b"", "path": "a.jpg"}]}).to_parquet(tmp_path / "deep.parquet")
    with pytest.raises(SourceError, match="'image' holds struct"):
        read(str(tmp_path / "deep.parquet"))
