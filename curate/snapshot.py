"""The visible rows at one moment, with numbers instead of ids: what joins a million rows is fast.

A join over ids of 64 letters takes a second or more per million, over numbers hundredths. Number n
below `images` is row n of the images in the order of `Catalogue.read`; higher numbers are ids that
other tables name and no visible image bears (its run was undone).
"""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate import fingerprints
from curate.catalogue import Catalogue, repeated
from curate.rows import Rows

NONE = -1  # the number of a null or empty id
IDS = {
    "images": ("image_id", "parent_id"),
    "places": ("image_id",),
    "labels": ("image_id",),
    "pairs": ("a", "b", "cluster"),
    "splits": ("image_id",),
    "soft_labels": ("image_id",),
    "decisions": ("image_id",),
}
# Columns of few different words: read as codes, which pandas calls categories.
FEW = {
    "batch", "run_id", "source", "subject", "clip", "origin", "official_split", "status", "reason",
    "task", "part", "label", "attack_type", "kind", "split", "action",
}  # fmt: skip
Numbers = NDArray[np.int64]


class Snapshot:
    """Tables read with numbers for ids, all of the same moment."""

    def __init__(self, catalogue: Catalogue) -> None:
        """Read and number every id of the catalogue."""
        self.runs = catalogue.runs_standing()
        self._rows = {table: catalogue.rows(table, self.runs) for table in IDS}
        self._numbers, self._first = _numbered(self._rows)
        self._counting = {
            table: self._first_of(table, names)
            for table, names in {"images": ["image_id"], "pairs": ["a", "b"]}.items()
        }
        self.images = len(self.numbers("images", "image_id"))
        self.total = len(self._first)

    def read(self, table: str, columns: Iterable[str]) -> pd.DataFrame:
        """Return ``columns`` as `Catalogue.read` does, ids as numbers, few words as categories.

        Of the rows of `labels` and `splits` that say the same thing again, all are there: the first
        one counts. `also_at` is as stored, without what later runs found.
        """
        names = list(dict.fromkeys(columns))
        numbers = {name: self.numbers(table, name) for name in names if name in IDS[table]}
        rest = [name for name in names if name not in numbers]
        frame = self.table(table, rest).to_pandas() if rest else {}
        return pd.DataFrame({name: numbers.get(name, frame.get(name)) for name in names})

    def table(self, table: str, columns: Iterable[str]) -> pa.Table:
        """Return the rows of `read` with ids as they are."""
        rows = self._rows[table].columns(columns, FEW)
        counting = self._counting.get(table)
        return rows if counting is None else rows.filter(pa.array(counting))

    def numbers(self, table: str, column: str) -> Numbers:
        """Return the numbers of a column of ids, row by row as `read` does."""
        counting = self._counting.get(table)
        found = self._numbers[table, column]
        return found if counting is None else found[counting]

    def ids(self, numbers: Numbers) -> pd.Index:
        """Return the ids of ``numbers``."""
        if not len(numbers):
            return pd.Index([], dtype="str", name="image_id")
        # Read again: to keep the letters of all tables would take a quarter of a gigabyte.
        visible = numbers.max() < self.images
        texts = _texts(self._rows, ["images"] if visible else IDS)
        found: pd.Index = pd.Index(texts.take(pa.array(self._first[numbers])).to_pandas())
        return found.rename("image_id")

    def _first_of(self, table: str, names: list[str]) -> NDArray[np.bool_] | None:
        """Return which rows are no repetition of an earlier one; None where all are."""
        columns = [self._numbers[table, name] for name in names]
        if table == "images" and columns[0].max(initial=NONE) + 1 == len(columns[0]):
            return None  # numbered first, and every row got one of its own
        again = repeated(pd.DataFrame(dict(zip(names, columns, strict=True))), names)
        return ~again if again.any() else None


def _numbered(rows: Mapping[str, Rows]) -> tuple[dict[tuple[str, str], Numbers], Numbers]:
    """Return the numbers of each column of ids, and where each number first stands in `_texts`."""
    known, prints = {}, []
    for table in IDS:  # one after the other: each takes the memory that the last one gave back
        for name, (mask, ids) in _said(rows[table], table).items():
            known[table, name] = np.asarray(mask)
            prints.append(fingerprints.of_ids(ids))
    codes, first = _equal(prints) or _equal_letters(_texts(rows, IDS))
    numbers = {}
    for column, mask in known.items():
        numbers[column] = np.full(len(mask), NONE, np.int64)
        here, codes = np.split(codes, [int(mask.sum())])
        numbers[column][mask] = here
    return numbers, first


def _said(rows: Rows, table: str) -> dict[str, tuple[pa.ChunkedArray, pa.ChunkedArray]]:
    """Return for each column of ids which rows hold one, and these ids."""
    read = rows.columns(IDS[table])
    masks = [pc.fill_null(pc.not_equal(column, ""), False) for column in read.columns]
    return {
        name: (mask, column if pc.all(mask, min_count=0).as_py() else column.filter(mask))
        for name, column, mask in zip(read.column_names, read.columns, masks, strict=True)
    }


def _texts(rows: Mapping[str, Rows], tables: Iterable[str]) -> pa.ChunkedArray:
    """Return the ids of all columns of ``tables``, one below the other."""
    columns = [ids for table in tables for _, ids in _said(rows[table], table).values()]
    return pa.chunked_array([chunk for column in columns for chunk in column.chunks], pa.string())


def _equal(prints: list[fingerprints.Prints | None]) -> tuple[Numbers, Numbers] | None:
    """Return (N,) codes 0, 1, ... of equal prints and the row where each code first stands.

    None where a column has none, or two ids agree in half of their print only.
    """
    parts = [part for part in prints if part is not None]
    if len(parts) < len(prints):
        return None
    both = np.concatenate(parts)
    codes, found = pd.factorize(both[:, 0])
    first = _first(codes, len(found))
    return (codes, first) if (both[first, 1][codes] == both[:, 1]).all() else None


def _equal_letters(texts: pa.ChunkedArray) -> tuple[Numbers, Numbers]:
    codes, found = pd.factorize(texts.to_pandas())
    return codes, _first(codes, len(found))


def _first(codes: Numbers, count: int) -> Numbers:
    first = np.empty(count, np.int64)
    first[codes[::-1]] = np.arange(len(codes))[::-1]
    return first
