"""The pictures by which a person judges an eye or a region."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from curate.parts import REGIONS
from curate.review import closeups, thumbs

APART = 100.0
LEFT, RIGHT = (250, 30, 30), (30, 30, 250)  # colours of the subject's eyes
SKIN = (200, 170, 150)
# In the order of faces.KEYPOINTS: the subject's right eye is on the left of the picture.
POINTS = np.array([(150, 150), (250, 150), (200, 198), (200, 245), (110, 160), (290, 160)], float)


def face():
    rgb = np.full((400, 400, 3), SKIN, np.uint8)
    for (x, y), colour in zip(POINTS[:2], (RIGHT, LEFT), strict=True):
        cv2.circle(rgb, (int(x), int(y)), 15, colour, -1)
    return rgb


def near(pixel, colour):
    return np.abs(pixel.astype(int) - colour).max() < 40


def shows(picture, colour):
    return bool((np.abs(picture.astype(int) - colour).max(axis=2) < 40).any())


@pytest.mark.parametrize("roll", [0, 25, 180])
@pytest.mark.parametrize(
    ("part", "colour", "other"), [("left_eye", LEFT, RIGHT), ("right_eye", RIGHT, LEFT)]
)
def test_an_eye_is_in_the_middle_and_the_other_out_of_sight(part, colour, other, roll):
    turn = cv2.getRotationMatrix2D((200, 200), roll, 1)
    rgb = cv2.warpAffine(face(), turn, (400, 400), borderValue=SKIN)
    points = POINTS @ turn[:, :2].T + turn[:, 2]
    picture = closeups.eye(rgb, points, part)
    assert picture.shape == (closeups.CLOSEUP, closeups.CLOSEUP, 3)
    assert near(picture[closeups.CLOSEUP // 2, closeups.CLOSEUP // 2], colour)
    assert not shows(picture, other)


@pytest.mark.parametrize("part", REGIONS)
def test_a_region_is_outlined_where_it_lies_and_left_as_it_is(part):
    across, down = REGIONS[part]
    rgb = np.full((400, 400, 3), SKIN, np.uint8)
    centre = np.array([200.0, 150]) + APART * np.array([across, down])
    cv2.circle(rgb, tuple(np.rint(centre).astype(int).tolist()), 8, LEFT, -1)
    picture = closeups.region(rgb, POINTS, part)
    line = (np.abs(picture.astype(int) - closeups.LINE).max(axis=2) < 60).nonzero()
    dot = (np.abs(picture.astype(int) - LEFT).max(axis=2) < 40).nonzero()
    assert len(dot[0]) > 100  # nothing is drawn over the middle
    for drawn, inside in zip(line, dot, strict=True):
        assert drawn.min() < inside.min() <= inside.max() < drawn.max()
        assert (drawn.min() + drawn.max()) / 2 == pytest.approx(inside.mean(), abs=3)
    assert line[0].max() < 0.75 * closeups.CLOSEUP  # the App writes over what is below
    plain = (picture == SKIN).all(axis=2).mean()
    assert plain > 0.9


def test_a_patch_is_shown_whole_and_large():
    patch = np.zeros((24, 30, 3), np.uint8)
    patch[:, 15:] = 255
    shown = closeups.patch(patch)
    assert shown.shape == (round(closeups.CLOSEUP * 24 / 30), closeups.CLOSEUP, 3)
    assert shown[:, :100].max() < 20
    assert shown[:, -100:].min() > 235
    assert closeups.patch(np.zeros((900, 1200, 3), np.uint8)).shape[1] == closeups.CLOSEUP


@pytest.fixture
def written(tmp_path, save):
    """Write the pictures of (row, part) pairs for a task; return the folder's files by name."""

    def write(task, *parts, rgb=None, **columns):
        file = save(tmp_path / "face.jpg", face() if rgb is None else rgb, 98)
        height, width = (face() if rgb is None else rgb).shape[:2]
        row = {
            "image_id": "i" * 64, "uri": str(file), "also_at": [], "turn": 0, "mirror": "no",
            "bytes": file.stat().st_size, "mtime_ns": file.stat().st_mtime_ns, "shows": "face",
            "width": width, "height": height, "face": np.float32([100, 90, 200, 220]),
            "face_score": 0.9, "landmarks": np.float32(POINTS.ravel()),
        } | columns  # fmt: skip
        units = pd.DataFrame([row | {"part": part} for part in parts])
        done = thumbs.write(
            units, tmp_path / "media", task, threads=1, track=lambda items, total, what: items
        )
        return done, {file.name: cv2.imread(str(file))[..., ::-1] for file in
                      sorted((tmp_path / "media").iterdir())}  # fmt: skip

    return write


