"""Decoding: strict about damage, right about orientation, bounded in size."""

import io
import struct
import sys
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from curate import schema
from curate.decode import Unreadable, decode

REASONS = {*schema.REASONS, "heic_extra", "unsupported"}


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


PICTURE = Image.fromarray(
    cv2.resize(np.random.default_rng(1).integers(0, 255, (6, 8, 3), dtype=np.uint8), (64, 48))
)
KINDS: dict[str, tuple[str, dict[str, object]]] = {
    "baseline": ("JPEG", {}),
    "progressive": ("JPEG", {"progressive": True}),
    "png": ("PNG", {}),
    "webp": ("WEBP", {}),
    "lossless webp": ("WEBP", {"lossless": True}),
    "bmp": ("BMP", {}),
    "tiff": ("TIFF", {}),
    "packed tiff": ("TIFF", {"compression": "tiff_deflate"}),
    "gif": ("GIF", {}),
    "animated gif": ("GIF", {"save_all": True, "append_images": [PICTURE.rotate(90)]}),
    "animated webp": ("WEBP", {"save_all": True, "append_images": [PICTURE.rotate(90)]}),
    "animated png": ("PNG", {"save_all": True, "append_images": [PICTURE.rotate(90)]}),
    "heic": ("HEIF", {}),
}


def encoded(kind: str, picture: Image.Image = PICTURE, **more: object) -> bytes:
    form, options = KINDS[kind]
    if form == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    data = io.BytesIO()
    picture.save(data, form, **options, **more)
    return data.getvalue()


def pixels_or_reason(data: bytes) -> np.ndarray | None:
    """Return the pixels, or None where the bytes are refused for a reason we know."""
    reason, pixels = "", None
    try:
        pixels = decode(data, min_side=16).rgb
    except Unreadable as fault:
        reason = fault.reason
    assert reason in REASONS if pixels is None else pixels.shape[2] == 3
    return pixels


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_read_and_an_animation_is_its_first_frame(kind: str) -> None:
    got = decode(encoded(kind))
    assert (got.width, got.height, got.exif_orientation) == (64, 48, 1)
    assert np.abs(got.rgb.astype(int) - np.asarray(PICTURE)).mean() < 12
    assert got.coloured


@pytest.mark.parametrize("kind", KINDS)
def test_a_truncated_file_is_caught_or_lacks_no_pixel(kind: str) -> None:
    whole = encoded(kind)
    pixels = decode(whole, min_side=16).rgb
    for end in range(0, len(whole), 64):
        got = pixels_or_reason(whole[:end])
        assert got is None or np.array_equal(got, pixels), end


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=30, deadline=None)
@given(flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 7)), min_size=1))
def test_flipped_bits_give_an_image_or_a_reason(kind: str, flips: list[tuple[float, int]]) -> None:
    data = bytearray(encoded(kind))
    for where, bit in flips:
        data[int(where * len(data))] ^= 1 << bit
    pixels_or_reason(bytes(data))


STARTS = [
    b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBPVP8 ", b"BM", b"II*\0",
    b"GIF89a", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
]  # fmt: skip


@settings(deadline=None)
@given(st.sampled_from(STARTS), st.binary(max_size=200))
def test_any_bytes_give_an_image_or_a_reason(start: bytes, rest: bytes) -> None:
    pixels_or_reason(start + rest)


def test_a_flipped_bit_of_a_png_is_caught_or_changes_no_pixel() -> None:
    whole = encoded("png")
    pixels, caught = decode(whole).rgb, 0
    for at in range(0, len(whole), 7):
        data = bytearray(whole)
        data[at] ^= 1 << at % 8
        got = pixels_or_reason(bytes(data))
        caught += got is None
        assert got is None or np.array_equal(got, pixels)
    assert caught > len(whole) / 7 - 5


