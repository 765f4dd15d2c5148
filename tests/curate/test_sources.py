"""Recipes: what a path says, polarity above all."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate import sources, workspace
from curate.errors import SourceError


@pytest.fixture
def recipes(tmp_path: Path) -> dict[str, sources.Recipe]:
    return sources.load_recipes(workspace.create(tmp_path / "ws"))


@pytest.mark.parametrize(
    ("recipe", "place", "label", "attack_type", "subject", "clip", "split"),
    [
        ("takehome", "set/train/normal/757_1.jpg", "bonafide", "", "takehome/757", None, "train"),
        ("takehome", "set/dev/spoof/757_2.jpg", "attack", "unknown", "takehome/757", None, "test"),
        ("takehome", "set/test/normal/O12_I3.jpg", "bonafide", "", "takehome/12", None, "test"),
        ("nuaa", "live/0001/0001_00_00_01_127.jpg", "bonafide", "", "nuaa/0001",
         "nuaa/live/0001_00_00_01", None),
        ("nuaa", "raw/ImposterRaw/0003/0003_01_02_03_4.jpg", "attack", "print", "nuaa/0003",
         "nuaa/ImposterRaw/0003_01_02_03", None),
        ("class-folders", "x/real/deep/down/a.jpg", "bonafide", "", None, None, None),
        ("class-folders", "x/val/fake/a.png", "attack", "unknown", None, None, "dev"),
        ("class-folders", "x/replay_tablet/a.jpg", "attack", "replay_tablet", None, None, None),
    ],
)  # fmt: skip
def test_what_a_path_says(
    recipes: dict[str, sources.Recipe], recipe: str, place: str, label: str, attack_type: str,
    subject: str | None, clip: str | None, split: str | None,
) -> None:  # fmt: skip
    assert recipes[recipe].read(place) == {
        "label": label,
        "attack_type": attack_type,
        "subject": subject,
        "clip": clip,
        "split": split,
    }


@pytest.mark.parametrize(
    ("recipe", "place"),
    [
        pytest.param("takehome", "train/normal/readme.txt", id="no image of the set"),
        pytest.param("takehome", "train/live/757_1.jpg", id="another set's class word"),
        pytest.param("class-folders", "x/0/a.jpg", id="a number is no polarity"),
        pytest.param("class-folders", "x/unreal/a.jpg", id="part of a word is no class"),
    ],
)
def test_what_no_rule_explains_stays_unlabelled(
    recipes: dict[str, sources.Recipe], recipe: str, place: str
) -> None:
    assert recipes[recipe].read(place) is None


def make(folder: Path, *places: str) -> Path:
    for place in places:
        file = folder / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")
    return folder


@pytest.mark.parametrize(
    ("places", "name"),
    [
        pytest.param(["train/normal/1_1.jpg", "test/spoof/2_1.jpg"], "takehome", id="takehome"),
        pytest.param(["live/0001/0001_00_00_01_1.jpg"], "nuaa", id="nuaa"),
        pytest.param(["live/a.jpg", "spoof/b.jpg"], "class-folders", id="class folders"),
        pytest.param(["monday/a.jpg", "tuesday/b.jpg"], None, id="nothing known"),
    ],
)
def test_auto_takes_the_closest_recipe_and_says_why(
    recipes: dict[str, sources.Recipe], tmp_path: Path, places: list[str], name: str | None
) -> None:
    chosen, why = sources.choose([make(tmp_path / "in", *places)], recipes)
    assert (chosen.name if chosen else None) == name
    assert "%" in why


def test_a_sub_folder_is_read_like_the_whole(
    recipes: dict[str, sources.Recipe], tmp_path: Path
) -> None:
    make(tmp_path / "set", "live/0001/0001_00_00_01_1.jpg")
    (item,) = sources.scan([tmp_path / "set" / "live" / "0001"], recipes["nuaa"])
    assert (item.label, item.subject) == ("bonafide", "nuaa/0001")


def test_a_file_named_twice_or_through_dots_is_one_item(tmp_path: Path) -> None:
    here = make(tmp_path / "in", "a.jpg")
    assert len(sources.scan([here, here / ".." / "in", here / "a.jpg"], None)) == 1


def test_hidden_files_and_folder_loops_are_passed_over(tmp_path: Path) -> None:
    here = make(tmp_path / "in", "a.jpg", ".DS_Store", ".cache/b.jpg")
    (here / "loop").symlink_to(here)
    assert [item.path.name for item in sources.scan([here], None)] == ["a.jpg"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param('description = "x"\nrule = []\ncolour = 1', "colour", id="unknown key"),
        pytest.param(
            'description = "x"\n[[rule]]\npattern = "("', "regular expression", id="bad pattern"
        ),
        pytest.param(
            'description = "x"\nrule = []\n[classes.a]\nlabel = "1"',
            "label",
            id="label that is a number",
        ),
        pytest.param("description =", "recipe.toml", id="no TOML"),
    ],
)
def test_a_wrong_recipe_is_named(tmp_path: Path, text: str, says: str) -> None:
    here = workspace.create(tmp_path / "ws")
    (here.root / "datasets" / "mine").mkdir()
    (here.root / "datasets" / "mine" / "recipe.toml").write_text(text)
    with pytest.raises(SourceError, match=says):
        sources.load_recipes(here)


@given(st.binary(min_size=1, max_size=30).filter(lambda b: b"\0" not in b and b"/" not in b))
def test_any_file_name_survives_as_a_uri(name: bytes) -> None:
    import os

    path = Path(os.fsdecode(b"/x/" + name))
    uri = sources.uri_of(path)
    uri.encode("utf-8")
    assert sources.path_of(uri) == path
