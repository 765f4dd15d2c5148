"""Which model is the champion: the last promoted one whose run stands."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.errors import DataError
from curate.workspace import Workspace


@dataclass(frozen=True)
class Model:
    """A model folder, `models/<task>/<number>`, and what its run counted."""

    folder: Path
    number: int
    run_id: str
    promoted: bool
    counts: dict[str, Any]


def models(workspace: Workspace, task: str) -> list[Model]:
    """Return the models of ``task`` whose runs stand, oldest first."""
    standing = workspace.catalogue.runs_standing()
    retrained = standing[standing["verb"] == "retrain"]
    found = []
    for row in retrained.itertuples(index=False):
        counts = json.loads(str(row.counts))
        if counts["task"] == task:
            folder = workspace.root / "models" / task / str(counts["model"])
            number, promoted = int(counts["model"]), bool(counts["promoted"])
            found.append(Model(folder, number, str(row.run_id), promoted, counts))
    return found


def champion(workspace: Workspace, task: str) -> Model | None:
    """Return the model promoted last, None before the first."""
    promoted = [model for model in models(workspace, task) if model.promoted]
    return promoted[-1] if promoted else None


def require_champion(workspace: Workspace, task: str) -> Model:
    """Return the champion.

    Raises:
        DataError: nothing has been promoted yet.
    """
    found = champion(workspace, task)
    if found is None:
        raise DataError(
            f"no {task} model has been promoted in {workspace.root}.\nNext: curate retrain"
        )
    return found
