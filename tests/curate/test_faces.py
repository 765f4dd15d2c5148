import itertools
import math
import zipfile
from concurrent.futures import ThreadPoolExecutor
from typing import get_args

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate import faces
from curate.errors import AssetError
from curate.faces import KEYPOINTS, FaceDetector, square_crop


def as_tuples(found):
    return [(face.box, face.score, face.keypoints.tobytes()) for face in found]


def likely(found):
    return [face for face in found if face.score >= faces.MIN_SCORE]


@pytest.mark.parametrize(
    ("size", "share", "looks"),
    [
        (64, 0.35, ("frame",)),
        (200, 0.35, ("frame",)),
        (1000, 0.2, ("frame",)),
        (200, 0.9, ("border",)),
        (200, 0.9, ("wide", "far")),
        (300, 0.3, ("frame", "border", "bright")),
    ],
)
def test_finds_the_one_face_where_it_is(detector, draw_face, size, share, looks):
    (face,) = likely(detector.detect(draw_face(size, share), looks))
    x, y, width, height = face.box
    assert 0.8 < face.score <= 1
    assert abs(x + width / 2 - size / 2) < 0.1 * share * size
    assert abs(y + height / 2 - size / 2) < 0.3 * share * size
    assert 0.6 * share * size < width < 1.2 * share * size


def test_keypoints_are_where_they_were_drawn(detector, draw_face):
    size, share = 256, 0.4
    (face,) = detector.detect(draw_face(size, share))
    unit = size * share / 2
    drawn = {"right_eye": (-0.36, -0.12), "left_eye": (0.36, -0.12), "mouth": (0, 0.65)}
    assert face.keypoints.shape == (len(KEYPOINTS), 2)
    assert face.keypoints.dtype == np.float32
    for name, point in drawn.items():
        found = (face.keypoints[KEYPOINTS.index(name)] - size / 2) / unit
        assert np.abs(found - point).max() < 0.12, name
    nose, right_ear, left_ear = face.keypoints[[2, 4, 5]]
    assert right_ear[0] < nose[0] < left_ear[0]


@pytest.mark.parametrize(("width", "height"), [(200, 500), (500, 200)])
def test_letterbox_gives_pixels_of_the_frame(detector, draw_face, width, height):
    frame = np.full((height, width, 3), 90, np.uint8)
    at = (30, 270) if height > width else (270, 30)
    frame[at[1] : at[1] + 160, at[0] : at[0] + 160] = draw_face(160, 0.5)
    face, alone = (detector.detect(image)[0] for image in (frame, draw_face(160, 0.5)))
    assert np.abs(face.keypoints - at - alone.keypoints).max() < 8


def test_tiles_find_a_face_too_small_for_the_frame(detector, draw_face):
    small = draw_face(400, 0.08)
    assert likely(detector.detect(small, ("frame", "border"))) == []
    (face,) = likely(detector.detect(small, ("tiles",)))
    assert np.abs(np.array(face.box[:2]) + np.array(face.box[2:]) / 2 - 200).max() < 12


def test_a_frame_below_twice_the_networks_side_has_no_tiles():
    assert faces.windows(255, 200, "tiles") == []
    assert len(faces.windows(256, 200, "tiles")) == 9


def test_border_finds_a_face_too_tight_for_the_frame(detector, draw_face):
    tight = draw_face(300, 0.5)[88:212, 88:212]
    whole = detector.detect(tight)
    face = detector.detect(tight, ("border",))[0]
    assert face.score > max((one.score for one in whole), default=0)
    eyes = [[62 - 0.36 * 75, 62 - 0.12 * 75], [62 + 0.36 * 75, 62 - 0.12 * 75]]
    assert np.abs(face.keypoints[:2] - eyes).max() < 0.15 * 75


