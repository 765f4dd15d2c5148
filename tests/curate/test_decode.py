"""Decoding: strict about damage, right about orientation, bounded in size."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from curate.decode import Unreadable, decode


def jpeg(height: int = 96, width: int = 128, **options: object) -> bytes:
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 255, (height, width, 3), dtype=np.uint8))
    data = io.BytesIO()
    picture.save(data, "JPEG", **options)
    return data.getvalue()


def test_every_truncation_is_caught() -> None:
    whole = jpeg()
    for end in range(0, len(whole) - 1, 64):
        with pytest.raises(Unreadable) as caught:
            decode(whole[:end])
        assert caught.value.reason in ("empty", "not_an_image", "truncated", "corrupt")
    assert decode(whole).rgb.shape == (96, 128, 3)


def test_a_bomb_is_refused_by_its_header_alone() -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    png = (
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    )
    with pytest.raises(Unreadable) as caught:
        decode(png + struct.pack(">I", 0) + b"IDAT")
    assert caught.value.reason == "too_large"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_shows_the_same_picture(orientation: int) -> None:
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    data = jpeg(exif=exif)
    shown = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    got = decode(data)
    assert (got.width, got.height) == shown.size
    assert np.abs(got.rgb.astype(int) - np.asarray(shown)).mean() < 2


@pytest.mark.parametrize("orientation", [0, 9, 255])
def test_an_orientation_out_of_range_counts_as_none(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert decode(jpeg(exif=exif)).exif_orientation == 1


def test_a_scaled_decode_is_no_smaller_than_asked_and_knows_the_full_size() -> None:
    got = decode(jpeg(960, 1280), min_side=240)
    assert min(got.rgb.shape[:2]) >= 240
    assert got.rgb.shape[0] < 960
    assert (got.width, got.height) == (1280, 960)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "I;16", "1"])
def test_other_pixel_kinds_become_rgb(mode: str) -> None:
    picture = Image.new(mode, (40, 30))
    data = io.BytesIO()
    picture.save(data, "TIFF" if mode == "CMYK" else "PNG")
    assert decode(data.getvalue()).rgb.shape == (30, 40, 3)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP", "TIFF", "GIF"])
def test_other_formats_are_read(kind: str) -> None:
    data = io.BytesIO()
    Image.new("RGB", (1, 1), (9, 9, 9)).save(data, kind)
    assert decode(data.getvalue()).rgb.shape == (1, 1, 3)
