"""Embeddings of images by image_id, in numbered Parquet parts that appear whole or not at all.

A cache is a folder `crops/features-<how>`: who computes it (labeling) says how in its name.
"""

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


class Cache:
    """One folder of embeddings."""

    def __init__(self, folder: Path) -> None:
        """Read and write under ``folder``, made on the first write."""
        self.folder = folder

    def load(self) -> dict[str, np.ndarray]:
        """Return image_id -> (D,) float32."""
        have: dict[str, np.ndarray] = {}
        for part in sorted(self.folder.glob("*.parquet")):
            rows = pq.read_table(part)
            values = rows["values"].combine_chunks()
            matrix = np.asarray(values.flatten()).reshape(len(rows), -1)
            have |= dict(zip(rows["image_id"].to_pylist(), matrix, strict=True))
        return have

    def add(self, new: dict[str, np.ndarray]) -> None:
        """Write embeddings, (D,) each, as one part."""
        self.folder.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256("".join(sorted(new)).encode()).hexdigest()[:16]
        values = pa.array([row.astype(np.float32) for row in new.values()], pa.list_(pa.float32()))
        rows = pa.table({"image_id": list(new), "values": values})
        pq.write_table(rows, self.folder / f"{name}.tmp")
        (self.folder / f"{name}.tmp").replace(self.folder / f"{name}.parquet")


def largest(crops: Path) -> Cache | None:
    """Return the cache under ``crops`` that takes most room, None where there is none."""
    folders = [folder for folder in crops.glob("features-*") if folder.is_dir()]
    sizes = {folder: sum(part.stat().st_size for part in folder.glob("*")) for folder in folders}
    return Cache(max(folders, key=lambda folder: sizes[folder])) if folders else None