def test_what_several_looks_see_as_one_is_one_face(detector, draw_face):
    image = draw_face(200, 0.5)
    best = max(detector.detect(image, (look,))[0].score for look in ("frame", "border", "wide"))
    (both,) = likely(detector.detect(image, ("frame", "border", "wide")))
    assert both.score == pytest.approx(best)
    assert detector.detect(image, ()) == []


def test_the_mesh_shows_a_face_that_fills_the_frame(detector, draw_face):
    tight = draw_face(300, 0.5)[60:240, 60:240]
    (face,) = detector.detect(tight, ("mesh",))
    assert face.score > faces.MIN_SCORE
    eyes = [[90 - 0.36 * 75, 90 - 0.12 * 75], [90 + 0.36 * 75, 90 - 0.12 * 75]]
    assert np.abs(face.keypoints[:2] - eyes).max() < 0.2 * 75
    right_eye, left_eye, nose, mouth, right_ear, left_ear = face.keypoints
    assert right_ear[0] < right_eye[0] < nose[0] < left_eye[0] < left_ear[0]
    assert right_eye[1] < nose[1] < mouth[1]
    assert detector.detect(np.full((90, 90, 3), 60, np.uint8), ("mesh",)) == []


def test_best_score_comes_first(detector, draw_face):
    blurred = cv2.GaussianBlur(draw_face(), (0, 0), 3)
    for pair in ([draw_face(), blurred], [blurred, draw_face()]):
        found = detector.detect(np.hstack(pair))
        assert len(likely(found)) == 2
        assert [face.score for face in found] == sorted([f.score for f in found], reverse=True)


@pytest.mark.parametrize("value", [0, 127, 255])
@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (2, 3), (480, 640), (4000, 4000)])
def test_a_plain_image_of_any_size_has_no_face(detector, shape, value):
    plain = np.full((*shape, 3), value, np.uint8)
    for look in get_args(faces.Look):
        assert likely(detector.detect(plain, (look,))) == []


def test_threads_that_share_a_detector_agree_with_one_thread(detector, draw_face):
    images = [draw_face(size, share) for size in (64, 96, 130, 200) for share in (0.2, 0.4, 0.6)]
    alone = [as_tuples(detector.detect(image)) for image in images]
    assert all(alone)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda image: as_tuples(detector.detect(image)), images * 8))
    assert together == alone * 8


def test_a_file_without_the_detector_is_refused(tmp_path):
    text = tmp_path / "text.task"
    text.write_text("no archive")
    with pytest.raises(AssetError, match=r"text\.task holds no face_detector"):
        FaceDetector(text)
    with zipfile.ZipFile(tmp_path / "empty.task", "w"):
        pass
    with pytest.raises(AssetError, match="models pull"):
        FaceDetector(tmp_path / "empty.task")


def test_anchors_lie_at_the_centres_of_the_grid_cells():
    centres = faces.anchors()
    assert centres.shape == (896, 2)
    assert centres[[0, 1, 2, 511]].tolist() == [[4, 4], [4, 4], [12, 4], [124, 124]]
    assert centres[[512, 517, 518, 895]].tolist() == [[8, 8], [8, 8], [24, 8], [120, 120]]


def test_decode_keeps_weak_scores_from_their_bound_on():
    regressors = np.zeros((896, 16), np.float32)
    regressors[5, :6] = [2, -3, 10, 20, 1, 4]  # box centre, box size, first point
    bound = math.log(faces.WEAK_SCORE / (1 - faces.WEAK_SCORE))
    logits = np.full(896, bound - 0.001, np.float32)
    assert faces.decode(regressors, logits, faces.anchors()).shape == (0, 17)
    logits[5] = bound + 0.001
    (row,) = faces.decode(regressors, logits, faces.anchors())
    x, y = faces.anchors()[5]
    assert row[0] == pytest.approx(faces.WEAK_SCORE, abs=1e-4)
    assert row[1:7].tolist() == [x + 2 - 5, y - 3 - 10, 10, 20, x + 1, y + 4]
    assert row[15:].tolist() == [x, y]


