import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.mirror import REFERENCES, SIDE, decide, mirrored_columns, views

EYES_UP = np.array(
    [[60, 80], [100, 80], [80, 100], [80, 120], [45, 85], [115, 85]], np.float32
)  # right and left eye of the subject, nose, mouth, right and left ear


def scene(seed, side=160):
    """A picture with structure at all scales, unlike its own mirror image."""
    rng = np.random.default_rng(seed)
    cells = rng.integers(0, 255, (9, 9), dtype=np.uint8)
    return cv2.resize(cells, (side, side), interpolation=cv2.INTER_CUBIC)


def frame(picture, rng, mirrored=False):
    """The picture as another frame shows it: shifted, noisy, in other light; and its keypoints."""
    x, y = rng.uniform(-3, 3, 2)
    moved = cv2.warpAffine(
        picture, np.float32([[1, 0, x], [0, 1, y]]), (160, 160), borderMode=cv2.BORDER_REPLICATE
    )
    light = moved * rng.uniform(0.7, 1.0) + rng.normal(0, 4, moved.shape)
    gray, points = np.clip(light, 0, 255).astype(np.uint8), EYES_UP + np.float32([x, y])
    if mirrored:
        gray = np.ascontiguousarray(gray[:, ::-1])
        points = mirrored_columns(np.zeros(4), points.ravel(), 160)[1].reshape(6, 2)
    return views(gray, points)


def burst(seed, mirrored):
    rng = np.random.default_rng(seed)
    picture = scene(seed)
    return np.stack([frame(picture, rng, flipped) for flipped in mirrored])


def flags(count, *mirrored):
    return np.isin(np.arange(count), mirrored)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(4, 24),
    share=st.floats(0, 0.3),
)
def test_mirrored_frames_of_a_burst_are_found_and_no_others(seed, count, share):
    rng = np.random.default_rng(seed)
    mirrored = flags(count, *rng.choice(count, int(share * count), replace=False))
    assert decide(burst(seed, mirrored)).tolist() == np.where(mirrored, "yes", "no").tolist()


def test_how_most_lie_is_taken_for_unmirrored():
    mirrored = ~flags(12, 3, 7)
    assert decide(burst(1, mirrored)).tolist() == np.where(mirrored, "no", "yes").tolist()


def test_a_burst_of_which_half_is_mirrored_is_ambiguous():
    assert set(decide(burst(2, flags(10, 0, 2, 4, 6, 8)))) == {"ambiguous"}


@pytest.mark.parametrize(("count", "mirrored"), [(10, 5), (10, 4), (5, 2)])
def test_a_majority_of_less_than_three_fifths_does_not_decide(count, mirrored):
    answers = set(decide(burst(3, flags(count, *range(mirrored)))))
    assert answers == ({"ambiguous"} if count - mirrored < 0.6 * count else {"yes", "no"})


def test_two_frames_that_agree_are_not_mirrored_and_two_that_differ_are_ambiguous():
    assert decide(burst(4, flags(2))).tolist() == ["no", "no"]
    assert decide(burst(4, flags(2, 1))).tolist() == ["ambiguous", "ambiguous"]


@pytest.mark.parametrize("count", [0, 1])
def test_without_siblings_nothing_is_decided(count):
    assert decide(burst(5, flags(1))[:count]).tolist() == ["ambiguous"] * count


@pytest.mark.parametrize("seed", range(20))
def test_unrelated_pictures_are_ambiguous(seed):
    rng = np.random.default_rng(seed)
    apart = np.stack([frame(scene(100 * seed + n), rng, bool(n % 2)) for n in range(8)])
    assert set(decide(apart)) == {"ambiguous"}


def test_a_stranger_in_a_burst_is_ambiguous_and_disturbs_nobody():
    rng = np.random.default_rng(6)
    frames = burst(6, flags(9, 2))
    answers = decide(np.concatenate([frames, frame(scene(999), rng)[None]]))
    assert answers.tolist() == ["no", "no", "yes", *["no"] * 6, "ambiguous"]


