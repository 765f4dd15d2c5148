"""Face crops of catalogued images, read from the originals: upright, square, at a stated scale."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import cv2
import numpy as np
import pandas as pd

from curate import places
from curate.decode import Decoded, Unreadable, decode
from curate.errors import SourceError
from curate.faces import Face, square_crop
from curate.orient import turn_image

Row: TypeAlias = "Mapping[Any, Any] | pd.Series[Any]"  # a row of `images`


def read_upright(row: Row, *, min_side: int | None = None) -> tuple[np.ndarray, float]:
    """Return the upright (h, w, 3) uint8 image of a row of `images`, and its scale to full size.

    Raises:
        SourceError: the original is gone or no longer decodes.
    """
    image = read_stored(row, min_side=min_side)
    scale = image.rgb.shape[1] / image.width
    rgb = turn_image(image.rgb, max(int(row["turn"]), 0))
    if row["mirror"] == "yes":
        rgb = rgb[:, ::-1]
    return np.ascontiguousarray(rgb), scale


def face_crop(row: Row, *, scale: float, size: int) -> np.ndarray:
    """Return the (size, size, 3) uint8 crop of side ``scale`` x the face's larger side.

    A JPEG is decoded no larger than the crop needs.

    Raises:
        SourceError: the original is gone or no longer decodes.
    """
    box = np.asarray(row["face"], dtype=float)
    needed = size / (scale * max(box[2:])) * min(int(row["width"]), int(row["height"]))
    rgb, factor = read_upright(row, min_side=max(1, int(np.ceil(needed))))
    x, y, width, height = box * factor
    return square_crop(rgb, (x, y, width, height), scale, size)


def face_of(row: Row, scale: float) -> Face:
    """Return the face of a row of `images` with landmarks, in the upright image times ``scale``."""
    x, y, width, height = (float(value) * scale for value in row["face"])
    points = np.asarray(row["landmarks"], np.float32).reshape(-1, 2) * np.float32(scale)
    return Face((x, y, width, height), float(row["face_score"]), points)


def shrunk(rgb: np.ndarray, side: int) -> np.ndarray:
    """Return a (h, w, 3) uint8 image with its longer side at most ``side`` pixels."""
    height, width = rgb.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return rgb
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small: np.ndarray = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    return small


def gray(rgb: np.ndarray, side: int) -> np.ndarray:
    """Return a (h, w, 3) uint8 image in grey, its shorter side at most ``side`` pixels."""
    whole: np.ndarray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    factor = side / min(whole.shape)
    if factor >= 1:
        return whole
    small: np.ndarray = cv2.resize(whole, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return small


def read_stored(row: Row, *, min_side: int | None = None) -> Decoded:
    """Return the image of a row of `images` as it is stored, EXIF applied, from any of its places.

    Raises:
        SourceError: none of them holds its bytes any more.
    """
    fault = "it is gone"
    for uri in (row["uri"], *listed(row.get("also_at"))):
        try:
            data = places.read_bytes(uri)
            if _untouched(uri, row) or places.image_id(uri, data) == row["image_id"]:
                return decode(data, min_side=min_side)
            fault = "another content lies there"
        except (OSError, Unreadable) as error:
            fault = str(error)
    raise SourceError(
        f"{row['uri']} was readable at ingest and is not now: {fault}.\n"
        "Next: put the original back where it was, or undo the run that ingested it"
    )


def _untouched(uri: str, row: Row) -> bool:
    return bool(places.stat(uri) == (row.get("bytes"), row.get("mtime_ns")))


def given(value: object) -> bool:
    """Tell whether a cell of a column of lists holds one."""
    return isinstance(value, list | np.ndarray)


def listed(value: Any) -> list[Any]:
    """Return the list in such a cell, an empty one where it holds none."""
    return list(value) if given(value) else []
