"""Find faces: MediaPipe's short-range BlazeFace, run with LiteRT alone.

The network sees a small square, so we look at a frame through square windows: one that holds the
whole frame; wider ones, in which tight crops and coarse or noisy faces shrink to what the network
knows; and narrower ones for small faces.

Sources: arXiv 1907.05047 (BlazeFace); MediaPipe's `face_detection_short_range` graph for anchors,
box decoding, score-weighted suppression and sampling, which lacks the usual half-pixel shift.
Unlike MediaPipe we average pixels where the frame shrinks: noise and moire fade.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.networks import Network

KEYPOINTS = ("right_eye", "left_eye", "nose", "mouth", "right_ear", "left_ear")  # the subject's

SIDE = 128  # pixels of the network's square input
GRIDS = ((8, 2), (16, 6))  # stride in input pixels, anchors per cell: 512 + 384 anchors
MIN_SCORE = 0.5  # a face from here on; MediaPipe's default
WEAK_SCORE = 0.05  # a candidate from here on: no face by itself, but evidence of how a frame lies
MIN_OVERLAP = 0.3  # two boxes are one face above this intersection over union; MediaPipe's default

Look: TypeAlias = Literal["frame", "border", "wide", "far", "bright", "tiles", "mesh"]
GROWN: dict[Look, float] = {  # side of the window over the frame's longer side
    "frame": 1.0,
    "bright": 1.0,
    "border": 1.5,
    "wide": 2.2,
    "far": 3.2,
    "mesh": 1.3,
}
REPEATED = ("wide", "far", "mesh")  # looks that fill what is outside from the edge, not with black

BLUR_SIDE = 85  # pixels: the frame in the look "border"
BLURRED, SHARP, SHARPEST = 0.1, 0.5, 6.0  # shares of the deviation; the most times detail is added

# Of the 478 landmarks: those whose mean is each of KEYPOINTS.
MESH_SIDE = 256  # pixels of the landmark network's square input
MESH_KEYPOINTS = ((33, 133), (263, 362), (1,), (13, 14), (234,), (454,))

Image: TypeAlias = NDArray[np.uint8]
Floats: TypeAlias = NDArray[np.float32]
Box: TypeAlias = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class Face:
    """One face.

    Attributes:
        box: x, y, width, height in pixels; may reach outside the frame.
        score: in [0, 1].
        keypoints: (6, 2) float32, x and y in pixels, in the order of `KEYPOINTS`.
    """

    box: Box
    score: float
    keypoints: Floats


@dataclass(frozen=True)
class Window:
    """A square of the frame: top left corner and side in pixels."""

    x: float
    y: float
    side: float


class FaceDetector:
    """Finds faces in upright images; may be shared between threads."""

    def __init__(self, task_file: Path) -> None:
        """Read the networks out of ``task_file``, MediaPipe's face_landmarker.task (a ZIP).

        Raises:
            AssetError: the file does not hold them.
        """
        self._detector = Network(task_file, "face_detector.tflite")
        self._landmarks = Network(task_file, "face_landmarks_detector.tflite")
        self._anchors = anchors()

    def detect(self, rgb: Image, looks: Sequence[Look] = ("frame",)) -> list[Face]:
        """Return what may be a face in ``rgb`` ((H, W, 3) uint8) by any of ``looks``, best first.

        Candidates of less than MIN_SCORE are no faces; down to WEAK_SCORE they are evidence. The
        look "mesh" asks the landmark network how surely a face fills the frame.
        """
        found = search(rgb, [look for look in looks if look != "mesh"], SIDE, self._candidates)
        if "mesh" in looks:
            found += search(rgb, ("mesh",), MESH_SIDE, self._mesh)
        return sorted(found, key=lambda face: -face.score)

    def _candidates(self, pixels: Image) -> Floats:
        """Return (N, 17) candidates in the (128, 128, 3) ``pixels``: score, box, keypoints."""
        found = self._detector.run(pixels[np.newaxis].astype(np.float32) / np.float32(127.5) - 1)
        return decode(found["regressors"][0], found["classificators"][0, :, 0], self._anchors)

    def _mesh(self, pixels: Image) -> Floats:
        """Return the face that fills the (256, 256, 3) ``pixels`` as (0 or 1, 17) candidates."""
        found = self._landmarks.run(pixels[np.newaxis].astype(np.float32) / np.float32(255))
        presence = _sigmoid(found["Identity_1"].ravel())
        points = found["Identity"].reshape(-1, 3)[:, :2]
        low, high = points.min(axis=0), points.max(axis=0)
        keypoints = [points[list(rows)].mean(axis=0) for rows in MESH_KEYPOINTS]
        row = np.concatenate([presence, low, high - low, *keypoints])
        return row[np.newaxis][presence >= WEAK_SCORE].astype(np.float32)


def search(
    rgb: Image, looks: Sequence[Look], side: int, find: Callable[[Image], Floats]
) -> list[Face]:
    """Return the candidates of all ``looks``, in pixels of ``rgb``, best score first.

    ``find`` takes the (side, side, 3) pixels of a window and returns (N, 17) candidates in them.
    """
    height, width = rgb.shape[:2]
    views = []
    for look in looks:
        for window in (squares := windows(width, height, look)):
            if window is squares[0]:  # all of a look are equally wide
                small = shrink(rgb, window.side / side)
                shrunk = (width / small.shape[1], height / small.shape[0])
                small = stretch(small) if look == "bright" else small
            found = find(sample(small, window, shrunk, side=side, repeat=look in REPEATED))
            found[:, 1:] *= window.side / side
            found[:, [1, *range(5, 17, 2)]] += window.x
            found[:, [2, *range(6, 17, 2)]] += window.y
            views.append(found)
    return [_face(row) for row in suppress(np.concatenate(views))] if views else []


def windows(width: int, height: int, look: Look) -> list[Window]:
    """Return the windows through which ``look`` sees a frame of ``width`` x ``height`` pixels.

    "tiles" are half the longer side and overlap by half; a frame of less than 256 px has none,
    because they would show nothing that the whole frame did not.
    """
    side = max(width, height)
    if look == "tiles":
        half = side / 2
        return [
            Window(x, y, half)
            for y in _steps(height, half)
            for x in _steps(width, half)
            if half >= SIDE
        ]
    grown = side * GROWN[look]
    return [Window((width - grown) / 2, (height - grown) / 2, grown)]


def _steps(length: int, tile: float) -> Floats:
    """Return where tiles start that cover ``length`` and overlap by half or more."""
    if length <= tile:
        return np.array([(length - tile) / 2], np.float32)
    return np.linspace(
        0, length - tile, 1 + math.ceil(2 * (length - tile) / tile), dtype=np.float32
    )


def shrink(rgb: Image, times: float) -> Image:
    """Return ``rgb`` averaged down by about ``times``; as it is below 1.5."""
    if times < 1.5:
        return rgb
    height, width = rgb.shape[:2]
    size = (max(1, round(width / times)), max(1, round(height / times)))
    small: Image = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    return small


def stretch(rgb: Image) -> Image:
    """Return ``rgb`` with its brightest channel stretched over the range and its mean near 0.45."""
    bright = rgb.max(axis=2)
    low, high = np.percentile(bright, (2, 98))
    spread = np.clip((np.arange(256) - low) / max(high - low, 8), 0, 1)
    mean = float(np.clip(spread[bright].mean(), 0.01, 0.99))
    gamma = np.clip(math.log(0.45) / math.log(mean), 0.4, 1.5)
    stretched: Image = (255 * spread**gamma).astype(np.uint8)[rgb]
    return stretched


def sharpen(rgb: Image) -> Image:
    """Return ``rgb``, if it is blurred, with its detail brought up to SHARP; else as it is.

    Blurred: seen BLUR_SIDE pixels large, less than BLURRED of its deviation is detail, what a
    Gaussian takes away (LFW blurred by 6 pixels .06 to .09, photographs from .1 on, all but a few
    from .13). The detector finds a blurred face again once its edges stand out.
    """
    height, width = rgb.shape[:2]
    small = shrink(rgb, max(height, width) / BLUR_SIDE).astype(np.float32)
    if _detail(small, 1.5).std() >= BLURRED * max(float(small.std()), 1.0):
        return rgb
    detail = _detail(small, 2.0)
    lack = SHARP * small.std() / max(float(detail.std()), 0.1) - 1
    clear = np.clip(small + np.clip(lack, 0, SHARPEST) * detail, 0, 255).astype(np.uint8)
    return np.asarray(cv2.resize(clear, (width, height), interpolation=cv2.INTER_LINEAR))


def _detail(pixels: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    coarse: NDArray[np.float32] = cv2.GaussianBlur(pixels, (0, 0), sigma)
    return pixels - coarse


def sample(
    small: Image, window: Window, shrunk: tuple[float, float], *, side: int, repeat: bool
) -> Image:
    """Return the (side, side, 3) pixels of ``window``: i lies at window.x + i * window.side / side.

    Args:
        small: the frame, shrunk.
        window: in pixels of the frame as it was.
        shrunk: how many times it was shrunk, across and down.
        side: pixels of the square.
        repeat: fill what lies outside with the frame's edge rather than with black.
    """
    across, down = shrunk
    step = window.side / side
    matrix = np.array(
        [
            [step / across, 0, (window.x + 0.5) / across - 0.5],
            [0, step / down, (window.y + 0.5) / down - 0.5],
        ]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    border = cv2.BORDER_REPLICATE if repeat else cv2.BORDER_CONSTANT
    pixels: Image = cv2.warpAffine(small, matrix, (side, side), flags=flags, borderMode=border)
    return pixels


def anchors() -> Floats:
    """Return (896, 2) anchor centres x, y in input pixels, in the order of the network's rows."""
    rows = []
    for stride, per_cell in GRIDS:
        y, x = np.mgrid[: SIDE // stride, : SIDE // stride]
        centres = (np.stack([x, y], axis=-1).reshape(-1, 2) + 0.5) * stride
        rows.append(np.repeat(centres, per_cell, axis=0))
    return np.concatenate(rows).astype(np.float32)


def decode(regressors: Floats, logits: Floats, centres: Floats) -> Floats:
    """Return (N, 17) candidates of at least WEAK_SCORE: score, x, y, w, h, six times x, y.

    ``regressors`` (896, 16), in input pixels: box centre and six points off the anchor's centre,
    with the box size after the box centre. ``logits`` (896,). The order of anchors is kept.
    """
    scores = _sigmoid(logits)
    keep = scores >= WEAK_SCORE
    values, centres = regressors[keep], centres[keep]
    corner = centres + values[:, :2] - values[:, 2:4] / 2
    points = values[:, 4:] + np.tile(centres, 6)
    return np.hstack([scores[keep, None], corner, values[:, 2:4], points]).astype(np.float32)


def suppress(found: Floats) -> Floats:
    """Return one row of the (N, 17) candidates per face, best score first.

    Candidates that overlap the best one are averaged with it, weighted by score; the score is its.
    Weak ones, of less than MIN_SCORE, move nothing.
    """
    found = found[np.argsort(-found[:, 0], kind="stable")]
    faces = []
    while len(found):
        same = _overlap(found[0, 1:5], found[:, 1:5]) > MIN_OVERLAP
        same[0] = True  # also a box without area
        heard = same & (found[:, 0] >= min(found[0, 0], MIN_SCORE))
        mean = np.average(found[heard, 1:], axis=0, weights=found[heard, 0])
        faces.append(np.append(found[0, 0], mean))
        found = found[~same]
    return np.array(faces, np.float32).reshape(-1, 17)


def _overlap(box: Floats, boxes: Floats) -> Floats:
    """Return the intersection over union of ``box`` with each of ``boxes`` (N, 4), in [0, 1]."""
    low = np.maximum(box[:2], boxes[:, :2])
    high = np.minimum(box[:2] + box[2:], boxes[:, :2] + boxes[:, 2:])
    common = np.clip(high - low, 0, None).prod(axis=1)
    union = box[2:].prod() + boxes[:, 2:].prod(axis=1) - common
    overlap: Floats = common / np.maximum(union, np.finfo(np.float32).tiny)
    return overlap


def _sigmoid(logits: Floats) -> Floats:
    return (1 / (1 + np.exp(-np.clip(logits, -80, 80)))).astype(np.float32)


def _face(row: Floats) -> Face:
    score, x, y, width, height = map(float, row[:5])
    return Face((x, y, width, height), score, row[5:].reshape(6, 2))


def square_crop(rgb: Image, box: Box, scale: float, size: int) -> Image:
    """Return a (size, size, 3) square about ``box``, ``scale`` times its longer side wide.

    It is shifted back into the frame rather than padded, and shrunk where it is larger than the
    frame: the rule of minivision's Silent-Face-Anti-Spoofing (`generate_patches.py`), made square.
    """
    height, width = rgb.shape[:2]
    x, y, box_width, box_height = box
    side = max(1, min(round(scale * max(box_width, box_height)), width, height))
    left = min(max(round(x + box_width / 2 - side / 2), 0), width - side)
    top = min(max(round(y + box_height / 2 - side / 2), 0), height - side)
    method = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
    crop = rgb[top : top + side, left : left + side]
    square: Image = cv2.resize(crop, (size, size), interpolation=method)
    return square
