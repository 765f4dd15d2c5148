import cv2
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from curate import compare as compared
from curate.cli import main
from curate.compare import Comparer
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
    return Comparer(pairs, images.set_index("image_id"), min_similarity=0.99, threads=1)


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
    assert "cast" not in pair.judged(pair.rows)
