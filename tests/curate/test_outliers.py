import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate import outliers
from curate.agreement import Spot, View, agree, moved
from curate.duplicates import SIMILAR, WORST_PATCH
from curate.hashes import POSES, apply_pose
from curate.outliers import LEAST_THERE, SIDE, least_explained

EVERYWHERE = np.ones((SIDE, SIDE), bool)
CENTRE = SIDE // 2


def face(seed, side=SIDE):
    """Blurred noise between 40 and 200, with two dark eyes and a mouth."""
    rng = np.random.default_rng(seed)
    layers = [
        cv2.resize(rng.normal(size=(n, n)) / n, (side, side), interpolation=cv2.INTER_CUBIC)
        for n in (3, 6, 12, 24)
    ]
    drawn = cv2.normalize(np.sum(layers, axis=0), None, 90, 200, cv2.NORM_MINMAX)
    for x, y, wide, high in ((-10, -6, 5, 2), (10, -6, 5, 2), (0, 14, 8, 2)):
        middle = [round((CENTRE + at) * side / SIDE) for at in (x, y)]
        axes = [round(half * side / SIDE) for half in (wide, high)]
        cv2.ellipse(drawn, middle, axes, 0, 0, 360, 50, -1)
    return cv2.GaussianBlur(drawn, (0, 0), 0.8 * side / SIDE).astype(np.float32)


def with_lid(drawn):
    """Draw skin over one eye."""
    covered, zoom = drawn.copy(), drawn.shape[0] / SIDE
    middle = [round((CENTRE + at) * zoom) for at in (-10, -6)]
    tone = float(np.median(drawn))
    cv2.ellipse(covered, middle, (round(6 * zoom), round(3 * zoom)), 0, 0, 360, tone, -1)
    return cv2.GaussianBlur(covered, (0, 0), 0.5)


def with_finger(drawn):
    covered = drawn.copy()
    cv2.line(covered, (20, 50), (44, 42), float(np.median(drawn)) * 0.8, 5, cv2.LINE_AA)
    return covered


def encoded(drawn, quality):
    data = cv2.imencode(".jpg", np.clip(drawn, 0, 255).astype(np.uint8), [1, quality])[1]
    return cv2.imdecode(data, cv2.IMREAD_GRAYSCALE).astype(np.float32)


def halved(drawn):
    small = cv2.resize(drawn, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)


def shifted(drawn):
    return cv2.warpAffine(
        drawn, np.float32([[1, 0, 0.4], [0, 1, 0.3]]), (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT
    )


COPIES = {
    "as it is": lambda drawn: drawn,
    "quality 40": lambda drawn: encoded(drawn, 40),
    "half size": halved,
    "blurred": lambda drawn: cv2.GaussianBlur(drawn, (0, 0), 1.2),
    "half a pixel aside": shifted,
    "gamma .6": lambda drawn: 255 * (drawn / 255) ** 0.6,
    "gamma 1.6": lambda drawn: 255 * (drawn / 255) ** 1.6,
    "brighter": lambda drawn: 1.2 * drawn + 8,
    "lit from one side": lambda drawn: drawn + np.linspace(0, 6, SIDE, dtype=np.float32),
}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("change", COPIES.values(), ids=COPIES)
def test_what_copying_does_is_explained_everywhere(seed, change):
    original = face(seed)
    assert least_explained(original, change(original), EVERYWHERE, EVERYWHERE) >= WORST_PATCH


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("alter", [with_lid, with_finger])
@pytest.mark.parametrize("change", COPIES.values(), ids=COPIES)
def test_a_small_part_that_differs_is_not(seed, alter, change):
    original = face(seed)
    assert least_explained(original, change(alter(original)), EVERYWHERE, EVERYWHERE) < WORST_PATCH


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1000), st.sampled_from([with_lid, with_finger, halved, shifted]))
def test_it_is_the_same_both_ways(seed, change):
    original = face(seed)
    other = change(original)
    there = least_explained(original, other, EVERYWHERE, EVERYWHERE)
    assert 0 < there <= 1
    assert there == pytest.approx(
        least_explained(other, original, EVERYWHERE, EVERYWHERE), rel=1e-6
    )


def test_where_one_has_no_pixels_nothing_counts():
    original = face(0)
    there = EVERYWHERE.copy()
    there[16:36, 8:34] = False
    assert least_explained(original, with_lid(original), there, EVERYWHERE) >= WORST_PATCH


def test_too_few_pixels_say_nothing():
    original = face(0)
    for rows, too_few in ((6, True), (14, False)):
        there = np.zeros_like(EVERYWHERE)
        there[26 - rows // 2 : 26 + rows // 2] = True
        assert (np.count_nonzero(there & outliers.INSIDE) < LEAST_THERE) == too_few
        found = least_explained(original, with_lid(original), there, EVERYWHERE)
        assert (found == 1) == too_few


@pytest.mark.parametrize(("apart", "explained"), [(10, True), (60, False)])
def test_where_tones_are_clipped_a_little_may_differ(apart, explained):
    original = face(0)
    clear = EVERYWHERE.copy()
    clear[20:32, 14:30] = False
    other = original.copy()
    other[22:30, 16:28] += apart
    assert (least_explained(original, other, EVERYWHERE, clear) >= WORST_PATCH) == explained
    assert least_explained(original, other, EVERYWHERE, EVERYWHERE) < WORST_PATCH


def test_flat_faces_agree():
    flat = np.full((SIDE, SIDE), 90, np.float32)
    assert least_explained(flat, flat + 20, EVERYWHERE, EVERYWHERE) == pytest.approx(1)


def in_a_picture(drawn, size=256):
    """Put a face of 64 pixels into a larger picture."""
    whole = face(99, size).astype(np.uint8)
    whole[90:154, 70:134] = np.clip(drawn, 0, 255).astype(np.uint8)
    return whole


SPOT = Spot(102, 122, SIDE / 4)


@pytest.mark.parametrize("pose", POSES, ids=lambda pose: pose.name)
def test_a_shut_eye_is_seen_where_the_face_is_known(pose):
    original = in_a_picture(face(0))
    altered = apply_pose(in_a_picture(with_lid(face(0))), pose)
    by_frame = agree(View(original), View(altered), pose)
    there = moved(SPOT, original.shape, pose)
    by_face = agree(View(original, SPOT), View(altered, there), pose)
    assert min(by_frame.similarity, by_face.similarity) >= SIMILAR
    assert by_face.worst < WORST_PATCH <= by_frame.worst


@pytest.mark.parametrize("pose", POSES, ids=lambda pose: pose.name)
def test_a_copy_passes_where_the_face_is_known(pose):
    original = in_a_picture(face(0))
    brighter = np.clip(1.1 * encoded(original, 75), 0, 255).astype(np.uint8)
    there = moved(SPOT, original.shape, pose)
    found = agree(View(original, SPOT), View(apply_pose(brighter, pose), there), pose)
    assert found.similarity >= SIMILAR
    assert found.worst >= WORST_PATCH


def test_where_a_channel_is_clipped_a_little_may_differ():
    original = in_a_picture(face(0))
    altered = original.copy()
    altered[108:120, 82:100] += 8
    colours = np.repeat(cv2.resize(original, (64, 64))[..., None], 3, axis=2)
    clipped = colours.copy()
    clipped[24:33, 18:28, 0] = 255
    found = [
        agree(View(original, SPOT, colours), View(altered, SPOT, onto), POSES[0]).worst
        for onto in (colours, clipped)
    ]
    assert found[0] < WORST_PATCH <= found[1]
