"""The visible rows of one version of a table, column by column, those of earlier runs first."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
from deltalake import DeltaTable
from numpy.typing import NDArray

from curate import tables

AT_ONCE = 2**16  # rows
WHOLE = 60  # letters of a run id from which the statistics of a file may hold only its beginning
Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Part:
    """A Parquet file of a table."""

    path: str
    rows: int
    run: str  # "" where its rows are of several runs, or nobody knows


def parts(folder: Path, run_column: str) -> list[Part]:
    """Return the files of the newest version of the table in ``folder``, oldest first."""
    if not DeltaTable.is_deltatable(str(folder)):
        return []
    actions = DeltaTable(str(folder)).get_add_actions(flatten=True)
    names = ["modification_time", "path", "num_records"]
    names += [f"min.{run_column}", f"max.{run_column}"] if run_column else ["path", "path"]
    found = []
    for _, path, rows, low, high in sorted(
        zip(*(actions[name].to_pylist() for name in names), strict=True), key=itemgetter(0, 1)
    ):
        one = run_column and low is not None and low == high and len(low) < WHOLE
        found.append(Part(str(folder / path), int(rows), low if one else ""))
    return found


def runs_in(part: Part, run_column: str) -> pa.Array:
    """Return the run of each row of ``part``, as a dictionary."""
    column = ds.dataset([part.path]).to_table([run_column])[run_column]
    return column.combine_chunks().dictionary_encode()


class Rows:
    """Reads columns of the visible rows."""

    def __init__(self, found: Sequence[Part], table: str, order: Sequence[str]) -> None:
        """Read ``found``, of which rows of runs that are not in ``order`` are not visible."""
        self._schema, self._run_column = tables.TABLES[table], tables.RUN_COLUMN.get(table, "")
        rank = {run: rank for rank, run in enumerate(order)}
        self._parts = [part for part in found if not part.run or part.run in rank]
        self._stretches = self._visible(rank) if self._run_column else None
        self._datasets: dict[frozenset[str], ds.Dataset] = {}

    def columns(self, names: Iterable[str], coded: Iterable[str] = ()) -> pa.Table:
        """Return the columns ``names``; those in ``coded`` as dictionaries of few words."""
        names = list(dict.fromkeys(names))
        few = frozenset(coded)
        if not self._parts:
            return self._as_read(few).empty_table().select(names)
        rows = self._dataset(few).to_table(names, use_threads=False)
        if self._stretches is None:
            return rows
        seen = [rows.slice(start, length) for start, length in self._stretches]
        return pa.concat_tables(seen) if seen else rows.slice(0, 0)

    def mapped(
        self, names: Sequence[str], work: Callable[[pa.RecordBatch], NDArray[Any]]
    ) -> NDArray[Any]:
        """Return what ``work`` makes of the columns ``names``, an entry a row along the last axis.

        It is given some thousand rows at a time, so that little memory is ever in use: the system
        takes longer to hand out fresh memory than the reader to fill it.
        """
        none = self._as_read(frozenset()).empty_table().select(names)
        found = [
            work(
                pa.RecordBatch.from_arrays(
                    [pa.array([], each.type) for each in none.columns], schema=none.schema
                )
            )
        ]
        if self._parts:
            scanner = self._dataset(frozenset()).scanner(
                names, batch_size=AT_ONCE, use_threads=False,
                fragment_scan_options=ds.ParquetFragmentScanOptions(pre_buffer=False),
            )  # fmt: skip
            found += [work(batch) for batch in scanner.to_batches()]
        every = np.concatenate(found, axis=-1)
        if self._stretches is None:
            return every
        seen = [every[..., start : start + length] for start, length in self._stretches]
        return seen[0] if len(seen) == 1 else np.concatenate([every[..., :0], *seen], axis=-1)

    def take(self, numbers: NDArray[np.int64], names: Iterable[str]) -> pa.Table:
        """Return the columns ``names`` of some of the visible rows, in the order of ``numbers``."""
        names = list(dict.fromkeys(names))
        if not len(numbers):
            return self._as_read(frozenset()).empty_table().select(names)
        return self._dataset(frozenset()).take(pa.array(self._places(numbers)), columns=names)

    def _places(self, numbers: Numbers) -> Numbers:
        """Return where visible rows lie among all rows of the files."""
        if self._stretches is None:
            return numbers
        starts, lengths = np.array(self._stretches, np.int64).T
        ends = np.cumsum(lengths)
        stretch = np.searchsorted(ends, numbers, side="right")
        found: Numbers = starts[stretch] + numbers - (ends - lengths)[stretch]
        return found

    def _dataset(self, coded: frozenset[str]) -> ds.Dataset:
        """Open the files.

        Not through the dataset that deltalake offers: its file system, written in Python, ends 5 of
        8 processes that read a million rows with "terminate called" on exit (deltalake 1.6.6).
        """
        if coded not in self._datasets:
            options = ds.ParquetReadOptions(dictionary_columns=coded)
            files = [part.path for part in self._parts]
            self._datasets[coded] = ds.dataset(
                files, self._as_read(coded), format=ds.ParquetFileFormat(options)
            )
        return self._datasets[coded]

    def _as_read(self, coded: frozenset[str]) -> pa.Schema:
        """Return the schema of today; a column that is younger than a file reads as null."""
        words = pa.dictionary(pa.int32(), pa.string())
        return pa.schema(
            [field.with_type(words) if field.name in coded else field for field in self._schema]
        )

    def _visible(self, rank: Mapping[str, int]) -> list[tuple[int, int]]:
        """Return start and length of the stretches of one visible run each, by order of runs."""
        found, start = [], 0
        for part in self._parts:
            if part.run:
                found.append((rank[part.run], start, part.rows))
            else:
                mixed = _stretches(runs_in(part, self._run_column), rank)
                found += [(run, start + first, length) for run, first, length in mixed]
            start += part.rows
        seen: list[tuple[int, int]] = []
        for _, first, length in sorted(found, key=itemgetter(0)):
            if seen and sum(seen[-1]) == first:
                first, length = seen[-1][0], seen.pop()[1] + length
            seen.append((first, length))
        return seen


def _stretches(runs: pa.DictionaryArray, rank: Mapping[str, int]) -> list[tuple[int, int, int]]:
    """Return rank, start and length of each stretch of rows of one visible run."""
    words = [*runs.dictionary.to_pylist(), None]
    rank_of = np.array([rank.get(word, -1) for word in words])
    ranks = rank_of[runs.indices.fill_null(len(words) - 1).to_numpy()]
    starts = np.flatnonzero(np.diff(ranks, prepend=-2))
    lengths = np.diff(starts, append=len(ranks))
    every = zip(ranks[starts].tolist(), starts.tolist(), lengths.tolist(), strict=True)
    return [stretch for stretch in every if stretch[0] >= 0]
