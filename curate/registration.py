"""Laying one picture upon another: the best affine map, and what it cuts out.

Maps are (2, 3): from pixels of the picture that stays to those of the one that moves.
"""

import math
from typing import NamedTuple, TypeAlias, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

STEPS = 50  # of ECC at most
SETTLED = 1e-4  # gain in correlation below which it has converged
SMOOTHING = 5  # pixels of the Gaussian that it uses

Small: TypeAlias = NDArray[np.float32]
Matrix: TypeAlias = NDArray[np.float64]
Pixels = TypeVar("Pixels", bound=NDArray[np.generic])


class Laid(NamedTuple):
    """A map, and the correlation that it reaches."""

    correlation: float
    warp: Small


def aligned(
    moving: NDArray[np.generic],
    fixed: NDArray[np.generic],
    beginning: Small | None = None,
    inside: NDArray[np.uint8] | None = None,
    *,
    steps: int = STEPS,
) -> Laid | None:
    """Lay one grey square upon another of its size; None where that does not converge.

    By ECC (Evangelidis and Psarakis, PAMI 30(10), 2008) from ``beginning``, as they lie if None;
    pixels where ``inside`` is 0 do not count.
    """
    start = np.eye(2, 3, dtype=np.float32) if beginning is None else beginning.copy()
    until = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, steps, SETTLED)
    try:
        correlation, warp = cv2.findTransformECC(
            fixed, moving, start, cv2.MOTION_AFFINE, until, inside, SMOOTHING
        )
    except cv2.error:  # it did not converge
        return None
    return Laid(float(correlation), np.asarray(warp, dtype=np.float32))


def zoomed(warp: NDArray[np.floating], zoom: float) -> Matrix:
    """Return the map of squares ``zoom`` times as large; middles of pixels lie on each other."""
    turned, half = np.asarray(warp[:, :2], float), 0.5 * (zoom - 1)
    return np.column_stack([turned, zoom * warp[:, 2] + half - half * turned.sum(axis=1)])


def cut(image: Pixels, matrix: Matrix, side: int, border: int) -> Pixels:
    """Return the square of ``side`` that ``matrix`` takes to ``image``, averaged where larger.

    ``border`` is what OpenCV shows beyond the picture.
    """
    reduction = math.sqrt(abs(np.linalg.det(matrix[:, :2])))
    if reduction > 1:
        size = [max(round(length / reduction), 1) for length in image.shape[::-1]]
        zoom = np.array(size) / image.shape[::-1]
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        matrix = matrix * zoom[:, None]
        matrix[:, 2] += 0.5 * (zoom - 1)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    found: Pixels = cv2.warpAffine(image, matrix, (side, side), flags=flags, borderMode=border)
    return found
