import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from curate import assets, schema, workspace
from curate.errors import ConfigError, SourceError
from curate.examine import examine
from curate.landmarks import LandmarkReader
from curate.parts import REGIONS, axes
from labeling import geometry
from labeling.geometry import Geometry, evidence_of, judge_eyes, judge_regions

SIZE, SHARE = 320, 0.5
SKIN, LASHES, CLOTH = (222, 178, 150), (60, 40, 40), (40, 90, 200)
OPEN, CLOSED, BLOCKED = range(3)
LENGTH = geometry.STATS + geometry.COUNT * len(REGIONS)


@pytest.fixture(scope="module")
def reader():
    return LandmarkReader(assets.path("face_landmarker"))


@pytest.fixture(scope="module")
def seen(detector, reader, draw_face):
    """Return the evidence of the drawn face after something was painted on it.

    The detector saw the bare face, so that only what lies under the points changes.
    """
    bare = np.ascontiguousarray(draw_face(SIZE, SHARE))
    face = detector.detect(bare)[0]

    def look(paint=lambda rgb, face: rgb):
        rgb = paint(bare.copy(), face)
        return evidence_of(rgb, face.keypoints, reader.read(rgb, face)).astype(float)

    return look


def place(face, part):
    middle, across, down = axes(face.keypoints)
    return middle + REGIONS[part][0] * across + REGIONS[part][1] * down


def shut(*sides):
    def paint(rgb, face):
        apart = np.hypot(*axes(face.keypoints)[1])
        for part in sides:
            at = tuple(int(v) for v in place(face, part).round())
            cv2.ellipse(rgb, at, (round(0.36 * apart), round(0.2 * apart)), 0, 0, 360, SKIN, -1)
            cv2.ellipse(rgb, at, (round(0.28 * apart), 4), 0, 0, 180, LASHES, 2, cv2.LINE_AA)
        return cv2.GaussianBlur(rgb, (0, 0), 0.8)

    return paint


def cover(*names, colour=CLOTH):
    def paint(rgb, face):
        apart = np.hypot(*axes(face.keypoints)[1])
        for name in names:
            at = tuple(int(v) for v in place(face, name).round())
            radii = [round(1.3 * apart * radius) for radius in geometry.RADII[name]]
            cv2.ellipse(rgb, at, radii, 0, 0, 360, colour, -1)
        return rgb

    return paint


def blocked(evidence, part):
    return judge_regions(evidence[None], [part])[0, 1]


def test_evidence_of_a_bare_face(seen):
    found = seen()
    assert found.shape == (LENGTH,)
    assert np.isfinite(found).all()
    assert 0 < found[geometry.PRESENCE] <= geometry.MOST_PRESENCE
    assert (found[1:3] < 0.4).all()
    assert (found[3:5] > 0.15).all()


@pytest.mark.parametrize("sides", [("left_eye", "right_eye"), ("left_eye",), ("right_eye",)])
def test_a_shut_eye_looks_more_closed_and_only_it(seen, sides):
    """Drawn lids move the networks far less than real ones do; so the order is what is tested."""
    before, after = (
        judge_eyes(np.stack([evidence] * 2), list(geometry.EYES))
        for evidence in (seen(), seen(shut(*sides)))
    )
    gain = {}
    for row, part in enumerate(geometry.EYES):
        odds = [judged[row, CLOSED] / judged[row, OPEN] for judged in (before, after)]
        gain[part] = np.log(odds[1] / odds[0])
    assert min(gain[part] for part in sides) > 2
    if len(sides) == 1:
        (other,) = set(gain) - set(sides)
        assert gain[sides[0]] > gain[other] + 1


@pytest.mark.parametrize("part", ["left_eye", "right_eye", "nose", "mouth"])
def test_a_covered_region_is_told_and_which(seen, part):
    bare, hidden = seen(), seen(cover(part))
    assert blocked(hidden, part) > 0.5 > blocked(bare, part)
    far = {"left_eye": "mouth", "right_eye": "mouth", "nose": "forehead", "mouth": "left_eye"}[part]
    assert blocked(hidden, far) < 0.5


def test_a_covered_eye_is_neither_open_nor_closed(seen):
    hidden = judge_eyes(seen(cover("left_eye", colour=(10, 10, 10)))[None], ["left_eye"])[0]
    bare = judge_eyes(seen()[None], ["left_eye"])[0]
    assert bare.argmax() == OPEN
    assert hidden[BLOCKED] > 5 * bare[BLOCKED]


