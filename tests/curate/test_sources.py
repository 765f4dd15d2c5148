"""What is listed of folders, globs, archives, videos, manifests, addresses; in what order."""

import io
import os
import sys
import tarfile
import time
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curate import places, recipes, sources, trees, workspace
from curate.errors import SourceError
from curate.recipes import Given, Recipe
from curate.video import Sampling

LIVE = (Given("liveness", "", "bonafide", ""),)
SPOOF = (Given("liveness", "", "attack", "unknown"),)


@pytest.fixture
def known(tmp_path: Path) -> dict[str, Recipe]:
    return recipes.load_recipes(workspace.create(tmp_path / "ws"))


def make(folder: Path, *names: str) -> Path:
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(name.encode("utf-8", "surrogateescape"))
    return folder


def scan(*named: str | Path, recipe: Recipe | None = None, **how: Any) -> list[sources.Item]:
    return list(sources.scan(sources.trees([str(name) for name in named]), recipe, **how))


def names(*named: str | Path, recipe: Recipe | None = None) -> list[str]:
    return [item.uri.rpartition("/")[2] for item in scan(*named, recipe=recipe)]


def zipped(file: Path, folder: Path) -> Path:
    with zipfile.ZipFile(file, "w") as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder))
    return file


def tarred(file: Path, folder: Path) -> Path:
    with tarfile.open(file, "w:gz") as archive:
        archive.add(folder, ".")
    return file


def test_an_item_says_where_it_lies_and_what_its_place_says(
    known: dict[str, Recipe], tmp_path: Path
) -> None:
    here = make(tmp_path / "set", "train/normal/757_1.jpg")
    (item,) = scan(here, recipe=known["takehome"])
    path = here / "train" / "normal" / "757_1.jpg"
    assert (item.uri, item.size) == (str(path), path.stat().st_size)
    assert item.mtime_ns == path.stat().st_mtime_ns
    assert (item.source, item.labels, item.subject) == ("takehome", LIVE, "takehome/757")
    assert (item.split, item.shows, item.box) == ("train", "face", None)


def test_without_a_recipe_nothing_is_said(tmp_path: Path) -> None:
    (item,) = scan(make(tmp_path / "in", "live/a.jpg"))
    assert (item.source, item.labels, item.subject, item.clip) == ("folder", (), None, None)


def test_a_sub_folder_and_a_single_file_are_read_like_the_whole(
    known: dict[str, Recipe], tmp_path: Path
) -> None:
    here = make(tmp_path / "set", "live/0001/0001_00_00_01_1.jpg")
    for source in (here, here / "live" / "0001", here / "live/0001/0001_00_00_01_1.jpg"):
        (item,) = scan(source, recipe=known["nuaa"])
        assert (item.labels, item.subject) == (LIVE, "nuaa/0001")


def test_what_is_named_twice_is_one_item_and_the_order_is_its_own(tmp_path: Path) -> None:
    here = make(tmp_path / "in", "b.jpg", "a/z.jpg", "a.jpg", "C.jpg")
    once = [str(here / name) for name in ("C.jpg", "a.jpg", "a/z.jpg", "b.jpg")]
    assert [item.uri for item in scan(here)] == sorted(once)
    assert scan(here / "a", here / "b.jpg", here / ".." / "in", here) == scan(here)
    assert scan(here / "b.jpg", here / "a.jpg") == scan(here / "a.jpg", here / "b.jpg")


def test_hidden_files_folder_loops_and_workspaces_are_passed_over(tmp_path: Path) -> None:
    here = make(tmp_path / "in", "a.jpg", ".DS_Store", ".cache/b.jpg", "deep/c.jpg")
    (here / "loop").symlink_to(here)
    (here / "deep" / "up").symlink_to("..")
    workspace.create(here / "mine")
    make(here / "mine", "catalogue/x.parquet", "d.jpg")
    assert names(here) == ["a.jpg", "c.jpg", "d.jpg"]


