"""Which model is the champion: the last promoted one whose run stands."""

import importlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curate.errors import DataError
from curate.workspace import Workspace

SCORER = "training.predict:scorer"


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


def scorer(
    workspace: Workspace, model: Model, track: Callable[..., Any]
) -> Callable[[pd.DataFrame], NDArray[np.float64]]:
    """Return what scores rows of `images` with ``model``: (N,) P(bona fide).

    Named as a string, as commands are: training loads torch, and its siblings may not import it.
    """
    module, name = SCORER.split(":")
    loaded = getattr(importlib.import_module(module), name)
    scores: Callable[[pd.DataFrame], NDArray[np.float64]] = loaded(workspace, model, track)
    return scores


def learnt_from(model: Model) -> frozenset[str]:
    """Return the images that the weights or the threshold of ``model`` come from."""
    origin = pq.read_table(model.folder / "trained_on.parquet", columns=["image_id"])
    return frozenset(origin["image_id"].to_pylist())
