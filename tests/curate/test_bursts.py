"""Bursts are kept whole, thinned around blinks, or reduced to their best frame."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate import bursts


def frames(count: int, clip: str | None = "c", first: int = 1) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "image_id": [f"{clip}{n}" for n in range(first, first + count)],
            "uri": [f"/{clip}/f_{n}.jpg" for n in range(first, first + count)],
            "clip": clip,
            "status": "kept",
            "turn": 0,
            "mirror": "no",
            "sharpness": np.arange(count, dtype=float),
            "bytes": 1000,
            "face": [np.array([0, 0, 50, 50], np.float32)] * count,
            "label_key": None,
        }
    )


def no_blinks(clip: pd.DataFrame) -> np.ndarray:
    return np.zeros(len(clip), bool)


@pytest.mark.parametrize("text", ["keep", "best", "thin:1", "thin:12"])
def test_policies_are_read(text: str) -> None:
    policy = bursts.parse(text)
    assert text == (policy.name if policy.name != "thin" else f"thin:{policy.frames}")


@pytest.mark.parametrize("text", ["", "thin", "thin:", "thin:0", "thin:-1", "thin:2.5", "all"])
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="keep, best or thin:N"):
        bursts.parse(text)


def test_by_default_nothing_is_left_out() -> None:
    assert bursts.put_aside(frames(20), bursts.parse("keep"), no_blinks) == set()


def test_the_order_is_that_of_the_numbers() -> None:
    shuffled = frames(12).sample(frac=1, random_state=0)
    assert list(bursts.in_order(shuffled)["image_id"]) == [f"c{n}" for n in range(1, 13)]


def test_thinning_keeps_the_ends_and_what_lies_between() -> None:
    out = bursts.put_aside(frames(11), bursts.parse("thin:3"), no_blinks)
    assert {f"c{n}" for n in range(1, 12)} - out == {"c1", "c6", "c11"}


def test_a_blink_is_never_thinned_away() -> None:
    def blinks(clip: pd.DataFrame) -> np.ndarray:
        return clip["image_id"].isin(["c4", "c5"]).to_numpy()

    out = bursts.put_aside(frames(11), bursts.parse("thin:2"), blinks)
    assert {f"c{n}" for n in range(1, 12)} - out == {"c1", "c4", "c5", "c11"}


def test_the_best_frame_is_the_sharpest_upright_one() -> None:
    clip = frames(5)
    clip.loc[4, "turn"] = 90
    out = bursts.put_aside(clip, bursts.parse("best"), no_blinks)
    assert set(clip["image_id"]) - out == {"c4"}


@given(st.integers(1, 40), st.integers(1, 50))
def test_thinning_keeps_at_most_n_of_each_clip_and_nothing_else(count: int, n: int) -> None:
    loose, quarantined = frames(3, clip=None), frames(3, clip="q")
    quarantined["status"] = "quarantined"
    every = pd.concat([frames(count), frames(count, "d"), loose, quarantined])
    out = bursts.put_aside(every, bursts.Policy("thin", n), no_blinks)
    for clip in ("c", "d"):
        left = [image for image in every["image_id"][every["clip"] == clip] if image not in out]
        assert len(left) == min(n, count)
    assert not out & {*loose["image_id"], *quarantined["image_id"]}
