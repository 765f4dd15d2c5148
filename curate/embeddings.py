"""Embeddings of images by image_id, in numbered Parquet parts that appear whole or not at all.

A cache is a folder `crops/features-<how>`: who computes it (labeling) says how in its name.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

Places = NDArray[np.int64]


class Cache:
    """One folder of embeddings, all of one length."""

    def __init__(self, folder: Path) -> None:
        """Read and write under ``folder``, made on the first write."""
        self.folder = folder
        self._held: _Index | None = None
        self._last: tuple[int, NDArray[np.floating]] | None = None  # a part that was read

    def ids(self) -> set[str]:
        """Return the images that have an embedding here."""
        return set(self._index().names)

    def places(self, ids: Sequence[str]) -> Places:
        """Return (len(ids),) where each one lies, -1 where it does not; rising through the parts.

        Which image lies where is read once and held: some hundred bytes an image.
        """
        index = self._index()
        found = index.names.get_indexer(pd.Index(ids, dtype=object))
        return np.where(found < 0, -1, np.append(index.places, -1)[found])

    def rows(self, places: Places) -> NDArray[np.floating]:
        """Return (len(places), D) as they are kept: half precision.

        Only the parts that hold some of them are read, one at a time; the last one is held. (0, 0)
        of no places.

        Raises:
            IndexError: a place is -1.
        """
        if (places < 0).any():
            raise IndexError(f"{int((places < 0).sum())} embeddings are not in {self.folder}")
        index = self._index()
        part_of = np.searchsorted(index.ends, places, side="right")
        found = np.empty((0, 0), np.float16)
        for number in np.unique(part_of):
            mine, values = np.flatnonzero(part_of == number), self._part(index, int(number))
            there = places[mine] - (index.ends[number - 1] if number else 0)
            if len(mine) == len(places):
                return values.take(there, axis=0)
            if not len(found):
                found = np.empty((len(places), values.shape[1]), values.dtype)
            found[mine] = values.take(there, axis=0)
        return found

    def _part(self, index: "_Index", number: int) -> NDArray[np.floating]:
        if self._last is None or self._last[0] != number:
            self._last = number, _values(index.parts[number])
        return self._last[1]

    def matrix(self, ids: Sequence[str]) -> NDArray[np.float32]:
        """Return (len(ids), D) float32, row by row.

        Raises:
            KeyError: one of ``ids`` has no embedding here.
        """
        places = self.places(ids)
        if (places < 0).any():
            raise KeyError(pd.Index(ids)[places < 0][0])
        return self.rows(places).astype(np.float32)

    def add(self, new: dict[str, np.ndarray]) -> None:
        """Write embeddings, (D,) each, as one part; half precision, 3 digits, is kept."""
        self._held = self._last = None
        self.folder.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256("".join(sorted(new)).encode()).hexdigest()[:16]
        rows = np.clip(np.stack(list(new.values())), *HALF).astype(np.float16)
        plain = pa.array([row.tobytes() for row in rows], pa.binary(rows.itemsize * rows.shape[1]))
        table = pa.table({"image_id": list(new), "values": plain})
        pq.write_table(table, self.folder / f"{name}.tmp", compression="none", use_dictionary=False)
        (self.folder / f"{name}.tmp").replace(self.folder / f"{name}.parquet")

    def _index(self) -> "_Index":
        if self._held is None:
            self._held = _indexed(sorted(self.folder.glob("*.parquet")))
        return self._held


HALF = (-65504.0, 65504.0)  # the range of half precision


@dataclass(frozen=True)
class _Index:
    """Which image lies where."""

    parts: list[Path]
    ends: Places  # (parts,) the place after the last one of each
    names: pd.Index  # once each
    places: Places  # of each of `names`


def largest(crops: Path) -> Cache | None:
    """Return the cache under ``crops`` that takes most room, None where there is none."""
    folders = [folder for folder in crops.glob("features-*") if folder.is_dir()]
    sizes = {folder: sum(part.stat().st_size for part in folder.glob("*")) for folder in folders}
    return Cache(max(folders, key=lambda folder: sizes[folder])) if folders else None


def _values(part: Path) -> NDArray[np.floating]:
    """Return the (N, D) values of a part."""
    read = pq.ParquetFile(part, memory_map=True, pre_buffer=False)
    values = read.read(columns=["values"], use_threads=False)["values"].combine_chunks()
    if pa.types.is_list(values.type):  # written by an earlier version
        old: NDArray[np.floating] = values.flatten().to_numpy().reshape(len(values), -1)
        return old
    plain = np.frombuffer(values.buffers()[1], np.float16)
    wide: NDArray[np.floating] = plain.reshape(-1, values.type.byte_width // 2)
    return wide[values.offset : values.offset + len(values)]


def _indexed(parts: list[Path]) -> _Index:
    """Return where the images of ``parts`` lie; of one that lies at several the last one counts."""
    ids = [pq.read_table(part, columns=["image_id"], use_threads=False) for part in parts]
    ends = np.cumsum([len(rows) for rows in ids], dtype=np.int64)
    if not parts:
        return _Index(parts, ends, pd.Index([], dtype=object), ends)
    names = pd.Index(pa.concat_tables(ids)["image_id"].to_pandas(), dtype=object)
    last = ~names.duplicated(keep="last")
    return _Index(parts, ends, names[last], np.flatnonzero(last))
