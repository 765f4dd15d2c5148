"""Embeddings of images by image_id, in numbered Parquet parts that appear whole or not at all.

A cache is a folder `crops/features-<how>`: who computes it (labeling) says how in its name.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray


class Cache:
    """One folder of embeddings, all of one length."""

    def __init__(self, folder: Path) -> None:
        """Read and write under ``folder``, made on the first write."""
        self.folder = folder

    def ids(self) -> set[str]:
        """Return the images that have an embedding here."""
        have: set[str] = set()
        for part in self._parts():
            have.update(pq.read_table(part, columns=["image_id"])["image_id"].to_pylist())
        return have

    def matrix(self, ids: Sequence[str]) -> NDArray[np.float32]:
        """Return (len(ids), D) float32, row by row; reads one part at a time.

        Raises:
            KeyError: one of ``ids`` has no embedding here.
        """
        wanted, places = pd.Index(ids).unique(), pd.Index(ids)
        found = np.empty((0, 0), np.float32)
        seen = np.zeros(len(wanted), bool)
        for part in self._parts():
            names, values = _read(part)
            row = wanted.get_indexer(pd.Index(names))
            if not found.size:
                found = np.empty((len(wanted), values.shape[1]), np.float32)
            found[row[row >= 0]] = values[row >= 0]
            seen[row[row >= 0]] = True
        if not seen.all():
            raise KeyError(wanted[~seen][0])
        return found if wanted.equals(places) else found[wanted.get_indexer(places)]

    def add(self, new: dict[str, np.ndarray]) -> None:
        """Write embeddings, (D,) each, as one part; half precision, 3 digits, is kept."""
        self.folder.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256("".join(sorted(new)).encode()).hexdigest()[:16]
        rows = [np.clip(row, *HALF).astype(np.float16) for row in new.values()]
        table = pa.table({"image_id": list(new), "values": pa.array(rows, pa.list_(pa.float16()))})
        pq.write_table(table, self.folder / f"{name}.tmp")
        (self.folder / f"{name}.tmp").replace(self.folder / f"{name}.parquet")

    def _parts(self) -> list[Path]:
        return sorted(self.folder.glob("*.parquet"))


HALF = (-65504.0, 65504.0)  # the range of half precision


def largest(crops: Path) -> Cache | None:
    """Return the cache under ``crops`` that takes most room, None where there is none."""
    folders = [folder for folder in crops.glob("features-*") if folder.is_dir()]
    sizes = {folder: sum(part.stat().st_size for part in folder.glob("*")) for folder in folders}
    return Cache(max(folders, key=lambda folder: sizes[folder])) if folders else None


def _read(part: Path) -> tuple[list[str], NDArray[np.floating]]:
    rows = pq.read_table(part)
    values = rows["values"].combine_chunks()
    matrix = values.flatten().to_numpy(zero_copy_only=False).reshape(len(rows), -1)
    return rows["image_id"].to_pylist(), matrix
