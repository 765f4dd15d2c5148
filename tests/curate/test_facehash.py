from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.facehash import (
    COLUMNS,
    DHASH_RADIUS,
    MIRRORED,
    RADIUS,
    SQUARES,
    centre_and_spread,
    face_hashes,
)
from curate.hashes import POSES
from curate.propose import _stored_pose

POINTS = np.array([[-30, 0], [30, 0], [0, 35], [0, 64], [-63, 14], [63, 14]], float)
SWAPPED = [1, 0, 2, 3, 5, 4]  # left and right, in a mirror


@pytest.fixture
def picture(draw_portrait):
    def make(seed):
        large = cv2.resize(draw_portrait(seed), (640, 800))
        return cv2.cvtColor(large, cv2.COLOR_RGB2GRAY)

    return make


def near(asked, given):
    """Tell whether one image asks for the other, as `propose` does."""
    (phash, dhash), (others, other_dhashes) = asked, given
    return any(
        np.bitwise_count(phash[p] ^ others[column]) <= RADIUS
        and np.bitwise_count(dhash[p] ^ other_dhashes[column]) <= DHASH_RADIUS
        for p in range(MIRRORED)
        for column in (0, MIRRORED)
    )


def points(x=330.0, y=360.0):
    return POINTS * 1.5 + (x, y)


def test_eight_hashes_of_each_kind(picture):
    for hashes in face_hashes(picture(1), points()):
        assert hashes.shape == (COLUMNS,)
        assert hashes.dtype == np.uint64


def test_the_squares_lie_within_the_canvas_and_share_the_middle():
    from curate.facehash import CANVAS

    for x, y, side in SQUARES:
        assert x >= 0
        assert y >= 0
        assert x + side <= CANVAS
        assert y + side <= CANVAS


@pytest.mark.parametrize("share", [0.03, 0.08, 0.12])
@pytest.mark.parametrize("seed", range(4))
def test_a_crop_is_near_its_original(picture, seed, share):
    image = picture(seed)
    top, left = int(800 * share), int(640 * share)
    cut = image[top:-top, left:-left]
    assert near(face_hashes(cut, points() - (left, top)), face_hashes(image, points()))


@pytest.mark.parametrize("tremble", [(8, 0), (-8, 0), (0, 8), (0, -8)])
def test_keypoints_may_tremble(picture, tremble):
    image = picture(2)
    assert near(face_hashes(image, points() + tremble), face_hashes(image, points()))


def test_a_mirrored_face_is_near_its_original(picture):
    image = picture(3)
    mirrored = (points() * (-1, 1) + (640, 0))[SWAPPED]
    asked, given = face_hashes(image[:, ::-1], mirrored), face_hashes(image, points())
    assert near(asked, given)
    assert np.bitwise_count(asked[0][0] ^ given[0][MIRRORED]) <= 4


def test_other_pictures_are_far(picture):
    hashed = [face_hashes(picture(seed), points()) for seed in range(8)]
    assert not any(near(one, other) for one, other in pairwise(hashed))


@pytest.mark.parametrize("at", [(0, 0), (-900, 40), (640, 800), (5000, 5000)])
def test_a_face_beyond_the_frame_is_hashed_all_the_same(picture, at):
    phash, _ = face_hashes(picture(1), points(*at))
    assert phash.shape == (COLUMNS,)


def test_keypoints_on_one_spot_do_no_harm(picture):
    phash, _ = face_hashes(picture(1), np.full((6, 2), 50.0))
    assert phash.shape == (COLUMNS,)


@settings(max_examples=30, deadline=None)
@given(angle=st.floats(0, 6.28), x=st.floats(-99, 99), factor=st.floats(0.1, 9))
def test_the_spread_knows_no_turn_but_the_scale(angle, x, factor):
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = factor * POINTS @ turn.T + x
    *_, before = centre_and_spread(POINTS)
    *centre, after = centre_and_spread(moved)
    assert after == pytest.approx(factor * before)
    assert np.allclose(centre, moved.mean(axis=0))


@pytest.mark.parametrize("turn_a", [0, 90, 180, 270])
@pytest.mark.parametrize("turn_b", [0, 90, 180, 270])
@pytest.mark.parametrize("mirrored", [0, 1])
def test_the_pose_of_two_stored_images_follows_from_their_turns(turn_a, turn_b, mirrored):
    from curate.hashes import apply_pose

    upright = np.arange(12).reshape(3, 4)
    other = upright[:, ::-1] if mirrored else upright
    a, b = np.rot90(upright, turn_a // 90), np.rot90(other, turn_b // 90)
    (pose,) = _stored_pose(np.array([turn_a]), np.array([turn_b]), np.array([mirrored]))
    assert (apply_pose(a, POSES[pose]) == b).all()


def test_undecided_counts_as_not_turned():
    (pose,) = _stored_pose(np.array([-1]), np.array([90]), np.array([0]))
    assert POSES[pose].turn == 270
