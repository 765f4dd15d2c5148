"""Find 478 landmarks of a face, and how far each of its muscles is drawn, as MediaPipe does.

Source: MediaPipe's `face_landmarker` graphs (`face_landmarks_detector_graph.cc`,
`face_blendshapes_graph.cc`) for the square that is cut out, the decoding, and the landmarks that
the blendshapes are computed from. Left and right are the subject's.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.faces import KEYPOINTS, Face
from curate.networks import Network

SIDE = 256  # pixels of the network's square input
GROWN = 1.5  # side of the square over the longer side of the detector's box
MIN_PRESENCE = 0.5  # MediaPipe's default

# fmt: off
BLENDSHAPES = (
    "_neutral", "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft",
    "browOuterUpRight", "cheekPuff", "cheekSquintLeft", "cheekSquintRight", "eyeBlinkLeft",
    "eyeBlinkRight", "eyeLookDownLeft", "eyeLookDownRight", "eyeLookInLeft", "eyeLookInRight",
    "eyeLookOutLeft", "eyeLookOutRight", "eyeLookUpLeft", "eyeLookUpRight", "eyeSquintLeft",
    "eyeSquintRight", "eyeWideLeft", "eyeWideRight", "jawForward", "jawLeft", "jawOpen",
    "jawRight", "mouthClose", "mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft",
    "mouthFrownRight", "mouthFunnel", "mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight",
    "mouthPressLeft", "mouthPressRight", "mouthPucker", "mouthRight", "mouthRollLower",
    "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthSmileLeft", "mouthSmileRight",
    "mouthStretchLeft", "mouthStretchRight", "mouthUpperUpLeft", "mouthUpperUpRight",
    "noseSneerLeft", "noseSneerRight",
)

# The landmarks that the blendshape network takes, in its order.
SUBSET = np.array([
    0, 1, 4, 5, 6, 7, 8, 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63, 65, 66,
    67, 70, 78, 80, 81, 82, 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133, 136, 144,
    145, 146, 148, 149, 150, 152, 153, 154, 155, 157, 158, 159, 160, 161, 162, 163, 168, 172, 173,
    176, 178, 181, 185, 191, 195, 197, 234, 246, 249, 251, 263, 267, 269, 270, 276, 282, 283, 284,
    285, 288, 291, 293, 295, 296, 297, 300, 308, 310, 311, 312, 314, 317, 318, 321, 323, 324, 332,
    334, 336, 338, 356, 361, 362, 365, 373, 374, 375, 377, 378, 379, 380, 381, 382, 384, 385, 386,
    387, 388, 389, 390, 397, 398, 400, 402, 405, 409, 415, 454, 466, 468, 469, 470, 471, 472, 473,
    474, 475, 476, 477,
])
# fmt: on

Image: TypeAlias = NDArray[np.uint8]
Floats: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Landmarks:
    """The landmarks of one face.

    Attributes:
        points: (478, 3) float32: x, y in pixels of the image, z in the same unit, smaller nearer.
        presence: how surely the landmarks lie on a face, in [0, 1].
        blendshapes: (52,) float32 in [0, 1], in the order of `BLENDSHAPES`.
    """

    points: Floats
    presence: float
    blendshapes: Floats

    def blendshape(self, name: str) -> float:
        """Return one of `BLENDSHAPES`, in [0, 1]."""
        return float(self.blendshapes[BLENDSHAPES.index(name)])


class LandmarkReader:
    """Reads landmarks in upright images; may be shared between threads."""

    def __init__(self, task_file: Path) -> None:
        """Read the networks out of ``task_file``, MediaPipe's face_landmarker.task.

        Raises:
            AssetError: the file does not hold them.
        """
        self._landmarks = Network(task_file, "face_landmarks_detector.tflite")
        self._blendshapes = Network(task_file, "face_blendshapes.tflite")

    def read(self, rgb: Image, face: Face) -> Landmarks | None:
        """Return the landmarks of ``face`` in ``rgb`` ((H, W, 3) uint8), None where none show."""
        matrix = square(face)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        pixels = cv2.warpAffine(
            rgb, matrix, (SIDE, SIDE), flags=flags, borderMode=cv2.BORDER_REPLICATE
        )
        found = self._landmarks.run(pixels[None].astype(np.float32) / 255)
        presence = _sigmoid(float(found["Identity_1"].item()))
        if presence < MIN_PRESENCE:
            return None
        points = found["Identity"].reshape(-1, 3)
        points = np.column_stack(
            [
                points[:, :2] @ matrix[:, :2].T + matrix[:, 2],
                points[:, 2] * math.hypot(*matrix[:, 0]),
            ]
        ).astype(np.float32)
        (shapes,) = self._blendshapes.run(points[None, SUBSET, :2]).values()
        return Landmarks(points, presence, shapes)


def square(face: Face) -> NDArray[np.float64]:
    """Return the (2, 3) matrix from pixels of the network's input to pixels of the image.

    The square about the box stands upright on the line between the eyes. Pixel (0, 0) goes to its
    corner: MediaPipe lacks the usual half-pixel shift.
    """
    x, y, width, height = face.box
    right, left = (face.keypoints[KEYPOINTS.index(eye)] for eye in ("right_eye", "left_eye"))
    angle = math.atan2(left[1] - right[1], left[0] - right[0])
    scale = GROWN * max(width, height) / SIDE
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    turn = np.array([[cos, -sin], [sin, cos]])
    corner = (x + width / 2, y + height / 2) - turn @ (SIDE / 2, SIDE / 2)
    return np.column_stack([turn, corner])


def _sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-max(min(logit, 80.0), -80.0)))
