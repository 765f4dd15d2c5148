"""Whether two pictures of a face are one shot, eyes and covers included, seen at one resolution.

A copy that is half as large, or blurred, differs from its original wherever there is detail, and
most where the eyes are. So the finer face is laid upon the coarser one (by the keypoints, then by
ECC), blurred until it is as coarse, and its tones are bent; the landmarks of the better one serve
both. What still differs then is what was drawn, shut or covered, not what was encoded.

Two frames of a burst seldom pass: heads move. They are for `eyes.compare`.

Measured on 902 copies, 534 faces with the closed eyes of others put in, and 820 drawn covers, each
degraded, of NUAA, LFW and generated faces, and on 316 open and closed frames of one burst. Of the
latter's eyes none changed by less than .0057; 99 % of LFW's and generated copies by .0012 at most.
"""

import math
from dataclasses import dataclass, replace
from typing import TypeAlias, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.aligned import align, changes
from curate.faces import KEYPOINTS, Face
from curate.landmarks import LandmarkReader, square
from curate.registration import aligned, cut, zoomed

SIDE = 256  # pixels of the square about the face, as the landmark network takes it
COARSE = 128  # pixels of the square in which the two are aligned
BLURS = (0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0)  # pixels of the square
FOR_TONES = 3.0  # pixels of the Gaussian under which any two copies are equally coarse
OVAL = (128, 128, 80, 95)  # centre and radii in the square: what the face fills
CLEAR = (3, 250)  # grey levels that are not burnt out
LEAST_CLEAR = 2000  # pixels, of 23,900
EXPLAINED = 0.8  # share of the pixels by which blurs are compared: a cover must not choose one
TONE_STEP = 7  # every so many pixels serve the fit of the tones

USUAL = 75  # percentile of the changes over the face
MOST_USUAL = 2e-3  # change of the face; between 99 % of copies 6e-4
MOST_EYE = 2e-3  # change of an eye
MOST_EYE_RATIO = 3.0  # change of an eye over that of the face, noise added to both
EYE_NOISE, FACE_NOISE = 3e-4, 3e-3  # as in `eyes`
COVERED_BLOCKS = 3
MOST_COVER = 0.7

Gray: TypeAlias = NDArray[np.uint8]
Floats: TypeAlias = NDArray[np.float32]
Matrix: TypeAlias = NDArray[np.float64]  # (2, 3)
Pixels = TypeVar("Pixels", Gray, Floats)


@dataclass(frozen=True, eq=False)
class Portrait:
    """A face in its picture.

    Attributes:
        gray: (H, W) uint8, upright.
        face: where it is, in pixels of ``gray``.
        points: (478, 2) or more, its landmarks in them; None where none can be read.
    """

    gray: Gray
    face: Face
    points: Floats | None

    def mirrored(self) -> "Portrait":
        """Return the mirror image without its landmarks."""
        width = self.gray.shape[1]
        x, y, wide, high = self.face.box
        points = self.face.keypoints[[_other_side(name) for name in KEYPOINTS]]
        points = np.column_stack([width - points[:, 0], points[:, 1]]).astype(np.float32)
        face = replace(self.face, box=(width - x - wide, y, wide, high), keypoints=points)
        return Portrait(np.ascontiguousarray(self.gray[:, ::-1]), face, None)


@dataclass(frozen=True)
class Change:
    """What one resolution and one geometry leave of a difference; see `aligned.changes`.

    Attributes:
        usual: of the face, >= 0.
        eye: of the eye that changed more, >= 0.
        cover: of the third most changed block over the root of the usual, >= 0.
    """

    usual: float
    eye: float
    cover: float

    @property
    def eye_ratio(self) -> float:
        """How much more the eye changed than the face."""
        return (self.eye + EYE_NOISE) / (self.usual + EYE_NOISE)


def portrait(rgb: Gray, face: Face, reader: LandmarkReader) -> Portrait:
    """Return the portrait of ``face`` in the upright ``rgb`` ((H, W, 3) uint8)."""
    found = reader.read(rgb, face)
    gray: Gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    return Portrait(gray, face, None if found is None else found.points[:, :2])


def same_shot(a: Portrait, b: Portrait, *, mirrored: bool) -> bool | None:
    """Return whether ``a`` and ``b`` show one shot of a face; None where landmarks lack in both.

    ``mirrored``: one picture is the mirror image of the other. False says only that they cannot be
    shown to be one.
    """
    found = change(a, b, mirrored=mirrored)
    if found is None:
        return None
    eyes_agree = found.eye <= MOST_EYE and found.eye_ratio <= MOST_EYE_RATIO
    return eyes_agree and found.usual <= MOST_USUAL and found.cover <= MOST_COVER


