"""Bytes to pixels: strict, scaled, EXIF applied, bounded against decompression bombs."""

import io
import warnings
from dataclasses import dataclass

import numpy as np
import simplejpeg
from PIL import Image, UnidentifiedImageError

from curate.orient import apply_exif

MAX_PIXELS = 100_000_000  # a 100 megapixel phone passes; a 60,000 x 60,000 bomb does not
EXIF_ORIENTATION = 0x0112  # TIFF 6.0 tag 274
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")  # no other parser sees the bytes
REDUCED_SIDE = 480  # pixels of the shorter side down to which JPEGs may be decoded


class Unreadable(Exception):
    """The bytes are no image we accept. ``reason`` is one of schema.REASONS."""

    def __init__(self, reason: str, detail: str) -> None:
        """Keep the short reason and what the decoder said."""
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class Decoded:
    """Pixels with EXIF applied, and the size the file itself has in that orientation."""

    rgb: np.ndarray  # (h, w, 3) uint8
    width: int
    height: int
    exif_orientation: int


def decode(data: bytes, *, min_side: int | None = None) -> Decoded:
    """Decode an image strictly; a JPEG may come scaled down to no less than ``min_side`` pixels.

    Raises:
        Unreadable: empty, no image, truncated, corrupt, or larger than MAX_PIXELS.
    """
    if not data:
        raise Unreadable("empty", "0 bytes")
    width, height, orientation, jpeg = _header(data)
    if width * height > MAX_PIXELS:
        raise Unreadable("too_large", f"{width} x {height} pixels, at most {MAX_PIXELS} allowed")
    pixels = _jpeg_pixels(data, min_side or 0) if jpeg else _other_pixels(data)
    rgb = apply_exif(pixels, orientation)
    if orientation >= 5:
        width, height = height, width
    return Decoded(rgb, width, height, orientation)


def _header(data: bytes) -> tuple[int, int, int, bool]:
    """Return width, height, EXIF orientation and whether it is a gray or colour JPEG."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # we have a limit of our own, and bad EXIF is no fault
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                orientation = image.getexif().get(EXIF_ORIENTATION, 1)
                valid = isinstance(orientation, int) and 1 <= orientation <= 8
                jpeg = image.format in ("JPEG", "MPO") and image.mode in ("L", "RGB")
                return *image.size, orientation if valid else 1, jpeg
    except Image.DecompressionBombError as error:
        raise Unreadable("too_large", str(error)) from error
    except UnidentifiedImageError as error:
        raise Unreadable("not_an_image", "no known image header") from error
    except (OSError, ValueError, SyntaxError, TypeError, KeyError, EOFError) as error:
        raise Unreadable("corrupt", f"header: {error}") from error


def _jpeg_pixels(data: bytes, side: int) -> np.ndarray:
    try:
        rgb: np.ndarray = simplejpeg.decode_jpeg(
            data, "RGB", min_height=side, min_width=side, min_factor=1, strict=True
        )
        return rgb
    except ValueError as error:
        reason = "truncated" if "Premature end" in str(error) else "corrupt"
        raise Unreadable(reason, str(error)) from error


def _other_pixels(data: bytes) -> np.ndarray:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        reason = "truncated" if "truncated" in str(error).lower() else "corrupt"
        raise Unreadable(reason, str(error)) from error
