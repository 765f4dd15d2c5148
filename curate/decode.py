"""Bytes to pixels: strict, scaled, EXIF applied, bounded against decompression bombs.

JPEGs go through simplejpeg, which takes a warning of the decoder for damage; everything else, and
CMYK, through Pillow. What is transparent is laid on white, as a web page shows it; an animation is
its first frame; 16 bits become 8 by division, not by clipping.
"""

import io
import struct
import threading
import warnings
import zlib
from dataclasses import dataclass

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin, UnidentifiedImageError

from curate import jpeg
from curate.orient import apply_exif

MAX_PIXELS = 100_000_000  # a 100 megapixel phone passes; a 60,000 x 60,000 bomb does not
EXIF_ORIENTATION = 0x0112  # TIFF 6.0 tag 274
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")  # no other parser sees the bytes
HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"}  # ISO/IEC 23008-12 annex B
AVIF_BRANDS = {b"avif", b"avis"}
UNREAD = (b"\0\0\0\x0cjP  ", b"\xffO\xffQ", b"\0\0\0\x0cJXL ", b"\xff\n", b"8BPS")  # JPEG 2000, XL
TIFF = (b"II*\0", b"MM\0*")
PNG, PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
# Pillow takes a profile or a history of edits of more than 1 MiB for an attack; Photoshop's are.
PngImagePlugin.MAX_TEXT_CHUNK = 16 << 20  # bytes
REDUCED_SIDE = 480  # pixels of the shorter side down to which JPEGs may be decoded
SCALES = (
    8,
    4,
    2,
)  # 7/8 and the like cost up to three times a full decode, measured by bench_ingest
WHITE = (255, 255, 255)

# All that Pillow's parsers were seen to raise on damaged bytes, or may.
FAULTS = (
    OSError,
    ValueError,
    SyntaxError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    AssertionError,
    EOFError,
    MemoryError,
    RuntimeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)

Pixels = NDArray[np.uint8]


class Unreadable(Exception):
    """The bytes are no image we accept. ``reason`` is one of schema.REASONS."""

    def __init__(self, reason: str, detail: str) -> None:
        """Keep the short reason and what the decoder said."""
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class Decoded:
    """Pixels with EXIF applied, and what the file says of itself.

    Attributes:
        pixels: (h, w, 3) uint8 RGB; (h, w) where gray was asked for.
        width: of the file itself in that orientation, pixels, likewise height.
        exif_orientation: 1 to 8. Already 1 where the decoder applies it: TIFF and HEIC.
        coloured: whether the file stores more than one channel.
        jpeg_quality: jpeg.Header.quality; None for other formats.
    """

    pixels: Pixels
    width: int
    height: int
    exif_orientation: int
    coloured: bool
    jpeg_quality: float | None = None

    @property
    def rgb(self) -> Pixels:
        """The (h, w, 3) pixels."""
        return self.pixels if self.pixels.ndim == 3 else np.dstack([self.pixels] * 3)


def decode(data: bytes, *, min_side: int | None = None, gray: bool = False) -> Decoded:
    """Decode an image strictly, to RGB or to the luma of ITU-R BT.601 ("L" of Pillow).

    A JPEG may come scaled down by 2, 4 or 8, to no less than ``min_side`` pixels.

    Raises:
        Unreadable: empty, no image, truncated, corrupt, of an unsupported kind, or larger than
            MAX_PIXELS.
    """
    if not data:
        raise Unreadable("empty", "0 bytes")
    if data.startswith(jpeg.MAGIC):
        header = jpeg.read_header(data)
        if header is None:
            raise Unreadable(_early_end(data), "no JPEG frame header")
        _check_size(header.width, header.height)
        if header.components in (1, 3):
            return _jpeg(data, header, min_side or MAX_PIXELS, gray)
        _strictly(data, "CMYK", header, 8)
    return _by_pillow(data, gray)


def _early_end(data: bytes) -> str:
    return "corrupt" if data.endswith(b"\xff\xd9") else "truncated"


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise Unreadable("too_large", f"{width} x {height} pixels, at most {MAX_PIXELS} allowed")


def _jpeg(data: bytes, header: jpeg.Header, min_side: int, gray: bool) -> Decoded:
    width, height = header.width, header.height
    scale = next((each for each in SCALES if min(width, height) >= each * min_side), 1)
    pixels = _strictly(data, "GRAY" if gray else "RGB", header, scale)
    if gray:
        pixels = pixels[..., 0]
    if header.orientation > 1:
        pixels = apply_exif(pixels, header.orientation)
    if header.orientation >= 5:
        width, height = height, width
    coloured = header.components > 1
    return Decoded(pixels, width, height, header.orientation, coloured, header.quality)


