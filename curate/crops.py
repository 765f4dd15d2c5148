"""Face crops of catalogued images, read from the originals: upright, square, at a stated scale."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from curate.decode import Decoded, Unreadable, decode
from curate.errors import SourceError
from curate.faces import square_crop
from curate.orient import turn_image
from curate.sources import path_of


Row: TypeAlias = "Mapping[Any, Any] | pd.Series[Any]"  # a row of `images`


def read_upright(row: Row, *, min_side: int | None = None) -> tuple[np.ndarray, float]:
    """Return the upright (h, w, 3) uint8 image of a row of `images`, and its scale to full size.

    Raises:
        SourceError: the original is gone or no longer decodes.
    """
    image = _read(str(row["uri"]), min_side)
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


def _read(uri: str, min_side: int | None) -> Decoded:
    try:
        return decode(path_of(uri).read_bytes(), min_side=min_side)
    except (OSError, Unreadable) as error:
        raise SourceError(
            f"{uri} was readable at ingest and is not now: {error}.\n"
            "Next: put the original back where it was, or undo the run that ingested it"
        ) from error
