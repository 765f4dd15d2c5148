"""Small upright copies of the images under review, which is all that the App ever sees."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import simplejpeg

from curate import engine
from curate.crops import read_upright, shrunk
from curate.errors import SourceError

SIDE = 512  # pixels of the longer side, at most
QUALITY = 88
Track = Callable[[Iterator[bool], int, str], Iterator[bool]]


def name(row: Any) -> str:
    """Return the file name: the image, and the pose it was brought from."""
    return f"{row['image_id']}_{row['turn']}{'_mirrored' if row['mirror'] == 'yes' else ''}.jpg"


def write(images: pd.DataFrame, folder: Path, *, threads: int, track: Track) -> pd.Series:
    """Write the thumbnails of rows of `images` that are not there yet; delete all others.

    Returns:
        Series of bool like ``images``: False where the original is gone or no longer decodes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[Any] = images.to_dict("records")
    there = {file.name for file in folder.iterdir()}
    for stale in there - {name(row) for row in rows}:
        (folder / stale).unlink()

    def work(row: dict[str, Any]) -> bool:
        return name(row) in there or _write_one(row, folder / name(row))

    done = track(engine.mapped(work, rows, threads=threads), len(rows), "thumbnails")
    return pd.Series(list(done), index=images.index, dtype=bool)


def _write_one(row: dict[str, Any], file: Path) -> bool:
    sides = sorted((int(row["width"]), int(row["height"])))
    enough = max(1, SIDE * sides[0] // sides[1])  # of the shorter side, so the longer has SIDE
    try:
        rgb, _ = read_upright(row, min_side=enough)
    except SourceError:
        return False
    data = simplejpeg.encode_jpeg(np.ascontiguousarray(shrunk(rgb, SIDE)), QUALITY, "RGB")
    part = file.with_suffix(".part")
    part.write_bytes(data)
    part.replace(file)
    return True
