"""How good an image is: ten scores in [0, 1], 1 is good, and below which score each is an issue.

Thresholds and ranges were chosen on 340 photographs of public sets, as they are and with planted
defects; bench_quality.py prints for any folder of faces how often each strikes.
"""

import math
from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.faces import Face, square_crop

THRESHOLDS = {  # a score below is an issue; in brackets what that means with the ranges below
    "blur": 0.28,  # fine over coarse detail of the face [0.21]
    "exposure": 0.4,  # gray level of the face's bright parts [62], of its middle [40 or 223]
    "contrast": 0.3,  # gray levels between the face's dark and bright parts [36]
    "face_size": 0.35,  # shorter side of the face in the file [55 pixels]
    "head_pose": 0.4,  # nose off the middle [0.45 eye distances], roll [27 degrees], or pitch
    "several_faces": 0.5,  # 1 - side of the largest other face, if sure, over that of the face
    "no_face": 0.5,  # score of the best face
    "borders": 0.96,  # 1 - share of the frame under bars
    "gray": 0.25,  # mean difference of the largest and least of R, G, B [2 levels]
    "compression": 0.3,  # JPEG quality over 100, or how visible the 8 pixel grid is
}
NAMES = tuple(THRESHOLDS)

# From which value the score is 0, and from which 1.
DETAIL = (0.1, 0.5)
DARK = (30, 110)  # gray level below which 95 % of the pixels lie
DIM = (20, 70)  # gray level below which 50 % of the pixels lie
LIGHT = (245, 190)  # the same
SPREAD = (0, 120)  # gray levels between those below which 5 % and 95 % lie
SIZE = (24, 112)  # pixels
COLOUR = (0, 8)  # levels
GRID = (2.0, 1.0)  # steps across the borders of blocks over steps inside them

FACE_SIDE = 128  # pixels to which the face is brought before its detail is measured
YAW, PITCH, FRONTAL, ROLL = 0.75, 0.5, 0.53, 45.0  # see head_pose
PLAIN = 8  # gray levels: a bar varies less along its length, after JPEG too
STEP = 16  # gray levels: where a bar ends, the picture differs by more from it ...
STEP_SHARE = 0.5  # ... over this share of its length; the plain wall behind a head does not
BLOCK = 8  # pixels of JPEG's blocks
TINY = 1e-6

Pixels = NDArray[np.uint8]


def measure(
    rgb: Pixels,
    faces: Sequence[Face] | None,
    *,
    scale: float = 1.0,
    coloured: bool = True,
    jpeg_quality: float | None = None,
) -> dict[str, float]:
    """Return the score of each of NAMES that can be told; the others are left out.

    Args:
        rgb: (H, W, 3) uint8, upright.
        faces: the one it is a picture of, then the others; None where nobody looked.
        scale: pixels of the file for one of ``rgb``, >= 1.
        coloured: whether the file stores more than one channel; one that does not is no issue.
        jpeg_quality: decode.Decoded.jpeg_quality.
    """
    gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    scores = {
        "borders": 1 - bars(gray),
        "gray": _ramp(colourfulness(rgb), COLOUR) if coloured else 1.0,
        "compression": min(_ramp(grid(gray, scale), GRID), (jpeg_quality or 100) / 100),
    }
    if faces is not None:
        scores["no_face"] = max((face.score for face in faces), default=0.0)
    if not faces:
        return scores | _light(gray)
    first, *others = faces
    rivals = [max(one.box[2:]) for one in others if one.score >= THRESHOLDS["no_face"]]
    crop = square_crop(gray, first.box, 1.0, FACE_SIDE)
    side = max(first.box[2:])
    return (
        scores
        | _light(crop)
        | {
            "blur": _ramp(detail(crop), DETAIL),
            "face_size": _ramp(min(first.box[2:]) * scale, SIZE),
            "head_pose": head_pose(first.keypoints),
            "several_faces": 1 - min(max(rivals, default=0.0) / max(side, TINY), 1.0),
        }
    )


def issues(scores: Mapping[str, float]) -> dict[str, bool]:
    """Return for each score given whether it lies below its threshold."""
    return {name: score < THRESHOLDS[name] for name, score in scores.items()}


def detail(gray: Pixels) -> float:
    """Return the variance of fine over that of coarse detail, >= 0; blurred images have little.

    Differences of Gaussians of 1 and 2, and of 2 and 4 pixels. Unlike the variance of the Laplacian
    it does not change with contrast. Noise counts as detail.
    """
    fine, middle, coarse = (
        cv2.GaussianBlur(gray, (0, 0), sigma).astype(np.float32) for sigma in (1, 2, 4)
    )
    return float((fine - middle).var() / max(float((middle - coarse).var()), TINY))


