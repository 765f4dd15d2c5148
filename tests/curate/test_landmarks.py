import zipfile
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from curate import assets
from curate.errors import AssetError
from curate.faces import KEYPOINTS, Face
from curate.landmarks import BLENDSHAPES, LandmarkReader, square

RIGHT_IRIS, LEFT_IRIS, NOSE_TIP, CHIN = 468, 473, 1, 152


@pytest.fixture(scope="module")
def reader():
    return LandmarkReader(assets.path("face_landmarker"))


@pytest.fixture(scope="module")
def read(detector, reader):
    def landmarks(rgb):
        return reader.read(rgb, detector.detect(rgb)[0])

    return landmarks


def turned(rgb, degrees):
    height, width = rgb.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    border = cv2.BORDER_REPLICATE
    return cv2.warpAffine(rgb, matrix, (width, height), borderMode=border), matrix


def test_landmarks_are_where_they_were_drawn(read, draw_face):
    size, share = 256, 0.4
    found = read(draw_face(size, share))
    unit = size * share / 2
    drawn = {RIGHT_IRIS: (-0.36, -0.12), LEFT_IRIS: (0.36, -0.12), NOSE_TIP: (0, 0.3)}
    for index, place in drawn.items():
        off = (found.points[index, :2] - size / 2) / unit - place
        assert np.abs(off).max() < 0.15, index
    assert found.points[CHIN, 1] > found.points[NOSE_TIP, 1]
    assert found.points[NOSE_TIP, 2] < found.points[CHIN, 2]


def test_what_it_returns(read, draw_face):
    found = read(draw_face())
    assert found.points.shape == (478, 3)
    assert found.points.dtype == found.blendshapes.dtype == np.float32
    assert found.blendshapes.shape == (len(BLENDSHAPES),) == (52,)
    assert found.blendshapes.min() >= 0
    assert found.blendshapes.max() <= 1
    assert 0.5 < found.presence <= 1
    assert found.blendshape("eyeBlinkLeft") == found.blendshapes[9]
    assert found.blendshape("eyeBlinkRight") == found.blendshapes[10]


def test_scale_changes_points_by_that_scale(read, draw_face):
    small, large = read(draw_face(200, 0.5)), read(draw_face(400, 0.5))
    between_eyes = np.linalg.norm(small.points[RIGHT_IRIS] - small.points[LEFT_IRIS])
    off = np.linalg.norm(large.points / 2 - small.points, axis=1)
    assert off.mean() < 0.05 * between_eyes


@pytest.mark.parametrize("degrees", [-25, 25])
def test_roll_is_followed(read, draw_face, degrees):
    upright = draw_face(300, 0.4)
    tilted, matrix = turned(upright, degrees)
    expected = read(upright).points[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    found = read(tilted).points[:, :2]
    between_eyes = np.linalg.norm(expected[RIGHT_IRIS] - expected[LEFT_IRIS])
    assert np.linalg.norm(found - expected, axis=1).mean() < 0.05 * between_eyes


def test_left_and_right_are_the_subjects(read, draw_face):
    face = draw_face(300, 0.5)
    unit, centre = 300 * 0.5 / 2, 150
    at = (round(centre + 0.36 * unit), round(centre - 0.12 * unit))  # the subject's left eye
    winking = face.copy()
    cv2.ellipse(
        winking, at, (round(0.24 * unit), round(0.14 * unit)), 0, 0, 360, (222, 178, 150), -1
    )
    cv2.ellipse(winking, at, (round(0.2 * unit), 3), 0, 0, 180, (60, 40, 40), 2)
    open_eyes, wink = read(face), read(winking)
    more = {
        side: wink.blendshape(f"eyeBlink{side}") - open_eyes.blendshape(f"eyeBlink{side}")
        for side in ("Left", "Right")
    }
    assert more["Left"] > more["Right"] + 0.05


def test_no_face_no_landmarks(reader):
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)
    points = np.array([[80, 80], [120, 80], [100, 100], [100, 120], [60, 85], [140, 85]])
    face = Face((50, 50, 100, 100), 0.6, points.astype(np.float32))
    assert reader.read(np.full((200, 200, 3), 128, np.uint8), face) is None
    assert reader.read(noise, face) is None


def test_a_face_at_the_edge_is_read(detector, read, draw_face):
    whole = draw_face(300, 0.5)
    cut = np.ascontiguousarray(whole[60:260, 70:230])
    expected = read(whole).points[:, :2] - (70, 60)
    between_eyes = np.linalg.norm(expected[RIGHT_IRIS] - expected[LEFT_IRIS])
    off = np.linalg.norm(read(cut).points[:, :2] - expected, axis=1)
    assert off.mean() < 0.1 * between_eyes


def test_square_stands_on_the_line_between_the_eyes():
    keypoints = np.zeros((6, 2), np.float32)
    keypoints[KEYPOINTS.index("right_eye")] = (40, 40)
    keypoints[KEYPOINTS.index("left_eye")] = (60, 60)
    matrix = square(Face((30, 40, 40, 32), 0.9, keypoints))
    assert np.allclose(matrix @ (128, 128, 1), (50, 56))  # the middle of the box
    right = matrix[:, 0] * 256
    assert np.isclose(np.linalg.norm(right), 1.5 * 40)
    assert np.isclose(right[0], right[1])
    assert right[0] > 0


def test_threads_agree_with_one(detector, reader, draw_portrait):
    pictures = [draw_portrait(seed) for seed in range(6)]
    jobs = [(rgb, found[0]) for rgb in pictures if (found := detector.detect(rgb))]
    alone = [reader.read(*job) for job in jobs]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda job: reader.read(*job), jobs * 4))
    assert len(jobs) > 2
    for found, expected in zip(together, alone * 4, strict=True):
        assert (found is None) == (expected is None)
        if found is not None:
            assert np.array_equal(found.points, expected.points)
            assert np.array_equal(found.blendshapes, expected.blendshapes)


def test_a_file_without_the_networks(tmp_path):
    broken = tmp_path / "broken.task"
    broken.write_bytes(b"not a zip")
    with pytest.raises(AssetError, match=r"holds no face_landmarks_detector.tflite"):
        LandmarkReader(broken)
    with zipfile.ZipFile(broken, "w") as task:
        task.writestr("face_detector.tflite", b"")
    with pytest.raises(AssetError, match="curate models pull"):
        LandmarkReader(broken)
