"""What a JPEG says of itself before its pixels: size, components, turn, how hard it was squeezed.

Sources: ITU-T T.81 annex B (markers), CIPA DC-008 section 4.6 (EXIF), libjpeg's jcparam.c (tables).
"""

from dataclasses import dataclass

MAGIC = b"\xff\xd8\xff"
FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # SOF0 to SOF15; the three are other markers
SCAN, TABLES, APP1 = 0xDA, 0xDB, 0xE1
MOST_SEGMENTS = 1000  # before the first scan; cameras write some dozen

EXIF = b"Exif\0\0"
ORIENTATION = 0x0112  # TIFF 6.0 tag 274
SHORT = 3  # TIFF's name of a 16-bit number
MOST_TAGS = 1000

# The 16 lowest frequencies of the luminance table at quality 50, in zigzag order. They stay below
# the limit of 255 down to quality 8, so that their sum tells the quality; sums of all 64 do not.
LUMINANCE = (16, 11, 12, 14, 12, 10, 16, 14, 13, 14, 18, 17, 16, 19, 24, 40)


@dataclass(frozen=True)
class Header:
    """Size in pixels as stored, components (1 gray, 3 colour, 4 CMYK), EXIF orientation (1 to 8).

    ``quality`` is in [1, 100] as libjpeg counts; where the encoder used tables of its own, that of
    libjpeg's equally coarse one.
    """

    width: int
    height: int
    components: int
    orientation: int
    quality: float | None


def read_header(data: bytes) -> Header | None:
    """Read the segments up to the first scan; None where they hold no frame header."""
    frame, turn, at = b"", 1, 2
    tables: dict[int, list[int]] = {}
    for _ in range(MOST_SEGMENTS):
        start, marker = data[at : at + 1], int.from_bytes(data[at + 1 : at + 2])
        if start != b"\xff" or marker == SCAN:
            break
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        size = _u16(data, at + 2)
        body = data[at + 4 : at + 2 + size]
        if marker in FRAMES:
            frame = frame or body
        elif marker == TABLES:
            tables |= _tables(body)
        elif marker == APP1 and body.startswith(EXIF):
            turn = orientation(body[len(EXIF) :])
        at += 2 + size
    if len(frame) < 9:
        return None
    quality = _quality(tables.get(frame[8], []))
    return Header(_u16(frame, 3), _u16(frame, 1), frame[5], turn, quality)


def orientation(tiff: bytes) -> int:
    """Return the orientation, 1 to 8, that an EXIF block states; 1 where it states none."""
    if tiff[:4] not in (b"II*\0", b"MM\0*"):
        return 1

    def number(at: int, size: int) -> int:
        return int.from_bytes(tiff[at : at + size], "little" if tiff[:1] == b"I" else "big")

    start = number(4, 4)
    for tag in range(min(number(start, 2), MOST_TAGS)):
        at = start + 2 + 12 * tag
        if number(at, 2) == ORIENTATION:
            value = number(at + 8, 2) if number(at + 2, 2) == SHORT else 1
            return value if 1 <= value <= 8 else 1
    return 1


def _u16(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2])


def _tables(body: bytes) -> dict[int, list[int]]:
    """Return the lowest frequencies of each quantisation table of a DQT segment, by its number."""
    found, at = {}, 0
    while at < len(body):
        wide, number = body[at] >> 4 > 0, body[at] & 15
        step = 2 if wide else 1
        low = body[at + 1 : at + 1 + step * len(LUMINANCE)]
        found[number] = [int.from_bytes(low[i : i + step]) for i in range(0, len(low), step)]
        at += 1 + 64 * step
    return found


def _quality(table: list[int]) -> float | None:
    """Invert libjpeg's jpeg_quality_scaling: a scale of 5000 / q below 50, 200 - 2 q from there."""
    if len(table) < len(LUMINANCE):
        return None
    scale = max(100 * sum(table) / sum(LUMINANCE), 1e-9)
    return min(max(5000 / scale if scale > 100 else (200 - scale) / 2, 1.0), 100.0)
