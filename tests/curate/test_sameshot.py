from dataclasses import replace

import cv2
import numpy as np
import pytest
import simplejpeg

from curate import assets, sameshot
from curate.landmarks import LandmarkReader
from curate.sameshot import Change, Portrait, change, equally_coarse, portrait, same_shot

SIZE, SHARE = 320, 0.5
UNIT, CENTRE = SIZE * SHARE / 2, SIZE / 2
SKIN, LASHES = (222, 178, 150), (60, 40, 40)


@pytest.fixture(scope="module")
def seen(detector):
    """Return the portrait of the best face of a picture."""
    reader = LandmarkReader(assets.path("face_landmarker"))

    def look(rgb):
        rgb = np.ascontiguousarray(rgb)
        return portrait(rgb, detector.detect(rgb)[0], reader)

    return look


@pytest.fixture(scope="module")
def picture(draw_face):
    rng = np.random.default_rng(1)
    cells = cv2.resize(rng.normal(0, 6, (40, 40, 3)), (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    return np.clip(draw_face(SIZE, SHARE) + cells, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def original(seen, picture):
    return seen(picture)


def at(x, y):
    return round(CENTRE + x * UNIT), round(CENTRE + y * UNIT)


def shut(rgb, sides=(-1, 1)):
    """Draw a lid over the eyes at ``sides`` of the image (-1 left, 1 right)."""
    closed = rgb.copy()
    for side in sides:
        middle = at(0.36 * side, -0.12)
        cv2.ellipse(closed, middle, (round(0.25 * UNIT), round(0.14 * UNIT)), 0, 0, 360, SKIN, -1)
        cv2.ellipse(closed, middle, (round(0.2 * UNIT), 4), 0, 0, 180, LASHES, 2, cv2.LINE_AA)
    return cv2.GaussianBlur(closed, (0, 0), 0.8)


def masked(rgb):
    covered = rgb.copy()
    cv2.rectangle(covered, at(-0.8, 0.3), at(0.8, 1.2), (200, 215, 230), -1)
    return covered


def encoded(rgb, quality=60):
    return simplejpeg.decode_jpeg(simplejpeg.encode_jpeg(np.ascontiguousarray(rgb), quality))


def smaller(rgb, factor):
    return cv2.resize(rgb, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)


def rotated(rgb):
    matrix = cv2.getRotationMatrix2D((CENTRE, CENTRE), 3, 1)
    return cv2.warpAffine(rgb, matrix, (SIZE, SIZE), borderMode=cv2.BORDER_REPLICATE)


COPIES = {
    "quality 60": encoded,
    "half": lambda rgb: encoded(smaller(rgb, 0.5)),
    "a third": lambda rgb: encoded(smaller(rgb, 0.33), 80),
    "blurred": lambda rgb: encoded(cv2.GaussianBlur(rgb, (0, 0), 2.5)),
    "gamma": lambda rgb: encoded((255 * (rgb / 255) ** 0.6).astype(np.uint8)),
    "cropped": lambda rgb: encoded(rgb[16:-8, 8:-16]),
    "rotated": lambda rgb: encoded(rotated(rgb)),
}
ROUGH = {name: COPIES[name] for name in ("half", "blurred", "gamma")}


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
def test_a_copy_is_one_shot_in_either_order(seen, picture, original, copy):
    other = seen(copy(picture))
    assert same_shot(original, other, mirrored=False) is True
    assert same_shot(other, original, mirrored=False) is True


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
def test_a_mirrored_copy_is_one_shot(seen, picture, original, copy):
    assert same_shot(original, seen(copy(picture)[:, ::-1]), mirrored=True) is True
    assert same_shot(seen(copy(picture)[:, ::-1]), original, mirrored=True) is True


@pytest.mark.parametrize("sides", [(-1, 1), (-1,), (1,)])
@pytest.mark.parametrize("copy", ROUGH.values(), ids=ROUGH)
def test_closed_eyes_are_not_however_rough_the_copy(seen, picture, original, copy, sides):
    found = change(original, seen(copy(shut(picture, sides))), mirrored=False)
    assert found.eye > sameshot.MOST_EYE  # the eyes tell, without the help of the covers


@pytest.mark.parametrize("copy", ROUGH.values(), ids=ROUGH)
def test_a_cover_is_not_however_rough_the_copy(seen, picture, original, copy):
    assert same_shot(original, seen(copy(masked(picture))), mirrored=False) is False


def test_both_covered_alike_is_one_shot(seen, picture):
    hidden = masked(picture)
    assert same_shot(seen(hidden), seen(COPIES["half"](hidden)), mirrored=False) is True


def test_landmarks_of_one_serve_both(seen, picture, original):
    for edit, one in ((picture, True), (shut(picture), False)):
        blind = replace(seen(COPIES["half"](edit)), points=None)
        assert same_shot(original, blind, mirrored=False) is one
        assert same_shot(blind, original, mirrored=False) is one


def test_unknown_without_any_landmarks(original):
    blind = replace(original, points=None)
    assert same_shot(blind, blind, mirrored=False) is None


def test_two_noises_are_no_shot(original):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, original.gray.shape, dtype=np.uint8)
    other = Portrait(noise, original.face, original.points)
    assert same_shot(original, other, mirrored=False) is False


@pytest.mark.parametrize(
    ("usual", "eye", "cover", "one"),
    [
        (sameshot.MOST_USUAL, sameshot.MOST_EYE, sameshot.MOST_COVER, True),
        (sameshot.MOST_USUAL + 1e-6, 0.0, 0.0, False),
        (sameshot.MOST_USUAL, sameshot.MOST_EYE + 1e-6, 0.0, False),
        (0.0, 0.0, sameshot.MOST_COVER + 1e-6, False),
        (0.0, 2 * sameshot.EYE_NOISE, 0.0, True),  # three times the noise
        (0.0, 2 * sameshot.EYE_NOISE + 1e-6, 0.0, False),
    ],
)
def test_limits(original, monkeypatch, usual, eye, cover, one):
    monkeypatch.setattr(sameshot, "change", lambda a, b, mirrored: Change(usual, eye, cover))
    assert same_shot(original, original, mirrored=False) is one


def test_only_the_finer_is_blurred():
    rng = np.random.default_rng(3)
    fine = cv2.GaussianBlur(rng.integers(0, 256, (256, 256), dtype=np.uint8), (0, 0), 1)
    coarse = cv2.GaussianBlur(fine, (0, 0), 3)
    for pair in ((fine, coarse), (coarse, fine)):
        both = equally_coarse(*pair)
        for before, after in zip(pair, both, strict=True):
            assert np.array_equal(before, after) == (before is coarse)
        assert np.abs(both[0].astype(int) - both[1]).mean() < 2


def test_a_mirror_image_swaps_the_sides(original):
    there = original.mirrored()
    assert there.points is None
    width = original.gray.shape[1]
    right, left = original.face.keypoints[:2]
    assert there.face.keypoints[0] == pytest.approx([width - left[0], left[1]])
    assert there.face.keypoints[1] == pytest.approx([width - right[0], right[1]])
    assert there.mirrored().face.box == pytest.approx(original.face.box)