def test_a_linked_folder_is_followed_once(tmp_path: Path) -> None:
    make(tmp_path / "elsewhere", "a.jpg")
    here = make(tmp_path / "in", "b.jpg")
    for name in ("one", "two"):
        (here / name).symlink_to(tmp_path / "elsewhere")
    assert names(here) == ["b.jpg", "a.jpg"]


def test_what_cannot_be_listed_or_is_gone_is_an_item_that_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = make(tmp_path / "in", "a.jpg", "shut/b.jpg")
    (here / "dangling.jpg").symlink_to("nowhere")
    plain = os.scandir

    def scandir(path: Any) -> Any:
        if str(path).endswith("shut"):
            raise PermissionError(13, "Permission denied", str(path))
        return plain(path)

    monkeypatch.setattr(os, "scandir", scandir)
    items = {Path(item.uri).name: item for item in scan(here)}
    assert sorted(items) == ["a.jpg", "dangling.jpg", "shut"]
    for name in ("dangling.jpg", "shut"):
        with pytest.raises(OSError, match="."):
            places.read_bytes(items[name].uri)


def test_names_that_are_no_utf8_or_hold_newlines_are_listed_and_read(
    known: dict[str, Recipe], tmp_path: Path
) -> None:
    odd = ["caf\udce9.jpg", "two\nlines.jpg", 'it\'s "quoted".jpg', "x.mp4#frame=1", "a::b.jpg"]
    here = make(tmp_path / "in", *(f"live/{name}" for name in odd))
    items = scan(here, recipe=known["class-folders"])
    read = {places.read_bytes(item.uri).decode("utf-8", "surrogateescape") for item in items}
    assert read == {f"live/{name}" for name in odd}
    for item in items:
        item.uri.encode()
        assert item.labels == LIVE


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("**/*.jpg", ["a.jpg", "b.jpg", "c.jpg"]),
        ("*.jpg", ["a.jpg"]),
        ("*/b.*", ["b.jpg"]),
        ("x/**", ["b.jpg", "c.jpg", "d.png"]),
        ("x/?", ["c.jpg", "d.png"]),
        ("[!x]*", ["a.jpg"]),
        ("**/[cd].*", ["c.jpg", "d.png"]),
        ("nothing*", []),
    ],
)
def test_globs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, found: list[str]
) -> None:
    here = make(tmp_path / "in", "a.jpg", "x/b.jpg", "x/y/c.jpg", "x/y/d.png", ".h/e.jpg")
    assert names(f"{here}/{pattern}") == found
    monkeypatch.chdir(here)
    assert names(pattern) == found


def test_a_file_whose_name_looks_like_a_glob_is_that_file(tmp_path: Path) -> None:
    here = make(tmp_path / "in", "a[1].jpg", "a1.jpg")
    assert names(here / "a[1].jpg") == ["a[1].jpg"]


def test_a_glob_is_read_by_recipes_like_the_folder(
    known: dict[str, Recipe], tmp_path: Path
) -> None:
    here = make(tmp_path / "set", "live/a.jpg", "spoof/b.jpg", "spoof/c.png")
    items = scan(f"{here}/**/*.jpg", recipe=known["class-folders"])
    assert [item.labels for item in items] == [LIVE, SPOOF]


@pytest.mark.parametrize("source", ["nowhere", "nowhere/*.jpg"])
def test_a_source_that_is_not_there_is_an_error(tmp_path: Path, source: str) -> None:
    with pytest.raises(SourceError, match="Next:"):
        sources.trees([str(tmp_path / source)])