def test_decode_survives_extreme_logits():
    logits = np.array([1e30, -1e30] * 448, np.float32)
    rows = faces.decode(np.zeros((896, 16), np.float32), logits, faces.anchors())
    assert rows[:, 0].tolist() == [1] * 448


def candidate(score, x, side=10.0):
    return np.array([score, x, 0, side, side, *[x] * 12], np.float32)


def test_suppress_averages_by_score_and_keeps_the_best_score():
    (face,) = faces.suppress(np.stack([candidate(0.6, 2), candidate(0.9, 0)]))
    assert face[0] == np.float32(0.9)
    assert face[1:] == pytest.approx([0.8, 0, 10, 10, *[0.8] * 12])


def test_weak_candidates_move_nothing():
    (face,) = faces.suppress(np.stack([candidate(0.49, 2), candidate(0.9, 0)]))
    assert face[1] == 0
    (weak,) = faces.suppress(np.stack([candidate(0.2, 2), candidate(0.3, 0)]))
    assert weak[0] == np.float32(0.3)
    assert weak[1] == 0


def test_suppress_parts_faces_at_the_least_overlap():
    apart = 10 * (1 - 0.3) / (1 + 0.3)  # boxes this far apart overlap by exactly 0.3
    for shift, count in ((apart - 0.01, 1), (apart + 0.01, 2)):
        rows = np.stack([candidate(0.9, 0), candidate(0.8, shift)])
        assert len(faces.suppress(rows)) == count


def test_suppress_copes_with_nothing_and_with_boxes_of_no_area():
    assert faces.suppress(np.empty((0, 17), np.float32)).shape == (0, 17)
    assert len(faces.suppress(np.stack([candidate(0.9, 0, 0), candidate(0.8, 50, 0)]))) == 2


@given(st.integers(256, 4000), st.integers(1, 255))
def test_tiles_cover_the_frame_and_overlap_by_half(width, height):
    if width < height:
        width, height = height, width
    tiles = faces.windows(width, height, "tiles")
    assert {tile.side for tile in tiles} == {width / 2}
    for length, starts in ((width, {t.x for t in tiles}), (height, {t.y for t in tiles})):
        ordered = sorted(starts)
        assert ordered[0] <= 0
        assert ordered[-1] + width / 2 >= length - 0.01
        assert all(b - a <= width / 4 + 0.01 for a, b in itertools.pairwise(ordered))


@pytest.mark.parametrize("side", [64, 128])
@pytest.mark.parametrize("look", ["frame", "border", "wide"])
def test_a_window_shows_the_pixels_it_names(look, side):
    """On a frame whose pixels hold their own place, shrinking and sampling must keep the place."""
    frame = frame_of_coordinates(200, 240)
    (window,) = faces.windows(240, 200, look)
    small = faces.shrink(frame, window.side / side)
    shrunk = (240 / small.shape[1], 200 / small.shape[0])
    pixels = faces.sample(small, window, shrunk, side=side, repeat=False).astype(float)
    at = window.x + np.arange(side) * window.side / side
    inside = (at > 8) & (at < 232)
    middle = side // 2
    assert np.abs(pixels[middle, inside, 0] - at[inside]).max() < 1.1  # rounded twice
    at = window.y + np.arange(side) * window.side / side
    inside = (at > 8) & (at < 192)
    assert np.abs(pixels[inside, middle, 1] - at[inside]).max() < 1.1


def test_outside_is_black_or_the_edge_repeated():
    frame = np.full((50, 50, 3), 200, np.uint8)
    (window,) = faces.windows(50, 50, "wide")
    views = [
        faces.sample(frame, window, (1, 1), side=128, repeat=repeat)[0, 0, 0]
        for repeat in (False, True)
    ]
    assert views == [0, 200]


