"""Where the parts of a face lie, and crops in which one lies like that of any other face.

Eyes come from faces, and as patches without a face. Both become one kind of picture: the eye fills
it, the subject's left one is mirrored to look like a right one, it is grey, of few pixels, and of
one mean and deviation of tones. Heads fitted on patches (CEW) called fewer open eyes of faces
closed for it: 12 instead of 20 % with common tones, 14 instead of 21 % with fewer pixels.

What covers a region shows in a crop of that region; how far it reaches, in one of the whole face.
Each alone misses something: on real masks the AUC (mean of nose, mouth and chin) is .990 by region
crops, .996 by the whole face, .997 by both side by side; which of six regions a drawn cover hides
is told at .981, .930 and .986.

Lengths below are in distances between the detector's eyes, of the face turned upright by them.
"""

import math
from collections.abc import Iterable
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.crops import Row, face_of, given, read_upright
from curate.errors import ConfigError, DataError
from curate.faces import KEYPOINTS

EYES = ("right_eye", "left_eye")  # the subject's, as faces.KEYPOINTS has them first

# Patches of CEW are 0.63 wide: one was found again, at correlation .995, in the photograph it was
# cut from, and the mean patch agrees best with the mean eye of 100 photographs at 0.60 to 0.65.
# The detector sees eyes too far out and too low, by what separates them from the middle of the
# corners that the landmark network finds: medians of those photographs.
EYE_SIDE = 0.5
INWARD, UPWARD = 0.05, 0.05
PATCH_SHARE = 0.85  # of a patch that is cut, about its centre
PATCH_PIXELS = 24  # all that patches of CEW have
FACE_PIXELS = 16  # at as many an eye of a face is as soft as such a patch
TONE, CONTRAST, LEAST_CONTRAST = 128.0, 48.0, 4.0  # grey levels: mean, deviation, noise

# Regions of the face: across from the middle of the face, and down from the eyes to the mouth,
# which is MOUTH down.
MOUTH = 0.95
REGIONS = {
    "left_eye": (0.5, 0.0),
    "right_eye": (-0.5, 0.0),
    "nose": (0.0, 0.48),
    "mouth": (0.0, MOUTH),
    "chin": (0.0, 1.38),
    "forehead": (0.0, -0.62),
}
RADII = {  # of the ellipse that a region fills: half its width, half its height
    "left_eye": (0.26, 0.16),
    "right_eye": (0.26, 0.16),
    "nose": (0.22, 0.25),
    "mouth": (0.35, 0.17),
    "chin": (0.34, 0.18),
    "forehead": (0.55, 0.22),
}
REGION_SIDE = 0.9
WHOLE_SIDE, WHOLE_DOWN = 2.1, 0.42  # of the crop of the whole face

Crop: TypeAlias = NDArray[np.uint8]
Floats: TypeAlias = NDArray[np.float64]


def eye_crop(row: Row, part: str, *, size: int) -> Crop:
    """Return the (size, size, 3) uint8 crop of an eye, all three channels alike.

    ``row`` of `images` shows a face with landmarks, or a patch of an eye; ``part`` is one of
    schema.PARTS_OF["eyes"]. An original is decoded no larger than the crop needs.

    Raises:
        ConfigError: no such part.
        DataError: the face has no landmarks.
        SourceError: the original is gone or no longer decodes.
    """
    patch = row["shows"] == "eye"
    gray = _patch(row) if patch else _eye_of_face(row, _checked(part, EYES))
    if part == "left_eye":
        gray = gray[:, ::-1]
    large: Crop = cv2.resize(_toned(gray), (size, size), interpolation=cv2.INTER_CUBIC)
    return np.repeat(large[..., np.newaxis], 3, axis=2)


def region_crop(row: Row, part: str, *, size: int) -> Crop:
    """Return the (size, size, 3) uint8 crop about a region of the face, one of `REGIONS`.

    ``row`` of `images` has a face with landmarks. What reaches outside the image repeats its edge.

    Raises:
        ConfigError: no such part.
        DataError: the face has no landmarks.
        SourceError: the original is gone or no longer decodes.
    """
    across, down = REGIONS[_checked(part, REGIONS)]
    rgb, points = read_face(row, size / REGION_SIDE)
    middle, right, below = axes(points)
    return cut(rgb, middle + across * right + down * below, REGION_SIDE * right, size)


