import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate import tones

SIDE = 32
EVERYWHERE = np.ones((SIDE, SIDE), bool)


def colourful(seed=0):
    """Tones between 40 and 180, channels that differ."""
    rng = np.random.default_rng(seed)
    return rng.uniform(40, 180, (SIDE, SIDE, 3)).astype(np.float32)


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(lambda x: x, id="nothing"),
        pytest.param(lambda x: 255 * (x / 255) ** 0.6, id="gamma .6"),
        pytest.param(lambda x: 255 * (x / 255) ** 1.6, id="gamma 1.6"),
        pytest.param(lambda x: x * 1.2 + 8, id="brighter"),
        pytest.param(lambda x: x * 0.6 + 30, id="less contrast"),
    ],
)
def test_one_curve_for_all_channels_is_no_cast(edit):
    image = colourful()
    assert tones.cast(image, edit(image).astype(np.float32), EVERYWHERE) < 0.5


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_a_channel_of_its_own_is_a_cast(channel):
    image = colourful()
    warmer = image.copy()
    warmer[..., channel] += 12
    assert tones.cast(image, warmer, EVERYWHERE) == pytest.approx(12, abs=1.5)


def test_another_white_balance_is_a_cast():
    image = colourful()
    assert tones.cast(image, image * np.float32([1.08, 1, 0.92]), EVERYWHERE) > 10


def test_clipped_and_unseen_pixels_say_nothing():
    image = colourful()
    spoilt, seen = image.copy(), EVERYWHERE.copy()
    spoilt[:8, :, 0] = 255
    spoilt[8:12, :, 2], seen[8:12] = 60, False
    assert tones.cast(image, spoilt, seen) < 0.5
    assert tones.cast(image, spoilt, EVERYWHERE) > 0.5


@pytest.mark.parametrize(("missing", "silent"), [(1, True), (0, False)])
def test_too_few_pixels_say_nothing(missing, silent):
    image = colourful()
    seen = np.zeros_like(EVERYWHERE)
    seen.flat[: tones.LEAST_PIXELS - missing] = True
    found = tones.cast(image, image + np.float32([20, 0, 0]), seen)
    assert (found == 0) == silent


@given(power=st.floats(0.6, 1.6), gain=st.floats(0.5, 1.1), offset=st.floats(0, 20))
def test_a_bent_picture_correlates(power, gain, offset):
    image = colourful()[..., 0]
    other = (gain * 255 * (image / 255) ** power + offset).astype(np.float32)
    similarity, bent = tones.bent(image, other, EVERYWHERE)
    assert similarity > 0.999
    assert np.abs(bent - other).max() < 6


def test_burnt_pixels_have_no_tone():
    levels = np.array([[3, 4, 249, 250]], np.float32)
    assert tones.has_tone(levels).tolist() == [[False, True, True, False]]


def test_a_flat_picture_correlates_with_none():
    flat = np.full(10, 7, np.float32)
    assert tones.correlation(flat, np.arange(10, dtype=np.float32)) == 0
    assert tones.correlation(np.arange(10.0), -np.arange(10.0)) == pytest.approx(-1)
