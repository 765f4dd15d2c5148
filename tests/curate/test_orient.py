import io
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from curate import orient
from curate.faces import Face
from curate.orient import TURNS, apply_exif, find_upright, turn_image

CORNERS = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)


class Looker:
    """Says what it is told to about each (turn, look), and remembers what it was asked."""

    def __init__(self, answers):
        self.answers = answers
        self.asked = []

    def __call__(self, rgb, looks):
        (look,) = looks
        turn = int(rgb[0, 0, 0] + rgb[0, 0, 1]) * 90
        self.asked.append((turn, look))
        return self.answers.get((turn, look), [])


# Which corner of this image comes first tells by how much it was turned.
MARKED = np.zeros((4, 4, 3), np.uint8)
MARKED[-1, 0, 0] = 1  # bottom left: first after 90
MARKED[-1, -1, 0] = 2
MARKED[0, -1, 0] = 3


def face(score, *, degrees=0.0, side=10.0):
    angle = np.deg2rad(degrees)
    turned = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    points = np.array([[-2, -1], [2, -1], [0, 1], [0, 3], [-4, 0], [4, 0]]) @ turned
    return Face((0.0, 0.0, side, side), score, points.astype(np.float32))


def test_turn_image_is_clockwise():
    assert turn_image(CORNERS, 90)[0, 0].tolist() == CORNERS[1, 0].tolist()
    assert turn_image(CORNERS, 270)[0, 0].tolist() == CORNERS[0, 2].tolist()
    assert turn_image(CORNERS, 180)[0, 0].tolist() == CORNERS[1, 2].tolist()


@pytest.mark.parametrize("turn", TURNS)
def test_turn_image_goes_all_the_way_round(turn):
    turned = turn_image(CORNERS, turn)
    assert turned.flags.c_contiguous
    assert np.array_equal(turn_image(turned, (360 - turn) % 360), CORNERS)


def test_turn_image_leaves_undecided_and_refuses_other_angles():
    assert np.array_equal(turn_image(CORNERS, -1), CORNERS)
    with pytest.raises(ValueError, match="not in tuple"):
        turn_image(CORNERS, 45)


@pytest.mark.parametrize("orientation", range(10))
def test_apply_exif_shows_what_pillow_shows(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = io.BytesIO()
    Image.fromarray(CORNERS).save(stored, "PNG", exif=exif)
    shown = ImageOps.exif_transpose(Image.open(stored))
    assert np.array_equal(apply_exif(CORNERS, orientation), np.asarray(shown))


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize(
    ("size", "share"), [(64, 0.35), (200, 0.35), (200, 0.7), (300, 0.15), (300, 0.08)]
)
def test_a_face_is_brought_upright_from_every_turn(detector, draw_face, size, share, turn):
    upright = draw_face(size, share)
    found = find_upright(turn_image(upright, turn), detector.detect)
    assert found.turn == (360 - turn) % 360
    assert 0.05 <= found.confidence <= 1
    assert found.faces == 1
    (expected,) = detector.detect(upright)
    assert np.abs(found.face.keypoints - expected.keypoints).max() < 0.03 * size


def test_the_fast_path_takes_no_turned_image(detector, draw_face):
    for share in (0.25, 0.3, 0.35, 0.4):
        for turn in TURNS[1:]:
            turned = turn_image(draw_face(200, share), turn)
            assert orient.evidence(detector.detect(turned, ("frame",))) < orient.FAST - 0.05


def test_wide_frames_keep_their_face_in_pixels_of_the_turned_image(detector, draw_face):
    wide = np.full((160, 320, 3), 90, np.uint8)
    wide[:, 150:310] = draw_face(160, 0.4)
    found = find_upright(turn_image(wide, 90), detector.detect)
    assert found.turn == 270
    nose = found.face.keypoints[2]
    assert abs(nose[0] - 230) < 10
    assert abs(nose[1] - 90) < 20


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (128, 128)])
def test_no_face_is_undecided(detector, shape):
    found = find_upright(np.full((*shape, 3), 60, np.uint8), detector.detect)
    assert found == orient.Upright(-1, 0.0, None, 0)


def test_a_blurred_face_is_undecided_rather_than_turned(detector, draw_face):
    turns = [
        find_upright(cv2.GaussianBlur(draw_face(200, 0.35), (0, 0), sigma), detector.detect).turn
        for sigma in (2, 6, 40)
    ]
    assert turns[0] == 0
    assert turns[-1] == -1
    assert set(turns) <= {0, -1}


def test_threads_agree_with_one_thread(detector, draw_face):
    images = [turn_image(draw_face(96, share), turn) for share in (0.2, 0.5) for turn in TURNS]

    def turn_and_confidence(image):
        found = find_upright(image, detector.detect)
        return found.turn, found.confidence, found.face.box

    alone = [turn_and_confidence(image) for image in images]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(turn_and_confidence, images * 3)) == alone * 3


@pytest.mark.parametrize(
    ("degrees", "expected"), [(0, 1), (30, 0.866), (-30, 0.866), (90, 0), (180, 0), (-90, 0)]
)
def test_uprightness_is_the_cosine_of_the_tilt(degrees, expected):
    assert orient.uprightness(face(0.9, degrees=degrees)) == pytest.approx(expected, abs=1e-3)


def test_uprightness_of_points_that_coincide_is_zero():
    assert orient.uprightness(Face((0, 0, 0, 0), 0.9, np.zeros((6, 2), np.float32))) == 0


def test_evidence_is_that_of_the_best_face():
    assert orient.evidence([]) == 0
    found = orient.evidence([face(0.9, degrees=80), face(0.7), face(0.6)])
    assert found == pytest.approx(0.7)


def test_one_look_is_enough_at_the_fast_path_and_not_below():
    at = Looker({(0, "frame"): [face(orient.FAST + 1e-6)]})
    assert find_upright(MARKED, at).turn == 0
    assert at.asked == [(0, "frame")]
    below = Looker({(0, "frame"): [face(orient.FAST - 1e-3)]})
    assert find_upright(MARKED, below).turn == 0
    assert below.asked == [(turn, "frame") for turn in TURNS]


def test_a_close_call_asks_for_the_next_look_and_then_abstains():
    close = {(0, "frame"): [face(0.70)], (180, "frame"): [face(0.66)]}
    looker = Looker(close)
    found = find_upright(MARKED, looker)
    assert found.turn == -1
    assert found.confidence == pytest.approx(0.04)
    assert found.face is close[0, "frame"][0]
    assert len(looker.asked) == 12


def test_the_border_can_overrule_the_frame():
    looker = Looker({(0, "frame"): [face(0.7)], (90, "border"): [face(0.85)]})
    found = find_upright(MARKED, looker)
    assert (found.turn, found.faces) == (90, 1)
    assert found.face.score == 0.85
    assert (0, "tiles") not in looker.asked


@pytest.mark.parametrize(("score", "turn"), [(0.61, 270), (0.59, -1)])
def test_weak_evidence_decides_nothing(score, turn):
    assert find_upright(MARKED, Looker({(270, "tiles"): [face(score)]})).turn == turn


def test_the_largest_face_is_returned_and_all_are_counted():
    crowd = [face(0.95, side=5), face(0.6, side=40), face(0.55, side=20)]
    found = find_upright(MARKED, Looker({(180, "frame"): crowd}))
    assert (found.turn, found.faces) == (180, 3)
    assert found.face is crowd[1]