def whole_crop(row: Row, *, size: int) -> Crop:
    """Return the (size, size, 3) uint8 crop of the whole face, turned upright by its eyes.

    As `region_crop`; the same for all regions of an image.
    """
    rgb, points = read_face(row, size / WHOLE_SIDE)
    middle, right, _ = axes(points)
    down = np.array([-right[1], right[0]])
    return cut(rgb, middle + WHOLE_DOWN * down, WHOLE_SIDE * right, size)


def axes(points: NDArray[np.floating]) -> tuple[Floats, Floats, Floats]:
    """Return the point between the eyes and two (2,) steps of one unit: across, down.

    ``points`` (6, 2) are in the order of faces.KEYPOINTS. One across goes from eye to eye; down
    goes to the mouth, so that it is shorter and slanted where the head is turned.
    """
    right, left, mouth = (points[KEYPOINTS.index(name)].astype(float) for name in (*EYES, "mouth"))
    middle = (right + left) / 2
    return middle, left - right, (mouth - middle) / MOUTH


def cut(rgb: Crop, centre: Floats, across: Floats, size: int) -> Crop:
    """Return (size, size[, C]): the square about ``centre``, as wide as the step ``across``.

    Pixels are averaged where the square is larger than ``size``.
    """
    finer = max(1, math.ceil(float(np.hypot(*across)) / size))
    step = across / (finer * size)
    turn = np.array([[step[0], -step[1]], [step[1], step[0]]])
    corner = centre - turn @ np.full(2, (finer * size - 1) / 2)
    square: Crop = cv2.warpAffine(
        rgb,
        np.column_stack([turn, corner]),
        (finer * size, finer * size),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    if finer > 1:
        square = cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA)
    return square


def _patch(row: Row) -> Crop:
    """Return the (PATCH_PIXELS, PATCH_PIXELS) middle of a patch."""
    side = PATCH_SHARE * min(int(row["width"]), int(row["height"]))
    rgb, scale = read_upright(row, min_side=PATCH_PIXELS)
    height, width = rgb.shape[:2]
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    return cut(_gray(rgb), middle, np.array([side * scale, 0.0]), PATCH_PIXELS)


def _eye_of_face(row: Row, part: str) -> Crop:
    """Return the (FACE_PIXELS, FACE_PIXELS) eye of a face."""
    rgb, points = read_face(row, FACE_PIXELS / EYE_SIDE)
    middle, right, _ = axes(points)
    up = np.array([right[1], -right[0]])
    inward = middle - points[KEYPOINTS.index(part)]
    inward = inward / max(float(np.hypot(*inward)), 1e-9) * np.hypot(*right)
    centre = points[KEYPOINTS.index(part)] + INWARD * inward + UPWARD * up
    return cut(_gray(rgb), centre, EYE_SIDE * right, FACE_PIXELS)


def read_face(row: Row, pixels: float) -> tuple[Crop, Floats]:
    """Return the upright (h, w, 3) uint8 image and the (6, 2) points of faces.KEYPOINTS in it.

    Decoded with at least ``pixels`` between the eyes, if it has so many.

    Raises:
        DataError: the face has no landmarks.
        SourceError: the original is gone or no longer decodes.
    """
    if not given(row["landmarks"]) or not given(row["face"]):
        raise DataError(
            f"{row['uri']}: its parts cannot be told, as no landmarks of a face are known.\n"
            "Next: leave it out, or curate ingest it again with the detector pulled"
        )
    eyes = np.asarray(row["landmarks"], float).reshape(-1, 2)[:2]
    apart = max(float(np.hypot(*(eyes[1] - eyes[0]))), 1.0)
    least = math.ceil(pixels / apart * min(int(row["width"]), int(row["height"])))
    rgb, scale = read_upright(row, min_side=least)
    return rgb, face_of(row, scale).keypoints.astype(float)


def _toned(gray: Crop) -> Crop:
    """Return ``gray`` with the mean TONE and the deviation CONTRAST, clipped."""
    values = gray.astype(float)
    spread = max(float(values.std()), LEAST_CONTRAST)
    toned = TONE + (values - values.mean()) / spread * CONTRAST
    clipped: Crop = np.clip(np.rint(toned), 0, 255).astype(np.uint8)
    return clipped


def _gray(rgb: Crop) -> Crop:
    gray: Crop = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    return gray


def _checked(part: str, known: Iterable[str]) -> str:
    if part not in known:
        raise ConfigError(f"no crop of part {part!r}; known: {', '.join(known)}")
    return part
