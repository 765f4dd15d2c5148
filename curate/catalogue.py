"""The catalogue: a few Delta Lake tables, appended to in single commits.

A row is visible once its run is in `runs` and no visible run undoes it; until then it is as if it
had never been written. Rows of runs that died are swept by the next command that holds the lock.
"""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError

from curate import schema
from curate.errors import WorkspaceError


class Catalogue:
    """The tables of one workspace."""

    def __init__(self, folder: Path) -> None:
        """Open the tables under ``folder``, which need not exist yet."""
        self.folder = folder

    def read(self, table: str, columns: Iterable[str] | None = None) -> pd.DataFrame:
        """Return the visible rows of ``table``, those of earlier runs first."""
        if table == "runs":
            return self._load(table, columns)
        run_column = schema.RUN_COLUMN[table]
        names = list(columns) if columns is not None else schema.TABLES[table].names
        needed = list(dict.fromkeys([*names, run_column, *schema.DISTINCT.get(table, [])]))
        standing = pa.array(list(self.runs_standing()["run_id"]), pa.string())
        frame = self._load(table, needed, pc.field(run_column).isin(standing))
        frame = frame.sort_values(run_column, kind="stable", ignore_index=True)
        if distinct := schema.DISTINCT.get(table):
            frame = frame.drop_duplicates(distinct, ignore_index=True)
        if table == "images" and "also_at" in names:
            frame = self._with_places(frame)
        return frame[names]

    def runs_standing(self) -> pd.DataFrame:
        """Return the rows of `runs` that are not undone, oldest first."""
        runs = self._load("runs").sort_values(["started", "run_id"], ignore_index=True)
        undone: set[str] = set()
        for run_id, undoes in zip(runs["run_id"][::-1], runs["undoes"][::-1], strict=True):
            if undoes and run_id not in undone:
                undone.add(undoes)
        return runs[~runs["run_id"].isin(undone)]

    def split_of(self) -> "pd.Series[str]":
        """Return image_id -> train, dev or test."""
        return self.read("splits", ["image_id", "split"]).set_index("image_id")["split"]

    def append(self, table: str, frame: pd.DataFrame) -> int:
        """Append ``frame`` to ``table`` in one commit; return the number of rows.

        Raises:
            SchemaError: the frame does not fit schema.py.
            WorkspaceError: the table cannot be written (no rights, disk full).
        """
        if frame.empty:
            return 0
        rows = schema.conform(table, frame)
        try:
            write_deltalake(self._place(table), rows, mode="append")
        except (DeltaError, OSError) as error:
            raise WorkspaceError(
                f"cannot write {self.folder / table}: {error}.\n"
                "Next: check free space and rights, then run the same command again; "
                "nothing half-written is visible"
            ) from error
        return int(rows.num_rows)

    def sweep(self) -> int:
        """Delete what runs that never finished left behind; return the number of rows deleted.

        Only for the holder of the workspace lock. Runs that were undone keep their rows.
        """
        finished = set(self._load("runs", ["run_id"])["run_id"])
        swept = 0
        for table, column in schema.RUN_COLUMN.items():
            if not self._exists(table):
                continue
            dead = set(self._load(table, [column])[column].unique()) - finished
            if dead:
                names = ", ".join(f"'{run}'" for run in sorted(dead))
                done = DeltaTable(self._place(table)).delete(f"{column} IN ({names})")
                swept += int(done["num_deleted_rows"] or 0)
        # A killed writer leaves multipart uploads that vacuum never removes (deltalake 1.6).
        for leftover in self.folder.glob("*/*.parquet#*"):
            leftover.unlink()
        return swept

    def _with_places(self, images: pd.DataFrame) -> pd.DataFrame:
        """Add to `also_at` the places that later runs found."""
        later: dict[str, set[str]] = {}
        places = self.read("places", ["image_id", "uri"])
        for image_id, uri in zip(places["image_id"], places["uri"], strict=True):
            later.setdefault(image_id, set()).add(uri)
        if not later or "uri" not in images:
            return images
        also_at = [
            sorted({*stored, *later[image_id]} - {uri}) if image_id in later else stored
            for image_id, uri, stored in zip(
                images["image_id"], images["uri"], images["also_at"], strict=True
            )
        ]
        return images.assign(also_at=pd.Series(also_at, dtype="object"))

    def _load(
        self, table: str, columns: Iterable[str] | None = None, only: pc.Expression | None = None
    ) -> pd.DataFrame:
        names = list(columns) if columns is not None else schema.TABLES[table].names
        if not self._exists(table):
            return schema.empty(table)[names]
        dataset = DeltaTable(self._place(table)).to_pyarrow_dataset()
        frame: pd.DataFrame = dataset.to_table(columns=names, filter=only).to_pandas()
        return frame

    def _exists(self, table: str) -> bool:
        return bool(DeltaTable.is_deltatable(self._place(table)))

    def _place(self, table: str) -> str:
        return str(self.folder / table)
