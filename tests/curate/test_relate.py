"""How a batch is related, through the command line: what is compared, and what is written down."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from curate import compare
from curate.duplicates import SIMILAR
from curate.workspace import open_at

CONFIG = f"[ingest]\nsimilarity = {SIMILAR}\n"


@pytest.fixture
def ingested(curate: Callable, tmp_path: Path, save: Callable) -> Callable[..., pd.DataFrame]:
    """Ingest pictures under these names; return the rows of `pairs`, files by their stems."""

    def run(batch: str = "in", **pictures: np.ndarray) -> pd.DataFrame:
        if not (tmp_path / "ws").exists():
            curate("init", tmp_path / "ws")
        (tmp_path / "ws" / "curate.toml").write_text(CONFIG)
        for name, picture in pictures.items():
            save(tmp_path / batch / f"{name}.jpg", picture, 90)
        assert curate("ingest", tmp_path / batch).code == 0
        catalogue = open_at(tmp_path / "ws").catalogue
        stem = catalogue.read("images").set_index("image_id")["uri"].map(lambda uri: Path(uri).stem)
        pairs = catalogue.read("pairs")
        for side in ("a", "b", "cluster"):
            pairs[side] = pairs[side].map(stem).fillna("")
        return pairs

    return run


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Count the comparisons of pixels."""
    calls: list[str] = []
    original = compare.agree

    def counting(*given: object) -> object:
        calls.append("")
        return original(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(compare, "agree", counting)
    return calls


def noisy(picture: np.ndarray, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 2, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def test_frames_of_a_still_camera_are_compared_with_the_one_kept(
    ingested: Callable, draw_portrait: Callable, compared: list[str]
) -> None:
    frames = {f"f{n:02}": noisy(draw_portrait(1), n) for n in range(14)}
    pairs = ingested(**frames)
    assert set(pairs["kind"]) == {"duplicate"}
    assert len(pairs) == 13
    assert pairs["cluster"].nunique() == 1
    assert len(compared) <= 13 + compare.WORST_OF * (compare.WORST_OF - 1) / 2


def test_the_worst_pair_inside_a_cluster_is_stored(
    ingested: Callable, draw_portrait: Callable
) -> None:
    picture = draw_portrait(2)
    dull = np.clip(picture * 0.7 + 30, 0, 255).astype(np.uint8)
    soft = cv2.GaussianBlur(picture, (0, 0), 1.5)
    pairs = ingested(picture=picture, dull=dull, soft=soft)
    assert set(pairs["kind"]) == {"duplicate"}
    assert pairs["worst"].nunique() == 1
    assert (pairs["worst"] <= pairs["similarity"].min()).all()
    assert (pairs["worst"] > 0.9).all()


def test_a_later_copy_does_not_better_the_worst(
    ingested: Callable, draw_portrait: Callable
) -> None:
    picture = draw_portrait(2)
    soft = cv2.GaussianBlur(picture, (0, 0), 2)
    (before,) = ingested(picture=picture, soft=soft)["worst"]
    after = ingested("later", again=noisy(picture, 5))
    assert len(after) > 1
    assert after["worst"].max() == pytest.approx(before)


def test_pairs_that_are_no_copies_have_no_worst(
    ingested: Callable, draw_portrait: Callable
) -> None:
    light = np.linspace(0.8, 1.1, 320)[None, :, None]
    picture = draw_portrait(2)
    lit = np.clip(picture * light, 0, 255).astype(np.uint8)
    pairs = ingested(picture=picture, lit=lit)
    assert pairs["kind"].tolist() == ["candidate"]
    assert pairs["cluster"].tolist() == [""]
    assert pairs["worst"].isna().all()
    assert pairs["relation"].tolist() == ["same"]


def test_a_new_batch_is_compared_with_the_old_copy_kept(
    ingested: Callable, draw_portrait: Callable
) -> None:
    ingested(first=draw_portrait(3), second=noisy(draw_portrait(3), 1))
    pairs = ingested("later", third=noisy(draw_portrait(3), 2))
    assert pairs["cluster"].nunique() == 1
    new = pairs[(pairs["a"] == "third") | (pairs["b"] == "third")]
    assert len(new) == 1
    assert new["kind"].tolist() == ["duplicate"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(lambda x: x[8:-8, 8:-8], "cropped", id="cropped"),
        pytest.param(lambda x: np.clip(x * 0.8, 0, 255).astype(np.uint8), "darker", id="darker"),
        pytest.param(
            lambda x: cv2.resize(x, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
            "half size",
            id="half",
        ),
    ],
)
def test_the_relation_says_what_was_done(
    ingested: Callable,
    draw_portrait: Callable,
    change: Callable[[np.ndarray], np.ndarray],
    words: str,
) -> None:
    picture = draw_portrait(1)
    (relation,) = ingested(a=picture, b=change(picture))["relation"]
    mirrored = {"cropped": "shows more", "darker": "brighter", "half size": "double size"}
    assert words in relation or mirrored[words] in relation