def change(a: Portrait, b: Portrait, *, mirrored: bool) -> Change | None:
    """Return how much the faces differ; None where landmarks lack in both, or too little shows."""
    if a.points is None or (b.points is not None and _size(b) > _size(a)):
        a, b = b, a
    if a.points is None:
        return None
    frame = square(a.face)
    one, other = _cut(a.gray, frame), _onto(a, b.mirrored() if mirrored else b, frame)
    points = (a.points - frame[:, 2]) @ np.linalg.inv(frame[:, :2]).T
    blocks, eyes = changes(*(align(each, points) for each in equally_coarse(one, other)))
    if len(blocks) < COVERED_BLOCKS:
        return None
    usual = float(np.percentile(blocks, USUAL))
    worst = float(np.partition(blocks, -COVERED_BLOCKS)[-COVERED_BLOCKS])
    return Change(usual, float(eyes.max()), worst / math.sqrt(usual + FACE_NOISE))


def equally_coarse(a: Gray, b: Gray) -> tuple[Gray, Gray]:
    """Blur the finer of two squares about one face until they differ least, their tones fitted."""
    x, y = a.astype(np.float32), b.astype(np.float32)
    seen = _clear(a) & _clear(b) & INSIDE
    seen = seen if seen.sum() >= LEAST_CLEAR else INSIDE
    smooth = [_blurred(image, FOR_TONES)[seen][::TONE_STEP] for image in (y, x)]
    curve = np.polyfit(smooth[0].astype(float), smooth[1].astype(float), 2)
    fitted = np.polyval(curve, y.astype(float)).astype(np.float32)
    sides = {(0.0, 0.0): _residual(x, fitted, seen)}
    sides |= {(blur, 0.0): _residual(_blurred(x, blur), fitted, seen) for blur in BLURS}
    sides |= {(0.0, blur): _residual(x, _blurred(fitted, blur), seen) for blur in BLURS}
    of_a, of_b = min(sides, key=lambda blurs: sides[blurs])
    return (_blurred(a, of_a) if of_a else a), (_blurred(b, of_b) if of_b else b)


def _onto(a: Portrait, b: Portrait, frame: Matrix) -> Gray:
    """Cut out of ``b`` what ``frame`` cuts out of ``a``."""
    matrix = _then(frame, _similarity(a.face.keypoints, b.face.keypoints))
    still, moving = (
        cv2.resize(each, (COARSE, COARSE), interpolation=cv2.INTER_AREA)
        for each in (_cut(a.gray, frame), _cut(b.gray, matrix))
    )
    laid = aligned(moving, still)
    if laid is None:
        return _cut(b.gray, matrix)
    return _cut(b.gray, _then(zoomed(laid.warp, SIDE / COARSE), matrix))


def _cut(gray: Gray, matrix: Matrix) -> Gray:
    return cut(gray, matrix, SIDE, cv2.BORDER_REPLICATE)


def _similarity(x: Floats, y: Floats) -> Matrix:
    """Return the turn, scale and shift from points ``x`` (N, 2) to ``y`` with least error."""
    there, here = (points.astype(float) @ (1, 1j) for points in (x, y))
    middle, target = there.mean(), here.mean()
    factor = np.vdot(there - middle, here - target) / np.vdot(there - middle, there - middle)
    shift = target - factor * middle
    turn = [[factor.real, -factor.imag, shift.real], [factor.imag, factor.real, shift.imag]]
    return np.array(turn)


def _then(first: Matrix, second: Matrix) -> Matrix:
    both: Matrix = second @ np.vstack([first, [0, 0, 1]])
    return both


def _other_side(name: str) -> int:
    swapped = {"right": "left", "left": "right"}
    side, _, rest = name.partition("_")
    return KEYPOINTS.index(f"{swapped[side]}_{rest}" if side in swapped else name)


def _size(shown: Portrait) -> float:
    return max(shown.face.box[2:])


def _oval() -> NDArray[np.bool_]:
    y, x = np.mgrid[:SIDE, :SIDE]
    inside: NDArray[np.bool_] = ((x - OVAL[0]) / OVAL[2]) ** 2 + ((y - OVAL[1]) / OVAL[3]) ** 2 < 1
    return inside


def _clear(gray: Gray) -> NDArray[np.bool_]:
    clear: NDArray[np.bool_] = (gray > CLEAR[0]) & (gray < CLEAR[1])
    return clear


def _blurred(image: Pixels, sigma: float) -> Pixels:
    soft: Pixels = cv2.GaussianBlur(image, (0, 0), sigma)
    return soft


def _residual(x: Floats, y: Floats, seen: NDArray[np.bool_]) -> float:
    """Return the mean square of the smaller differences."""
    apart = np.abs(x - y)[seen]
    kept = int(EXPLAINED * len(apart))
    return float((np.partition(apart, kept)[:kept] ** 2).mean())


INSIDE = _oval()
