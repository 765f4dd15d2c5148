"""What a workspace holds, what waits, and what to do next."""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from curate import champions, groups, schema, show
from curate.labels import CLASH, Said, final
from curate.snapshot import NONE, Snapshot
from curate.usable import usable
from curate.workspace import Workspace

BATCHES = 8  # ingest runs shown
RUNS = 5  # runs of any verb shown
WAITING, TORN = "soft labels to review", "contradictory given labels"
TURN = "turn undecided"


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
    with ThreadPoolExecutor(1) as beside:
        counted = beside.submit(_labels_by_split, snapshot, said)
        champion = champions.champion(workspace, schema.LIVENESS)
        queues, batches = _queues(snapshot, said, images), _batches(snapshot, images)
        labels = counted.result()
    return Overview(
        workspace=str(workspace.root),
        images=_image_counts(images),
        labels=labels,
        queues=queues,
        champion=str(champion.folder) if champion else "",
        runs=[_run_row(row) for row in runs.tail(RUNS).to_dict("records")],
        batches=batches,
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
    """Return what waits -> how many units; of tasks about parts it is named with the task."""
    decided = said.decisions["image_id"].to_numpy()
    undecided = ((images["turn"] < 0) & (images["status"] == "kept")).to_numpy(copy=True)
    undecided[decided[decided < snapshot.images]] = False
    queues = _waiting(snapshot, said) | {TURN: int(undecided.sum())}
    for task, parts in _parts(snapshot).items():
        each = [_waiting(snapshot, Said(snapshot, task, part)) for part in parts]
        queues |= {_named(what, task): sum(n[what] for n in each) for what in (WAITING, TORN)}
    return queues


def _named(what: str, task: str) -> str:
    return what if task == schema.LIVENESS else f"{what}, {task}"


def _parts(snapshot: Snapshot) -> dict[str, set[str]]:
    """Return the tasks beside liveness that have labels or a softlabel run, and parts labelled."""
    inputs = snapshot.runs.loc[snapshot.runs["verb"] == "softlabel", "inputs"]
    parts: dict[str, set[str]] = {json.loads(text).get("task"): set() for text in inputs}
    for table in ("labels", "soft_labels"):
        pairs = snapshot.read(table, ["task", "part"]).drop_duplicates().astype(object)
        for task, part in pairs.fillna("").to_numpy().tolist():
            parts.setdefault(task, set()).add(part)
    return {task: parts[task] for task in schema.TASKS[1:] if task in parts}


def _waiting(snapshot: Snapshot, said: Said) -> dict[str, int]:
    """Return how many soft labels and contradictions of visible images no person settled."""
    settled = np.zeros(snapshot.total, bool)
    settled[said.decisions["image_id"].to_numpy()[final(said.decisions)]] = True
    torn = (said.given == CLASH) & ~settled
    return {
        WAITING: int((~settled[said.in_review]).sum()),
        TORN: int(torn[: snapshot.images].sum()),
    }


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
    own = {task: [_named(WAITING, task), _named(TORN, task)] for task in schema.TASKS}
    own[schema.LIVENESS].append(TURN)
    waits = [task for task, names in own.items() if any(queues.get(name) for name in names)]
    review = [f"curate review{show.for_task(task)}" for task in waits]
    label = [] if "softlabel" in done else ["curate softlabel --threshold 0.9"]
    if not learnable:
        others = any(_named(WAITING, task) in queues for task in schema.TASKS[1:])
        return [
            *(label if others else []),
            *review,
            "curate ingest LABELLED_FOLDER --trust given   of more people than dev and test took",
        ]
    if label:
        return [*label, *review]
    synth = [] if "synth" in done else ["curate synth"]
    return [*review, *synth, "curate report" if "retrain" in done else "curate retrain"]
