"""`curate teachers`: what is listed, what is asked, and that nothing of the image is kept."""

import numpy as np
import pytest
from click.testing import CliRunner

from curate import assets
from curate.cli import main
from curate.embeddings import Cache
from labeling import teachers, trial, zero_shot
from labeling.cards import Input


@pytest.fixture
def here(curate, tmp_path, monkeypatch):
    """An empty workspace, on a machine that has the face detector and no weights of cards."""
    (tmp_path / "assets").mkdir()
    detector = assets.path("face_landmarker")
    (tmp_path / "assets" / detector.name).symlink_to(detector)
    monkeypatch.setenv("CURATE_ASSETS", str(tmp_path / "assets"))
    monkeypatch.chdir(tmp_path)
    assert curate("init").code == 0
    return tmp_path / "ws"


@pytest.fixture
def photo(tmp_path, draw_portrait, save):
    return save(tmp_path / "photo.jpg", draw_portrait(3))


@pytest.fixture
def tiny(here, card_tree, write_card, write_onnx, linear):
    """A card of the workspace with its weights."""
    rgb, box = zero_shot.picture(3)
    told = Input(**card_tree()["input"])
    values = zero_shot.values(zero_shot.place(rgb, box, told)[np.newaxis], told)
    scores = np.exp(values.ravel() @ linear)
    test = {"seed": 3, "expected": {"bonafide": float(scores[1] / scores.sum())}}
    write_card(here / "cards", card_tree(selftest=[test]))
    return write_onnx(here / "cards" / "tiny.onnx", linear)


def test_every_teacher_that_can_be_built_is_listed():
    assert set(trial.BUILT_IN) == set(teachers.TEACHERS)


def test_list_says_what_is_here_and_how_to_get_the_rest(curate, tiny):
    listed = {row["name"]: row for row in curate("teachers", "list", "--json").json["cards"]}
    assert listed["tiny"]["here"] is True
    assert listed["tiny"]["weights"] == {"tiny.onnx": str(tiny)}
    assert listed["minifasnet"]["here"] is False
    assert listed["minifasnet"]["members"] == ["minifasnet-2.7", "minifasnet-4.0"]
    assert listed["minifasnet"]["licence"] == "Apache-2.0"
    told = curate("teachers", "list")
    assert told.code == 0
    for word in ("fitted", "stack", "print-replay", "missing", "saved_models", "try IMAGE"):
        assert word in told.out


def test_list_works_without_a_workspace(curate, tmp_path, monkeypatch):
    (tmp_path / "nowhere").mkdir()
    monkeypatch.chdir(tmp_path / "nowhere")
    monkeypatch.delenv("CURATE_WORKSPACE", raising=False)
    done = CliRunner().invoke(main, ["teachers", "list"])
    assert done.exit_code == 0
    assert "minifasnet-4.0" in done.output


def test_try_prints_probabilities_in_our_words_and_keeps_nothing(curate, here, tiny, photo):
    before = sorted(here.rglob("*"))
    said = curate("teachers", "try", photo, "--json").json
    assert (said["task"], said["turn"]) == ("liveness", 0)
    (line,) = said["teachers"]
    assert (line["teacher"], line["part"]) == ("tiny", "")
    assert sum(line["probabilities"].values()) == pytest.approx(1)
    likely = {word for word, p in line["probabilities"].items() if p > 0}
    assert likely == {"bonafide", "print", "unknown"}
    table = curate("teachers", "try", photo)
    assert "attack/print" in table.out
    assert sorted(here.rglob("*")) == before


def test_a_failing_self_test_ends_the_command(curate, here, tiny, photo):
    file = here / "cards" / "tiny.toml"
    file.write_text(file.read_text().replace('colours = "BGR"', 'colours = "RGB"'))
    done = curate("teachers", "try", photo)
    assert (done.code, done.out) == (1, "")
    assert "card tiny fails its self-test" in done.err
    assert "Next: " in done.err


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["--teacher", "nobody"], "no teacher is called 'nobody'; known: fitted, stack"),
        (["--teacher", "tiny", "--task", "eyes"], "does task liveness, not eyes"),
        (["--teacher", "minifasnet"], "card minifasnet-2.7: its weights"),
        (["--task", "eyes"], "no card of task eyes has its weights here"),
        (["--teacher", "fitted"], "no training image has a trusted liveness label"),
    ],
)
def test_what_cannot_be_asked_says_what_to_do(curate, tiny, photo, words, fault):
    done = curate("teachers", "try", photo, *words)
    assert done.code == 1
    assert fault in done.err
    assert "Next: " in done.err


def test_an_image_that_shows_no_face_or_is_none_says_so(curate, tiny, tmp_path, save):
    blank = save(tmp_path / "blank.jpg", np.full((200, 200, 3), 90, np.uint8))
    assert "no face was found" in curate("teachers", "try", blank).err
    assert "cannot be read: No such file" in curate("teachers", "try", tmp_path / "a.jpg").err


def test_an_unknown_task_is_a_usage_error(curate, tiny, photo):
    assert curate("teachers", "try", photo, "--task", "blink").code == 2


def test_a_teacher_that_learns_gets_the_group_of_an_image_it_knows_and_leaves_no_trace(
    curate, here, photo, tmp_path, draw_portrait, save, monkeypatch
):
    for number in range(2):
        save(tmp_path / "in" / "train" / "normal" / f"{number}_1.jpg", draw_portrait(number))
    assert curate("ingest", tmp_path / "in", "--recipe", "takehome").code == 0
    asked = []

    class Fake:
        name = "fitted"

        def probabilities(self, units):
            asked.append(units.iloc[0])
            Cache(here / "crops" / "features-x").add({"them": np.ones(2), "it": np.ones(2)})
            return np.full((len(units), 10), 0.1)

    def build(workspace, units, track):
        Cache(workspace.root / "crops" / "features-x").add({"learnt": np.ones(2)})
        built.append(units)
        return Fake()

    built = []
    monkeypatch.setitem(teachers.TEACHERS, "fitted", build)
    known = tmp_path / "in" / "train" / "normal" / "1_1.jpg"
    for image in (known, photo):
        said = curate("teachers", "try", image, "--teacher", "fitted", "--json")
        assert said.code == 0, said.err
        assert said.json["teachers"][0]["probabilities"]["bonafide"] == pytest.approx(0.1)
    learn = built[0].learn
    mine = learn[learn["uri"] == str(known)].iloc[0]
    assert asked[0]["group"] == mine["group"]
    assert asked[0]["clip_id"] == mine["clip_id"]
    assert asked[1]["group"] == asked[1]["image_id"]
    assert Cache(here / "crops" / "features-x").ids() == {"learnt"}
