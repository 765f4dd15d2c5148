"""Whether two pictures of a face show it in one state: eyes open or closed, parts covered or not.

Copies of one picture are one state, whatever was done to them; a blink or a hand over the mouth
makes another, though most of the picture agrees (promise 2).

Neither of two signs of a blink is enough. MediaPipe's eyeBlink, in [0, 1], moves by up to .25 from
a picture to its copy where the face is small; pixels of the eye change with every move of the head.
So the difference of eyeBlink counts as much as the pixels of the eye changed more than those of the
rest of the face. The constants were fitted on copies, moved eyelids and painted covers of 180 faces
of NUAA, LFW and the web, that of the eyes on open and closed frames of NUAA;
`tests/benchmarks/bench_eyes.py` prints what they do on any folder.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.aligned import Aligned, align, changes
from curate.faces import Face
from curate.landmarks import LandmarkReader, Landmarks

MOST_EYE_CHANGE = 0.29  # in eyeBlink, where the eye changed as much as the rest of the face
MOST_COVER_CHANGE = 0.97
USUAL = 75  # percentile of the changes over the face that says how alike the pictures are at all
COVERED_BLOCKS = 4  # squares a third of the eyes' distance wide, half overlapping, that must change
BLINK_NOISE = 0.01  # added to differences of eyeBlink
EYE_NOISE, FACE_NOISE = 3e-4, 3e-3  # added to changes: the level between two good copies

CLOSED = 0.4  # eyeBlink: slits look through half-shut lids at .25 to .4, shut ones are above .45
MARGIN = 3  # frames before and after a blink that belong to it

Image: TypeAlias = NDArray[np.uint8]
Floats: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Aspect:
    """What is compared of a face; computed once per image, 20 kB.

    Attributes:
        closed: (2,) float32, how far the subject's right and left eye are closed, in [0, 1].
        aligned: the face and the eyes in grey, brought to one place.
    """

    closed: Floats
    aligned: Aligned

    def mirrored(self) -> "Aspect":
        """Return the aspect of the mirror image."""
        return Aspect(self.closed[::-1], self.aligned.mirrored())


def aspect(rgb: Image, face: Face, reader: LandmarkReader) -> Aspect | None:
    """Return the aspect of ``face`` in the upright ``rgb``; None where no landmarks can be read."""
    found = reader.read(rgb, face)
    if found is None:
        return None
    return Aspect(closed(found), align(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), found.points))


def closed(landmarks: Landmarks) -> Floats:
    """Return (2,): how far the subject's right and left eye are closed, in [0, 1]."""
    names = ("eyeBlinkRight", "eyeBlinkLeft")
    return np.array([landmarks.blendshape(name) for name in names], np.float32)


def compare(a: Aspect | None, b: Aspect | None, *, mirrored: bool) -> bool | None:
    """Return whether ``a`` and ``b`` show one state of the face; None where that is unknown.

    ``mirrored``: one picture is the mirror image of the other. The same for (b, a).
    """
    if a is None or b is None:
        return None
    found = state_change(a, b.mirrored() if mirrored else b)
    if found is None:
        return None
    eye, cover = found
    return eye <= MOST_EYE_CHANGE and cover <= MOST_COVER_CHANGE


def state_change(a: Aspect, b: Aspect) -> tuple[float, float] | None:
    """Return how much the eyes and the covers differ, both >= 0; None if too little face shows.

    Eyes: the larger, of both, of the difference of eyeBlink times the square root of the eye's
    change (`aligned.changes`) over the usual one of the face. Covers: the fourth largest change of
    a block over the square root of the usual one, because moved heads change more everywhere.
    """
    blocks, eyes = changes(a.aligned, b.aligned)
    if len(blocks) < COVERED_BLOCKS:
        return None
    usual = float(np.percentile(blocks, USUAL))
    blink = np.abs(a.closed - b.closed) + BLINK_NOISE
    eye = blink * np.sqrt((eyes + EYE_NOISE) / (usual + EYE_NOISE))
    worst = np.partition(blocks, -COVERED_BLOCKS)[-COVERED_BLOCKS]
    return float(eye.max()), float(worst / np.sqrt(usual + FACE_NOISE))


def blinks(
    closed: Sequence[float] | NDArray[np.floating], *, margin: int = MARGIN
) -> NDArray[np.bool_]:
    """Return which frames of a clip, in order, show closed eyes or lie ``margin`` frames around.

    ``closed`` (N,) in [0, 1], of the more closed eye; NaN where no face was found, which is no
    blink.
    """
    shut = np.flatnonzero(np.asarray(closed, dtype=float) >= CLOSED)
    around = (shut[:, None] + np.arange(-margin, margin + 1)).ravel()
    blinking = np.zeros(len(closed), bool)
    blinking[around[(around >= 0) & (around < len(closed))]] = True
    return blinking
