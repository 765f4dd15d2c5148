import io
from concurrent.futures import ThreadPoolExecutor
from typing import get_args

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from curate import orient
from curate.faces import Face, Look
from curate.orient import TURNS, apply_exif, find_upright, turn_image

CORNERS = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)


class Looker:
    """Says what it is told to about each (turn, look), and remembers what it was asked."""

    def __init__(self, answers):
        self.answers = answers
        self.asked = []

    def __call__(self, rgb, looks):
        (look,) = looks
        mirrored = bool(rgb[0, 1, 2])
        turn = int(rgb[0, -1 if mirrored else 0, 0]) * 90
        self.asked.append((turn, look, mirrored))
        return self.answers.get((turn, look), [])


# Its first corner tells by how much this image was turned, and blue next to the corner that comes
# first when mirrored that it was.
MARKED = np.zeros((4, 4, 3), np.uint8)
MARKED[-1, 0, 0] = 1  # bottom left: first after 90
MARKED[-1, -1, 0] = 2
MARKED[0, -1, 0] = 3
MARKED[[0, 1, -1, -2], [-2, 0, 1, -1], 2] = 1


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
    (only,) = found.faces
    assert only is found.face
    expected = detector.detect(upright, ("tiles",) if share < 0.1 else ("frame", "border"))[0]
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
    assert (found.turn, found.face, found.faces) == (-1, None, ())
    assert 0.25 <= found.confidence < 0.5


@pytest.mark.parametrize("turn", TURNS)
def test_what_hides_a_face_makes_it_undecided_rather_than_wrong(detector, draw_face, turn):
    sharp, rng = draw_face(200, 0.35), np.random.default_rng(0)
    hidden = {
        "blur 2": cv2.GaussianBlur(sharp, (0, 0), 2),
        "blur 6": cv2.GaussianBlur(sharp, (0, 0), 6),
        "dark": np.clip(sharp * 0.12 + rng.normal(0, 4, sharp.shape), 0, 255).astype(np.uint8),
        "noise": np.clip(sharp + rng.normal(0, 50, sharp.shape), 0, 255).astype(np.uint8),
        "tight": np.ascontiguousarray(sharp[65:150, 65:135]),
        "tiny": cv2.resize(sharp[40:160, 40:160], (32, 32), interpolation=cv2.INTER_AREA),
        "gone": cv2.GaussianBlur(sharp, (0, 0), 40),
    }
    turns = {
        name: find_upright(turn_image(image, turn), detector.detect).turn
        for name, image in hidden.items()
    }
    assert turns.pop("gone") == -1
    assert set(turns.values()) <= {(360 - turn) % 360, -1}
    assert list(turns.values()).count(-1) <= 1


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("seed", [2, 3])
def test_a_blurred_face_is_sharpened_before_it_is_given_up(detector, draw_portrait, seed, turn):
    blurred = cv2.GaussianBlur(draw_portrait(seed), (0, 0), 8)
    found = find_upright(turn_image(blurred, turn), detector.detect)
    assert found.turn == (360 - turn) % 360


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("seed", range(3))
def test_the_mirror_image_has_the_same_turn(detector, draw_portrait, seed, turn):
    image = turn_image(draw_portrait(seed), turn)
    mirrored = np.ascontiguousarray(image[:, ::-1])
    expected = {0: 0, 90: 270, 180: 180, 270: 90}
    here, there = (find_upright(rgb, detector.detect).turn for rgb in (image, mirrored))
    assert here == (360 - turn) % 360
    assert there == expected[here]


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
    assert at.asked == [(0, "frame", False)]
    below = Looker({(0, "frame"): [face(orient.FAST - 1e-3)]})
    assert find_upright(MARKED, below).turn == 0
    assert below.asked == [(turn, "frame", False) for turn in TURNS]


@pytest.mark.parametrize(("degrees", "looks"), [(25, 1), (27, 4), (-25, 1), (-27, 4)])
def test_a_tilted_face_takes_the_fast_path_only_while_level(degrees, looks):
    looker = Looker({(0, "frame"): [face(0.93, degrees=degrees)]})
    assert find_upright(MARKED, looker).turn == 0
    assert len(looker.asked) == looks