@pytest.mark.parametrize("pack", [zipped, tarred])
@pytest.mark.parametrize("inside", [True, False], ids=["in a folder", "by name"])
def test_an_archive_is_read_in_place_like_the_folder_it_holds(
    known: dict[str, Recipe], tmp_path: Path, pack: Callable[[Path, Path], Path], inside: bool
) -> None:
    folder = make(tmp_path / "set", "train/normal/1_1.jpg", "train/spoof/2_1.jpg")
    (tmp_path / "packed").mkdir()
    file = pack(tmp_path / "packed" / ("set.zip" if pack is zipped else "set.tar.gz"), folder)
    items = scan(file.parent if inside else file, recipe=known["takehome"])
    assert {item.labels for item in items} == {LIVE, SPOOF}
    assert {item.subject for item in items} == {"takehome/1", "takehome/2"}
    read = {places.read_bytes(item.uri) for item in items}
    assert read == {b"train/normal/1_1.jpg", b"train/spoof/2_1.jpg"}
    assert {(item.size, item.mtime_ns) for item in items} == {places.stat(i.uri) for i in items}
    assert not list((tmp_path / "packed").glob("*/"))


def test_the_name_of_an_archive_counts_as_a_folder(
    known: dict[str, Recipe], tmp_path: Path
) -> None:
    file = zipped(tmp_path / "live.zip", make(tmp_path / "x", "a.jpg"))
    assert scan(file, recipe=known["class-folders"])[0].labels == LIVE


