import hashlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate import parts
from curate.errors import ConfigError, DataError

SIZE, SHARE = 400, 0.4
UNIT = SIZE * SHARE / 2
EYES = np.array([(200 - 0.36 * UNIT, 200 - 0.12 * UNIT), (200 + 0.36 * UNIT, 200 - 0.12 * UNIT)])
MOUTH = (200, 200 + 0.66 * UNIT)
POINTS = np.array([*EYES, (200, 200 + 0.3 * UNIT), MOUTH, (110, 200), (290, 200)], float)


@pytest.fixture
def row(tmp_path, save):
    """Return a row of `images` for a picture whose points are known."""

    def make(rgb, points=POINTS, **more):
        file = save(tmp_path / f"{len(list(tmp_path.iterdir()))}.jpg", rgb, 95)
        height, width = rgb.shape[:2]
        return {
            "image_id": hashlib.sha256(file.read_bytes()).hexdigest(),
            "uri": file.as_uri(),
            "turn": 0,
            "mirror": "no",
            "shows": "face",
            "width": width,
            "height": height,
            "face": [120.0, 110.0, 160.0, 200.0],
            "face_score": 0.9,
            "landmarks": None if points is None else np.asarray(points, np.float32).ravel(),
        } | more

    return make


def turned(rgb, points, degrees, scale=1.0):
    matrix = cv2.getRotationMatrix2D((SIZE / 2, SIZE / 2), degrees, scale)
    moved = cv2.warpAffine(rgb, matrix, (SIZE, SIZE), borderMode=cv2.BORDER_REPLICATE)
    return moved, points @ matrix[:, :2].T + matrix[:, 2]


def alike(a, b):
    return np.corrcoef(a.ravel().astype(float), b.ravel().astype(float))[0, 1]


def test_eyes_of_a_face_look_alike_whichever_side(row, draw_face):
    face = row(draw_face(SIZE, SHARE))
    right, left = (parts.eye_crop(face, part, size=64) for part in parts.EYES)
    assert right.shape == left.shape == (64, 64, 3)
    assert right.dtype == np.uint8
    assert alike(right, left) > 0.95


def test_the_left_eye_is_the_subjects(row, draw_face):
    rgb = draw_face(SIZE, SHARE)
    cv2.circle(rgb, (round(EYES[1][0]), round(EYES[1][1])), 20, (0, 160, 0), -1)
    face, plain = row(rgb), row(draw_face(SIZE, SHARE))

    def changed(part):
        return alike(*(parts.eye_crop(one, part, size=64) for one in (face, plain)))

    assert changed("left_eye") < 0.9 < changed("right_eye")


@pytest.mark.parametrize("degrees", [-30, -10, 15, 40])
def test_roll_and_size_of_the_face_do_not_matter(row, draw_face, degrees):
    rgb = draw_face(SIZE, SHARE)
    straight, tilted = row(rgb), row(*turned(rgb, POINTS, degrees, 0.8))
    for part in parts.EYES:
        crops = [parts.eye_crop(one, part, size=64) for one in (straight, tilted)]
        assert alike(*crops) > 0.97
    for part in parts.REGIONS:
        crops = [parts.region_crop(one, part, size=64) for one in (straight, tilted)]
        assert alike(*crops) > 0.85, part
    assert alike(*(parts.whole_crop(one, size=64) for one in (straight, tilted))) > 0.9


@pytest.mark.parametrize("part", list(parts.REGIONS))
def test_a_cover_shows_in_the_middle_of_its_own_region(row, draw_face, part):
    rgb = draw_face(SIZE, SHARE)
    middle, across, down = parts.axes(POINTS)
    place = middle + parts.REGIONS[part][0] * across + parts.REGIONS[part][1] * down
    cv2.circle(rgb, tuple(int(v) for v in place.round()), 8, (0, 255, 0), -1)
    crop = parts.region_crop(row(rgb), part, size=60).astype(int)
    green = crop[..., 1] - crop[..., [0, 2]].max(axis=2) > 100
    assert green[28:32, 28:32].all()
    others = [name for name in parts.REGIONS if name != part]
    for name in others:
        other = parts.region_crop(row(rgb), name, size=60).astype(int)[28:32, 28:32]
        assert not (other[..., 1] - other[..., [0, 2]].max(axis=2) > 100).any(), name


