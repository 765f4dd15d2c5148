"""Whether any small part of a face differs by more than copying explains.

A shut eye or a finger on the chin changes a hundredth of the picture, so no measure of the whole
sees it; but in a copy everything follows one rule. Here that rule is found: a small filter (resize,
blur, a shift of less than a pixel) and a curve of tones, blind to what fits worst. What it leaves
over is compared, part by part, with what it leaves over elsewhere in the same pair, and with what
an encoder does to edges.

The constants were chosen on copies and altered faces of half the people of LFW and NUAA;
`tests/benchmarks/bench_eyes.py --ingest` prints what they do on any folder.
"""

from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 64  # pixels of the square about the face
OVAL = (27, 30)  # half axes of the face in it
REACH = 1  # pixels to each side that the filter takes in
RIM = np.ones((2 * REACH + 3, 2 * REACH + 3), np.uint8)
POWERS = (0.5, 2.0, 3.0)  # of the tones, beside the filter: gammas and shoulders of 0.5 to 2
RIDGE = 1e-7  # of the fit, per pixel
FITTED = 0.85  # share of the pixels that the rule has to explain
FITS = 3
SOFTENED = 0.7  # pixels of the Gaussian that takes grain out of what is left over
DRIFT = 25  # pixels: what changes as slowly as this is light or clipping, and no cover
BLOCK = 7  # pixels of a part: a third of the distance between the eyes
LEAST_BLOCK = 0.6  # share of a part that must be there
LEAST_THERE = 400  # pixels of the oval, of 2540, that must be there; of them clear, to be fitted
CLIPPING = 12  # grey levels that the rule may miss where a channel is clipped
USUAL = 60  # percentile of the squares left over that is usual in this pair
EDGES = 0.02  # of the squared gradient (levels a pixel) is left over by encoders and half pixels
GRAIN = 5e-4  # of the variance of the face is left over anywhere
TOLERANCE = 12.0  # times what is expected leaves half of a part explained

Square: TypeAlias = NDArray[np.float32]
Mask: TypeAlias = NDArray[np.bool_]


def least_explained(x: Square, y: Square, there: Mask, clear: Mask) -> float:
    """Return how much of the least explained part of a face the other one explains, in (0, 1].

    ``x`` and ``y``, (64, 64) in grey levels, are one face in one place; ``there`` tells where both
    have pixels, ``clear`` where none of the two is clipped. Of a part it is 1 - error / (error +
    TOLERANCE * the error expected there), by the better of the two rules, x to y and y to x. 1
    where too little is there.
    """
    within = cv2.erode(there.astype(np.uint8), RIM)  # at an edge the filter reaches into nothing
    there = (within > 0) & INSIDE
    if there.sum() < LEAST_THERE:
        return 1.0
    fitted = there & clear
    fitted = fitted if fitted.sum() >= LEAST_THERE else there
    return max(_explained(*pair, there, fitted) for pair in ((x, y), (y, x)))


def _explained(x: Square, y: Square, there: Mask, fitted: Mask) -> float:
    left = _left_over(x, y, fitted)
    left = np.where(fitted, left, np.sign(left) * np.maximum(np.abs(left) - CLIPPING, 0))
    over = cv2.GaussianBlur(left.astype(np.float32), (0, 0), SOFTENED)
    over = over - _mean(over, there, DRIFT)
    error = _mean(over * over, there, BLOCK)
    parts = (cv2.blur(there.astype(np.float32), (BLOCK, BLOCK)) > LEAST_BLOCK) & INSIDE
    if not parts.any():
        return 1.0
    spread = max(float(y[fitted].var()), 1.0)
    expected = EDGES * _mean(_steepness(y), there, BLOCK) + GRAIN * spread
    tolerated = TOLERANCE * (expected + np.percentile(error[parts], USUAL))
    return float((1 - error / (error + tolerated))[parts].min())


def _left_over(x: Square, y: Square, fitted: Mask) -> Square:
    """Return y less what a filter and a tone curve make of x."""
    terms = _terms(x / np.float32(255))
    known, wanted = terms[fitted], y[fitted] / 255.0
    keep = np.ones(len(known), bool)
    ridge = RIDGE * len(known) * np.eye(terms.shape[-1])
    for _ in range(FITS):
        rows = known[keep]
        rule = np.linalg.solve(rows.T @ rows + ridge, rows.T @ wanted[keep])
        apart = np.abs(known @ rule - wanted)
        keep = apart <= np.quantile(apart, FITTED)
    left: Square = (y - 255 * np.clip(terms @ rule, 0, 1)).astype(np.float32)
    return left


def _terms(x: Square) -> NDArray[np.float64]:
    """Return (64, 64, 13): neighbours of each pixel, powers of its tone, 1."""
    wide = cv2.copyMakeBorder(x, REACH, REACH, REACH, REACH, cv2.BORDER_REPLICATE)
    size = 2 * REACH + 1
    shifted = [wide[i : i + SIDE, j : j + SIDE] for i in range(size) for j in range(size)]
    tone = np.clip(cv2.GaussianBlur(x, (0, 0), SOFTENED), 0, 1)
    terms = [*shifted, *(tone**power for power in POWERS), np.ones_like(x)]
    return np.stack(terms, axis=-1).astype(float)


def _steepness(y: Square) -> Square:
    """Return the squared gradient, in grey levels a pixel."""
    soft = cv2.GaussianBlur(y, (0, 0), SOFTENED)
    across, down = (cv2.Sobel(soft, cv2.CV_32F, dx, 1 - dx, scale=1 / 8) for dx in (1, 0))
    squares: Square = across**2 + down**2
    return squares


def _mean(values: Square, there: Mask, size: int) -> Square:
    """Return the mean over what is there in the square about each pixel."""
    weight = there.astype(np.float32)
    share = np.maximum(cv2.blur(weight, (size, size)), np.float32(1e-3))
    mean: Square = cv2.blur(values * weight, (size, size)) / share
    return mean


def _oval() -> Mask:
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    inside: Mask = (x / OVAL[0]) ** 2 + (y / OVAL[1]) ** 2 < 1
    return inside


INSIDE = _oval()
