import cv2
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from curate import compare as compared
from curate.agreement import Agreement, View, agree
from curate.cli import main
from curate.compare import Comparer
from curate.duplicates import MOST_DRIFT
from curate.hashes import POSES, apply_pose
from curate.relations import inverse
from curate.workspace import open_at


@pytest.fixture(scope="module")
def images(tmp_path_factory, draw_portrait):
    """Return the rows of `images` of a portrait and a warmer, smaller copy, by image_id."""
    root = tmp_path_factory.mktemp("compare")
    rgb = draw_portrait(3)
    small = cv2.resize(rgb, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    warm = np.clip(rgb * np.array([1.12, 1, 0.85]), 0, 255).astype(np.uint8)
    (root / "in").mkdir()
    for name, image in {"a": rgb, "b": small, "c": warm}.items():
        cv2.imwrite(str(root / "in" / f"{name}.jpg"), image[..., ::-1])
    words = ["--workspace", str(root / "ws"), "ingest", str(root / "in"), "--trust", "none"]
    assert CliRunner().invoke(main, words, catch_exceptions=False).exit_code in (0, 1)
    rows = open_at(root / "ws").catalogue.read("images")
    rows = rows.assign(name=rows["uri"].str[-5], label_key=None, state=None, subject=None)
    return rows.set_index("name", drop=False)


def comparer(images, *names):
    a, b = (images.loc[name, "image_id"] for name in names)
    pairs = pd.DataFrame({"a": [a], "b": [b], "pose": [0], "other_pose": [-1]})
    return Comparer(
        pairs,
        images.set_index("image_id"),
        min_similarity=0.99,
        threads=1,
        track=lambda items, *_: iter(items),
    )


@pytest.mark.parametrize(
    ("states", "shot", "same"),
    [
        (True, False, True),
        (False, True, True),
        (None, True, True),
        (False, False, False),
        (None, False, None),
        (False, None, False),
        (None, None, None),
    ],
)
def test_one_shot_makes_good_what_the_states_leave_open(images, monkeypatch, states, shot, same):
    monkeypatch.setattr(compared.eyes, "compare", lambda *_, **__: states)
    monkeypatch.setattr(compared.sameshot, "same_shot", lambda *_, **__: shot)
    pair = comparer(images, "a", "b")
    pair.compare([0])
    assert pair.judged(pair.rows)["same_state"].tolist() == [same]


def test_a_smaller_copy_is_a_duplicate(images):
    assert comparer(images, "a", "b").confirm(np.array([0])).tolist() == [True]


def test_a_cast_is_no_duplicate(images):
    assert comparer(images, "a", "c").confirm(np.array([0])).tolist() == [False]


def test_what_judged_returns_has_no_column_of_its_own(images):
    pair = comparer(images, "a", "b")
    pair.compare([0])
    assert not {"cast", "drift"} & set(pair.judged(pair.rows).columns)


def test_a_second_exposure_is_no_duplicate(images, monkeypatch):
    monkeypatch.setattr(compared.rigid, "drift", lambda *_: MOST_DRIFT + 0.01)
    assert comparer(images, "a", "b").confirm(np.array([0])).tolist() == [False]


def test_the_state_of_a_second_exposure_is_not_asked(images, monkeypatch):
    monkeypatch.setattr(compared.rigid, "drift", lambda *_: MOST_DRIFT + 0.01)
    monkeypatch.setattr(compared.eyes, "compare", lambda *_, **__: pytest.fail("it was asked"))
    comparer(images, "a", "b").compare([0])


@pytest.mark.parametrize("pose", range(len(POSES)))
def test_a_near_miss_is_looked_at_from_both_sides(monkeypatch, pose):
    """One way (the black corners inside) falls short; its words still say what was done to a."""
    said = {0: Agreement(0.98, 0.5), 1: Agreement(0.999, 0.9, 0.8, 3.0, 0.5, 10.0, 2.0, 1.5)}
    answers = iter([said[0], said[1]])
    monkeypatch.setattr(compared, "agree", lambda *_: next(answers))
    view = View(np.zeros((8, 8), np.uint8))
    found = compared._either_way(view, view, pose, 0.99)
    assert (found.similarity, found.worst, found.cast) == (0.999, 0.9, 1.5)
    assert (found.area, found.scale, found.brighter, found.contrast) == (1.25, 2.0, -10.0, 0.5)
    assert found.degrees == (3.0 if POSES[pose].mirror else -3.0)


@pytest.mark.parametrize("first", [0.5, 0.995])
def test_what_is_clear_is_looked_at_once(monkeypatch, first):
    answers = iter([Agreement(first, 0.9)])
    monkeypatch.setattr(compared, "agree", lambda *_: next(answers))
    view = View(np.zeros((8, 8), np.uint8))
    assert compared._either_way(view, view, 0, 0.99).similarity == first


def test_both_ways_say_the_same_of_a_turned_copy(draw_portrait):
    gray = cv2.cvtColor(draw_portrait(4), cv2.COLOR_RGB2GRAY)
    middle = (gray.shape[1] / 2, gray.shape[0] / 2)
    turn = cv2.getRotationMatrix2D(middle, 3, 1)
    turned = cv2.warpAffine(gray, turn, gray.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
    for pose in range(len(POSES)):
        copy = View(apply_pose(turned, POSES[pose]))
        forth = agree(View(gray), copy, POSES[pose])
        back = agree(copy, View(gray), inverse(POSES[pose]))
        flipped = 1 if POSES[pose].mirror else -1
        assert back.degrees == pytest.approx(flipped * forth.degrees, abs=1)
        assert abs(forth.degrees) == pytest.approx(3, abs=0.5)
