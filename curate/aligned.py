"""Faces brought to one place by their landmarks, and where two of them differ.

Distances of the templates are in units of the distance between the centres of the eyes, from the
point half way between them. An affine map fits TEMPLATE, the median of 680 faces (selfies and press
photographs), made symmetric, to a face, and places the eyes; it takes out scale and roll. The face
is laid flat by a quadratic map of SHAPE, the median of 100 press photographs, made symmetric: its
depth is about a paraboloid, so that is what a head that turns or nods does to its picture. Between
two open-eyed frames of one burst, covers that are none are then seen in 4 instead of 15 %.
"""

import itertools
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

# Landmark -> x, y: the corners of the eyes, under the nose, the corners of the mouth.
TEMPLATE = {
    33: (-0.711, -0.017),
    133: (-0.289, 0.017),
    362: (0.289, 0.017),
    263: (0.711, -0.017),
    2: (0.0, 0.708),
    61: (-0.379, 1.063),
    291: (0.379, 1.063),
}
# The same of more landmarks, none of a lid: those on the middle line, and pairs of the subject's
# right and left side, at -x and x.
MIDDLE = {
    10: -0.823, 151: -0.575, 9: -0.292, 168: -0.055, 6: 0.063, 5: 0.381, 1: 0.623, 2: 0.714,
    0: 0.971, 17: 1.28, 152: 1.823,
}  # fmt: skip
SIDES = {
    (33, 263): (0.688, -0.011), (133, 362): (0.272, 0.007), (70, 300): (0.913, -0.227),
    (105, 334): (0.657, -0.347), (107, 336): (0.227, -0.308), (21, 251): (1.06, -0.391),
    (54, 284): (0.959, -0.563), (67, 297): (0.56, -0.781), (127, 356): (1.135, 0.043),
    (234, 454): (1.122, 0.279), (132, 361): (1.069, 0.784), (172, 397): (0.898, 1.287),
    (150, 379): (0.64, 1.581), (148, 377): (0.21, 1.805), (116, 345): (1.012, 0.253),
    (50, 280): (0.784, 0.506), (205, 425): (0.652, 0.646), (187, 411): (0.863, 0.739),
    (48, 278): (0.297, 0.57), (98, 327): (0.272, 0.67), (61, 291): (0.434, 1.059),
}  # fmt: skip
SHAPE = {one: (0.0, y) for one, y in MIDDLE.items()}
for (right, left), (x, y) in SIDES.items():
    SHAPE |= {right: (-x, y), left: (x, y)}
FACE = (96, 88)  # height and width in pixels of the aligned face
FACE_UNIT = 36.0  # pixels between the eyes in it
FACE_ORIGIN = (44.0, 34.0)  # x, y in it of the point between the eyes
EYE = (24, 32)  # height and width in pixels of an aligned eye
EYE_UNIT = 52.0
OVAL = (44.0, 48.0, 40.0, 50.0)  # centre and radii in the aligned face: hair and background are out
SMOOTHING = 1.2  # pixels of the Gaussian that keeps noise and JPEG blocks out of the comparison
SLACK = 2  # pixels by which landmarks of two copies may disagree
LEAST_CONTRAST = 8.0  # grey levels: a flatter face is compared as if it had this deviation
BLOCK = 12  # pixels of the squares in which two faces are compared
STEP = 6  # pixels between their centres
TINY = np.float32(1e-9)  # so that flat blocks are uncorrelated instead of undefined
MOST_UNEXPLAINED = 0.3  # share of a face that may be covered in one of two pictures

Y, X = np.mgrid[: FACE[0], : FACE[1]]
INSIDE = ((X - OVAL[0]) / OVAL[2]) ** 2 + ((Y - OVAL[1]) / OVAL[3]) ** 2 < 1

Gray: TypeAlias = NDArray[np.uint8]
Floats: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Aligned:
    """One face.

    Attributes:
        face: (96, 88) uint8, grey.
        seen: (96, 88) bool, False where the face reaches outside the image.
        eyes: (2, 24, 32) uint8, grey: the eye on the left of the image (the subject's right), then
            the other.
    """

    face: Gray
    seen: NDArray[np.bool_]
    eyes: Gray

    def mirrored(self) -> "Aligned":
        """Return the face as it is in the mirror image of the picture."""
        return Aligned(self.face[:, ::-1], self.seen[:, ::-1], self.eyes[::-1, :, ::-1])


