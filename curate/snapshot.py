"""The visible rows at one moment, with numbers instead of ids: what joins a million rows is fast.

A join over ids of 64 letters takes a second or more per million, over numbers hundredths. Number n
below `images` is row n of the images in the order of `Catalogue.read`; higher numbers are ids that
other tables name and no visible image bears (its run was undone).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

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
THREADS = 2  # more gain nothing: memory is what they wait for
Item = TypeVar("Item")
Result = TypeVar("Result")
Numbers = NDArray[np.int64]
Texts = list[str] | pd.Index | pd.Series | NDArray[np.object_]


class Snapshot:
    """Tables read with numbers for ids, all of the same moment."""

    def __init__(self, catalogue: Catalogue) -> None:
        """Read and number every id of the catalogue."""
        self.runs = catalogue.runs_standing()
        opened = _at_once(lambda table: catalogue.rows(table, self.runs), IDS)
        self._rows = dict(zip(IDS, opened, strict=True))
        self._numbers, self._known = _numbered(self._rows)
        self._counting = {
            table: self._first_of(table, names)
            for table, names in {"images": ["image_id"], "pairs": ["a", "b"]}.items()
        }
        self.images = len(self.numbers("images", "image_id"))
        self.total = len(self._known.first)

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
        found: pd.Index = pd.Index(texts.take(pa.array(self._known.first[numbers])).to_pandas())
        return found.rename("image_id")

    def find(self, ids: Texts) -> Numbers:
        """Return the numbers of ``ids``, NONE for those that no table names."""
        return self._known.find(ids)

    def take(self, table: str, rows: Numbers, columns: Iterable[str]) -> pd.DataFrame:
        """Return some of the rows of `read`, ids and words as they are, lists as arrays."""
        counting = self._counting.get(table)
        rows = rows if counting is None else np.flatnonzero(counting)[rows]
        frame: pd.DataFrame = self._rows[table].take(rows, columns).to_pandas()
        return frame

    def _first_of(self, table: str, names: list[str]) -> NDArray[np.bool_] | None:
        """Return which rows are no repetition of an earlier one; None where all are."""
        columns = [self._numbers[table, name] for name in names]
        if table == "images" and columns[0].max(initial=NONE) + 1 == len(columns[0]):
            return None  # numbered first, and every row got one of its own
        again = repeated(pd.DataFrame(dict(zip(names, columns, strict=True))), names)
        return ~again if again.any() else None


@dataclass(frozen=True)
class _Numbering:
    """Which number each id has, by the prints of ids; by their letters where these are odd."""

    first: Numbers  # where each number first stands, in `_texts`
    index: pd.Index  # of the first half of prints, or of letters
    others: NDArray[np.uint64] | None  # the second halves; None of letters

    def find(self, ids: Texts) -> Numbers:
        """Return the numbers of ``ids``, NONE for those without one."""
        if self.others is None:
            return self.index.get_indexer(pd.Index(np.asarray(ids, object), dtype="str"))
        texts = pa.array(np.asarray(ids, object), pa.string())
        odd = pc.not_equal(pc.binary_length(texts), fingerprints.ID_BYTES)
        prints = fingerprints.of_ids(pc.if_else(odd, "", texts))
        found = self.index.get_indexer(prints[0])
        same = (found != NONE) & (np.append(self.others, 0)[found] == prints[1])
        return np.where(same, found, NONE)


def _numbered(rows: Mapping[str, Rows]) -> tuple[dict[tuple[str, str], Numbers], _Numbering]:
    """Return the numbers of each column of ids, and which id has which."""
    try:
        read = _at_once(lambda table: rows[table].mapped(list(IDS[table]), _prints), IDS)
        prints = {
            (table, name): each
            for (table, names), found in zip(IDS.items(), read, strict=True)
            for name, each in zip(names, found, strict=True)
        }
        masks = {column: each[0] != 0 for column, each in prints.items()}
        codes, numbering = _by_prints(
            [
                each if mask.all() else each[:, mask]
                for each, mask in zip(prints.values(), masks.values(), strict=True)
            ]
        )
    except fingerprints.OddIds:
        said = {
            (table, name): each for table in IDS for name, each in _said(rows[table], table).items()
        }
        masks = {column: np.asarray(mask) for column, (mask, _) in said.items()}
        codes, numbering = _by_letters([ids for _, ids in said.values()])
    return dict(zip(masks, map(_spread, codes, masks.values()), strict=True)), numbering


def _at_once(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Return ``work`` of each item; both cores are at it where it leaves Python."""
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(work, items))


def _spread(codes: Numbers, mask: NDArray[np.bool_]) -> Numbers:
    """Return ``codes`` where ``mask`` is set, NONE elsewhere."""
    if len(codes) == len(mask):
        return codes
    numbers = np.full(len(mask), NONE, np.int64)
    numbers[mask] = codes
    return numbers


def _prints(batch: pa.RecordBatch) -> fingerprints.Prints:
    return np.stack([fingerprints.of_ids(column) for column in batch.columns])


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


def _by_prints(columns: Sequence[fingerprints.Prints]) -> tuple[list[Numbers], _Numbering]:
    """Return codes 0, 1, ... of equal prints, column by column, and what finds them.

    Raises:
        OddIds: two ids agree in half of their print only.
    """
    codes, found, first = _codes([each[0] for each in columns])
    others = np.concatenate([each[1] for each in columns])[first]
    for code, each in zip(codes, columns, strict=True):
        if (others[code] != each[1]).any():
            raise fingerprints.OddIds
    return codes, _Numbering(first, found, others)


def _by_letters(columns: Sequence[pa.ChunkedArray]) -> tuple[list[Numbers], _Numbering]:
    codes, found, first = _codes([each.to_pandas().to_numpy(object) for each in columns])
    return codes, _Numbering(first, found.astype("str"), None)


def _codes(columns: Sequence[NDArray[Any]]) -> tuple[list[Numbers], pd.Index, Numbers]:
    """Return codes 0, 1, ... in order of appearance, what they stand for, where it first stands.

    Mostly the first column, of the images, says everything: to look up the others is faster.
    """
    index = pd.Index(columns[0])
    if index.is_unique:
        codes = [np.arange(len(index)), *_at_once(index.get_indexer, columns[1:])]
        if all((code != NONE).all() for code in codes):
            return codes, index, codes[0]
    joined, found = pd.factorize(np.concatenate(columns))
    ends = np.cumsum([len(column) for column in columns[:-1]])
    return np.split(joined, ends), pd.Index(found), _first(joined, len(found))


def _first(codes: Numbers, count: int) -> Numbers:
    first = np.empty(count, np.int64)
    first[codes[::-1]] = np.arange(len(codes))[::-1]
    return first