def test_a_turned_face_never_takes_the_fast_path():
    looker = Looker({(90, "frame"): [face(1.0)]})
    assert find_upright(MARKED, looker).turn == 90
    assert len(looker.asked) == 4


def test_a_close_call_asks_for_every_look_once_and_then_abstains():
    looks = get_args(Look)
    close = {(turn, look): [face(0.7)] for turn in (0, 180) for look in looks}
    looker = Looker(close)
    found = find_upright(MARKED, looker)
    assert found.turn == -1
    assert found.confidence == pytest.approx(0.5, abs=0.01)
    assert found.face is close[0, "frame"][0]
    sides = [(look, mirrored) for look in looks for mirrored in (False, True)]
    sides.remove(("tiles", True))
    assert sorted(looker.asked) == sorted((turn, *side) for turn in TURNS for side in sides)


def test_looks_that_agree_overrule_the_frame():
    looker = Looker(
        {(0, "frame"): [face(0.6)], (90, "border"): [face(0.85)], (90, "bright"): [face(0.8)]}
    )
    found = find_upright(MARKED, looker)
    assert (found.turn, len(found.faces)) == (90, 1)
    assert found.face.score == 0.85
    assert {look for _, look, _ in looker.asked} == {"frame", "border", "bright"}


@pytest.mark.parametrize(("shown", "expected"), [(0.76, 0), (0.74, -1)])
def test_one_look_alone_must_show_more_than_a_shadow_of_a_face(shown, expected):
    looker = Looker({(0, "frame"): [face(shown)]})
    assert find_upright(MARKED, looker).turn == expected


def test_weak_candidates_are_evidence_but_no_faces():
    weak = {(90, look): [face(0.49)] for look in get_args(Look)}
    found = find_upright(MARKED, Looker(weak))
    assert (found.turn, found.face, found.faces) == (-1, None, ())
    found = find_upright(MARKED, Looker(weak | {(90, "wide"): [face(0.51), face(0.49)]}))
    assert (found.turn, len(found.faces)) == (90, 1)


@pytest.mark.parametrize("turn", TURNS)
def test_tiles_decide_where_nothing_else_shows(turn):
    looker = Looker({(turn, "tiles"): [face(0.95)]})
    found = find_upright(MARKED, looker)
    assert (found.turn, found.faces[0].score) == (turn, 0.95)


def test_the_mesh_is_never_the_face():
    looks = {"border": 0.8, "bright": 0.6, "mesh": 0.99}
    looker = Looker({(180, look): [face(score)] for look, score in looks.items()})
    found = find_upright(MARKED, looker)
    assert (found.turn, found.face.score) == (180, 0.8)


@pytest.mark.parametrize(("border", "expected"), [(0.69, 0.65), (0.76, 0.76)])
def test_the_finer_look_tells_where_the_face_is_unless_a_coarser_sees_it_better(border, expected):
    answers = {(270, "frame"): [face(0.65)], (270, "border"): [face(border)]}
    answers |= {(270, "bright"): [face(0.65)], (180, "frame"): [face(0.6)]}
    found = find_upright(MARKED, Looker(answers))
    assert (found.turn, found.face.score) == (270, expected)


def test_the_largest_face_is_returned_with_all_that_are_faces():
    crowd = [face(0.95, side=5), face(0.6, side=40), face(0.55, side=20), face(0.4, side=90)]
    found = find_upright(MARKED, Looker({(180, "frame"): crowd}))
    assert found.turn == 180
    assert found.faces == tuple(crowd[:3])
    assert found.face is crowd[1]


@given(st.floats(0, 1), st.floats(0, 1))
def test_log_odds_rise_with_evidence_and_are_bounded(one, other):
    low, high = sorted([one, other])
    bound = orient.log_odds(1.0)
    assert -bound - 1e-9 <= orient.log_odds(low) <= orient.log_odds(high) <= bound
    assert orient.log_odds(1 - low) == pytest.approx(-orient.log_odds(low), abs=1e-6)


def test_softmax_sums_to_one_at_any_height():
    for shift in (0.0, 1e4, -1e4):
        chances = orient.softmax(np.array([1.0, 2.0, 0.0, 1.0]) + shift)
        assert chances.sum() == pytest.approx(1)
        assert np.argmax(chances) == 1
