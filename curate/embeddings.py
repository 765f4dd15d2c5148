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
        self._held: tuple[pd.Index, NDArray[np.floating]] | None = None

    def ids(self) -> set[str]:
        """Return the images that have an embedding here."""
        have: set[str] = set()
        for part in self._parts():
            have.update(pq.read_table(part, columns=["image_id"])["image_id"].to_pylist())
        return have

    def matrix(self, ids: Sequence[str]) -> NDArray[np.float32]:
        """Return (len(ids), D) float32, row by row.

        All that is here is read once and held, in half precision: 2 D bytes an image.

        Raises:
            KeyError: one of ``ids`` has no embedding here.
        """
        if self._held is None:
            self._held = _joined([_read(part) for part in self._parts()])
        index, values = self._held
        rows = index.get_indexer(pd.Index(ids))
        if len(rows) and rows.min() < 0:
            raise KeyError(pd.Index(ids)[rows < 0][0])
        return values[rows].astype(np.float32)

    def add(self, new: dict[str, np.ndarray]) -> None:
        """Write embeddings, (D,) each, as one part; half precision, 3 digits, is kept."""
        self._held = None
        self.folder.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256("".join(sorted(new)).encode()).hexdigest()[:16]
        rows = np.clip(np.stack(list(new.values())), *HALF).astype(np.float16)
        plain = pa.array([row.tobytes() for row in rows], pa.binary(rows.itemsize * rows.shape[1]))
        table = pa.table({"image_id": list(new), "values": plain})
        pq.write_table(table, self.folder / f"{name}.tmp", compression="none", use_dictionary=False)
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
    if pa.types.is_list(values.type):  # written by an earlier version
        return rows["image_id"].to_pylist(), values.flatten().to_numpy().reshape(len(rows), -1)
    matrix = np.frombuffer(values.buffers()[1], np.float16).reshape(-1, values.type.byte_width // 2)
    return rows["image_id"].to_pylist(), matrix[values.offset : values.offset + len(rows)]


def _joined(
    parts: list[tuple[list[str], NDArray[np.floating]]],
) -> tuple[pd.Index, NDArray[np.floating]]:
    """Return the images of all parts, once each, and their rows."""
    if not parts:
        return pd.Index([], dtype=object), np.empty((0, 0), np.float16)
    names = pd.Index([name for ids, _ in parts for name in ids])
    values = np.concatenate([rows for _, rows in parts])
    last = ~names.duplicated(keep="last")
    return (names, values) if last.all() else (names[last], values[last])
