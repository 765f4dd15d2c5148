"""Small upright pictures of what is under review, which is all that the App ever sees."""

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import simplejpeg

from curate import engine, schema
from curate.crops import given, read_upright, shrunk
from curate.engine import Track
from curate.errors import SourceError
from curate.parts import EYES, REGIONS, Crop, read_face
from curate.review import closeups

LONGEST = 512  # pixels of the longer side of a whole image, at most
QUALITY = 88


def name(row: Any) -> str:
    """Return the file name: the image, the pose it was brought from, and the part and its place."""
    pose = f"{row['image_id']}_{row['turn']}{'_mirrored' if row['mirror'] == 'yes' else ''}"
    if not row["part"]:
        return f"{pose}.jpg"
    landmarks = row["landmarks"]
    where = zlib.crc32(np.float32(landmarks).tobytes()) if given(landmarks) else 0
    return f"{pose}_{row['part']}_{where:08x}.jpg"


def write(
    units: pd.DataFrame, folder: Path, task: str, *, threads: int, track: Track
) -> "pd.Series[bool]":
    """Write the pictures of rows of `images` and `part` that are not there yet.

    Returns:
        Series of bool like ``units``: False where the original is gone or no longer decodes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[Any] = units.to_dict("records")
    there = {file.name for file in folder.iterdir()}

    def work(image: list[int]) -> bool:
        missing = [rows[number] for number in image if name(rows[number]) not in there]
        return not missing or _write_parts(missing, folder, task)

    numbers = units.groupby("image_id", sort=False).indices.values()
    by_image = [np.asarray(found).tolist() for found in numbers]
    done = track(engine.mapped(work, by_image, threads=threads), len(by_image), "thumbnails")
    readable = np.zeros(len(rows), bool)
    for image, good in zip(by_image, done, strict=True):
        readable[image] = good
    return pd.Series(readable, index=units.index, dtype=bool)


def tidy(units: pd.DataFrame, folder: Path, task: str) -> None:
    """Delete all pictures but those of ``units``: those of what was pushed before.

    When liveness was all that was reviewed, they lay in the folder above.
    """
    shown = {name(row) for row in units.to_dict("records")}
    stale = [file for file in folder.iterdir() if file.name not in shown]
    for file in [*stale, *(folder.parent.glob("*.jpg") if task == schema.LIVENESS else [])]:
        file.unlink()


def _write_parts(rows: list[Any], folder: Path, task: str) -> bool:
    """Write the pictures of ``rows``, which are of one image: it is decoded once."""
    try:
        pictures = _pictures(rows, task)
    except SourceError:
        return False
    for row, rgb in zip(rows, pictures, strict=True):
        data = simplejpeg.encode_jpeg(np.ascontiguousarray(rgb), QUALITY, "RGB")
        file = folder / name(row)
        part = file.with_suffix(".part")
        part.write_bytes(data)
        part.replace(file)
    return True


def _pictures(rows: list[Any], task: str) -> list[Crop]:
    first = rows[0]
    known = EYES if task == "eyes" else REGIONS
    if first["part"] and first["shows"] == "eye":
        return [closeups.patch(read_upright(first)[0])] * len(rows)
    if any(row["part"] not in known for row in rows) or not _has_sides(first):
        return [_whole(first)] * len(rows)
    rgb, points = read_face(first, closeups.eyes_apart(task))
    draw = closeups.eye if task == "eyes" else closeups.region
    return [draw(rgb, points, row["part"]) for row in rows]


def _has_sides(row: Any) -> bool:
    """Tell whether the eyes lie apart: by them a face is turned, and its parts are found."""
    if not given(row["landmarks"]):
        return False
    right, left = np.asarray(row["landmarks"], float).reshape(-1, 2)[:2]
    return bool(np.hypot(*(left - right)) >= 1)


def _whole(row: Any) -> Crop:
    sides = sorted((int(row["width"]), int(row["height"])))
    enough = max(1, LONGEST * sides[0] // sides[1])  # of the shorter one: the longer has LONGEST
    rgb, _ = read_upright(row, min_side=enough)
    return shrunk(rgb, LONGEST)
