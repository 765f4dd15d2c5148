"""Runs: one row per command, written last; its presence is what makes a command's rows visible."""

import hashlib
import json
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from curate import __version__, tables
from curate.errors import DataError
from curate.workspace import Workspace

FINAL = ("forget",)  # verbs that cannot be taken back


@dataclass
class Run:
    """A command under way. What it appends becomes visible when it ends well."""

    workspace: Workspace
    verb: str
    run_id: str
    counts: dict[str, Any] = field(default_factory=dict)
    state: str = "done"
    undoes: str = ""
    recorded: bool = True  # False: nothing new was found, so no row is written at all

    def append(self, table: str, frame: pd.DataFrame) -> int:
        """Append ``frame`` to ``table`` under this run; return the number of rows."""
        return self.workspace.catalogue.append(
            table, frame.assign(**{tables.RUN_COLUMN[table]: self.run_id})
        )


@contextmanager
def start(workspace: Workspace, verb: str, inputs: dict[str, Any]) -> Iterator[Run]:
    """Hold the workspace, sweep what dead runs left, run the body, write the runs row last."""
    config = workspace.config.model_dump_json()  # a wrong setting stops it before anything is done
    with workspace.lock(verb):
        # After the wait: run ids sort in the order in which runs saw the catalogue.
        began, clock = datetime.now(UTC), time.monotonic()
        workspace.catalogue.sweep()
        run = Run(workspace, verb, f"{began:%Y%m%dT%H%M%S.%f}-{verb}-{secrets.token_hex(2)}")
        yield run
        if not run.recorded:
            return
        row = {
            "run_id": run.run_id,
            "verb": verb,
            "state": run.state,
            "undoes": run.undoes,
            "started": began.isoformat(timespec="microseconds"),
            "seconds": round(time.monotonic() - clock, 3),
            "config": config,
            "inputs": json.dumps(inputs, default=str),
            "code_version": __version__,
            "counts": json.dumps(run.counts),
        }
        workspace.catalogue.append("runs", pd.DataFrame([row]))


def fingerprint(*parts: Any) -> str:
    """Return a short hash of everything that decides what a run would write."""
    text = json.dumps([__version__, *parts], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def repeats(workspace: Workspace, verb: str, mark: str, *, task: str | None = None) -> str:
    """Return the id of the last standing run of ``verb`` if it bears ``mark``, else "".

    With ``task``: the last one of that task. A refused one with another mark changed nothing, and
    does not count.
    """
    for row in of_verb(workspace, verb)[::-1]:
        if task is not None and row["inputs"].get("task", task) != task:
            continue
        if row["inputs"].get("fingerprint") == mark:
            return str(row["run_id"])
        if row["state"] != "refused":
            return ""
    return ""


def of_verb(workspace: Workspace, verb: str) -> list[dict[str, Any]]:
    """Return the standing runs of ``verb``, oldest first, `inputs` and `counts` as dicts."""
    standing = workspace.catalogue.runs_standing()
    rows = standing[standing["verb"] == verb].to_dict("records")
    decoded = [{name: json.loads(row[name]) for name in ("inputs", "counts")} for row in rows]
    return [{str(k): v for k, v in row.items()} | more
            for row, more in zip(rows, decoded, strict=True)]  # fmt: skip


def undo(workspace: Workspace, run_id: str) -> Run:
    """Make the rows of ``run_id`` invisible; undoing that undo brings them back.

    Raises:
        DataError: no such run, it is undone already, or its verb is one of FINAL.
    """
    with start(workspace, "undo", {"run": run_id}) as run:
        standing = workspace.catalogue.runs_standing()
        found = standing[standing["run_id"].str.startswith(run_id or "no run given")]
        if len(found) != 1:
            known = ", ".join(standing["run_id"].tail(5)) or "none yet"
            fault = "matches several runs" if len(found) else "is no run that could be undone"
            raise DataError(f"{run_id!r} {fault}; the latest: {known}.\nNext: curate status")
        run.undoes, undone = str(found["run_id"].iloc[0]), str(found["verb"].iloc[0])
        if undone in FINAL:
            raise DataError(
                f"{run.undoes} cannot be undone: what it erased is gone.\n"
                "Next: ingest the originals elsewhere, if they may be kept"
            )
        run.counts = {"undoes": run.undoes, "verb": undone}
    return run