def test_members_come_in_the_order_of_the_archive(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("z.jpg", "a.jpg", "m.jpg"):
            archive.writestr(name, name)
    assert [places.read_bytes(item.uri) for item in scan(tmp_path)] == [
        b"z.jpg", b"a.jpg", b"m.jpg",
    ]  # fmt: skip


def test_an_archive_in_an_archive_is_not_opened(tmp_path: Path) -> None:
    inner = zipped(make(tmp_path / "x", "y/a.jpg") / "inner.zip", tmp_path / "x" / "y")
    outer = zipped(tmp_path / "outer.zip", tmp_path / "x")
    assert inner.read_bytes() in {places.read_bytes(item.uri) for item in scan(outer)}
    assert len(scan(outer)) == 2


def test_what_is_lost_of_a_broken_archive_is_an_item_with_its_reason(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    folder.mkdir()
    for n in range(20):
        (folder / f"{n}.jpg").write_bytes(np.random.default_rng(n).bytes(2000))
    whole = tarred(tmp_path / "whole.tgz", folder).read_bytes()
    (tmp_path / "cut.tgz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "cut.zip").write_bytes(zipped(tmp_path / "b.zip", folder).read_bytes()[:-30])
    for name, least in (("cut.tgz", 5), ("cut.zip", 0)):
        *good, rest = scan(tmp_path / name)
        assert len(good) >= least
        assert all(len(places.read_bytes(item.uri)) == 2000 for item in good[:-1])
        with pytest.raises(OSError, match=".") as caught:
            places.read_bytes(rest.uri)
        assert places.reason_of(caught.value) in ("truncated", "corrupt")


def test_an_image_under_the_name_of_an_archive_is_an_image(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"\xff\xd8 so it begins")
    (tmp_path / "b.tar").write_bytes(b"")
    assert [item.uri for item in scan(tmp_path)] == [f"{tmp_path}/a.zip", f"{tmp_path}/b.tar"]


def test_text_beside_images_is_for_the_recipe_and_else_an_item(
    known: dict[str, Recipe], tmp_path: Path
) -> None:
    here = make(tmp_path / "in", "live/a.jpg", "readme.txt", "odd.xyz")
    assert names(here) == ["a.jpg", "odd.xyz", "readme.txt"]
    assert names(here, recipe=known["takehome"]) == ["a.jpg", "odd.xyz"]


def test_a_tree_gives_recipes_its_texts(tmp_path: Path) -> None:
    folder = make(tmp_path / "set", "a.jpg", "lists/train.txt")
    (folder / "latin.txt").write_bytes(b"\xef\xbb\xbfcaf\xe9")
    packed = zipped(tmp_path / "set.zip", folder)
    for source in (folder, packed):
        (tree,) = sources.trees([str(source)])
        place = next(e.place for e in tree.entries if e.place.endswith("train.txt"))
        assert tree.read_text(place) == "lists/train.txt"
        assert tree.read_text(place.replace("lists/train", "latin")) == "caf\ufffd"
        assert tree.read_text("set/a.jpg") is tree.read_text("nowhere.txt") is None


@pytest.mark.parametrize(
    ("placed", "name"),
    [
        pytest.param(["train/normal/1_1.jpg", "test/spoof/2_1.jpg"], "takehome", id="takehome"),
        pytest.param(["live/0001/0001_00_00_01_1.jpg"], "nuaa", id="nuaa"),
        pytest.param(["monday/a.jpg", "tuesday/b.jpg"], None, id="nothing known"),
    ],
)
def test_auto_chooses_over_all_that_was_named(
    known: dict[str, Recipe], tmp_path: Path, placed: list[str], name: str | None
) -> None:
    here = make(tmp_path / "in", *placed)
    zipped(tmp_path / "in2.zip", here)
    listed = sources.trees([str(here), str(tmp_path / "in2.zip")])
    chosen, why = sources.choose(listed, known)
    assert (chosen.name if chosen else None) == name
    assert "%" in why


def film(file: Path, n: int = 10) -> Path:
    av = pytest.importorskip("av")
    file.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(file), "w", format="matroska") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(n):
            gray = np.full((48, 64, 3), 20 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(gray, format="rgb24")))
        container.mux(stream.encode())
    return file


def test_a_video_is_its_frames_and_they_are_one_clip(
    known: dict[str, Recipe], tmp_path: Path
) -> None:
    file = film(tmp_path / "set" / "live" / "a.mkv")
    make(tmp_path / "set", "live/b.jpg")
    items = scan(tmp_path / "set", recipe=known["class-folders"], sampling=Sampling(5), threads=2)
    frames = items[:-1]
    assert [item.uri for item in frames] == [f"{file}#frame={n}" for n in (0, 2, 4, 6, 8)]
    assert {(item.labels, item.clip) for item in frames} == {(LIVE, str(file))}
    assert items[-1].clip is None
    assert len({places.read_bytes(item.uri) for item in frames}) == 5
    assert len({places.image_id(item.uri, b"") for item in frames}) == 5


def test_a_recipe_may_name_the_clip_of_a_video(known: dict[str, Recipe], tmp_path: Path) -> None:
    film(tmp_path / "live" / "0001_00_00_01_1.jpg.mkv", 3)
    rule = {"pattern": r"(?P<class>live)/(?P<clip>\d+).+", "shows": "face"}
    recipe = Recipe.model_validate(
        {
            "name": "mine",
            "description": "x",
            "rule": [rule],
            "classes": {"live": {"label": "bonafide"}},
        }
    )
    clips = {item.clip for item in scan(tmp_path / "live", recipe=recipe)}
    assert len(clips) == 1
    assert "0001" in (clips.pop() or "")


def test_a_video_in_an_archive_and_one_that_is_none(tmp_path: Path) -> None:
    film(tmp_path / "x" / "a.mkv", 3)
    (tmp_path / "x" / "b.mp4").write_bytes(b"no video")
    items = scan(zipped(tmp_path / "x.zip", tmp_path / "x"), sampling=Sampling(10))
    assert [item.uri.partition("#")[2] for item in items] == [
        "frame=0",
        "frame=1",
        "frame=2",
        "frame=0",
    ]
    assert all(places.read_bytes(item.uri).startswith(b"BM") for item in items[:3])
    with pytest.raises(OSError, match="damaged"):
        places.read_bytes(items[3].uri)


def test_a_manifest_outranks_the_recipe_which_fills_its_gaps(
    known: dict[str, Recipe], tmp_path: Path
) -> None:
    here = make(tmp_path / "mined", "live/a.jpg", "live/b.jpg", "spoof/c.jpg")
    (here / "list.csv").write_text(
        "path,label,subject\nlive/a.jpg,attack,ann\nlive/b.jpg,,nuaa/0001\nspoof/c.jpg,live,\n"
        "gone.jpg,,\n"
    )
    items = scan(here / "list.csv", recipe=known["class-folders"])
    assert [item.labels for item in items] == [SPOOF, LIVE, LIVE, ()]
    assert [item.subject for item in items] == ["class-folders/ann", "nuaa/0001", None, None]
    assert (items[3].size, items[3].mtime_ns) == (0, 0)
    with pytest.raises(FileNotFoundError):
        places.read_bytes(items[3].uri)


def test_a_manifest_without_a_recipe_goes_by_its_folder(
    known: dict[str, Recipe], tmp_path: Path
) -> None:
    here = make(tmp_path / "mined", "a.jpg")
    film(here / "v.mkv", 3)
    (here / "list.csv").write_text("path,label,subject\na.jpg,bonafide,ann\nv.mkv,bonafide,bob\n")
    listed = sources.trees([str(here / "list.csv")])
    assert sources.choose(listed, known) == (None, "read as the manifest says")
    items = list(sources.scan(listed, None, sampling=Sampling(10)))
    assert [item.subject for item in items] == ["mined/ann"] + ["mined/bob"] * 3
    assert {item.source for item in items} == {"mined"}


def test_an_image_of_which_two_manifests_disagree_is_there_with_what_each_says(
    tmp_path: Path,
) -> None:
    here = make(tmp_path / "mined", "a.jpg", "b.jpg")
    for name, label in (("one", "bonafide"), ("two", "attack")):
        (here / f"{name}.csv").write_text(f"path,label\na.jpg,{label}\nb.jpg,bonafide\n")
    listed = sources.trees([str(here / "one.csv"), str(here / "two.csv"), str(here)])
    items = [item for item in sources.scan(listed, None) if item.uri.endswith(".jpg")]
    assert [(item.uri[-5:], item.labels) for item in items] == [
        ("a.jpg", LIVE),
        ("b.jpg", LIVE),
        ("a.jpg", SPOOF),
    ]


def test_a_manifest_within_a_folder_is_no_manifest(tmp_path: Path) -> None:
    here = make(tmp_path / "in", "a.jpg", "list.csv")
    assert names(here) == ["a.jpg", "list.csv"]


def test_addresses_are_listed_and_read(known: dict[str, Recipe], tmp_path: Path) -> None:
    memory = pytest.importorskip("fsspec").filesystem("memory")
    for name in ("live/a.jpg", "spoof/b.jpg", "spoof/deep/c.png", ".hidden/d.jpg", "live/.e"):
        memory.pipe(f"/far/set/{name}", name.encode())
    memory.pipe(
        "/far/pack.zip", zipped(tmp_path / "p.zip", make(tmp_path / "p", "live/z.jpg")).read_bytes()
    )
    memory.pipe("/far/list.csv", b"path,label\nset/live/a.jpg,bonafide\n")
    items = scan("memory://far/set", recipe=known["class-folders"])
    assert [places.read_bytes(item.uri) for item in items] == [
        b"live/a.jpg", b"spoof/b.jpg", b"spoof/deep/c.png",
    ]  # fmt: skip
    assert [item.labels for item in items] == [LIVE, SPOOF, SPOOF]
    assert all(places.stat(item.uri) == (item.size, item.mtime_ns) for item in items)
    assert names("memory://far/set/**/*.jpg") == ["a.jpg", "b.jpg"]
    assert [
        i.labels for i in scan("memory://far/set/live/a.jpg", recipe=known["class-folders"])
    ] == [LIVE]
    (packed,) = scan("memory://far/pack.zip")
    assert places.read_bytes(packed.uri) == b"live/z.jpg"
    (row,) = scan("memory://far/list.csv")
    assert (places.read_bytes(row.uri), row.labels) == (b"live/a.jpg", LIVE)
    with pytest.raises(SourceError, match="nothing is there"):
        sources.trees(["memory://far/nowhere"])


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", port=0)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    try:
        import boto3

        client = boto3.client("s3")
        client.create_bucket(Bucket="mined")
        yield client
    finally:
        server.stop()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_bucket_is_listed_and_read_like_a_folder(
    bucket: Any, known: dict[str, Recipe], tmp_path: Path
) -> None:
    folder = make(tmp_path / "set", "train/normal/1_1.jpg", "train/spoof/2_1.jpg")
    odd = "odd/it's #1 %41 ünï::x.jpg"
    for name in ("train/normal/1_1.jpg", "train/spoof/2_1.jpg"):
        bucket.put_object(Bucket="mined", Key=f"set/{name}", Body=name.encode())
    bucket.put_object(Bucket="mined", Key=odd, Body=b"odd")
    bucket.put_object(
        Bucket="mined", Key="set.zip", Body=zipped(tmp_path / "s.zip", folder).read_bytes()
    )
    items = scan("s3://mined/set", recipe=known["takehome"])
    assert [item.uri for item in items] == [
        "s3://mined/set/train/normal/1_1.jpg", "s3://mined/set/train/spoof/2_1.jpg",
    ]  # fmt: skip
    assert [item.labels for item in items] == [LIVE, SPOOF]
    assert [places.read_bytes(item.uri) for item in items] == [
        b"train/normal/1_1.jpg", b"train/spoof/2_1.jpg",
    ]  # fmt: skip
    assert all(places.stat(item.uri) == (item.size, item.mtime_ns) for item in items)
    assert len(scan("s3://mined")) == 5
    assert [places.read_bytes(item.uri) for item in scan("s3://mined/odd")] == [b"odd"]
    assert [i.labels for i in scan("s3://mined/set.zip", recipe=known["takehome"])] == [LIVE, SPOOF]
    assert [i.uri for i in scan("s3://mined/**/spoof/*.jpg")] == [items[1].uri]
    with pytest.raises(FileNotFoundError):
        places.read_bytes("s3://mined/nowhere.jpg")
    for nowhere in ("s3://mined/nowhere", "s3://nobodys"):
        with pytest.raises(SourceError, match="cannot be listed"):
            sources.trees([nowhere])


def test_listing_takes_less_than_a_kilobyte_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: dict[str, Recipe]
) -> None:
    n = 4000
    folder = tmp_path / "a_folder_of_usual_depth" / "train" / "normal"
    paths = [folder / f"{number:06d}_1.jpg" for number in range(n)]
    monkeypatch.setattr(trees, "files", lambda source: iter(paths))
    monkeypatch.setattr(
        places, "stat", lambda uri: (len(uri) * 1000, 1_700_000_000_000_000_000 + id(uri))
    )
    tracemalloc.start()
    try:
        items = list(sources.scan(sources.trees([str(tmp_path)]), known["takehome"]))
        used, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(items) == n
    assert (used - n * sys.getsizeof(paths[0])) / n < 1000
    assert peak / n < 1500


