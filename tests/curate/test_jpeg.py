"""The JPEG header: equal to what Pillow reads, unmoved by damage."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from curate import jpeg


def encoded(mode: str = "RGB", size: tuple[int, int] = (48, 32), **options: object) -> bytes:
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8))
    data = io.BytesIO()
    picture.convert(mode).save(data, "JPEG", **options)
    return data.getvalue()


@pytest.mark.parametrize(("mode", "components"), [("L", 1), ("RGB", 3), ("CMYK", 4)])
@pytest.mark.parametrize("progressive", [False, True])
def test_size_and_components(mode: str, components: int, progressive: bool) -> None:
    header = jpeg.read_header(encoded(mode, (70, 40), progressive=progressive))
    assert header is not None
    assert (header.width, header.height, header.components) == (70, 40, components)


@pytest.mark.parametrize("value", [*range(1, 9), 0, 9, 65535])
@pytest.mark.parametrize("order", ["<", ">"])
def test_orientation_in_both_byte_orders(value: int, order: str) -> None:
    exif = Image.Exif()
    exif.endian = order
    exif[0x0110] = "a camera"
    exif[0x0112] = value
    header = jpeg.read_header(encoded(exif=exif))
    assert header is not None
    assert header.orientation == (value if 1 <= value <= 8 else 1)


@pytest.mark.parametrize("quality", [10, 25, 49, 50, 60, 75, 90, 97])
def test_the_quality_is_the_one_the_encoder_was_asked_for(quality: int) -> None:
    header = jpeg.read_header(encoded(quality=quality))
    assert header is not None
    assert header.quality == pytest.approx(quality, abs=1)


def test_fill_bytes_before_a_marker_are_skipped() -> None:
    whole = encoded()
    assert jpeg.read_header(whole[:2] + b"\xff" * 5 + whole[2:]) == jpeg.read_header(whole)


@pytest.mark.parametrize("data", [b"", jpeg.MAGIC, jpeg.MAGIC + b"\xff" * 100_000, b"\xff\xd8" * 9])
def test_no_frame_header(data: bytes) -> None:
    assert jpeg.read_header(data) is None


@given(st.binary(max_size=300))
def test_any_bytes_have_a_header_or_none(data: bytes) -> None:
    header = jpeg.read_header(jpeg.MAGIC[:2] + data)
    assert header is None or 1 <= header.orientation <= 8


@given(st.binary(max_size=60), st.sampled_from([b"II*\0", b"MM\0*", b""]))
def test_any_exif_has_an_orientation(data: bytes, start: bytes) -> None:
    assert 1 <= jpeg.orientation(start + data) <= 8


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=5))
def test_damage_gives_another_header_or_none(changes: list[tuple[float, int]]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = bytearray(encoded(exif=exif))
    for where, value in changes:
        data[min(int(where * 700), len(data) - 1)] = value
    header = jpeg.read_header(bytes(data))
    assert header is None or header.quality is None or 1 <= header.quality <= 100