def align(gray: Gray, points: Floats) -> Aligned:
    """Return the face with landmarks ``points`` ((478, 2) or more, pixels) of ``gray`` (H, W)."""
    matrix = _fit(points)
    shrink = min(1.0, EYE_UNIT / np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    if shrink < 1:
        gray = cv2.resize(gray, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
        matrix = matrix * shrink
    eyes = [_eye(gray, matrix, side) for side in (-0.5, 0.5)]
    places = _flattened(points) * np.float32(shrink)
    face = _drawn(gray, places)
    seen = _drawn(np.ones_like(gray), places, cv2.BORDER_CONSTANT)
    return Aligned(face, seen > 0, np.stack(eyes))


def _flattened(points: Floats) -> Floats:
    """Return (96, 88, 2): where in the image each pixel of the aligned face lies."""
    bend = np.linalg.lstsq(SHAPE_TERMS, points[list(SHAPE), :2].astype(float), rcond=None)[0]
    places: Floats = (FACE_TERMS @ bend).reshape(*FACE, 2).astype(np.float32)
    return places


def _drawn(gray: Gray, places: Floats, border: int = cv2.BORDER_REPLICATE) -> Gray:
    x, y = places[..., 0], places[..., 1]
    pixels: Gray = cv2.remap(gray, x, y, cv2.INTER_LINEAR, borderMode=border)
    return pixels


def _terms(places: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return (N, 6): all products of x and y up to the second degree, of places (N, 2)."""
    x, y = places.astype(float).T
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)


def _fit(points: Floats) -> NDArray[np.float64]:
    """Return the (2, 3) affine map from the template to the image with least squared error."""
    ideal = np.array([(*place, 1) for place in TEMPLATE.values()])
    solution = np.linalg.lstsq(ideal, points[list(TEMPLATE), :2].astype(float), rcond=None)
    matrix: NDArray[np.float64] = solution[0].T
    return matrix


def _eye(gray: Gray, matrix: NDArray[np.float64], x: float) -> Gray:
    """Return the eye whose centre is ``x`` of the template."""
    corner = x - EYE[1] / 2 / EYE_UNIT, -EYE[0] / 2 / EYE_UNIT
    patch = np.array([[1 / EYE_UNIT, 0, corner[0]], [0, 1 / EYE_UNIT, corner[1]]])
    both = matrix @ np.vstack([patch, [0, 0, 1]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    pixels: Gray = cv2.warpAffine(
        gray, both, EYE[::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
    return pixels


def changes(a: Aligned, b: Aligned) -> tuple[Floats, Floats]:
    """Return how much blocks of two faces and their two eyes differ: (N,) and (2,), each >= 0.

    A change is the residual that is left when the tones of one face are fitted to the other's, in
    units of the face's contrast, times the lack of correlation: a flat part that noise makes
    uncorrelated leaves no residual, and clipped highlights stay correlated. Both are the best over
    shifts of up to 2 pixels. It is the same for (b, a).
    """
    if _contrast(a.face) < _contrast(b.face):
        a, b = b, a  # the flatter one is fitted to the other
    contrast = max(_contrast(a.face), LEAST_CONTRAST)
    tones = _tones(_smooth(b.face), _smooth(a.face)) / contrast

    def change(one: Gray, other: Gray, box: tuple[int, int]) -> Floats:
        fitted = np.polyval(tones, _smooth(other)).astype(np.float32)
        return local_change(_smooth(one) / np.float32(contrast), fitted, box)

    judged = _blocks(a.seen & b.seen)
    face = change(a.face, b.face, (BLOCK, BLOCK))[judged]
    inside = (EYE[0] - 3 * SLACK, EYE[1] - 3 * SLACK)
    middle = (EYE[0] // 2, EYE[1] // 2)
    eyes = [change(one, other, inside)[middle] for one, other in zip(a.eyes, b.eyes, strict=True)]
    return face, np.array(eyes, np.float32)


def local_change(a: Floats, b: Floats, box: tuple[int, int]) -> Floats:
    """Return (H, W): residual times lack of correlation in the box about each pixel.

    Pixels less than half a box and `SLACK` from the border mean nothing.
    """
    residual = np.full(a.shape, np.inf, np.float32)
    correlation = np.full(a.shape, -1, np.float32)
    mean_a, var_a = _moments(a, box)
    still = (b, *_moments(b, box))
    for step in itertools.product(range(-SLACK, SLACK + 1), repeat=2):
        moved, mean_b, var_b = (np.roll(values, step, axis=(0, 1)) for values in still)
        covariance = _mean(a * moved, box) - mean_a * mean_b
        squares = var_a + var_b - 2 * covariance + (mean_a - mean_b) ** 2
        residual = np.minimum(residual, squares)
        correlation = np.maximum(correlation, covariance / np.sqrt(var_a * var_b + TINY))
    changed: Floats = np.sqrt(np.maximum(residual, 0)) * (1 - np.minimum(correlation, 1))
    return changed


def _moments(values: Floats, box: tuple[int, int]) -> tuple[Floats, Floats]:
    mean = _mean(values, box)
    return mean, np.maximum(_mean(values * values, box) - mean * mean, 0)


def _mean(values: Floats, box: tuple[int, int]) -> Floats:
    mean: Floats = cv2.blur(values, box[::-1])
    return mean


def _smooth(gray: Gray) -> Floats:
    smooth: Floats = cv2.GaussianBlur(gray.astype(np.float32), (0, 0), SMOOTHING)
    return smooth


def _contrast(face: Gray) -> float:
    return float(face[INSIDE].std())


def _blocks(seen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the centres of the blocks that are compared: in the oval, and in both images."""
    box = (BLOCK + 2 * SLACK,) * 2
    inside = (cv2.blur(INSIDE.astype(np.float32), (BLOCK, BLOCK)) > 0.8) & (
        cv2.blur(seen.astype(np.float32), box) > 0.99
    )
    edge = BLOCK // 2 + SLACK
    grid = np.zeros_like(inside)
    grid[edge:-edge:STEP, edge:-edge:STEP] = True
    centres: NDArray[np.bool_] = inside & grid
    return centres


def _tones(x: Floats, y: Floats) -> NDArray[np.float64]:
    """Return the quadratic that maps tones of face ``x`` to ``y``, blind to what fits worst."""
    x, y = x[INSIDE][::4], y[INSIDE][::4]  # smoothed, so a quarter of the pixels says it all
    powers = np.vander(x.astype(float), 3)
    keep = np.ones(len(x), bool)
    for _ in range(3):
        tones = np.linalg.lstsq(powers[keep], y[keep].astype(float), rcond=None)[0]
        residual = np.abs(powers @ tones - y)
        keep = residual <= np.quantile(residual, 1 - MOST_UNEXPLAINED)
    fitted: NDArray[np.float64] = tones
    return fitted


SHAPE_TERMS = _terms(np.array(list(SHAPE.values())))
FACE_TERMS = _terms((np.stack([X, Y], axis=-1).reshape(-1, 2) - FACE_ORIGIN) / FACE_UNIT)
