"""What a workspace holds, what waits, and what to do next."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate import champions, groups, schema
from curate.labels import CLASH, Said
from curate.snapshot import NONE, Snapshot
from curate.usable import usable
from curate.workspace import Workspace

BATCHES = 8  # ingest runs shown
RUNS = 5  # runs of any verb shown
WAITING = "soft labels to review"


@dataclass(frozen=True)
class Overview:
    """The whole of `curate status`."""

    workspace: str
    images: dict[str, int]
    labels: dict[str, tuple[int, int, int]]  # label -> images in train, dev, test
    queues: dict[str, int]
    champion: str
    runs: list[dict[str, Any]]
    batches: list[dict[str, Any]]  # the last ingest runs, oldest first; see `_batches`
    redrawn: str  # the run that drew dev and test anew, "" while they are as first dealt
    next_steps: list[str]


def overview(workspace: Workspace) -> Overview:
    """Count everything that `curate status` shows."""
    snapshot = Snapshot(workspace.catalogue)
    columns = ["batch", "source", "status", "origin", "turn"]
    images = snapshot.read("images", columns)
    said, runs = Said(snapshot), snapshot.runs
    champion = champions.champion(workspace, "liveness")
    queues = _queues(snapshot, said, images)
    labels = _labels_by_split(snapshot, said)
    return Overview(
        workspace=str(workspace.root),
        images=_image_counts(images),
        labels=labels,
        queues=queues,
        champion=str(champion.folder) if champion else "",
        runs=[_run_row(row) for row in runs.tail(RUNS).to_dict("records")],
        batches=_batches(snapshot, images),
        redrawn=next(iter(runs.loc[runs["verb"] == schema.REDRAW, "run_id"][::-1]), ""),
        next_steps=_next(runs, queues, images, sum(train for train, _, _ in labels.values())),
    )


def _image_counts(images: pd.DataFrame) -> dict[str, int]:
    counts = images["status"].value_counts()
    return (
        {"images": len(images)}
        | {status: int(counts.get(status, 0)) for status in schema.IMAGE_STATUSES}
        | {"synthetic": int((images["origin"] == "synthetic").sum())}
    )


def _labels_by_split(snapshot: Snapshot, said: Said) -> dict[str, tuple[int, int, int]]:
    split = groups.split_ranks(snapshot)
    word = said.resolved[: snapshot.images]
    counted = usable(snapshot, said, split) & (word != NONE) & (split[: snapshot.images] != NONE)
    cells = word[counted] * len(schema.SPLITS) + split[: snapshot.images][counted]
    counts = np.bincount(cells, minlength=len(said.words) * len(schema.SPLITS)).reshape(-1, 3)
    rows = {name: (int(n[0]), int(n[1]), int(n[2]))
            for name, n in zip(said.words, counts, strict=True) if n.any()}  # fmt: skip
    return dict(sorted(rows.items()))


def _queues(snapshot: Snapshot, said: Said, images: pd.DataFrame) -> dict[str, int]:
    settled = _settled(snapshot, said)
    decided = said.decisions["image_id"].to_numpy()
    undecided = ((images["turn"] < 0) & (images["status"] == "kept")).to_numpy(copy=True)
    undecided[decided[decided < snapshot.images]] = False
    return {
        WAITING: int((~settled[said.in_review]).sum()),
        "contradictory given labels": int(((said.given == CLASH) & ~settled).sum()),
        "turn undecided": int(undecided.sum()),
    } | {f"{WAITING}, {task}": _waiting(snapshot, task) for task in _other_tasks(snapshot)}


def _other_tasks(snapshot: Snapshot) -> list[str]:
    """Return the tasks beside the first that a teacher has labelled."""
    inputs = snapshot.runs.loc[snapshot.runs["verb"] == "softlabel", "inputs"]
    done = {json.loads(text).get("task") for text in inputs}
    return [task for task in schema.TASKS[1:] if task in done]


def _waiting(snapshot: Snapshot, task: str) -> int:
    """Return how many eyes or regions wait for a person."""
    count = 0
    for part in schema.PARTS_OF[task]:
        said = Said(snapshot, task, part)
        count += int((~_settled(snapshot, said)[said.in_review]).sum())
    return count


def _settled(snapshot: Snapshot, said: Said) -> NDArray[np.bool_]:
    """Tell of each image whether a person said what it shows."""
    decisions = said.decisions["image_id"].to_numpy()
    final = said.decisions["action"].isin(["reject", "accept"]).to_numpy()
    settled = np.zeros(snapshot.total, bool)
    settled[decisions[final | (said.decided[decisions] != NONE)]] = True
    return settled


def _batches(snapshot: Snapshot, images: pd.DataFrame) -> list[dict[str, Any]]:
    """Return run_id, started, sources, images, kept, duplicate, quarantined, again of each batch.

    `images` are new contents, and the next three add up to it; `again` counts files whose bytes
    were on record already.
    """
    runs = snapshot.runs[snapshot.runs["verb"] == "ingest"].tail(BATCHES)
    rows = images[images["batch"].isin(runs["run_id"])].astype({"batch": str, "source": str})
    counts = rows.groupby(["batch", "status"], observed=True).size().unstack(fill_value=0)
    counts = counts.reindex(runs["run_id"], columns=list(schema.IMAGE_STATUSES), fill_value=0)
    sources = rows.groupby("batch")["source"].unique()
    again = snapshot.read("places", ["run_id"])["run_id"].value_counts()
    return [
        {"run_id": run, "started": started, "sources": sorted(sources.get(run, []))}
        | {"images": sum(n), **dict(zip(counts.columns, n, strict=True))}
        | {"again": int(again.get(run, 0))}
        for run, started, n in zip(
            runs["run_id"], runs["started"], counts.to_numpy(int).tolist(), strict=True
        )
    ]


def _run_row(row: Mapping[Any, Any]) -> dict[str, Any]:
    kept = {name: row[name] for name in ("run_id", "verb", "state", "seconds", "started")}
    return kept | {"counts": json.loads(row["counts"])}


def _next(
    standing: pd.DataFrame, queues: dict[str, int], images: pd.DataFrame, learnable: int
) -> list[str]:
    """Return what to do next; ``learnable`` images of the training split bear a label in use."""
    done = set(standing["verb"])
    if images.empty:
        return ["curate ingest FOLDER_OF_IMAGES"]
    if not learnable:
        return [
            "curate ingest LABELLED_FOLDER --trust given   of more people than dev and test took"
        ]
    if "softlabel" not in done:
        return ["curate softlabel --threshold 0.9"]
    own = {f"{WAITING}, {task}": f" --task {task}" for task in schema.TASKS[1:]}
    steps = [f"curate review{task}" for name, task in own.items() if queues.get(name)]
    if any(count for name, count in queues.items() if name not in own):
        steps.insert(0, "curate review")
    steps.append("curate synth" if "synth" not in done else "")
    steps.append("curate retrain" if "retrain" not in done else "curate report")
    return [step for step in steps if step]
