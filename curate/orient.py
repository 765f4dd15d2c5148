"""Which turn brings an image upright: look for a face in all four and compare.

One look is not enough: the detector also fires on turned faces. So each turn gets an *evidence* in
[0, 1], the best face's score times how upright its eyes and mouth lie, and the best turn wins.
Where that is close, a second look with a border joins in; where it stays close, we abstain.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from curate.faces import Face, Image, Look

TURNS = (0, 90, 180, 270)
UNDECIDED = -1
EXIF = {  # orientation: flip left-right first, then turn clockwise
    1: (False, 0),
    2: (True, 0),
    3: (False, 180),
    4: (True, 180),
    5: (True, 270),
    6: (False, 90),
    7: (True, 90),
    8: (False, 270),
}
TINY = 1e-6  # pixels

FAST = 0.93  # evidence of turn 0 that spares the other turns
SURE = (0.6, 0.1)  # evidence and margin that decide after the first look
LIKELY = (0.5, 0.03)  # the same after the second; below it lie most of the wrong decisions

Evidence = NDArray[np.float64]
Views = list[list[Face]]


class Detect(Protocol):
    """What `FaceDetector.detect` does."""

    def __call__(self, rgb: Image, looks: Sequence[Look], /) -> list[Face]:
        """Return the faces of ``rgb``, best score first, of the first look that finds any."""


@dataclass(frozen=True)
class Upright:
    """How an image lies.

    Attributes:
        turn: degrees clockwise that bring it upright, or -1: undecided, treat it as not turned.
        confidence: best minus second-best turn's evidence, in [0, 1]; where turn 0 alone convinced,
            the others count as 0.
        face: the largest face, in pixels of the turned image; None where there is none.
        faces: how many were found there.
    """

    turn: int
    confidence: float
    face: Face | None
    faces: int


def turn_image(rgb: Image, turn: int) -> Image:
    """Return ``rgb`` turned clockwise by 0, 90, 180 or 270 degrees; -1 (undecided) turns nothing."""
    quarters = 0 if turn == UNDECIDED else TURNS.index(turn)
    return np.ascontiguousarray(np.rot90(rgb, -quarters))


def apply_exif(rgb: Image, orientation: int) -> Image:
    """Return ``rgb`` as its EXIF orientation (1 to 8; others count as 1) wants it shown.

    Source: CIPA DC-008 (EXIF 2.32), tag 0x0112: first flip left-right, then turn clockwise.
    """
    mirror, turn = EXIF.get(orientation, (False, 0))
    return turn_image(rgb[:, ::-1] if mirror else rgb, turn)


def find_upright(rgb: Image, detect: Detect) -> Upright:
    """Return how ``rgb`` ((H, W, 3) uint8) must be turned; ``detect`` is `FaceDetector.detect`.

    Costs one look where turn 0 convinces, four as a rule, eight where they are close, and the
    tiles of all four turns only where none of those showed a face.
    """
    first = detect(rgb, ("frame",))
    if (sure := evidence(first)) >= FAST:
        return _upright(0, sure, first)
    turned = [turn_image(rgb, turn) for turn in TURNS]
    views = [first, *(detect(image, ("frame",)) for image in turned[1:])]
    scores = _evidences(views)
    if _decides(scores, SURE):
        return _best(scores, views)
    border = [detect(image, ("border",)) for image in turned]
    scores = (scores + _evidences(border)) / 2
    views = [one or other for one, other in zip(views, border, strict=True)]
    if not any(views):
        views = [detect(image, ("tiles",)) for image in turned]
        scores = _evidences(views)
    if _decides(scores, LIKELY):
        return _best(scores, views)
    return _upright(UNDECIDED, _margin(scores), views[0])


def evidence(faces: list[Face]) -> float:
    """Return the largest score x uprightness of ``faces``, in [0, 1]; 0 without faces."""
    return max((face.score * uprightness(face) for face in faces), default=0.0)


def uprightness(face: Face) -> float:
    """Return how upright eyes and mouth lie, in [0, 1]: 1 upright, 0 from a quarter turn on.

    It is the smaller of two cosines: of the line through the eyes with the horizontal, and of the
    line from their middle to the mouth with the vertical.
    """
    right_eye, left_eye, _, mouth = face.keypoints[:4].tolist()
    across = left_eye[0] - right_eye[0], left_eye[1] - right_eye[1]
    down = mouth[0] - (left_eye[0] + right_eye[0]) / 2, mouth[1] - (left_eye[1] + right_eye[1]) / 2
    level = across[0] / max(math.hypot(*across), TINY)
    plumb = down[1] / max(math.hypot(*down), TINY)
    return max(0.0, min(level, plumb))


def _evidences(views: Views) -> Evidence:
    return np.array([evidence(faces) for faces in views])


def _margin(scores: Evidence) -> float:
    second, best = np.sort(scores)[-2:].tolist()
    return float(best - second)


def _decides(scores: Evidence, needed: tuple[float, float]) -> bool:
    return bool(scores.max() >= needed[0] and _margin(scores) >= needed[1])


def _best(scores: Evidence, views: Views) -> Upright:
    best = int(scores.argmax())
    return _upright(TURNS[best], _margin(scores), views[best])


def _upright(turn: int, confidence: float, faces: list[Face]) -> Upright:
    largest = max(faces, key=lambda face: face.box[2] * face.box[3], default=None)
    return Upright(turn, min(confidence, 1.0), largest, len(faces))