def test_the_whole_face_is_in_the_whole_crop(row, draw_face):
    rgb = np.full((SIZE, SIZE, 3), 255, np.uint8)
    for place in POINTS[:4].round().astype(int):
        cv2.circle(rgb, tuple(int(v) for v in place), 3, (0, 0, 0), -1)
    crop = parts.whole_crop(row(rgb), size=120)[..., 0]
    count, _, _, centres = cv2.connectedComponentsWithStats((crop < 100).astype(np.uint8))
    assert count - 1 == 4
    eyes = centres[1:][np.argsort(centres[1:, 1])][:2]
    assert eyes[0, 1] == pytest.approx(eyes[1, 1], abs=1)
    assert abs(eyes[0, 0] - eyes[1, 0]) == pytest.approx(120 / parts.WHOLE_SIDE, abs=1.5)


def test_a_patch_is_mirrored_for_a_left_eye_only(row):
    rng = np.random.default_rng(3)
    cells = rng.integers(40, 220, (6, 6), dtype=np.uint8)
    patch = np.repeat(cv2.resize(cells, (48, 48))[..., None], 3, axis=2)
    image = row(patch, None, shows="eye", face=None)
    crops = {
        part: parts.eye_crop(image, part, size=48) for part in ("left_eye", "right_eye", "eye")
    }
    assert (crops["eye"] == crops["right_eye"]).all()
    assert (crops["left_eye"] == crops["right_eye"][:, ::-1]).all()
    inner = cv2.resize(patch[4:-4, 4:-4], (48, 48))
    assert alike(crops["eye"], inner) > 0.98


def test_a_patch_and_the_face_it_was_cut_from_give_one_crop(row, draw_face):
    """CEW's patches are .63 of the eyes' distance wide, about the eye as the corners bound it."""
    rgb = draw_face(SIZE, SHARE)
    middle, across, down = parts.axes(POINTS)
    up = -np.array([-across[1], across[0]])
    centre = EYES[0] + parts.INWARD * across + parts.UPWARD * up
    side = parts.EYE_SIDE / parts.PATCH_SHARE * across[0]
    low = (centre - side / 2).round().astype(int)
    n = round(side)
    patch = cv2.resize(
        rgb[low[1] : low[1] + n, low[0] : low[0] + n], (24, 24), interpolation=cv2.INTER_AREA
    )
    cut = parts.eye_crop(row(patch, None, shows="eye", face=None), "right_eye", size=96)
    assert alike(cut, parts.eye_crop(row(rgb), "right_eye", size=96)) > 0.95


@settings(max_examples=40, deadline=None)
@given(gain=st.floats(0.4, 1.0), offset=st.floats(0, 60), seed=st.integers(0, 99))
def test_tones_of_an_eye_do_not_depend_on_the_light(gain, offset, seed):
    gray = np.random.default_rng(seed).integers(60, 190, (24, 24), dtype=np.uint8)
    lit = np.rint(gray * gain + offset).astype(np.uint8)
    a, b = parts._toned(gray).astype(int), parts._toned(lit).astype(int)
    assert np.abs(a - b).max() <= 4
    assert abs(a.mean() - parts.TONE) < 2
    assert a.std() == pytest.approx(parts.CONTRAST, rel=0.05)


def test_noise_of_a_flat_eye_is_not_blown_up():
    flat = np.full((24, 24), 90, np.uint8)
    assert (parts._toned(flat) == parts.TONE).all()
    flat[0, 0] = 92
    assert np.ptp(parts._toned(flat).astype(int)) <= 2 / parts.LEAST_CONTRAST * parts.CONTRAST + 1


def test_fine_detail_is_averaged_away_not_sampled(row):
    """A grid finer than the crop's pixels comes out flat, whatever the size of the original."""
    rgb = np.zeros((SIZE, SIZE, 3), np.uint8)
    rgb[::2] = 255
    points = (POINTS - 200) * 2.2 + 200
    crop = parts.region_crop(row(rgb, points), "nose", size=32).astype(float)
    assert crop.std() < 16
    assert crop.mean() == pytest.approx(127, abs=12)


def test_what_cannot_be_cut_says_so(row, draw_face):
    face = row(draw_face(SIZE, SHARE))
    with pytest.raises(ConfigError, match="part 'elbow'"):
        parts.region_crop(face, "elbow", size=32)
    with pytest.raises(ConfigError, match="part 'eye'"):
        parts.eye_crop(face, "eye", size=32)
    with pytest.raises(DataError, match="no landmarks"):
        parts.eye_crop(row(draw_face(SIZE, SHARE), None), "left_eye", size=32)
    with pytest.raises(DataError, match="Next:"):
        parts.whole_crop(row(draw_face(SIZE, SHARE), None), size=32)