def test_a_zip_lists_less_than_a_kilobyte_a_member() -> None:
    data = io.BytesIO()
    n = 5000
    with zipfile.ZipFile(data, "w") as archive:
        for number in range(n):
            archive.writestr(f"train/normal/{number:06d}_1.jpg", b"")
    from curate import archives

    tracemalloc.start()
    try:
        opened = archives.open_archive("zip", lambda: io.BytesIO(data.getvalue()), data.tell())
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(opened.members) == n
    assert used / n < 1500


@pytest.mark.parametrize("source", ["", "x" * 5000, "*" * 5000, "x" * 300 + "/*.jpg"])
def test_a_source_that_no_file_system_knows_is_an_error(source: str) -> None:
    with pytest.raises(SourceError, match="\nNext: "):
        scan(source)


def test_a_name_of_sixty_thousand_letters_costs_no_minutes(
    known: dict[str, Recipe], tmp_path: Path
) -> None:
    with zipfile.ZipFile(tmp_path / "long.zip", "w") as archive:
        archive.writestr("d/" * 30_000 + "train/live/1.jpg", b"")
        archive.writestr("x" * 60_000 + ".jpg", b"")
    began = time.process_time()
    listed = sources.trees([str(tmp_path / "long.zip")])
    sources.choose(listed, known)
    assert len(list(sources.scan(listed, known["class-folders"]))) == 2
    assert time.process_time() - began < 5
