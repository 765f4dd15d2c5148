"""Quality: each planted defect lowers its own score, in time and by the right amount."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate import quality, schema
from curate.faces import Face

BOX = (100.0, 60.0, 160.0, 160.0)
STRAIGHT = np.array([[150, 120], [210, 120], [180, 152], [180, 180], [120, 125], [240, 125]])


def face(
    box: tuple[float, float, float, float] = BOX, points: np.ndarray = STRAIGHT, score: float = 0.9
) -> Face:
    return Face(box, score, points.astype(np.float32))


def picture(seed: int = 0, height: int = 320, width: int = 400) -> np.ndarray:
    """Return a sharp, coloured, well lit picture."""
    rng = np.random.default_rng(seed)
    out = np.zeros((height, width, 3), np.float32)
    for cells in (6, 20, 60, 150):
        layer = rng.normal(0, 90 * cells**-0.3, (cells, cells, 3)).astype(np.float32)
        out += cv2.resize(layer, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(128 + out, 0, 255).astype(np.uint8)


def jpeg(rgb: np.ndarray, level: int) -> np.ndarray:
    _, data = cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, level])
    return cv2.imdecode(data, cv2.IMREAD_COLOR)


def test_the_names_are_those_of_the_schema() -> None:
    assert quality.NAMES == schema.QUALITY


def test_a_good_picture_has_every_score_and_no_issue() -> None:
    scores = quality.measure(picture(), [face()])
    assert set(scores) == set(quality.NAMES)
    assert not any(quality.issues(scores).values()), scores


def test_without_a_search_what_needs_a_face_is_left_out() -> None:
    scores = quality.measure(picture(), None)
    assert set(scores) == {"borders", "gray", "compression", "exposure", "contrast"}


def test_no_face_found_is_an_issue_and_says_nothing_of_the_face() -> None:
    scores = quality.measure(picture(), [])
    assert quality.issues(scores)["no_face"]
    assert not {"blur", "face_size", "head_pose", "several_faces"} & set(scores)


def test_blur_is_that_of_the_face_not_of_the_frame() -> None:
    sharp, soft = picture(), cv2.GaussianBlur(picture(), (0, 0), 5)
    x, y, width, height = map(int, BOX)
    inside = np.s_[y : y + height, x : x + width]
    soft_face, sharp_face = sharp.copy(), soft.copy()
    soft_face[inside], sharp_face[inside] = soft[inside], sharp[inside]
    assert quality.issues(quality.measure(soft_face, [face()]))["blur"]
    assert not quality.issues(quality.measure(sharp_face, [face()]))["blur"]


def test_detail_does_not_depend_on_contrast() -> None:
    gray = picture()[..., 0]
    faded = (128 + 0.4 * (gray.astype(float) - 128)).astype(np.uint8)
    assert quality.detail(faded) == pytest.approx(quality.detail(gray), rel=0.1)


@pytest.mark.parametrize(
    ("level", "bad"), [(6, True), (30, True), (128, False), (200, False), (252, True)]
)
def test_exposure_is_that_of_the_face(level: int, bad: bool) -> None:
    rgb = picture()
    x, y, width, height = map(int, BOX)
    patch = rgb[y : y + height, x : x + width].astype(float)
    lit = level + (patch - patch.mean()) * min(level, 255 - level) / 200
    rgb[y : y + height, x : x + width] = np.clip(lit, 0, 255)
    assert quality.issues(quality.measure(rgb, [face()]))["exposure"] == bad


def test_contrast() -> None:
    flat = (128 + 0.1 * (picture().astype(float) - 128)).astype(np.uint8)
    assert quality.issues(quality.measure(flat, [face()]))["contrast"]


@pytest.mark.parametrize(("side", "bad"), [(54, True), (56, False)])
def test_face_size_counts_the_pixels_of_the_file(side: int, bad: bool) -> None:
    half = (100.0, 60.0, side / 2, side / 2)
    assert quality.issues(quality.measure(picture(), [face(half)], scale=2))["face_size"] == bad


@pytest.mark.parametrize(("turn", "bad"), [(0, False), (20, False), (-20, False), (40, True)])
def test_head_pose_knows_roll(turn: float, bad: bool) -> None:
    matrix = cv2.getRotationMatrix2D((180, 140), turn, 1)
    points = cv2.transform(STRAIGHT[None].astype(np.float32), matrix)[0]
    assert (quality.head_pose(points) < quality.THRESHOLDS["head_pose"]) == bad


@pytest.mark.parametrize(("move", "bad"), [((0, 0), False), ((30, 0), True), ((0, 25), True)])
def test_head_pose_knows_yaw_and_pitch_by_the_nose(move: tuple[int, int], bad: bool) -> None:
    points = STRAIGHT.astype(np.float32)
    points[2] += move
    assert (quality.head_pose(points) < quality.THRESHOLDS["head_pose"]) == bad


def test_head_pose_bears_points_that_fall_together() -> None:
    assert quality.head_pose(np.zeros((6, 2), np.float32)) == 0


@pytest.mark.parametrize(("side", "bad"), [(60.0, False), (90.0, True)])
def test_a_second_face_counts_when_it_is_comparable(side: float, bad: bool) -> None:
    faces = [face(), face((300.0, 10.0, side, side)), face((0.0, 10.0, 160.0, 160.0), score=0.4)]
    assert quality.issues(quality.measure(picture(), faces))["several_faces"] == bad


@pytest.mark.parametrize("shade", [0, 128, 255])
@pytest.mark.parametrize("sides", [(30, 30, 0, 0), (30, 0, 0, 0), (0, 0, 25, 25), (20, 20, 20, 20)])
def test_bars_are_measured_on_every_side(shade: int, sides: tuple[int, int, int, int]) -> None:
    inner = picture()
    barred = cv2.copyMakeBorder(inner, *sides, cv2.BORDER_CONSTANT, value=[shade] * 3)
    share = 1 - inner.size / barred.size
    for rgb in (barred, jpeg(barred, 85)):
        assert quality.bars(rgb[..., 1].copy()) == pytest.approx(share, abs=0.02)


def test_a_plain_wall_behind_head_and_shoulders_is_no_bar() -> None:
    wall = np.full((320, 400, 3), 200, np.uint8)
    wall[80:, 130:270] = picture(1, 240, 140)
    wall[240:] = picture(2, 80, 400)
    assert quality.bars(wall[..., 0].copy()) == 0


def test_gray_stored_as_rgb_is_an_issue_and_honest_gray_is_not() -> None:
    gray = np.dstack([picture()[..., 0]] * 3)
    for rgb in (gray, jpeg(gray, 80)):
        assert quality.issues(quality.measure(rgb, None))["gray"]
        assert not quality.issues(quality.measure(rgb, None, coloured=False))["gray"]


@pytest.mark.parametrize(("level", "bad"), [(29.0, True), (31.0, False), (None, False)])
def test_compression_by_the_tables(level: float | None, bad: bool) -> None:
    scores = quality.measure(picture(), None, jpeg_quality=level)
    assert quality.issues(scores)["compression"] == bad


@pytest.mark.parametrize("scale", [1, 2])
def test_compression_that_a_second_file_hides_is_seen_in_the_pixels(scale: int) -> None:
    smooth = cv2.GaussianBlur(picture(2, 640, 800), (0, 0), 3)

    def visible(rgb: np.ndarray) -> bool:
        size = (rgb.shape[1] // scale, rgb.shape[0] // scale)
        small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
        return quality.issues(quality.measure(small, None, scale=scale))["compression"]

    assert visible(jpeg(smooth, 8))
    assert visible(jpeg(smooth, 8)[3:, 5:])
    assert not visible(smooth)
    assert not visible(jpeg(smooth, 90))


@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(0, 2**32 - 1),
    st.booleans(),
    st.floats(1, 8),
)
def test_any_picture_has_scores_from_0_to_1(
    height: int, width: int, seed: int, plain: bool, scale: float
) -> None:
    rng = np.random.default_rng(seed)
    rgb = rng.integers(0, 255, (height, width, 3), dtype=np.uint8)
    if plain:
        rgb[:] = rgb[0, 0]
    box = tuple(rng.uniform(-20, 50, 4))
    points = rng.uniform(-20, 50, (6, 2)).astype(np.float32)
    faces = [Face((box[0], box[1], abs(box[2]), abs(box[3])), 0.7, points)]
    for found in (faces, [], None):
        scores = quality.measure(rgb, found, scale=scale)
        assert all(0 <= score <= 1 for score in scores.values()), scores
