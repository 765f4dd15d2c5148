"""Find faces: MediaPipe's short-range BlazeFace, run with LiteRT alone.

The network sees a 128 px square, so we look at a frame through square windows: first one that
holds the whole frame; where that shows no face, a wider one (tight crops), then narrower ones
(small faces).

Sources: arXiv 1907.05047 (BlazeFace); MediaPipe's `face_detection_short_range` graph for anchors,
box decoding, score-weighted suppression and sampling, which lacks the usual half-pixel shift.
"""

import math
import os
import threading
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from curate.errors import AssetError

KEYPOINTS = ("right_eye", "left_eye", "nose", "mouth", "right_ear", "left_ear")  # the subject's

SIDE = 128  # pixels of the network's square input
GRIDS = ((8, 2), (16, 6))  # stride in input pixels, anchors per cell: 512 + 384 anchors
MIN_SCORE = 0.5  # MediaPipe's default
MIN_OVERLAP = 0.3  # two boxes are one face above this intersection over union; MediaPipe's default
BORDER = 0.25  # of the frame's longer side, added all round for the look "border"

Look: TypeAlias = Literal["frame", "border", "tiles"]
LOOKS: tuple[Look, ...] = ("frame", "border", "tiles")

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
    """A square of the frame: top left corner and side in pixels. What lies outside is black."""

    x: float
    y: float
    side: float


class FaceDetector:
    """Finds faces in upright images; may be shared between threads.

    An interpreter gives wrong results when two threads use it, so each thread gets its own.
    """

    def __init__(self, task_file: Path) -> None:
        """Read the network out of ``task_file``, MediaPipe's face_landmarker.task (a ZIP).

        Raises:
            AssetError: the file holds no detector.
        """
        try:
            with zipfile.ZipFile(task_file) as task:
                self._model = task.read("face_detector.tflite")
        except (zipfile.BadZipFile, KeyError) as error:
            raise AssetError(
                f"{task_file} holds no face_detector.tflite ({error}).\n"
                "Next: delete it, then curate models pull"
            ) from error
        self._anchors = anchors()
        self._local = threading.local()
        with _quiet():
            self._network()

    def detect(self, rgb: Image, looks: Sequence[Look] = LOOKS) -> list[Face]:
        """Return the faces of ``rgb`` ((H, W, 3) uint8), best score first.

        ``looks`` are tried in turn until one finds a face.
        """
        height, width = rgb.shape[:2]
        for look in looks:
            views = [self._look(rgb, window) for window in windows(width, height, look)]
            if views and len(found := suppress(np.concatenate(views))):
                return [_face(row) for row in found]
        return []

    def _look(self, rgb: Image, window: Window) -> Floats:
        """Return (N, 17) candidates: score, box and keypoints in pixels of the frame."""
        net, pixels_in, regressors_out, logits_out = self._network()
        pixels = sample(rgb, window).astype(np.float32)
        net.set_tensor(pixels_in, pixels[None] / 127.5 - 1)
        net.invoke()
        found = decode(
            net.get_tensor(regressors_out)[0], net.get_tensor(logits_out)[0, :, 0], self._anchors
        )
        found[:, 1:] *= window.side / SIDE
        found[:, [1, *range(5, 17, 2)]] += window.x
        found[:, [2, *range(6, 17, 2)]] += window.y
        return found

    def _network(self) -> tuple[Any, int, int, int]:
        """Return this thread's interpreter and the indices of its input and two outputs."""
        if not hasattr(self._local, "network"):
            net = Interpreter(model_content=self._model, num_threads=1)
            net.allocate_tensors()
            at = {one["name"]: one["index"] for one in net.get_output_details()}
            ends = (net.get_input_details()[0]["index"], at["regressors"], at["classificators"])
            self._local.network = (net, *ends)
        network: tuple[Any, int, int, int] = self._local.network
        return network


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep LiteRT's C++ from announcing its delegate on stderr, as it does once a process."""
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nothing:
            os.dup2(nothing.fileno(), 2)
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def windows(width: int, height: int, look: Look) -> list[Window]:
    """Return the windows through which ``look`` sees a frame of ``width`` x ``height`` pixels.

    "tiles" are half the longer side and overlap by half; a frame of less than 128 px has none,
    because they would show nothing that the whole frame did not.
    """
    side = max(width, height)
    if look == "tiles":
        half = side / 2
        return [
            Window(x, y, half)
            for y in _steps(height, half)
            for x in _steps(width, half)
            if side >= SIDE
        ]
    grown = side * (1 + 2 * BORDER) if look == "border" else side
    return [Window((width - grown) / 2, (height - grown) / 2, grown)]


def _steps(length: int, tile: float) -> Floats:
    """Return where tiles start that cover ``length`` and overlap by half or more."""
    if length <= tile:
        return np.array([(length - tile) / 2], np.float32)
    return np.linspace(
        0, length - tile, 1 + math.ceil(2 * (length - tile) / tile), dtype=np.float32
    )


def sample(rgb: Image, window: Window) -> Image:
    """Return the (128, 128, 3) pixels of ``window``; pixel i lies at window.x + i * side / 128."""
    scale = window.side / SIDE
    matrix = np.array([[scale, 0, window.x], [0, scale, window.y]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    pixels: Image = cv2.warpAffine(rgb, matrix, (SIDE, SIDE), flags=flags)
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
    """Return (N, 17) candidates of at least MIN_SCORE: score, x, y, w, h, six times x, y.

    ``regressors`` (896, 16), in input pixels: box centre and six points off the anchor's centre,
    with the box size after the box centre. ``logits`` (896,). The order of anchors is kept.
    """
    scores = 1 / (1 + np.exp(-np.clip(logits, -80, 80)))
    keep = scores >= MIN_SCORE
    values, centres = regressors[keep], centres[keep]
    corner = centres + values[:, :2] - values[:, 2:4] / 2
    points = values[:, 4:] + np.tile(centres, 6)
    return np.hstack([scores[keep, None], corner, values[:, 2:4], points]).astype(np.float32)


def suppress(found: Floats) -> Floats:
    """Return one row of the (N, 17) candidates per face, best score first.

    Candidates that overlap the best one are averaged with it, weighted by score; the score is its.
    """
    found = found[np.argsort(-found[:, 0], kind="stable")]
    faces = []
    while len(found):
        same = _overlap(found[0, 1:5], found[:, 1:5]) > MIN_OVERLAP
        same[0] = True  # also a box without area
        mean = np.average(found[same, 1:], axis=0, weights=found[same, 0])
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
