"""YuNet's rows and errors. Its file is not ours to ship, so a stand-in network answers here."""

import threading
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from curate import yunet
from curate.errors import AssetError
from curate.faces import KEYPOINTS, WEAK_SCORE
from curate.orient import find_upright, turn_image
from curate.yunet import YuNetDetector, rows

POINTS = {  # of a face 20 wide whose eyes are 10 apart
    "right_eye": (5, 6),
    "left_eye": (15, 6),
    "nose": (10, 11),
    "right_corner": (6, 16),
    "left_corner": (14, 16),
}


def found(x, y, scale, score):
    """Return YuNet's row of a face at x, y, ``scale`` times as large as POINTS."""
    points = np.array(list(POINTS.values()), np.float32) * scale + (x, y)
    return np.array([x, y, 20 * scale, 24 * scale, *points.ravel(), score], np.float32)


class StandIn:
    """Takes a red square for a face; keeps state as OpenCV's does, so threads may not mix."""

    def __init__(self):
        self.thread = threading.get_ident()

    def detect(self, bgr):
        assert self.thread == threading.get_ident()
        assert bgr.shape == (yunet.SIDE, yunet.SIDE, 3)
        assert bgr.flags.c_contiguous
        red = (bgr[..., 2] > 200) & (bgr[..., :2].max(axis=2) < 60)
        if not red.any():
            return 1, None
        y, x = (axis.min() for axis in np.nonzero(red))
        side = np.nonzero(red)[1].max() + 1 - x
        return 1, found(x, y, side / 20, 0.95)[np.newaxis]


@pytest.fixture
def stand_in(monkeypatch, tmp_path):
    """A detector whose network is a StandIn; the arguments it was made with are in `.made`."""
    made = []

    def create(*arguments):
        made.append(arguments)
        return StandIn()

    monkeypatch.setattr(cv2.FaceDetectorYN, "create", create)
    detector = YuNetDetector(tmp_path / "yunet.onnx")
    detector.made = made
    return detector


def frame(height, width, x, y, side):
    image = np.full((height, width, 3), 90, np.uint8)
    image[y : y + side, x : x + side] = (255, 0, 0)
    return image


def test_rows_have_our_order():
    (row,) = rows(found(100, 50, 2, 0.9)[np.newaxis])
    assert row.dtype == np.float32
    assert row[1:5].tolist() == [100, 50, 40, 48]
    at = dict(zip(KEYPOINTS, (row[5:].reshape(6, 2) - (100, 50)) / 2, strict=True))
    for name in ("right_eye", "left_eye", "nose"):
        assert at[name].tolist() == list(POINTS[name])
    assert at["mouth"].tolist() == [10, 16]
    assert at["right_ear"][0] < 5
    assert at["left_ear"][0] > 15
    assert at["right_ear"][0] + at["left_ear"][0] == pytest.approx(20, abs=1e-3)
    assert at["right_ear"][1] == pytest.approx(at["left_ear"][1])
    assert 6 <= at["left_ear"][1] <= 16


def test_ears_turn_with_the_face():
    upright = rows(found(0, 0, 1, 0.9)[np.newaxis])[0, 5:].reshape(6, 2)
    quarter = np.array([[0, 1], [-1, 0]])
    turned = found(0, 0, 1, 0.9)
    turned[4:14] = (turned[4:14].reshape(5, 2) @ quarter).ravel()
    assert np.allclose(rows(turned[np.newaxis])[0, 5:].reshape(6, 2), upright @ quarter, atol=1e-4)


def test_scores_keep_their_order_and_range():
    raw = np.linspace(0, 1, 101, dtype=np.float32)
    scores = rows(np.stack([found(0, 0, 1, score) for score in raw]))[:, 0]
    assert scores.min() >= 0
    assert scores.max() <= 1
    assert (np.diff(scores[1:-1]) > 0).all()
    assert scores[69] < 0.5 < scores[72]


def test_no_rows():
    assert rows(np.empty((0, 15), np.float32)).shape == (0, 17)


@pytest.mark.parametrize(("height", "width"), [(200, 300), (900, 700), (64, 64)])
def test_faces_are_in_pixels_of_the_frame(stand_in, height, width):
    side = height // 4
    image = frame(height, width, width // 3, height // 2, side)
    for look in ("frame", "border", "wide"):
        (face,) = stand_in.detect(image, (look,))
        expected = (width // 3, height // 2, side, side * 1.2)
        assert face.box == pytest.approx(expected, abs=2.5 * max(height, width) / 320 + 1.5)


def test_the_mesh_is_none_of_its_looks(stand_in):
    image = frame(100, 100, 30, 30, 40)
    assert stand_in.detect(image, ("mesh",)) == []
    assert len(stand_in.detect(image, ("frame", "mesh"))) == 1


def test_weak_candidates_are_asked_for(stand_in):
    assert stand_in.made == [
        (str(stand_in._file), "", (320, 320), WEAK_SCORE, yunet.MIN_OVERLAP, yunet.MOST)
    ]


def test_an_image_it_sees_upright_needs_one_pass(stand_in):
    upright = find_upright(frame(120, 160, 40, 30, 60), stand_in.detect)
    assert upright.turn == 0
    assert upright.faces == (upright.face,)
    assert find_upright(turn_image(np.zeros((9, 9, 3), np.uint8), 90), stand_in.detect).turn == -1


def test_each_thread_has_its_own_network(stand_in):
    image = frame(120, 160, 40, 30, 60)
    with ThreadPoolExecutor(4) as pool:
        boxes = list(pool.map(lambda _: stand_in.detect(image)[0].box, range(40)))
    assert len(set(boxes)) == 1
    assert 2 <= len(stand_in.made) <= 5


@pytest.mark.parametrize("content", [None, b"", b"no network"])
def test_a_file_that_is_no_yunet_is_refused(tmp_path, content):
    file = tmp_path / "net.onnx"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(AssetError, match=r"net\.onnx.*YuNet(.|\n)*\[ingest\] yunet"):
        YuNetDetector(file)