def head_pose(keypoints: NDArray[np.float32]) -> float:
    """Return 1 for a face seen straight on, 0 from a profile or a quarter turn; (6, 2) points.

    In the frame of the eyes' line: yaw is how far the nose lies off their middle, over the distance
    of the eyes; pitch how far it lies on the way down to the mouth (FRONTAL seen straight on,
    measured); roll the line's angle. The worst of the three counts.
    """
    right, left, nose, mouth = keypoints[:4].astype(float)
    middle, across = (right + left) / 2, left - right
    distance = max(math.hypot(*across), TINY)
    along = across / distance
    down = np.array([-along[1], along[0]])
    yaw = abs(float((nose - middle) @ along)) / distance
    height = float((mouth - middle) @ down)
    pitch = float((nose - middle) @ down) / height if height > TINY else math.inf
    roll = abs(math.degrees(math.atan2(across[1], across[0])))
    return max(0.0, 1 - max(yaw / YAW, abs(pitch - FRONTAL) / PITCH, roll / ROLL))


def bars(gray: Pixels) -> float:
    """Return the share of the frame (H, W) under uniform bars along its sides, in [0, 1]."""
    height, width = gray.shape
    tall = height - _bar(gray) - _bar(gray[::-1])
    wide = width - _bar(gray.T) - _bar(gray.T[::-1])
    return 1 - float(max(tall, 0) * max(wide, 0) / gray.size)


def _bar(gray: Pixels) -> int:
    """Return how many of the first rows are one bar: plain, alike, and ending in an edge."""
    first = gray[0]
    if int(first.max()) - int(first.min()) > PLAIN:
        return 0
    apart = np.abs(gray.astype(np.int16) - int(first[len(first) // 2]))
    ragged = np.flatnonzero(apart.max(axis=1) > PLAIN)
    edges = np.flatnonzero((apart > STEP).mean(axis=1) > STEP_SHARE)
    sharp = len(edges) and edges[0] - ragged[0] <= BLOCK  # a block across the edge is not plain
    return int(edges[0]) if sharp else 0


def colourfulness(rgb: Pixels) -> float:
    """Return the mean difference of the largest and least channel, in [0, 255]."""
    red, green, blue = cv2.split(rgb)
    most, least = cv2.max(cv2.max(red, green), blue), cv2.min(cv2.min(red, green), blue)
    return float(cv2.mean(cv2.subtract(most, least))[0])


def grid(gray: Pixels, scale: float) -> float:
    """Return how much larger steps are across one of JPEG's grids of blocks, at least 1.

    ``gray`` (H, W) is ``scale`` times smaller than the file. A re-encoded crop may carry its grid
    at any offset, so the most visible one counts. Scaled by 4 or more it is too fine to be seen.
    """
    period = round(BLOCK / scale)
    if period < BLOCK // 2 or min(gray.shape) < 4 * BLOCK:
        return 1.0
    return max(
        1.0,
        min(_steps(gray[:, 1:], gray[:, :-1], 0, period), _steps(gray[1:], gray[:-1], 1, period)),
    )


def _steps(here: Pixels, before: Pixels, axis: int, period: int) -> float:
    along = cv2.reduce(cv2.absdiff(here, before), axis, cv2.REDUCE_AVG, dtype=cv2.CV_32F).ravel()
    whole = along[: len(along) // period * period].reshape(-1, period).mean(axis=0)
    return float(whole.max() / max(float(np.median(whole)), 0.1))


def _light(gray: Pixels) -> dict[str, float]:
    low, middle, high = _levels(gray, (0.05, 0.5, 0.95))
    return {
        "exposure": min(_ramp(high, DARK), _ramp(middle, DIM), _ramp(middle, LIGHT)),
        "contrast": _ramp(high - low, SPREAD),
    }


def _levels(gray: Pixels, shares: Sequence[float]) -> list[int]:
    """Return the gray levels below which these shares of the pixels lie."""
    counts = cv2.calcHist([gray], [0], None, [256], [0, 256]).ravel()
    below = np.cumsum(counts) / gray.size
    return [int(np.searchsorted(below, share)) for share in shares]


def _ramp(value: float, ends: tuple[float, float]) -> float:
    """Return 0 at the first of ``ends``, 1 at the second, linear between, level outside."""
    return min(max((value - ends[0]) / (ends[1] - ends[0]), 0.0), 1.0)
