"""Find faces with YuNet, where its file is at hand, through OpenCV.

Source: Wu, Peng, Yu, "YuNet: A Tiny Millisecond-level Face Detector", Machine Intelligence
Research 2023; OpenCV's FaceDetectorYN for its order of keypoints.
"""

import math
import threading
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from curate.errors import AssetError
from curate.faces import MIN_OVERLAP, WEAK_SCORE, Face, Floats, Image, Look, search

SIDE = 320  # pixels of the square it is shown
MOST = 50  # candidates of one view

# Its scores lie closer together than BlazeFace's. Slope and shift of their log-odds after which the
# evidence that orient.py compares means the same: 96 % of 80 upright LFW and NUAA frames are
# above orient.FAST, and none of 1344 turned frames is above 0.91. A score of 0.5 was 0.71.
SCALE = (1.6, -1.4)
TINY = 1e-4  # beyond it the odds are no longer finite

# Ears, which it does not tell: from each eye, so many times the way from the other eye, from the
# middle of the eyes to the nose, and from there to the mouth. Least squares on BlazeFace's ears of
# 353 faces, which it meets within 5 % of the distance of the eyes.
EARS = (0.54, -0.78, 1.34)


class YuNetDetector:
    """Finds faces in upright images as `FaceDetector` does; may be shared between threads.

    OpenCV's detector keeps state, so each thread gets its own.
    """

    def __init__(self, onnx_file: Path) -> None:
        """Read the network.

        Raises:
            AssetError: the file is missing or is no YuNet.
        """
        self._file = onnx_file
        self._local = threading.local()
        try:
            self._candidates(np.zeros((SIDE, SIDE, 3), np.uint8))
        except cv2.error as error:
            raise AssetError(
                f"{onnx_file} cannot be read as a YuNet face detector ({error.err}).\n"
                "Next: set [ingest] yunet in curate.toml to a face_detection_yunet .onnx file, or "
                "leave it out"
            ) from error

    def detect(self, rgb: Image, looks: Sequence[Look] = ("frame",)) -> list[Face]:
        """Return what may be a face in ``rgb`` ((H, W, 3) uint8) by any of ``looks``, best first.

        As `FaceDetector.detect`; the look "mesh" shows nothing.
        """
        return search(rgb, [look for look in looks if look != "mesh"], SIDE, self._candidates)

    def _candidates(self, pixels: Image) -> Floats:
        """Return (N, 17) candidates in the (SIDE, SIDE, 3) RGB ``pixels``."""
        _, found = self._network().detect(np.ascontiguousarray(pixels[..., ::-1]))
        return rows(np.empty((0, 15), np.float32) if found is None else found)

    def _network(self) -> cv2.FaceDetectorYN:
        """Return this thread's detector."""
        if not hasattr(self._local, "network"):
            self._local.network = cv2.FaceDetectorYN.create(
                str(self._file), "", (SIDE, SIDE), WEAK_SCORE, MIN_OVERLAP, MOST
            )
        network: cv2.FaceDetectorYN = self._local.network
        return network


def rows(found: Floats) -> Floats:
    """Return (N, 17) candidates from YuNet's (N, 15): box, five points, score.

    The mouth is the middle of its corners, the ears are estimated, the score is brought to SCALE.
    """
    points = found[:, 4:14].reshape(-1, 5, 2)
    right_eye, left_eye, nose, *corners = np.moveaxis(points, 1, 0)
    mouth, middle = np.mean(corners, axis=0), (right_eye + left_eye) / 2
    across, forward, down = EARS
    shift = forward * (nose - middle) + down * (mouth - nose)
    right_ear = right_eye + across * (right_eye - left_eye) + shift
    left_ear = left_eye + across * (left_eye - right_eye) + shift
    slope, intercept = SCALE
    scores = np.clip(found[:, 14], TINY, 1 - TINY)
    calibrated = 1 / (1 + math.exp(-intercept) * ((1 - scores) / scores) ** slope)
    return np.column_stack(
        [calibrated, found[:, :4], right_eye, left_eye, nose, mouth, right_ear, left_ear]
    ).astype(np.float32)
