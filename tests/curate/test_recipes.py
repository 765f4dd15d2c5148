"""The grammar of recipes: what is read, what is refused, and which recipe `auto` takes."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate import recipes, workspace
from curate.errors import SourceError
from curate.recipes import SKIP, Fields, Given, Recipe, bind, choose

LIVE = Given("liveness", "", "bonafide", "")
CLASSES = {
    "live": {"label": "bonafide"},
    "spoof": {"label": "attack", "attack_type": "unknown"},
    "print": {"label": "attack", "attack_type": "print"},
    "phone": {"label": "attack", "attack_type": "replay_phone"},
    "masked": {"label": "bonafide", "occlusion": {"nose": "blocked", "chin": "clear"}},
}


def recipe(**parts: object) -> Recipe:
    basics = {"name": "mine", "description": "x", "classes": CLASSES}
    basics["splits"] = {"train": "train", "test": "test"}
    return Recipe.model_validate(basics | parts)


def rule(pattern: str, **parts: str) -> dict[str, str]:
    return {"pattern": pattern, **parts}


def spoken(labels: tuple[Given, ...]) -> list[str]:
    return [each.attack_type or each.label for each in labels]


def reader(how: Recipe, *names: str, **texts: str) -> Callable[[str], Fields | None]:
    """Bind a recipe to names and to lists, each given as `name=text` for the file `name.txt`."""
    files = {f"{name}.txt": text for name, text in texts.items()}
    return bind(how, [*names, *files], files.get)


def test_a_pattern_reads_class_subject_clip_and_split_off_a_path() -> None:
    how = recipe(
        rule=[rule(r"(?P<split>train)/(?P<class>live)/(?P<clip>(?P<subject>\w+?)_\d)_\d+\.jpg")]
    )
    assert reader(how)("Data/TRAIN/Live/Ann_1_02.JPG") == Fields(
        (LIVE,), "mine/Ann", "mine/Live/Ann_1", "train", "face", None
    )


@pytest.mark.parametrize(
    ("place", "fits"),
    [
        ("live/a.jpg", True),
        ("x/y/live/a.jpg", True),
        ("alive/a.jpg", False),
        ("live/a.jpg/b", False),
        ("live/a.jpgx", False),
        ("live/a.jpg\n", False),
        ("odd\nname/live/a.jpg", True),
        ("print/a.jpg", True),
        ("blueprint/a.jpg", False),
    ],
)
def test_a_pattern_fits_whole_names_at_the_end_of_a_path(place: str, fits: bool) -> None:
    how = recipe(rule=[rule(r"(?P<class>live)/a\.jpg|(?P<subject>print)/a\.jpg")])
    assert (reader(how)(place) is not None) == fits


def test_the_first_rule_that_fits_counts() -> None:
    how = recipe(
        rule=[rule(r"(?P<class>live)/eyes/.+", shows="eye"), rule(r"(?P<class>live)/.+")],
    )
    shown = [fields.shows for place in ("live/eyes/a", "live/a") if (fields := reader(how)(place))]
    assert shown == ["eye", "face"]


def test_files_to_skip_are_told_from_files_unknown() -> None:
    how = recipe(skip=[r"live/depth/.+"], rule=[rule(r"(?P<class>live)/.+")])
    read = reader(how)
    assert read("x/live/depth/1.jpg") is SKIP
    assert read("live/1.jpg") not in (SKIP, None)
    assert read("x/1.jpg") is None


def test_one_class_may_say_several_things() -> None:
    fields = reader(recipe(rule=[rule(r"(?P<class>masked)/.+")]))("masked/1.jpg")
    assert fields
    assert fields.labels == (
        LIVE,
        Given("occlusion", "nose", "blocked", ""),
        Given("occlusion", "chin", "clear", ""),
    )


def test_two_names_may_make_one_class() -> None:
    how = recipe(
        rule=[rule(r"(?P<class>Closed)/\d+_(?P<class2>[LR])\.jpg")],
        classes={"closed L": {"eyes": {"left_eye": "closed"}}},
    )
    fields = reader(how)("closed/7_l.jpg")
    assert fields
    assert fields.labels == (Given("eyes", "left_eye", "closed", ""),)
    assert reader(how)("closed/7_r.jpg") == Fields((), None, None, None, "face", None)


def test_a_clip_needs_no_class() -> None:
    fields = reader(recipe(rule=[rule(r"(?P<clip>\d+)/\d+\.jpg")]))("7/1.jpg")
    assert fields
    assert fields.clip == "mine/7"


LIST = {"file": r"(?P<split>train|test)\.txt", "line": r"(?P<path>\S+) (?P<class>\S+)"}


def listed(**parts: object) -> Recipe:
    return recipe(list=[LIST | parts])


@pytest.mark.parametrize(
    "path",
    [
        "ann/1.jpg",
        "x/ann/1.jpg",
        "Ann\\1.JPG",
        ".\\ann\\1.jpg",
        "./ann//1.jpg",
        "/x/ann/1.jpg",
        "ann/1",
        "1.jpg",
    ],
)
def test_a_list_names_files_by_the_end_of_their_place(path: str) -> None:
    fields = reader(listed(), "x/ann/1.jpg", train=f"{path} live\r\n")("x/ann/1.jpg")
    assert fields == Fields((LIVE,), None, None, "train", "face", None)


@pytest.mark.parametrize("path", ["nn/1.jpg", "y/x/ann/1.jpg", "ann/11.jpg", "ann", "x/1.jpg"])
def test_a_list_does_not_name_files_by_parts_of_a_name(path: str) -> None:
    read = reader(listed(), "x/ann/1.jpg", train=f"{path} live")
    assert read("x/ann/1.jpg") is None or path == "ann"  # the folder of a clip's frames


def test_a_list_may_name_a_clip_by_its_frames_folder() -> None:
    fields = reader(listed(), train="clip_7 live")("x/clip_7/0001.jpg")
    assert fields
    assert fields.labels == (LIVE,)


def test_a_note_of_a_listed_name_is_no_image() -> None:
    assert reader(listed(), train="clip_7 live")("x/clip_7.face") is None


def test_the_words_of_a_list_and_its_folder_are_the_recipes() -> None:
    how = listed(words={"+1": "live"}, under=["a", "b/c"])
    read = reader(how, train="\ufeff1.jpg +1\n2.jpg -1\n")
    both = [read(place) for place in ("x/a/1.jpg", "b/c/1.jpg")]
    assert [fields and fields.labels for fields in both] == [(LIVE,), (LIVE,)]
    assert read("x/1.jpg") is None
    unknown = read("a/2.jpg")
    assert unknown
    assert unknown.labels == ()  # `-1` is a word without a meaning: never guessed at


def test_a_list_speaks_first_for_the_folder_it_lies_in() -> None:
    files = {"p1/train.txt": "1.jpg live", "p2/test.txt": "1.jpg print"}
    read = bind(listed(), list(files), files.get)
    told = [(spoken(f.labels), f.split) for p in ("p1", "p2") if (f := read(f"{p}/1.jpg"))]
    assert told == [(["bonafide"], "train"), (["print"], "test")]
    elsewhere = read("other/1.jpg")  # two lists, no word in common
    assert elsewhere
    assert (elsewhere.labels, elsewhere.split) == ((), None)


def test_a_list_of_people_knows_them_with_and_without_zeros() -> None:
    how = recipe(
        rule=[rule(r"client(?P<subject>\d+)\.jpg")],
        list=[{"file": r"(?P<split>train|test)\.txt", "line": r"(?P<subject>\d+)"}],
    )
    read = reader(how, train="01\n20\n", test="2\n")
    splits = {"001": "train", "002": "test", "020": "train", "003": None}
    for number, split in splits.items():
        fields = read(f"client{number}.jpg")
        assert fields
        assert (fields.subject, fields.split) == (f"mine/{number}", split)


@pytest.mark.parametrize(
    ("folder", "word", "labels"),
    [
        ("spoof", "print", ["print"]),
        ("print", "spoof", ["print"]),
        ("print", "phone", ["unknown"]),
        ("live", "live", ["bonafide"]),
        ("live", "print", []),
        ("print", "live", []),
        ("masked", "print", ["blocked", "clear"]),
    ],
)
def test_what_path_and_list_say_must_agree(folder: str, word: str, labels: list[str]) -> None:
    how = recipe(rule=[rule(r"(?P<class>\w+)/\d\.jpg")], list=[LIST])
    fields = reader(how, train=f"{folder}/1.jpg {word}")(f"{folder}/1.jpg")
    assert fields
    assert spoken(fields.labels) == labels


def test_a_list_outranks_the_path_on_subject_clip_and_split() -> None:
    how = recipe(
        rule=[rule(r"(?P<split>test)/(?P<subject>\w)(?P<clip>\d)\.jpg")],
        list=[LIST | {"line": r"(?P<path>\S+) (?P<subject>\w+) (?P<clip>\w+)"}],
    )
    assert reader(how, train="a1.jpg ann evening")("test/a1.jpg") == Fields(
        (), "mine/ann", "mine/evening", "train", "face", None
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param('{"a.jpg": [0]}', "value 1", id="too few values"),
        pytest.param('{"a.jpg": 3}', "JSON", id="no list"),
        pytest.param('["a.jpg"]', "JSON", id="no object"),
        pytest.param('{"a.jpg": [0', "JSON", id="cut off"),
        pytest.param("{}", "no line", id="empty"),
    ],
)
def test_metas_that_are_none_are_refused_by_name(text: str, says: str) -> None:
    how = recipe(list=[{"file": r"train\.txt", "index": 1}])
    with pytest.raises(SourceError, match=rf"train\.txt: .*{says}"):
        reader(how, train=text)
    assert reader(how, train='{"a.jpg": [0, "live"]}')("a.jpg") is not None


def test_a_list_without_a_line_of_its_form_is_refused() -> None:
    with pytest.raises(SourceError, match=r"train\.txt.*form"):
        reader(listed(), train="path,label\na.jpg,live\n")


def test_a_list_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(SourceError, match=r"train\.txt.*cannot be read"):
        bind(listed(), ["train.txt"], lambda place: None)


BOXED = recipe(rule=[rule(r"\w+\.jpg")], box={"beside": ".box", "size": 100})


@given(st.lists(st.floats(), max_size=6))
def test_a_box_lies_in_the_image_or_is_none(numbers: list[float]) -> None:
    fields = bind(BOXED, [], {"a.box": " ".join(map(str, numbers))}.get)("a.jpg")
    assert fields
    if fields.box is not None:
        x, y, width, height = fields.box
        assert x >= 0
        assert y >= 0
        assert width > 0
        assert height > 0
        assert x + width <= 1 + 1e-12
        assert y + height <= 1 + 1e-12


@given(st.text())
def test_no_text_beside_an_image_and_no_place_is_an_error(text: str) -> None:
    read = bind(BOXED, [], lambda place: text)
    assert read("a.jpg") is not None
    read(text)


@given(st.text(st.characters(codec="utf-8", exclude_characters="/\\\n\r"), min_size=1, max_size=9))
def test_any_name_listed_is_found(name: str) -> None:
    how = recipe(list=[{"file": r"train\.txt", "line": r"<(?P<path>.+)>(?P<class>live)"}])
    place = f"x/{name}.jpg"
    assert bind(how, [], lambda _: None)(place) is None
    assert reader(how, place, train=f"<x\\{name}.jpg>live")(place) is not None


def auto(*names: str, **more: Recipe) -> tuple[str | None, str]:
    known = {
        "coarse": recipe(rule=[rule(r"(?P<class>live|spoof)/.+")]),
        "fine": recipe(rule=[rule(r"(?P<class>live|spoof)/(?P<subject>\d+)_\d+\.jpg")]),
        "other": recipe(rule=[rule(r"faces/.+")]),
    } | more
    named = {name: how.model_copy(update={"name": name}) for name, how in known.items()}
    chosen, why = choose(names, lambda place: None, named)
    return chosen and chosen.name, why


def test_auto_takes_the_recipe_that_says_most() -> None:
    chosen, why = auto("live/1_1.jpg", "spoof/2_1.jpg")
    assert chosen == "fine"
    assert (
        why == "recipe fine explains 100% of 2 images and videos, and says more of each than coarse"
    )


def test_a_few_stray_files_do_not_make_auto_take_the_coarser() -> None:
    places = [f"live/{number}_1.jpg" for number in range(19)]
    assert auto(*places, "live/stray.jpg")[0] == "fine"


def test_auto_needs_nine_in_ten() -> None:
    places = [f"live/{number}.png" for number in range(9)]
    assert auto(*places, "x.png") == (
        "coarse",
        "recipe coarse explains 90% of 10 images and videos",
    )
    chosen, why = auto(*places, "x.png", "faces/y.png")
    assert chosen is None
    assert "coarse 82%, other 9%" in why
    assert "--recipe coarse" in why


def test_auto_names_the_three_closest() -> None:
    rows = {f"r{n}": recipe(rule=[rule(rf"[0-{n}]\.jpg")]) for n in range(1, 6)}
    _, why = auto(*(f"{n}.jpg" for n in range(9)), **rows)
    assert "r5 67%, r4 56%, r3 44%;" in why
    assert "r2" not in why


@pytest.mark.parametrize(
    "names", [(), ("live/notes.txt",), ("live/readme",)], ids=["none", "text", "no suffix"]
)
def test_where_there_is_no_image_there_is_no_recipe(names: tuple[str, ...]) -> None:
    assert auto(*names) == (
        None,
        "no image or video by its name; read as a plain folder without labels",
    )


def test_nothing_known_is_said_so() -> None:
    chosen, why = auto("monday/a.jpg", "tuesday/b.mp4")
    assert chosen is None
    assert "no recipe explains any (0%) of 2 images and videos" in why


def test_a_recipe_that_only_leaves_out_explains_nothing() -> None:
    empty = recipe(skip=[r".+"], rule=[rule(r"never")])
    assert auto("monday/a.jpg", empty=empty)[0] is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("colour = 1", r"colour: .*got 1", id="unknown key"),
        pytest.param('rule = [{pattern = "("}]', r"rule\.0\.pattern: .*expression", id="pattern"),
        pytest.param("rule = [{pattern = '(?P<clas>x)'}]", r"clas.*known: class", id="group"),
        pytest.param('classes.a.label = "1"', r"classes\.a\.label", id="a number for a label"),
        pytest.param('classes.a.label = "attack"', "attack_type", id="attack without a type"),
        pytest.param('classes.a = {label = "attack", attack_type = "fax"}', "fax", id="type"),
        pytest.param('classes.a.eyes.nose = "open"', r"classes\.a\.eyes", id="no such eye"),
        pytest.param('classes.a.eyes.left_eye = "shut"', r"left_eye", id="no such state"),
        pytest.param("[classes.a]", "at least one of label, eyes, occlusion", id="no meaning"),
        pytest.param('splits.a = "holdout"', r"splits\.a", id="no such split"),
        pytest.param("list = [{file = 'x'}]", "line .*or index", id="list without a way"),
        pytest.param("list = [{file = 'x', line = '.'}]", "path", id="list without a path"),
        pytest.param('box = {beside = "x", size = 0}', r"box\.size", id="box in no frame"),
        pytest.param("", "at least one", id="reads nothing"),
        pytest.param("x =", r"recipe\.toml", id="no TOML"),
    ],
)
def test_a_wrong_recipe_is_refused_by_file_and_key(tmp_path: Path, text: str, says: str) -> None:
    here = workspace.create(tmp_path / "ws")
    file = here.root / "datasets" / "mine" / "recipe.toml"
    file.parent.mkdir()
    rules = "" if "rule" in text or text == "" else "rule = [{pattern = 'x'}]\n"
    file.write_text(f'description = "x"\n{rules}{text}', encoding="utf-8")
    with pytest.raises(SourceError, match=says) as caught:
        recipes.load_recipes(here)
    assert str(caught.value).startswith(str(file))
    assert "\nNext: mend" in str(caught.value)


def test_a_recipe_of_the_workspace_wins_over_the_checkouts(tmp_path: Path) -> None:
    here = workspace.create(tmp_path / "ws")
    (here.root / "datasets" / "nuaa").mkdir()
    text = 'description = "my own"\n[[rule]]\npattern = "x"\n'
    (here.root / "datasets" / "nuaa" / "recipe.toml").write_text(text, encoding="utf-8")
    known = recipes.load_recipes(here)
    assert (known["nuaa"].description, known["nuaa"].name) == ("my own", "nuaa")
    assert known["siw"].description != "my own"


def test_a_list_of_another_source_does_not_stop_auto() -> None:
    other = recipe(list=[{"file": "list.txt", "line": r"(?P<path>\S+) (?P<class>live)"}])
    mine = recipe(rule=[rule(r"(?P<class>live|spoof)/\d+\.jpg")])
    names = ["a/live/1.jpg", "a/spoof/2.jpg", "a/list.txt"]
    texts = {"a/list.txt": "nothing of the kind"}
    chosen, _ = choose(names, texts.get, {"other": other, "mine": mine})
    assert chosen is mine
    chosen, why = choose(names, texts.get, {"other": other})
    assert chosen is None
    assert "not by other: a/list.txt" in why
