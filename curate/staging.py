"""Work in progress on disk, so that a killed ingest goes on where it stopped."""

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from curate import tables

PART_SECONDS = 2.0  # of work a kill may cost
KEY = ("uri", "bytes", "mtime_ns")  # while these hold, so does the record


class Staging:
    """Records of one stage, in numbered Parquet parts that appear whole or not at all."""

    def __init__(self, folder: Path) -> None:
        """Stage under ``folder``, made on the first flush."""
        self.folder = folder
        self._pending: list[dict[str, Any]] = []
        self._flushed = time.monotonic()

    def rows(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Return all staged records as rows of `images`, or some columns of them.

        As Arrow they take a fraction of the memory that dicts would: bench_ingest measures it.
        """
        names = list(columns or tables.TABLES["images"].names)
        files = sorted(self.folder.glob("*.parquet"))
        empty = tables.TABLES["images"].empty_table().select(names)
        return pa.concat_tables([empty, *(pq.read_table(file, columns=names) for file in files)])

    def add(self, record: dict[str, Any]) -> None:
        """Take one record; every PART_SECONDS what came since reaches the disk."""
        self._pending.append(record)
        if time.monotonic() - self._flushed >= PART_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what is pending as one part: under another name first, then renamed."""
        self._flushed = time.monotonic()
        if not self._pending:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self.folder / f"{len(list(self.folder.glob('*.parquet'))):06d}.parquet"
        rows = tables.conform("images", pd.DataFrame(self._pending))
        pq.write_table(rows, part.with_suffix(".tmp"))
        part.with_suffix(".tmp").replace(part)
        self._pending.clear()

    def clear(self) -> None:
        """Forget everything staged."""
        shutil.rmtree(self.folder, ignore_errors=True)