@pytest.mark.parametrize("mirror", ["no", "yes", "ambiguous"])
@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_left_and_right_stay_the_subjects_own_however_the_file_lies(written, turn, mirror):
    stored = face()[:, ::-1] if mirror == "yes" else face()
    stored = np.ascontiguousarray(np.rot90(stored, turn // 90))  # turning clockwise undoes it
    done, files = written("eyes", "left_eye", "right_eye", rgb=stored, turn=turn, mirror=mirror)
    assert done.tolist() == [True, True]
    left, right = files.values()
    assert [("left_eye" in name, "right_eye" in name) for name in files] == [(1, 0), (0, 1)]
    assert near(left[192, 192], LEFT)
    assert near(right[192, 192], RIGHT)


def test_every_region_of_a_face_gets_a_picture_of_its_own(written):
    done, files = written("occlusion", *REGIONS)
    assert done.all()
    assert len(files) == len(REGIONS)
    assert all(shows(picture, closeups.LINE) for picture in files.values())


def test_where_a_part_lies_is_part_of_the_name(written):
    _, before = written("eyes", "left_eye")
    moved = np.float32((POINTS + 7).ravel())
    _, after = written("eyes", "left_eye", landmarks=moved)
    assert len(set(after) - set(before)) == 1


def with_eyes(*points):
    return np.float32([*points, *POINTS[2:]]).ravel()


@pytest.mark.parametrize(("task", "part"), [("eyes", "left_eye"), ("occlusion", "chin")])
@pytest.mark.parametrize("left", [(200, 150), (200.5, 150)])
def test_a_face_with_both_eyes_at_one_point_is_shown_whole(written, task, part, left):
    done, files = written(task, part, landmarks=with_eyes((200, 150), left))
    assert done.all()
    (picture,) = files.values()
    assert picture.shape[:2] == (400, 400)
    assert shows(picture, LEFT)
    assert shows(picture, RIGHT)


@pytest.mark.parametrize("mouth", [(200, 150), (200, 245)])
def test_eyes_a_pixel_apart_or_level_with_the_mouth_still_give_a_picture(written, mouth):
    tiny = POINTS.copy()
    tiny[:2] = (199.5, 150), (200.5, 150)
    tiny[3] = mouth
    for task, part in (("eyes", "left_eye"), ("occlusion", "chin")):
        done, files = written(task, part, landmarks=np.float32(tiny.ravel()))
        assert done.all()
        assert any(file.shape[:2] == (closeups.CLOSEUP,) * 2 for file in files.values())


@pytest.mark.parametrize(
    ("columns", "part", "size"),
    [
        ({"landmarks": None, "face": None}, "left_eye", (400, 400)),
        ({}, "eye", (400, 400)),
        ({"shows": "eye", "landmarks": None, "face": None}, "eye", (384, 384)),
    ],
)
def test_a_patch_and_a_face_whose_parts_cannot_be_told_are_shown_whole(
    written, columns, part, size
):
    done, files = written("eyes", part, **columns)
    assert done.all()
    (picture,) = files.values()
    assert picture.shape[:2] == size
    assert shows(picture, LEFT)
    assert shows(picture, RIGHT)


def test_an_original_that_is_gone_costs_its_own_pictures_alone(tmp_path, written):
    _, files = written("eyes", "left_eye")
    Path(tmp_path / "face.jpg").unlink()
    units = pd.DataFrame([{
        "image_id": "x", "uri": str(tmp_path / "face.jpg"), "also_at": [], "turn": 0,
        "mirror": "no", "bytes": 1, "mtime_ns": 1, "shows": "face", "width": 400, "height": 400,
        "face": [100.0, 90, 200, 220], "face_score": 0.9, "landmarks": POINTS.ravel(),
        "part": part} for part in ("left_eye", "right_eye")])  # fmt: skip
    done = thumbs.write(
        units, tmp_path / "other", "eyes", threads=1, track=lambda items, total, what: items
    )
    assert done.tolist() == [False, False]
    assert not list((tmp_path / "other").iterdir())
    assert files
