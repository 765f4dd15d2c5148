"""Perceptual hashes of an image in all the ways a square can lie, from one small transform.

The hash is pHash as `imagehash.phash(hash_size=8, highfreq_factor=4)` computes it: the 8x8 lowest
frequencies of the DCT (type 2) of a 32x32 thumbnail, one bit each, set where the coefficient lies
above the median of the 64.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 32  # pixels of the thumbnail: hash size 8 times highfreq factor 4
LOW = 8  # frequencies kept on each axis
TIE = 1e-6  # coefficients reach 1e6 and are exact to 1e-9, so what is closer than this is equal

Pixel = TypeVar("Pixel", bound=np.generic)


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

# What each pose does to a matrix, in the order of POSES: (flip rows, flip columns, then transpose).
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


def apply_pose(image: NDArray[Pixel], pose: Pose) -> NDArray[Pixel]:
    """Turn ``image``, (H, W) or (H, W, channels), clockwise by the pose's turn, then mirror it."""
    turned = np.rot90(image, -(pose.turn // 90))
    return np.ascontiguousarray(turned[:, ::-1] if pose.mirror else turned)


def thumb32(gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Reduce a grey image (H, W) to (32, 32) by Pillow's Lanczos filter, as imagehash does."""
    small = Image.fromarray(gray).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    return np.asarray(small, dtype=np.uint8)


def pose_hashes(thumbs: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Hash thumbnails (N, 32, 32) as they would lie in each pose: (N, 8), columns as in POSES.

    Bit order: row-major over the 8x8 frequencies, the first bit the most significant, so that
    ``f"{value:016x}"`` is imagehash's hex string. A mirrored image has the same coefficients with
    the odd ones negated, a transposed one has them transposed, so one DCT serves all poses, and the
    bits are those of imagehash on the posed thumbnail. Exception: coefficients equal to the median
    (symmetric or flat thumbnails) count as not above it here, where imagehash leaves them to
    rounding noise. Needs about 12 kB an image while it runs: pass some thousands at a time.
    """
    low = _lowest_frequencies(thumbs)
    sign = np.where(np.arange(LOW) % 2, -1.0, 1.0)
    bits = {
        (rows, columns): _above_median(
            low * (sign[:, None] if rows else 1) * (sign if columns else 1)
        )
        for rows in (False, True)
        for columns in (False, True)
    }
    posed = [
        bits[rows, columns].transpose(0, 2, 1) if transpose else bits[rows, columns]
        for rows, columns, transpose in _AS_FLIPS
    ]
    return np.stack([_pack(each) for each in posed], axis=1)


def _lowest_frequencies(thumbs: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the 8x8 lowest DCT-2 coefficients, (N, 8, 8), unnormalised as in scipy.fftpack."""
    angles = np.pi * np.outer(np.arange(LOW), 2 * np.arange(SIDE) + 1) / (2 * SIDE)
    basis = 2 * np.cos(angles)
    low: NDArray[np.float64] = basis @ thumbs.astype(np.float64) @ basis.T
    return low


def _above_median(low: NDArray[np.float64]) -> NDArray[np.bool_]:
    flat = low.reshape(len(low), LOW * LOW)
    above: NDArray[np.bool_] = flat > np.median(flat, axis=1, keepdims=True) + TIE
    return above.reshape(low.shape)


def _pack(bits: NDArray[np.bool_]) -> NDArray[np.uint64]:
    rows = np.packbits(bits.reshape(len(bits), LOW * LOW), axis=1)
    return rows.view(">u8")[:, 0].astype(np.uint64)