def _strictly(data: bytes, colours: str, header: jpeg.Header, scale: int) -> Pixels:
    height, width = -(-header.height // scale), -(-header.width // scale)
    try:
        pixels: Pixels = simplejpeg.decode_jpeg(
            data, colours, min_height=height, min_width=width, strict=True
        )
    except ValueError as error:
        words = {"Premature end": "truncated", "Unsupported": "unsupported"}
        reason = next((why for word, why in words.items() if word in str(error)), "corrupt")
        raise Unreadable(reason, str(error)) from error
    return pixels


def _by_pillow(data: bytes, gray: bool) -> Decoded:
    heic = bool(_brands(data) & HEIC_BRANDS)
    if heic:
        _learn_heic()
    try:
        with _QUIET:
            return _opened(data, ("HEIF",) if heic else FORMATS, gray)
    except Image.DecompressionBombError as error:
        raise Unreadable("too_large", str(error)) from error
    except UnidentifiedImageError as error:
        raise Unreadable(_unknown(data), "no image header that we know") from error
    except FAULTS as error:
        short = "truncated" in str(error).lower() or _stated(data) > len(data)
        raise Unreadable("truncated" if short else "corrupt", str(error)) from error


def _unknown(data: bytes) -> str:
    """Return the reason for what Pillow recognises nothing in."""
    if _stated(data) > len(data):
        return "truncated"
    if data.startswith((*UNREAD, *TIFF)) or _brands(data) & AVIF_BRANDS:
        return "unsupported"
    ours = data.startswith((PNG, b"GIF8")) or _is_webp(data) or _brands(data) & HEIC_BRANDS
    return "corrupt" if ours else "not_an_image"


def _stated(data: bytes) -> int:
    """Return how long a WebP says it is, or where a TIFF says its first directory is; 0 else."""
    if data.startswith(TIFF):
        return int.from_bytes(data[4:8], "little" if data[:1] == b"I" else "big") + 1
    return int.from_bytes(data[4:8], "little") + 8 if _is_webp(data) else 0


def _is_webp(data: bytes) -> bool:
    return data.startswith(b"RIFF") and data[8:12] == b"WEBP"


def _opened(data: bytes, formats: tuple[str, ...], gray: bool) -> Decoded:
    with Image.open(io.BytesIO(data), formats=formats) as image:
        _check_size(*image.size)
        if image.format == "PNG":
            image.verify()  # the checksum of each chunk, which loading does not look at
            if PNG_END not in data:
                raise Unreadable("truncated", "no IEND chunk")
    with Image.open(io.BytesIO(data), formats=formats) as image:
        image.load()
        turn = _turn(image)
        coloured = not image.mode.startswith(("1", "L", "I"))
        pixels = np.asarray(_eight_bit(image).convert("L" if gray else "RGB"))
    pixels = apply_exif(pixels, turn)
    return Decoded(pixels, pixels.shape[1], pixels.shape[0], turn, coloured)


def _turn(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 where the block is broken, as of a JPEG."""
    try:
        turn = image.getexif().get(EXIF_ORIENTATION, 1)
    except FAULTS:
        return 1
    return turn if isinstance(turn, int) and 1 <= turn <= 8 else 1


def _eight_bit(image: Image.Image) -> Image.Image:
    """Return ``image`` in 8 bits a channel and without transparency."""
    if image.mode.startswith("I"):  # Pillow's own conversion clips these at 255
        levels = np.asarray(image)
        if levels.min() < 0 or levels.max() > 0xFFFF:
            raise Unreadable("unsupported", "a gray level outside 0 to 65535")
        return Image.fromarray(((levels.astype(np.uint32) + 128) // 257).astype(np.uint8))
    if image.mode == "F":
        raise Unreadable("unsupported", "pixels are floating-point numbers")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, WHITE)
        return Image.alpha_composite(white, image.convert("RGBA"))
    return image


def _brands(data: bytes) -> set[bytes]:
    """Return the brands in the file type box: the main one, a version, the compatible ones."""
    size = min(int.from_bytes(data[:4]), 256) if data[4:8] == b"ftyp" else 0
    return {data[at : at + 4] for at in range(8, size, 4)}


def _learn_heic() -> None:
    try:
        import pillow_heif
    except ImportError as error:
        raise Unreadable("heic_extra", "pip install 'curate[heic]' reads HEIC") from error
    pillow_heif.register_heif_opener()


class _Quiet:
    """Ignores warnings while any thread is inside; `catch_warnings` mixes up those of threads."""

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._kept = warnings.catch_warnings()
                self._kept.__enter__()
                warnings.simplefilter("ignore")

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._kept.__exit__(None, None, None)


_QUIET = _Quiet()
