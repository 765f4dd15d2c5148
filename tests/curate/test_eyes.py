import cv2
import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st

from curate import aligned, assets, eyes
from curate.aligned import Aligned, align, changes
from curate.eyes import CLOSED, Aspect, aspect, blinks, compare
from curate.landmarks import LandmarkReader

SIZE, SHARE = 320, 0.5
UNIT, CENTRE = SIZE * SHARE / 2, SIZE / 2
SKIN, LASHES = (222, 178, 150), (60, 40, 40)


@pytest.fixture(scope="module")
def reader():
    return LandmarkReader(assets.path("face_landmarker"))


@pytest.fixture(scope="module")
def seen(detector, reader):
    """Return the aspect of the best face of a picture."""

    def look(rgb):
        return aspect(rgb, detector.detect(np.ascontiguousarray(rgb))[0], reader)

    return look


@pytest.fixture(scope="module")
def picture(draw_face):
    """The drawn face with some texture, so that noise is not all that it has."""
    rng = np.random.default_rng(1)
    cells = cv2.resize(rng.normal(0, 6, (40, 40, 3)), (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    return np.clip(draw_face(SIZE, SHARE) + cells, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def original(seen, picture):
    return seen(picture)


def at(x, y):
    return round(CENTRE + x * UNIT), round(CENTRE + y * UNIT)


def shut(rgb, sides):
    """Draw a lid over the eyes at ``sides`` of the image (-1 left, 1 right)."""
    closed = rgb.copy()
    for side in sides:
        middle = at(0.36 * side, -0.12)
        cv2.ellipse(closed, middle, (round(0.25 * UNIT), round(0.14 * UNIT)), 0, 0, 360, SKIN, -1)
        cv2.ellipse(closed, middle, (round(0.2 * UNIT), 4), 0, 0, 180, LASHES, 2, cv2.LINE_AA)
    return cv2.GaussianBlur(closed, (0, 0), 0.8)


def box(rgb, low, high, colour):
    covered = rgb.copy()
    cv2.rectangle(covered, at(*low), at(*high), colour, -1)
    return covered


def encoded(rgb, quality):
    return simplejpeg.decode_jpeg(simplejpeg.encode_jpeg(np.ascontiguousarray(rgb), quality))


def tones(rgb, curve):
    return np.clip(curve(np.arange(256.0)), 0, 255).astype(np.uint8)[rgb]


def rotated(rgb, degrees):
    matrix = cv2.getRotationMatrix2D((CENTRE, CENTRE), degrees, 1)
    return cv2.warpAffine(rgb, matrix, (SIZE, SIZE), borderMode=cv2.BORDER_REPLICATE)


COPIES = {
    "quality 30": lambda rgb: encoded(rgb, 30),
    "half": lambda rgb: cv2.resize(rgb, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "blur": lambda rgb: cv2.GaussianBlur(rgb, (0, 0), 1.5),
    "brighter": lambda rgb: tones(rgb, lambda tone: 1.2 * tone + 8),
    "gamma": lambda rgb: tones(rgb, lambda tone: 255 * (tone / 255) ** 0.6),
    "crop": lambda rgb: np.ascontiguousarray(rgb[16:-8, 8:-16]),
    "rotated": lambda rgb: rotated(rgb, 3),
}

COVERS = {
    "mask": lambda rgb: box(rgb, (-0.8, 0.3), (0.8, 1.2), (200, 215, 230)),
    "dark glasses": lambda rgb: box(rgb, (-0.65, -0.3), (0.65, 0.08), (25, 22, 20)),
    "brow": lambda rgb: box(rgb, (-0.7, -0.9), (0.7, -0.45), (90, 60, 40)),
    "mouth": lambda rgb: box(rgb, (-0.4, 0.5), (0.4, 0.85), (170, 130, 110)),
    "one eye": lambda rgb: box(rgb, (0.1, -0.32), (0.62, 0.08), (30, 30, 30)),
}


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
def test_a_copy_is_one_state(seen, picture, original, copy):
    assert compare(original, seen(copy(picture)), mirrored=False) is True


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
def test_closed_eyes_are_another_state_in_a_copy_too(seen, picture, original, copy):
    closed = seen(copy(shut(picture, (-1, 1))))
    assert compare(original, closed, mirrored=False) is False
    assert eyes.state_change(original, closed)[0] > eyes.MOST_EYE_CHANGE  # without the covers' help


@pytest.mark.parametrize("cover", COVERS.values(), ids=COVERS)
def test_a_cover_is_another_state(seen, picture, original, cover):
    assert compare(original, seen(encoded(cover(picture), 80)), mirrored=False) is False


def test_both_covered_alike_is_one_state(seen, picture):
    masked = COVERS["mask"](picture)
    assert compare(seen(masked), seen(encoded(masked, 50)), mirrored=False) is True


def test_a_mirrored_copy_is_one_state(seen, picture, original):
    assert compare(original, seen(picture[:, ::-1]), mirrored=True) is True


@pytest.mark.parametrize("side", [-1, 1])
def test_a_wink_is_told_from_the_other_wink(seen, picture, original, side):
    wink, other = seen(shut(picture, (side,))), seen(shut(picture, (-side,)))
    assert compare(original, wink, mirrored=False) is False
    assert compare(wink, other, mirrored=False) is False
    assert compare(wink, wink.mirrored(), mirrored=False) is False
    assert compare(wink, wink.mirrored(), mirrored=True) is True


def test_closed_belongs_to_the_subjects_eye(seen, picture, original):
    wink = seen(shut(picture, (-1,)))  # on the left of the image: the subject's right
    assert wink.closed[0] > original.closed[0] + 0.05
    assert abs(wink.closed[1] - original.closed[1]) < wink.closed[0] - original.closed[0]
    assert np.array_equal(wink.mirrored().closed, wink.closed[::-1])


def test_the_order_of_two_pictures_does_not_matter(seen, picture, original):
    for other in (seen(COPIES["gamma"](picture)), seen(shut(picture, (1,)))):
        there, back = (eyes.state_change(*pair) for pair in ((original, other), (other, original)))
        assert there == pytest.approx(back, rel=1e-4)


def test_unknown_without_landmarks(original):
    assert compare(None, original, mirrored=False) is None
    assert compare(original, None, mirrored=True) is None
    assert compare(None, None, mirrored=False) is None


def test_unknown_where_the_image_shows_too_little_of_the_face(original):
    hidden = np.zeros(aligned.FACE, bool)
    part = Aligned(original.aligned.face, hidden, original.aligned.eyes)
    assert compare(original, Aspect(original.closed, part), mirrored=False) is None


def test_no_landmarks_no_aspect(detector, reader, picture):
    face = detector.detect(picture)[0]
    assert aspect(np.full_like(picture, 128), face, reader) is None


@pytest.mark.parametrize(
    ("eye", "cover", "same"),
    [
        (eyes.MOST_EYE_CHANGE, eyes.MOST_COVER_CHANGE, True),
        (eyes.MOST_EYE_CHANGE + 1e-6, 0.0, False),
        (0.0, eyes.MOST_COVER_CHANGE + 1e-6, False),
    ],
)
def test_limits(original, monkeypatch, eye, cover, same):
    monkeypatch.setattr(eyes, "state_change", lambda a, b: (eye, cover))
    assert compare(original, original, mirrored=False) is same


@pytest.mark.parametrize(
    ("blink", "eye", "same"),
    [
        (0.2, 0.01, True),
        (0.3, 0.01, False),
        (0.1, 0.01, True),
        (0.1, 0.1, False),
        (0.3, 1e-4, True),
    ],
)
def test_blink_counts_as_much_as_the_eye_changed_more_than_the_face(
    original, monkeypatch, blink, eye, same
):
    changed = np.full(50, 0.01), np.array([0.01, eye])
    monkeypatch.setattr(eyes, "changes", lambda a, b: changed)
    other = Aspect(original.closed + np.float32([0, blink]), original.aligned)
    assert compare(original, other, mirrored=False) is same


def test_a_picture_does_not_differ_from_itself(original):
    face, both = changes(original.aligned, original.aligned)
    assert len(face) > 50
    assert max(face.max(), both.max()) < 1e-3


def test_tones_and_small_shifts_are_no_change(original):
    there = original.aligned
    paler = Aligned(tones(there.face, lambda tone: 60 + tone / 2), there.seen, there.eyes)
    moved = Aligned(np.roll(there.face, (aligned.SLACK, -1), (0, 1)), there.seen, there.eyes)
    covered = there.face.copy()
    covered[66:84, 30:58] = 20
    worst = {
        name: changes(there, other)[0].max()
        for name, other in {
            "paler": paler,
            "moved": moved,
            "covered": Aligned(covered, there.seen, there.eyes),
        }.items()
    }
    assert worst["paler"] < 0.001
    assert worst["moved"] < 0.1  # the tones are fitted before the shift is known
    assert worst["covered"] > 0.5


def test_what_lies_outside_the_image_is_not_compared(original):
    there = original.aligned
    cut, spoilt = there.seen.copy(), there.face.copy()
    cut[80:], spoilt[80:] = False, 0
    (whole, _), (part, _) = changes(there, there), changes(there, Aligned(spoilt, cut, there.eyes))
    assert 0 < len(part) < len(whole)
    assert part.max() < 0.05


def test_align_brings_the_eyes_to_their_place():
    points = np.zeros((478, 2), np.float32)
    for index, place in (aligned.SHAPE | aligned.TEMPLATE).items():
        points[index] = np.array([60.0, 50.0]) + 40 * np.array(place)
    gray = np.full((200, 120), 100, np.uint8)
    cv2.circle(gray, (40, 50), 4, 0, -1)  # half the distance between the eyes from (60, 50)
    cv2.circle(gray, (80, 50), 4, 255, -1)
    found = align(gray, points)
    height, width = aligned.EYE
    assert found.face.shape == found.seen.shape == aligned.FACE
    assert found.eyes.shape == (2, height, width)
    assert found.eyes[0, height // 2, width // 2] < 20
    assert found.eyes[1, height // 2, width // 2] > 235
    assert found.seen[40, 44]
    assert not align(gray[:, :70], points).seen[40, 80]


@given(
    closed=st.lists(st.one_of(st.floats(0, 1), st.just(float("nan"))), max_size=40),
    margin=st.integers(0, 5),
)
def test_blinks_are_all_frames_near_a_closed_one(closed, margin):
    found = blinks(closed, margin=margin)
    expected = [
        any(abs(i - j) <= margin for j, one in enumerate(closed) if one >= CLOSED)
        for i in range(len(closed))
    ]
    assert found.dtype == bool
    assert found.tolist() == expected


def test_blink_threshold_and_margin():
    frames = np.zeros(12)
    frames[5] = CLOSED
    assert np.flatnonzero(blinks(frames)).tolist() == [2, 3, 4, 5, 6, 7, 8]
    frames[5] = CLOSED - 1e-6
    assert not blinks(frames).any()