@pytest.mark.parametrize(
    ("blink", "expected"), [(0.05, OPEN), (0.3, OPEN), (0.6, CLOSED), (0.8, CLOSED)]
)
def test_eye_blink_decides_as_real_eyes_did(seen, blink, expected):
    evidence = seen()
    evidence[1], evidence[3] = blink, 0.3 * (1 - blink)
    assert judge_eyes(evidence[None], ["right_eye"])[0].argmax() == expected
    assert judge_eyes(evidence[None], ["left_eye"])[0].argmax() == OPEN


@settings(max_examples=50, deadline=None)
@given(arrays(float, LENGTH, elements=st.floats(-10, 10)))
def test_probabilities_sum_to_one(evidence):
    eyes = judge_eyes(np.stack([evidence] * 2), ["left_eye", "right_eye"])
    regions = judge_regions(np.stack([evidence] * 6), list(REGIONS))
    for found in (eyes, regions):
        assert np.allclose(found.sum(axis=1), 1)
        assert ((found >= 0) & (found <= 1)).all()


def test_without_landmarks_eyes_are_unknown_and_regions_are_not(draw_face, detector):
    rgb = np.ascontiguousarray(draw_face(SIZE, SHARE))
    evidence = evidence_of(rgb, detector.detect(rgb)[0].keypoints, None).astype(float)
    assert evidence[geometry.PRESENCE] == 0
    assert np.isnan(judge_eyes(evidence[None], ["left_eye"])).all()
    assert np.isfinite(judge_regions(evidence[None], ["mouth"])).all()


def test_the_light_moves_the_judgement_less_than_a_cover(seen):
    def darker(rgb, face):
        return np.clip(rgb * 0.7 + 10, 0, 255).astype(np.uint8)

    for part in ("nose", "mouth"):
        assert blocked(seen(darker), part) < 0.5 < blocked(seen(cover(part)), part)


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_the_size_of_the_picture_does_not_matter(seen, draw_face, detector, reader, scale):
    rgb = np.ascontiguousarray(draw_face(round(SIZE * scale), SHARE))
    face = detector.detect(rgb)[0]
    other = evidence_of(rgb, face.keypoints, reader.read(rgb, face)).astype(float)
    for part in REGIONS:
        assert abs(blocked(other, part) - blocked(seen(), part)) < 0.35, part


# The teacher


@pytest.fixture
def here(tmp_path):
    return workspace.create(tmp_path / "ws")


@pytest.fixture
def units(tmp_path, save, draw_portrait, detector):
    """Return units of both eyes of three portraits, and of two patches without a face."""
    rows = []
    for seed in range(3):
        file = save(tmp_path / "pictures" / f"{seed}.jpg", draw_portrait(seed))
        row = examine(file.read_bytes(), detector.detect) | {"uri": file.as_uri(), "shows": "face"}
        rows += [row | {"part": part} for part in ("left_eye", "right_eye")]
    for part in ("left_eye", "eye"):
        rows.append({"image_id": "0" * 64, "uri": "gone", "shows": "eye", "part": part})
    return pd.DataFrame(rows)


@pytest.fixture
def tracked():
    calls = []

    def track(items, total, what):
        calls.append(total)
        return iter(items)

    track.calls = calls
    return track


def test_it_answers_in_the_order_of_units_and_not_for_patches(here, units, tracked):
    teacher = Geometry(here, "eyes", tracked)
    found = teacher.probabilities(units)
    assert teacher.name == "geometry"
    assert found.shape == (8, len(schema.CLASSES_OF["eyes"]))
    assert np.isnan(found[6:]).all()
    assert np.allclose(found[:6].sum(axis=1), 1)
    order = np.array([5, 7, 0, 3])
    again = teacher.probabilities(units.iloc[order])
    assert np.allclose(again, found[order], equal_nan=True)


def test_evidence_is_read_once_per_image_whatever_the_task(here, units, tracked, tmp_path):
    Geometry(here, "eyes", tracked).probabilities(units)
    assert tracked.calls == [3]
    for file in (tmp_path / "pictures").iterdir():
        file.unlink()
    faces = units.iloc[:6].assign(part="mouth")
    found = Geometry(here, "occlusion", tracked).probabilities(faces)
    assert tracked.calls == [3]
    assert found.shape == (6, 2)
    assert (found[::2] == found[1::2]).all()


def test_a_missing_original_is_an_error(here, units, tracked, tmp_path):
    for file in (tmp_path / "pictures").iterdir():
        file.unlink()
    with pytest.raises(SourceError, match="Next:"):
        Geometry(here, "eyes", tracked).probabilities(units)


def test_only_patches_need_no_network(here, units, tracked):
    found = Geometry(here, "eyes", tracked).probabilities(units.iloc[6:])
    assert np.isnan(found).all()
    assert not tracked.calls


def test_it_has_no_opinion_of_liveness(here, tracked):
    with pytest.raises(ConfigError, match="liveness"):
        Geometry(here, "liveness", tracked)
