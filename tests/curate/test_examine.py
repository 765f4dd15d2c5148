"""Examining: bytes to a record, with faces and without, in both hash modes, whatever the bytes."""

import hashlib
import io
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import imagehash
import numpy as np
import pandas as pd
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from curate import quality, tables
from curate.examine import LONGEST, examine
from curate.faces import Face

NEED_A_FACE = {"blur", "face_size", "head_pose", "several_faces", "no_face"}


def picture(seed: int, height: int = 960, width: int = 720) -> np.ndarray:
    rng = np.random.default_rng(seed)
    out = np.zeros((height, width, 3), np.float32)
    for cells in (4, 9, 30, 120):
        layer = rng.normal(0, 90 * cells**-0.4, (cells, cells, 3)).astype(np.float32)
        out += cv2.resize(layer, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(128 + out, 0, 255).astype(np.uint8)


def jpeg(rgb: np.ndarray, orientation: int = 1) -> bytes:
    data, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(rgb).save(data, "JPEG", quality=90, exif=exif)
    return data.getvalue()


def png(rgb: np.ndarray) -> bytes:
    data = io.BytesIO()
    Image.fromarray(rgb).save(data, "PNG")
    return data.getvalue()


def found(*boxes: tuple[float, float, float, float]) -> Callable[..., list[Face]]:
    """Return a detector that sees faces in these boxes in upright frames, and none in turned."""

    def detect(rgb: np.ndarray, looks: Sequence[str]) -> list[Face]:
        if rgb.shape[0] < rgb.shape[1]:
            return []
        return [Face(box, 0.99, points(box)) for box in boxes]

    return detect


def points(box: tuple[float, float, float, float]) -> np.ndarray:
    x, y, width, height = box
    at = [(0.3, 0.4), (0.7, 0.4), (0.5, 0.58), (0.5, 0.75), (0.1, 0.42), (0.9, 0.42)]
    return np.array([(x + a * width, y + b * height) for a, b in at], np.float32)


@pytest.mark.parametrize("orientation", [1, 6, 7])
def test_without_faces_an_image_is_kept_and_taken_for_upright(orientation: int) -> None:
    data = jpeg(picture(0), orientation)
    record = examine(data, None)
    assert (record["status"], record["reason"], record["turn"]) == ("kept", "", 0)
    assert record["image_id"] == hashlib.sha256(data).hexdigest()
    assert record["exif_orientation"] == orientation
    assert (record["width"], record["height"]) == ((720, 960) if orientation < 5 else (960, 720))
    assert "turn_confidence" not in record
    assert "face" not in record


def test_without_faces_the_scores_are_those_that_need_none() -> None:
    record = examine(jpeg(picture(0)), None)
    names = {name for name in quality.NAMES if f"{name}_score" in record}
    assert names == set(quality.NAMES) - NEED_A_FACE
    assert all(record[f"{name}_issue"] is False for name in names)
    assert not [key for key in examine(jpeg(picture(0)), None, judge=False) if "_score" in key]


def test_with_a_face_every_score_is_there() -> None:
    record = examine(jpeg(picture(0)), found((200, 200, 300, 300), (20, 20, 200, 200)))
    assert {name for name in quality.NAMES if f"{name}_score" in record} == set(quality.NAMES)
    assert record["several_faces_issue"]
    assert record["status"] == "kept"
    assert np.allclose(record["face"], (200, 200, 300, 300))


def test_without_a_face_found_an_image_is_quarantined_with_its_scores() -> None:
    record = examine(jpeg(picture(0)), found())
    assert (record["status"], record["reason"]) == ("quarantined", "no_face")
    assert record["no_face_issue"]
    assert "exposure_score" in record


@pytest.mark.parametrize("encode", [jpeg, png])
def test_faces_are_in_pixels_of_the_file_whatever_the_detector_saw(
    encode: Callable[[np.ndarray], bytes],
) -> None:
    seen: list[tuple[int, ...]] = []
    box = (100.0, 100.0, 200.0, 200.0)

    def detect(rgb: np.ndarray, looks: Sequence[str]) -> list[Face]:
        seen.append(rgb.shape)
        return [Face(box, 0.99, points(box))]

    record = examine(encode(picture(0, 1440, 1080)), detect)
    assert seen[0] == (720, 540, 3)
    assert np.allclose(record["face"], (200, 200, 400, 400))
    assert np.allclose(record["landmarks"], 2 * points(box).ravel())


@pytest.mark.parametrize("encode", [jpeg, png])
@pytest.mark.parametrize("detect", [None, found((200, 200, 300, 300))])
def test_exact_hashes_are_those_of_imagehash(
    encode: Callable[[np.ndarray], bytes], detect: Any
) -> None:
    for seed in range(3):
        data = encode(picture(seed))
        record = examine(data, detect, mode="exact")
        image = Image.open(io.BytesIO(data))
        for name in ("phash", "dhash"):
            value = int(record[name][0]) % 2**64
            assert f"{value:016x}" == str(getattr(imagehash, name)(image)), (seed, name)
        assert record["phash_mode"] == "exact"


def test_exact_hashes_see_the_image_as_exif_wants_it() -> None:
    data = jpeg(picture(3), 6)
    shown = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    value = int(examine(data, None, mode="exact")["phash"][0]) % 2**64
    assert f"{value:016x}" == str(imagehash.phash(shown))


def test_fast_hashes_are_close_to_exact_ones() -> None:
    apart = []
    for seed in range(40):
        data = jpeg(picture(seed, 640, 480))
        fast, exact = (examine(data, None, mode=mode)["phash"] for mode in ("fast", "exact"))
        apart.append(np.bitwise_count(fast ^ exact).mean())
    assert np.mean(apart) <= 0.3


@pytest.mark.parametrize("mode", ["fast", "exact"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (7, 9), (40, 1000)])
def test_tiny_and_narrow_images_have_records(mode: Any, shape: tuple[int, int]) -> None:
    rgb = picture(0, *shape)
    for data in (png(rgb), simplejpeg.encode_jpeg(rgb)):
        for detect in (None, found(), found((0, 0, 1, 1))):
            tables.conform("images", pd.DataFrame([examine(data, detect, mode=mode)]))


@given(st.binary(max_size=100), st.booleans())
def test_any_bytes_have_a_record_that_fits_the_schema(data: bytes, judge: bool) -> None:
    record = examine(data, None, judge=judge)
    assert (record["status"], record["turn"]) == ("quarantined", -1)
    assert record["reason"]
    tables.conform("images", pd.DataFrame([record]))


@pytest.mark.parametrize("shape", [(600, 9000, 3), (9000, 600, 3), (2, 60_000, 3)])
def test_a_strip_is_shown_to_the_detector_no_longer_than_wide_pictures_are(
    shape: tuple[int, int, int],
) -> None:
    seen = []

    def detect(rgb: np.ndarray, *_: Any, **__: Any) -> list[Face]:
        seen.append(rgb.shape)
        return []

    data = io.BytesIO()
    Image.fromarray(np.full(shape, 90, np.uint8)).save(data, "PNG")
    assert examine(data.getvalue(), detect)["reason"] == "no_face"
    assert 0 < max(max(one) for one in seen) < LONGEST
