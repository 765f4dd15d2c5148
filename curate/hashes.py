"""Perceptual hashes of an image in all the ways a square can lie, from small grids of it.

`phash` is pHash as `imagehash.phash(hash_size=8, highfreq_factor=4)` computes it: the 8x8 lowest
frequencies of the DCT (type 2) of a 32x32 thumbnail, one bit each, set where the coefficient lies
above the median of the 64. `dhash` is `imagehash.dhash(hash_size=8)`: of a grid of 9 x 8 pixels,
one bit for each pixel brighter than its left neighbour. Bits are row-major, the first the most
significant, so that ``f"{value:016x}"`` is imagehash's hex string.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 32  # pixels of the pHash thumbnail: hash size 8 times highfreq factor 4
LOW = 8  # frequencies kept on each axis, and pixels of the dHash grid on one axis
TIE = 1e-6  # coefficients reach 1e6 and are exact to 1e-9, so what is closer than this is equal
MARGIN = 0.4  # of the coefficients' root mean square: how even is nearly even; see bench_join
FAST_PIXELS = 36_000  # 7 columns times this is below 2^18, above which OpenBLAS starts threads
STACK = 7  # columns of one product: 49 = 32 + 9 + 8 are seven such

Pixel = TypeVar("Pixel", bound=np.generic)
Number = TypeVar("Number", np.uint8, np.float32)
Gray = NDArray[np.uint8]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Pose:
    """One of the 8 ways a square can lie: turn clockwise by `turn` degrees, then mirror."""

    turn: int
    mirror: bool
    name: str


POSES = (
    Pose(0, False, "same"),
    Pose(90, False, "rot90"),
    Pose(180, False, "rot180"),
    Pose(270, False, "rot270"),
    Pose(0, True, "mirror"),
    Pose(90, True, "rot90 mirror"),
    Pose(180, True, "rot180 mirror"),
    Pose(270, True, "rot270 mirror"),
)


class Hashed(NamedTuple):
    """The hashes of one image as it would lie in each of POSES.

    Bit p of ``canonical`` is set where POSES[p] may be the image's canonical pose: the one in which
    it is brighter at the left and at the top, and more so at the left. Two copies of a picture,
    however turned or mirrored, look alike in their canonical poses, so that one hash an image need
    be searched for instead of eight. Where the image is so nearly even that a small change would
    choose another pose, that one's bit is set too; at least one is, 1.3 on average.
    """

    phash: NDArray[np.uint64]  # (8,)
    dhash: NDArray[np.uint64]  # (8,)
    canonical: int


def apply_pose(image: NDArray[Pixel], pose: Pose) -> NDArray[Pixel]:
    """Turn ``image``, (H, W) or (H, W, channels), clockwise by the pose's turn, then mirror it."""
    turned = np.rot90(image, -(pose.turn // 90))
    return np.ascontiguousarray(turned[:, ::-1] if pose.mirror else turned)


def exact(gray: Gray) -> Hashed:
    """Hash a grey image (H, W) of full size as imagehash does the image turned and mirrored.

    ``gray`` is what Pillow's ``convert("L")`` gives. Pillow resizes along rows first and rounds in
    between, so a transposed image needs thumbnails of its own. Bits are those of imagehash but for
    coefficients equal to the median (symmetric or flat thumbnails): they count as not above it
    here, where imagehash leaves them to rounding noise.
    """
    plain, transposed = Image.fromarray(gray), Image.fromarray(np.ascontiguousarray(gray.T))
    wide, tall = _thumb(plain, LOW + 1, LOW), _thumb(transposed, LOW + 1, LOW).T
    return _hashed(_thumb(plain, SIDE, SIDE), _thumb(transposed, SIDE, SIDE).T, wide, tall)


def fast(gray: Gray) -> Hashed:
    """Hash a grey image (H, W), decoded at any scale, by cheaper thumbnails.

    An image of more than FAST_PIXELS is halved by pairs of pixels first. Then the arithmetic is
    Pillow's Lanczos filter as products of matrices, with its rounding, but only one thumbnail
    serves all poses.
    """
    small, extents = _halved(gray)
    across = np.matmul(small.astype(np.float32), _columns(small.shape[1], extents[1]))
    rows = _rounded(across.transpose(1, 0, 2).reshape(len(small), -1))
    of_32, of_9, of_8 = _filters(len(small), extents[0])
    thumb = _rounded(of_32 @ rows[:, :SIDE])
    wide = _rounded(of_8 @ rows[:, SIDE : SIDE + LOW + 1])
    tall = _rounded(of_9 @ rows[:, SIDE + LOW + 1 :])
    return _hashed(thumb, thumb, wide, tall)


def pose_hashes(thumbs: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Return the pHash of thumbnails (N, 32, 32) in each pose: (N, 8), columns as in POSES.

    A mirrored image has the same coefficients with the odd ones negated, a transposed one has them
    transposed, so one DCT serves all poses. Needs some 10 kB an image while it runs: pass some
    thousands at a time.
    """
    low = _lowest_frequencies(thumbs)
    return _phashes(low, low)


def canonical_poses(thumbs: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return `Hashed.canonical` of thumbnails (N, 32, 32): (N,)."""
    return _canonical(_lowest_frequencies(thumbs))


def _thumb(image: Image.Image, width: int, height: int) -> Gray:
    return np.asarray(image.resize((width, height), Image.Resampling.LANCZOS), dtype=np.uint8)


def _halved(gray: Gray) -> tuple[Gray, list[float]]:
    """Halve until FAST_PIXELS; also return height and width in the small pixels, odd edges kept."""
    extents = [float(length) for length in gray.shape]
    while gray.size > FAST_PIXELS:
        steps = [2 if length > 1 else 1 for length in gray.shape]
        height, width = (length // step for length, step in zip(gray.shape, steps, strict=True))
        even = gray[: height * steps[0], : width * steps[1]]
        gray = cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8)
        extents = [extent / step for extent, step in zip(extents, steps, strict=True)]
    return gray, extents


def _rounded(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Round to grey levels in [0, 255], as Pillow does after each of its two passes."""
    return np.rint(np.clip(pixels, 0, 255))


@lru_cache(512)
def _columns(size: int, extent: float) -> NDArray[np.float32]:
    """Return the three filters side by side as a stack of small products: (7, size, 7)."""
    filters = np.concatenate(_filters(size, extent))
    return np.ascontiguousarray(filters.reshape(STACK, -1, size).transpose(0, 2, 1))


@lru_cache(512)
def _filters(size: int, extent: float) -> list[NDArray[np.float32]]:
    """Return Pillow's Lanczos filters from ``size`` pixels to 32, 9 and 8: each (n, size)."""
    return [_lanczos(size, extent, n) for n in (SIDE, LOW + 1, LOW)]


def _lanczos(size: int, extent: float, count: int) -> NDArray[np.float32]:
    """Return weights (count, size) as in Pillow's Resample.c: support 3, widened by the scale."""
    scale = extent / count
    width = max(scale, 1)
    centres = (np.arange(count) + 0.5) * scale
    apart = (np.arange(size) + 0.5 - centres[:, None]) / width
    weights = np.where(np.abs(apart) < 3, np.sinc(apart) * np.sinc(apart / 3), 0)
    normal: NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return normal.astype(np.float32)


def _hashed(
    thumb: NDArray[Number], turned: NDArray[Number], wide: NDArray[Number], tall: NDArray[Number]
) -> Hashed:
    """Hash by the thumbnail, the one that serves quarter turns, and grids (8, 9) and (9, 8)."""
    low = _lowest_frequencies(np.stack([thumb, turned]))
    pixels = np.concatenate([wide.ravel(), tall.ravel()])
    dhash = _pack(pixels[_PIXEL[:, :, 1:]] > pixels[_PIXEL[:, :, :-1]])
    return Hashed(_phashes(low[:1], low[1:])[0], dhash, int(_canonical(low[:1])[0]))


def _lowest_frequencies(thumbs: NDArray[Number]) -> Floats:
    """Return the 8x8 lowest DCT-2 coefficients, (N, 8, 8), unnormalised as in scipy.fftpack."""
    low: Floats = _BASIS @ thumbs.astype(np.float64) @ _BASIS.T
    return low


def _phashes(low: Floats, turned: Floats) -> NDArray[np.uint64]:
    """Return (N, 8) of coefficients (N, 8, 8); those in ``turned`` serve the quarter turns."""
    both = np.concatenate([low.reshape(-1, LOW**2), turned.reshape(-1, LOW**2)], axis=1)
    posed = both[:, _COEFFICIENT] * _SIGN
    half = LOW**2 // 2
    middle = np.partition(posed, (half - 1, half), axis=2)[..., half - 1 : half + 1]
    return _pack(posed > middle.mean(axis=2, keepdims=True) + TIE).reshape(-1, len(POSES))


def _canonical(low: Floats) -> NDArray[np.uint8]:
    """Return (N,): the poses whose two lowest frequencies a (across), d (down) have a >= d >= 0."""
    flat = low.reshape(-1, LOW**2)
    posed = flat[:, _COEFFICIENT[:, [1, LOW]] % LOW**2] * _SIGN[:, [1, LOW]]
    across, down = posed[..., 0], posed[..., 1]
    margin = MARGIN * np.sqrt((flat[:, 1:] ** 2).mean(axis=1, keepdims=True)) + TIE
    near = (across >= -margin) & (down >= -margin) & (across - down >= -margin)
    return np.packbits(near, axis=1, bitorder="little")[:, 0]


def _pack(bits: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Return (N,) of any shape of N x 64 bits."""
    octets = np.packbits(bits.reshape(-1, LOW**2), axis=1)
    return octets.view(">u8").astype(np.uint64)[:, 0]


# How a turn clockwise and then a mirror moves a matrix, in the order of POSES: (flip rows, flip
# columns, then transpose).
_AS_FLIPS = (
    (False, False, False),
    (True, False, True),
    (True, True, False),
    (False, True, True),
    (False, True, False),
    (False, False, True),
    (True, False, False),
    (True, True, True),
)


def _coefficient_tables() -> tuple[NDArray[np.intp], Floats]:
    """Return per pose which coefficient stands where, and its sign: (8, 64) each.

    Flipping an image negates the coefficients that are odd along that axis (DCT-2 is made of
    cosines about the middle), transposing it transposes them; 64 and up are those of `turned`.
    """
    odd = np.where(np.arange(LOW) % 2, -1.0, 1.0)
    numbers = np.arange(LOW**2).reshape(LOW, LOW)
    where, signs = [], []
    for rows, columns, transpose in _AS_FLIPS:
        sign = np.outer(odd if rows else np.abs(odd), odd if columns else np.abs(odd))
        where.append((numbers.T + LOW**2 if transpose else numbers).ravel())
        signs.append((sign.T if transpose else sign).ravel())
    return np.stack(where), np.stack(signs)


def _pixel_table() -> NDArray[np.intp]:
    """Return per pose which pixel of the wide grid, or else of the tall one, stands where."""
    wide, tall = np.arange(2 * LOW * (LOW + 1)).reshape(2, -1)
    wide, tall = wide.reshape(LOW, LOW + 1), tall.reshape(LOW + 1, LOW)
    return np.stack([apply_pose(tall if pose.turn % 180 else wide, pose) for pose in POSES])


_BASIS = 2 * np.cos(np.pi * np.outer(np.arange(LOW), 2 * np.arange(SIDE) + 1) / (2 * SIDE))
_COEFFICIENT, _SIGN = _coefficient_tables()
_PIXEL = _pixel_table()
