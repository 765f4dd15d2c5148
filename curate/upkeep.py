"""Keeping Delta tables small and clean: rows deleted, small files put together, traces removed.

Everything here is for the holder of the workspace lock, and may be killed at any moment: each step
is one commit or the removal of a file that no commit needs, and doing it again completes it.
"""

from collections.abc import Iterable
from pathlib import Path

from deltalake import DeltaTable, WriterProperties

from curate import rows

SMALL_FILES = 32  # of one table, from which they are put together
SMALL = 16 * 2**20  # bytes below which a file is small
WRITER = WriterProperties(compression="LZ4_RAW")  # ids read in half the time, files no larger
# Of new tables. Opening reads the last checkpoint and the commits since: 6 ms, not 25 for 55.
PROPERTIES = {"delta.checkpointInterval": "10"}
KEPT_HOURS = 24  # for commands that read while files are put together
AT_ONCE = 10_000  # values named in one predicate


def runs_of(folder: Path, run_column: str) -> set[str]:
    """Return the runs that rows of the table are of; files that hold only one are not opened."""
    found = rows.parts(folder, run_column)
    mixed = [rows.runs_in(part, run_column).dictionary for part in found if not part.run]
    named = {run for words in mixed for run in words.to_pylist()}
    return named | {part.run for part in found if part.run}


def delete(folder: Path, column: str, values: Iterable[str]) -> int:
    """Delete the rows whose ``column`` is one of ``values``; return how many there were."""
    table = DeltaTable(str(folder))
    quoted = sorted("'" + value.replace("'", "''") + "'" for value in values)
    deleted = 0
    for start in range(0, len(quoted), AT_ONCE):
        named = ", ".join(quoted[start : start + AT_ONCE])
        deleted += int(table.delete(f"{column} IN ({named})")["num_deleted_rows"] or 0)
    return deleted


def compact(folder: Path) -> None:
    """Put small files together where there are many; what they held is removed a day later."""
    table = DeltaTable(str(folder))
    sizes = table.get_add_actions()["size_bytes"].to_pylist()
    if sum(size < SMALL for size in sizes) >= SMALL_FILES:
        table.optimize.compact(target_size=SMALL, max_concurrent_tasks=1, writer_properties=WRITER)
        table.vacuum(KEPT_HOURS, dry_run=False, enforce_retention_duration=False)


def erase(folder: Path, column: str, values: Iterable[str]) -> int:
    """Delete rows as `delete` does, then every file and commit that still shows them."""
    deleted = delete(folder, column, values)
    table = DeltaTable(str(folder))
    table.vacuum(0, dry_run=False, enforce_retention_duration=False, full=True)
    # A commit that says nothing: the last one stays, and it must not be the one that names values.
    table.alter.set_table_properties(PROPERTIES)
    table.update_incremental()
    table.create_checkpoint()
    _forget_commits(folder / "_delta_log", table.version())
    return deleted


def unlink_uploads(catalogue: Path) -> None:
    """Remove what killed writers leave and vacuum never does: multipart uploads (deltalake 1.6)."""
    for leftover in catalogue.glob("*/*.parquet#*"):
        leftover.unlink()


def _forget_commits(log: Path, before: int) -> None:
    """Remove the commits that the checkpoint of version ``before`` stands for, oldest first.

    They hold the smallest and largest values of deleted files, and the predicate that deleted them.
    """
    for file in sorted(log.iterdir()):
        version = file.name.split(".")[0]
        if file.suffix == ".tmp" or (version.isdecimal() and int(version) < before):
            file.unlink()