@pytest.mark.parametrize("kind", ["baseline", "png", "webp", "tiff", "heic"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_format_is_shown_as_its_exif_wants(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(kind, exif=exif)
    shown = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    got = decode(data)
    assert (got.width, got.height) == shown.size
    assert np.abs(got.rgb.astype(int) - np.asarray(shown)).mean() < 2


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "CMYK", "I;16", "1"])
def test_other_pixel_kinds_become_rgb(mode: str) -> None:
    data = io.BytesIO()
    Image.new(mode, (40, 30)).save(data, "TIFF" if mode == "CMYK" else "PNG")
    got = decode(data.getvalue())
    assert got.rgb.shape == (30, 40, 3)
    assert decode(data.getvalue(), gray=True).pixels.shape == (30, 40)
    assert got.coloured == (mode in ("RGBA", "P", "CMYK"))


def test_a_cmyk_jpeg_is_read_and_its_damage_seen() -> None:
    data = io.BytesIO()
    PICTURE.convert("CMYK").save(data, "JPEG", quality=95)
    got = decode(data.getvalue())
    assert np.abs(got.rgb.astype(int) - np.asarray(PICTURE)).mean() < 12
    with pytest.raises(Unreadable):
        decode(data.getvalue()[:-40])


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_not_clipped(form: str) -> None:
    levels = np.linspace(0, 65535, 64 * 4).reshape(4, 64).astype(np.uint16)
    data = io.BytesIO()
    Image.fromarray(levels).save(data, form)
    assert np.array_equal(decode(data.getvalue()).rgb[..., 0], np.rint(levels / 257))


def test_floating_point_pixels_have_a_reason() -> None:
    data = io.BytesIO()
    Image.new("F", (8, 8), 0.5).save(data, "TIFF")
    with pytest.raises(Unreadable) as caught:
        decode(data.getvalue())
    assert caught.value.reason == "unsupported"


@pytest.mark.parametrize(("alpha", "seen"), [(0, 255), (255, 10), (128, 132)])
def test_what_is_transparent_lies_on_white(alpha: int, seen: int) -> None:
    data = io.BytesIO()
    Image.new("RGBA", (4, 4), (10, 10, 10, alpha)).save(data, "PNG")
    assert abs(int(decode(data.getvalue()).rgb[0, 0, 0]) - seen) <= 1


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "animated" not in kind])
def test_one_pixel(kind: str) -> None:
    got = decode(encoded(kind, Image.new("RGB", (1, 1), (9, 9, 9))), min_side=480)
    assert got.rgb.shape == (1, 1, 3)


def test_heic_without_its_extra_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded("heic")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(Unreadable) as caught:
        decode(data)
    assert caught.value.reason == "heic_extra"


@pytest.mark.parametrize(
    ("side", "expected"), [(481, 960), (480, 480), (240, 240), (120, 120), (121, 240)]
)
def test_scales_are_powers_of_two(side: int, expected: int) -> None:
    got = decode(jpeg(960, 1280), min_side=side)
    assert min(got.rgb.shape[:2]) == expected


@pytest.mark.parametrize("kind", ["png", "webp", "baseline"])
@pytest.mark.parametrize("block", [b"garbage", b"MM\0*\0\0", b"II*\0\xff"])
def test_a_broken_exif_block_turns_nothing_and_costs_no_image(kind: str, block: bytes) -> None:
    seen = decode(encoded(kind, exif=b"Exif\0\0" + block))
    assert seen.exif_orientation == 1


def test_a_large_profile_is_no_damage() -> None:
    rng = np.random.default_rng(0)
    decode(encoded("png", icc_profile=rng.bytes(2 << 20)))


def test_a_png_without_its_end_is_truncated() -> None:
    whole = encoded("png")
    for end in (len(whole) - 1, len(whole) - 12):
        with pytest.raises(Unreadable, match="truncated"):
            decode(whole[:end])
    decode(whole + b"behind the end")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + bytes(64), "unsupported"),
        (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(64), "unsupported"),
        (b"\xff\x0a" + bytes(64), "unsupported"),
        (cv2.imencode(".tif", np.zeros((8, 8, 3), np.float32))[1].tobytes(), "unsupported"),
        (encoded("packed tiff")[:-200], "truncated"),
        (encoded("webp")[:-40], "truncated"),
        (encoded("png")[:8] + bytes(64), "corrupt"),
        (b"BMW is a car", "not_an_image"),
    ],
)
def test_what_is_not_read_is_told_from_what_is_damaged(data: bytes, reason: str) -> None:
    with pytest.raises(Unreadable) as caught:
        decode(data)
    assert caught.value.reason == reason


def test_twelve_bits_are_no_damage() -> None:
    data = bytearray(jpeg())
    data[data.find(b"\xff\xc0") + 4] = 12
    with pytest.raises(Unreadable, match="unsupported"):
        decode(bytes(data))
