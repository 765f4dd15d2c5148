"""The catalogue: a few Delta Lake tables, appended to in single commits.

A row is visible once its run is in `runs` and no visible run undoes it; until then it is as if it
had never been written. Rows of runs that died are swept by the next command that holds the lock.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError

from curate import rows, schema, tables, upkeep
from curate.errors import WorkspaceError
from curate.rows import Rows


class Catalogue:
    """The tables of one workspace."""

    def __init__(self, folder: Path) -> None:
        """Open the tables under ``folder``, which need not exist yet."""
        self.folder = folder

    def read(self, table: str, columns: Iterable[str] | None = None) -> pd.DataFrame:
        """Return the visible rows of ``table``, those of earlier runs first."""
        names = list(columns) if columns is not None else tables.TABLES[table].names
        distinct = tables.DISTINCT.get(table, [])
        frame: pd.DataFrame = self.rows(table).columns([*names, *distinct]).to_pandas()
        if distinct:
            frame = frame[~repeated(frame, distinct)].reset_index(drop=True)
        if table == "images" and {"also_at", "uri"} <= set(names):
            frame = self._with_places(frame)
        return frame[names]

    def rows(self, table: str, standing: pd.DataFrame | None = None) -> Rows:
        """Open the newest version of ``table``; ``standing`` is `runs_standing` if at hand.

        Of images, splits and the like that several runs brought, every row is there: the first one
        counts (tables.DISTINCT). A redraw hides the splits of all runs before it.
        """
        found = rows.parts(self.folder / table, tables.RUN_COLUMN.get(table, ""))
        if table == "runs":
            return Rows(found, table, ())
        runs = self.runs_standing() if standing is None else standing
        if table == "splits" and (runs["verb"] == schema.REDRAW).any():
            runs = runs[np.flatnonzero(runs["verb"] == schema.REDRAW)[-1] :]
        return Rows(found, table, runs["run_id"].tolist())

    def read_undone_too(self, table: str, columns: Iterable[str]) -> pd.DataFrame:
        """Return all rows of ``table``, also those of runs that were undone, as they are stored."""
        every = self.read("runs", ["run_id"])["run_id"].tolist()
        found = rows.parts(self.folder / table, tables.RUN_COLUMN[table])
        frame: pd.DataFrame = Rows(found, table, every).columns(columns).to_pandas()
        return frame

    def runs_standing(self) -> pd.DataFrame:
        """Return the rows of `runs` that are not undone, oldest first."""
        runs = self.read("runs").sort_values(["started", "run_id"], ignore_index=True)
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
            SchemaError: the frame does not fit tables.py.
            WorkspaceError: the table cannot be written (no rights, disk full).
        """
        if frame.empty:
            return 0
        fitting = tables.conform(table, frame)
        try:
            # Merging schemas: a workspace of an earlier version lacks columns of today.
            write_deltalake(
                self._place(table),
                fitting,
                mode="append",
                schema_mode="merge",
                writer_properties=upkeep.WRITER,
                configuration=upkeep.PROPERTIES,
            )
        except (DeltaError, OSError) as error:
            raise WorkspaceError(
                f"cannot write {self.folder / table}: {error}.\n"
                "Next: check free space and rights, then run the same command again; "
                "nothing half-written is visible"
            ) from error
        return int(fitting.num_rows)

    def sweep(self) -> int:
        """Delete what runs that never finished left behind; return the number of rows deleted.

        Only for the holder of the workspace lock. Runs that were undone keep their rows. Tables of
        many small files are put together.
        """
        finished = set(self.read("runs", ["run_id"])["run_id"])
        swept = 0
        for table, column in tables.RUN_COLUMN.items():
            if not self._exists(table):
                continue
            if dead := upkeep.runs_of(self.folder / table, column) - finished:
                swept += upkeep.delete(self.folder / table, column, dead)
        for table in tables.TABLES:
            if self._exists(table):
                upkeep.compact(self.folder / table)
        upkeep.unlink_uploads(self.folder)
        return swept

    def erase(self, table: str, column: str, values: Iterable[str]) -> int:
        """Delete the rows whose ``column`` is one of ``values`` from every version and file.

        For the holder of the lock. After it no file of the table holds those rows or, in the
        history of the table, those values; how the table was before can no longer be seen. Killed
        half-way, the same call completes it. Returns the number of rows that were there.
        """
        if not self._exists(table):
            return 0
        erased = upkeep.erase(self.folder / table, column, values)
        upkeep.unlink_uploads(self.folder)
        return erased

    def _with_places(self, images: pd.DataFrame) -> pd.DataFrame:
        """Add to `also_at` the places that later runs found."""
        later: dict[str, set[str]] = {}
        places = self.read("places", ["image_id", "uri"])
        for image_id, uri in zip(places["image_id"], places["uri"], strict=True):
            later.setdefault(image_id, set()).add(uri)
        if not later:
            return images
        ids = pa.array(images["image_id"], pa.string())
        also_at = images["also_at"].to_numpy(object).copy()
        found = pc.is_in(ids, pa.array(list(later), pa.string()))
        for row in np.flatnonzero(found).tolist():
            stored = () if also_at[row] is None else also_at[row]
            elsewhere = {*stored, *later[str(images["image_id"].iat[row])]}
            also_at[row] = sorted(elsewhere - {images["uri"].iat[row]})
        return images.assign(also_at=pd.Series(also_at, images.index, dtype="object"))

    def _exists(self, table: str) -> bool:
        return bool(DeltaTable.is_deltatable(self._place(table)))

    def _place(self, table: str) -> str:
        return str(self.folder / table)


def repeated(frame: pd.DataFrame, columns: Sequence[str]) -> np.ndarray:
    """Return (N,) bool: the row agrees in ``columns`` with an earlier one."""
    again = frame[columns[0]].duplicated(keep=False).to_numpy().copy()
    if again.any():  # only those can be, and they are few
        again[again] = frame.loc[again, list(columns)].duplicated().to_numpy()
    return again