def test_shrink_averages_noise_away_and_leaves_what_is_small():
    noise = np.random.default_rng(0).integers(0, 255, (256, 256, 3), dtype=np.uint8)
    small = faces.shrink(noise, 4.0)
    assert small.shape == (64, 64, 3)
    assert small.std() < noise.std() / 3
    assert faces.shrink(noise, 1.49) is noise


def test_stretch_brightens_the_dark_and_copes_with_plain_frames():
    dark = (frame_of_coordinates(200, 200) * 0.12).astype(np.uint8)
    assert dark.max() < 30
    stretched = faces.stretch(dark)
    assert stretched.max() == 255
    assert 0.3 < stretched.max(axis=2).mean() / 255 < 0.6
    for value in (0, 130, 255):
        plain = np.full((5, 5, 3), value, np.uint8)
        assert len(np.unique(faces.stretch(plain))) == 1


def frame_of_coordinates(height, width):
    """Return an image whose pixel holds its own x, y (both below 256)."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x, y, np.zeros_like(x)], axis=-1).astype(np.uint8)


def test_square_crop_is_centred_where_there_is_room():
    crop = square_crop(frame_of_coordinates(100, 200), (90, 40, 10, 20), 2, 40)
    assert crop[0, 0].tolist() == [75, 30, 0]
    assert crop[-1, -1].tolist() == [114, 69, 0]


@pytest.mark.parametrize(
    ("box", "first"),
    [
        ((-5, -5, 20, 20), [0, 0, 0]),
        ((190, 90, 20, 20), [160, 60, 0]),
        ((-900, 5000, 20, 20), [0, 60, 0]),
    ],
)
def test_square_crop_is_shifted_back_inside(box, first):
    crop = square_crop(frame_of_coordinates(100, 200), box, 2, 40)
    assert crop[0, 0].tolist() == first
    assert crop[-1, -1].tolist() == [first[0] + 39, first[1] + 39, 0]


def test_square_crop_is_shrunk_to_the_frame():
    crop = square_crop(frame_of_coordinates(100, 200), (90, 10, 60, 60), 4, 100)
    assert crop[0, 0].tolist() == [70, 0, 0]
    assert crop[-1, -1].tolist() == [169, 99, 0]


def test_square_crop_averages_when_it_shrinks():
    checks = np.indices((64, 64)).sum(axis=0) % 2 * 254
    crop = square_crop(np.dstack([checks] * 3).astype(np.uint8), (0, 0, 64, 64), 1, 8)
    assert np.unique(crop).tolist() == [127]


@settings(max_examples=60)
@given(
    st.tuples(st.integers(1, 60), st.integers(1, 60)),
    st.tuples(*[st.floats(-100, 100)] * 2, *[st.floats(0, 100)] * 2),
    st.floats(0.1, 5),
    st.integers(1, 40),
)
def test_square_crop_always_has_its_size_and_no_new_colours(shape, box, scale, size):
    crop = square_crop(np.full((*shape, 3), 77, np.uint8), box, scale, size)
    assert crop.shape == (size, size, 3)
    assert crop.dtype == np.uint8
    assert (crop == 77).all()


def test_only_what_is_blurred_is_sharpened(draw_portrait):
    sharp = draw_portrait(0)
    assert faces.sharpen(sharp) is sharp
    blurred = cv2.GaussianBlur(sharp, (0, 0), 8)
    clear = faces.sharpen(blurred)
    assert clear.shape == blurred.shape
    assert clear.dtype == np.uint8
    detail = [
        np.std(image - cv2.GaussianBlur(image * 1.0, (0, 0), 9)) for image in (blurred, clear)
    ]
    assert detail[1] > 2 * detail[0]


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 900, 3), (3000, 2, 3), (90, 90, 3)])
def test_a_plain_picture_stays_plain(shape):
    assert (faces.sharpen(np.full(shape, 60, np.uint8)) == 60).all()
