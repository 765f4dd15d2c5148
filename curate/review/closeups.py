"""The picture by which a person judges one part of a face. Pure: pixels and points in, pixels out.

An eye is shown with its brow and temple, so that the other one is out of sight: nobody needs to
tell the subject's left from right. A region is outlined on the whole face, because how far a cover
reaches is seen only there.
"""

import cv2
import numpy as np

from curate.faces import KEYPOINTS
from curate.parts import RADII, REGIONS, Crop, Floats, axes, cut

CLOSEUP = 384  # pixels of the side of every picture, of a patch its longer one
# In distances between the eyes, as curate.parts has them.
EYE_VIEW = 1.4  # the inner corner of the other eye is 0.75 away
FACE_VIEW, FACE_DOWN = 3.4, 0.8  # from the hair; below the chin the App writes over a quarter
WIDER = 1.2  # the outline of a region, so that the line does not cover what it is about
LINE, EDGE = (255, 230, 0), (0, 0, 0)  # RGB; one of the two shows on any skin


def eyes_apart(task: str) -> float:
    """Return the pixels between the eyes that a picture of ``task`` can show."""
    return CLOSEUP / (EYE_VIEW if task == "eyes" else FACE_VIEW)


def eye(rgb: Crop, points: Floats, part: str) -> Crop:
    """Return (CLOSEUP, CLOSEUP, 3): one of `parts.EYES`, the face turned upright by both.

    ``rgb`` is the upright image, ``points`` (6, 2) lie in it, in the order of faces.KEYPOINTS.
    """
    _, right, _ = axes(points)
    return cut(rgb, points[KEYPOINTS.index(part)], EYE_VIEW * right, CLOSEUP)


def region(rgb: Crop, points: Floats, part: str) -> Crop:
    """Return (CLOSEUP, CLOSEUP, 3): the face as `eye` turns it, one of `parts.REGIONS` outlined."""
    middle, right, below = axes(points)
    view = FACE_VIEW * right
    centre = middle + FACE_DOWN * np.array([-right[1], right[0]])
    picture = cut(rgb, centre, view, CLOSEUP)
    across, down = REGIONS[part]
    scale = CLOSEUP / float(np.dot(view, view))
    off = middle + across * right + down * below - centre
    place = scale * np.array([off @ view, off @ [-view[1], view[0]]]) + (CLOSEUP - 1) / 2
    unit = WIDER * CLOSEUP / FACE_VIEW
    tall = float(np.hypot(*below) / np.hypot(*right))
    radii = RADII[part][0] * unit, RADII[part][1] * unit * tall
    for colour, width in ((EDGE, 4), (LINE, 2)):
        box = (place.tolist(), (2 * radii[0], 2 * radii[1]), 0.0)
        cv2.ellipse(picture, box, colour, width, cv2.LINE_AA)
    return picture


def patch(rgb: Crop) -> Crop:
    """Return the patch of an eye, enlarged or shrunk to a longer side of CLOSEUP pixels."""
    height, width = rgb.shape[:2]
    factor = CLOSEUP / max(height, width)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    way = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    shown: Crop = cv2.resize(rgb, size, interpolation=way)
    return shown