def test_two_bursts_in_one_do_not_flip_each_other():
    rng = np.random.default_rng(7)
    two = np.concatenate([burst(7, flags(12)), burst(8, np.ones(9, bool))])
    assert "yes" not in decide(two[rng.permutation(len(two))])


def test_no_picture_like_its_own_mirror_image_is_called_mirrored():
    half = scene(9)[:, :80]
    symmetric = np.hstack([half, half[:, ::-1]])
    rng = np.random.default_rng(9)
    assert "yes" not in decide(np.stack([frame(symmetric, rng, n == 2) for n in range(9)]))


def test_flat_frames_are_ambiguous_and_the_others_decided():
    frames = burst(10, flags(8, 1))
    flat = views(np.full((160, 160), 90, np.uint8), EYES_UP)
    assert not flat.any()
    answers = decide(np.concatenate([flat[None], frames, flat[None]]))
    assert answers.tolist() == ["ambiguous", "no", "yes", *["no"] * 6, "ambiguous"]


def test_a_long_burst_is_compared_with_some_of_its_frames_only():
    mirrored = flags(400, 0, 77, 123, 399)
    assert len(mirrored) > 3 * REFERENCES
    assert decide(burst(11, mirrored)).tolist() == np.where(mirrored, "yes", "no").tolist()


def test_flipping_every_frame_changes_no_answer():
    frames = burst(12, flags(9, 4))
    assert decide(frames).tolist() == decide(np.ascontiguousarray(frames[..., ::-1])).tolist()


def test_views_have_no_mean_and_unit_length():
    seen = views(scene(13), EYES_UP)
    assert seen.shape == (3, SIDE, SIDE)
    assert seen.dtype == np.float32
    assert np.allclose(seen.mean(axis=(1, 2)), 0, atol=1e-6)
    assert np.allclose(np.linalg.norm(seen.reshape(3, -1), axis=1), 1, atol=1e-4)


def test_views_of_the_mirror_image_are_the_views_mirrored():
    picture = scene(14)
    _, points = mirrored_columns(np.zeros(4), EYES_UP.ravel(), 160)
    flipped = views(np.ascontiguousarray(picture[:, ::-1]), points.reshape(6, 2))
    correlation = (flipped[..., ::-1] * views(picture, EYES_UP)).sum(axis=(1, 2))
    assert correlation.min() > 0.97


def test_face_views_are_level_whatever_the_roll():
    picture = scene(15)
    level = views(picture, EYES_UP)
    for angle in (-25, 25):
        turn = cv2.getRotationMatrix2D((80, 92), angle, 1)
        rolled = cv2.warpAffine(picture, turn, (160, 160), borderMode=cv2.BORDER_REPLICATE)
        seen = views(rolled, (EYES_UP @ turn[:, :2].T + turn[:, 2]).astype(np.float32))
        assert (seen[1] * level[1]).sum() > 0.8
        assert (seen[0] * level[0]).sum() < 0.6


@pytest.mark.parametrize("points", [np.zeros((6, 2), np.float32), EYES_UP + 500])
def test_keypoints_in_one_spot_or_outside_do_no_harm(points):
    assert np.isfinite(views(scene(16), points)).all()


def test_columns_are_flipped_and_left_and_right_exchanged():
    box, points = mirrored_columns(np.array([10, 20, 30, 40]), np.arange(12), 100)
    assert box.tolist() == [60, 20, 30, 40]
    assert points.reshape(6, 2).tolist() == [
        [98, 3],
        [100, 1],
        [96, 5],
        [94, 7],
        [90, 11],
        [92, 9],
    ]


@given(seed=st.integers(0, 2**32 - 1), width=st.integers(1, 5000))
def test_flipping_columns_twice_changes_nothing(seed, width):
    rng = np.random.default_rng(seed)
    box, points = rng.uniform(0, width, 4), rng.uniform(0, width, 12)
    again = mirrored_columns(*mirrored_columns(box, points, width), width)
    assert np.allclose(again[0], box, rtol=1e-4, atol=1e-2)
    assert np.allclose(again[1], points, rtol=1e-4, atol=1e-2)
