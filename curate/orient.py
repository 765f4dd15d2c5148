"""Which turn brings an image upright: look for a face in all four and compare.

One look is not enough: a detector also fires on turned faces, and makes up upright eyes and mouths
for them. So each turn gets an *evidence* from each look, the best candidate's score times how
upright its eyes and mouth lie, and the turns compete: their chances are the softmax of the looks'
weighted log-odds of evidence. More looks join in, mirrored too, until one turn is sure enough;
where none is, we abstain.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from curate.faces import MIN_SCORE, Face, Image, Look, sharpen

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

Key: TypeAlias = tuple[int, Look, bool]  # turn, look, in the mirror

# Score and uprightness of a face at turn 0 in the look "frame" that spare us the other turns. Of
# 4500 turned frames, spoiled and mirrored too, none with an uprightness of 0.8 scored above 0.913;
# of 1800 that YuNet saw, none above 0.918.
FAST = 0.92
LEVEL = 0.9
CLOSE = 0.1  # difference of evidence below which the finer look tells where the faces are
FLOOR = 0.02  # added to evidence for and against: no single look can rule a turn out


@dataclass(frozen=True)
class Stage:
    """One round of looks.

    Attributes:
        weights: of the log-odds of each look.
        sure: chance from which the best turn is believed.
        least: evidence that some look must show for it, since the chances compare the turns alone:
            where there is no face at all, a shadow of one wins easily.
        mirrored: whether a look is taken in the mirror too, and the mean counts; tiles are not,
            for there are many.
    """

    weights: Mapping[Look, float]
    sure: float
    least: float
    mirrored: bool = False


# Weights: conditional logit of the true turn (McFadden 1974), none negative, fitted on 430 images:
# photographs with masks and without, and dark, blurred, noisy, 32 px and tightly cropped copies,
# each kind counting the same. The chances that decide were chosen on them too.
FEW: Mapping[Look, float] = {"border": 2.9, "bright": 2.2}
MANY: Mapping[Look, float] = {
    "frame": 0.15,
    "border": 1.2,
    "wide": 0.85,
    "far": 1.3,
    "bright": 2.45,
    "mesh": 0.45,
}
STAGES = (
    Stage({"frame": 4.1}, 0.95, 0.75),
    Stage(FEW, 0.97, 0.5),
    Stage(MANY, 0.97, 0.5),
    Stage(MANY, 0.95, 0.5, mirrored=True),
    Stage({**MANY, "tiles": 1.1}, 0.85, 0.5, mirrored=True),
)


class Detect(Protocol):
    """What `FaceDetector.detect` does."""

    def __call__(self, rgb: Image, looks: Sequence[Look], /) -> list[Face]:
        """Return the candidates that any of ``looks`` shows in ``rgb``, best score first."""


@dataclass(frozen=True)
class Upright:
    """How an image lies.

    Attributes:
        turn: degrees clockwise that bring it upright, or -1: undecided, treat it as not turned.
        confidence: chance of the best turn, in [0, 1]; where turn 0 alone convinced, its evidence.
        face: the largest face, in pixels of the turned image; None where there is none.
        faces: all that were found there, best score first.
    """

    turn: int
    confidence: float
    face: Face | None
    faces: tuple[Face, ...]


def turn_image(rgb: Image, turn: int) -> Image:
    """Return ``rgb`` turned clockwise by 0, 90, 180 or 270 degrees; -1, undecided, by none."""
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

    Undecided: the faces are those of turn 0.
    """
    first = detect(rgb, ("frame",))
    if any(face.score >= FAST and uprightness(face) >= LEVEL for face in first):
        return _upright(0, min(evidence(first), 1.0), first)
    clear = sharpen(rgb)
    views = Views(clear, detect, first if clear is rgb else detect(clear, ("frame",)))
    for stage in STAGES:
        chances = softmax(np.array([views.votes(turn, stage) for turn in TURNS]))
        best = int(np.argmax(chances))
        faces = views.faces(TURNS[best])
        if chances[best] >= stage.sure and evidence(faces) >= stage.least:
            return _upright(TURNS[best], float(chances[best]), faces)
    return _upright(UNDECIDED, float(chances[best]), views.faces(0))


class Views:
    """What each look shows of an image at each turn; each is taken once, when first asked for."""

    def __init__(self, rgb: Image, detect: Detect, first: list[Face]) -> None:
        """Start with ``first``, what the look "frame" shows at turn 0."""
        self._detect = detect
        self._turned = {turn: turn_image(rgb, turn) for turn in TURNS}
        self._seen: dict[Key, list[Face]] = {(0, "frame", False): first}

    def votes(self, turn: int, stage: Stage) -> float:
        """Return the weighted sum of the log-odds of ``stage``'s looks."""
        return sum(
            weight * self._log_odds(turn, look, mirrored=stage.mirrored)
            for look, weight in stage.weights.items()
        )

    def faces(self, turn: int) -> list[Face]:
        """Return what the first look, the finest, shows at ``turn`` that is CLOSE to the best."""
        plain = [
            faces
            for (at, look, mirror), faces in self._seen.items()
            if at == turn and not mirror and look != "mesh"
        ]
        most = max(map(evidence, plain))
        enough = max(most - CLOSE, min(most, MIN_SCORE))
        return next(faces for faces in plain if evidence(faces) >= enough)

    def _log_odds(self, turn: int, look: Look, *, mirrored: bool) -> float:
        sides = (False, True) if mirrored and look != "tiles" else (False,)
        return sum(log_odds(evidence(self._see((turn, look, side)))) for side in sides) / len(sides)

    def _see(self, key: Key) -> list[Face]:
        if key not in self._seen:
            turn, look, mirror = key
            rgb = self._turned[turn]
            self._seen[key] = self._detect(
                np.ascontiguousarray(rgb[:, ::-1]) if mirror else rgb, (look,)
            )
        return self._seen[key]


def log_odds(value: float) -> float:
    """Return the log-odds of an evidence in [0, 1], within those of FLOOR."""
    return math.log((value + FLOOR) / (1 - min(value, 1.0) + FLOOR))


def softmax(votes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return chances in [0, 1] that sum to 1, in the order of ``votes``."""
    powers = np.exp(votes - votes.max())
    chances: NDArray[np.float64] = powers / powers.sum()
    return chances


def evidence(faces: Sequence[Face]) -> float:
    """Return the largest score x uprightness of ``faces``, in [0, 1]; 0 without faces."""
    return max((face.score * uprightness(face) for face in faces), default=0.0)


def uprightness(face: Face) -> float:
    """Return how upright eyes and mouth lie, in [0, 1]: 1 upright, 0 from a quarter turn on.

    It is the smaller of two cosines: of the line through the eyes with the horizontal, and of the
    line from their middle to the mouth with the vertical.
    """
    right_eye, left_eye, _, mouth = face.keypoints[:4]
    across, down = left_eye - right_eye, mouth - (left_eye + right_eye) / 2
    level = float(across[0]) / max(math.hypot(*across), TINY)
    plumb = float(down[1]) / max(math.hypot(*down), TINY)
    return max(0.0, min(level, plumb))


def _upright(turn: int, confidence: float, candidates: Sequence[Face]) -> Upright:
    faces = tuple(face for face in candidates if face.score >= MIN_SCORE)
    largest = max(faces, key=lambda face: face.box[2] * face.box[3], default=None)
    return Upright(turn, confidence, largest, faces)
