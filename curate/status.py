"""What a workspace holds, what waits, and what to do next."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from curate import champions, labels, schema
from curate.usable import usable_images
from curate.workspace import Workspace


@dataclass(frozen=True)
class Overview:
    """The whole of `curate status`."""

    workspace: str
    images: dict[str, int]
    labels: dict[str, tuple[int, int, int]]  # label -> images in train, dev, test
    queues: dict[str, int]
    champion: str
    runs: list[dict[str, Any]]
    next_steps: list[str]


def overview(workspace: Workspace) -> Overview:
    """Count everything that `curate status` shows."""
    catalogue = workspace.catalogue
    images = catalogue.read("images", ["image_id", "status", "reason", "origin", "turn"])
    standing = catalogue.runs_standing()
    champion = champions.champion(workspace, "liveness")
    queues = _queues(workspace, images)
    return Overview(
        workspace=str(workspace.root),
        images=_image_counts(images),
        labels=_labels_by_split(workspace),
        queues=queues,
        champion=str(champion.folder) if champion else "",
        runs=[_run_row(row) for row in standing.tail(5).to_dict("records")],
        next_steps=_next(standing, queues, images),
    )


def _image_counts(images: pd.DataFrame) -> dict[str, int]:
    counts = images["status"].value_counts()
    return (
        {"images": len(images)}
        | {status: int(counts.get(status, 0)) for status in schema.IMAGE_STATUSES}
        | {"synthetic": int((images["origin"] == "synthetic").sum())}
    )


def _labels_by_split(workspace: Workspace) -> dict[str, tuple[int, int, int]]:
    usable = usable_images(workspace.catalogue)
    resolved = labels.resolved(workspace.catalogue).reindex(usable.index).dropna(subset=["label"])
    split = workspace.catalogue.split_of()
    words = pd.Series(labels.words(resolved), resolved.index, dtype="object")
    counts = pd.crosstab(words, split.reindex(resolved.index)) if len(words) else pd.DataFrame()
    counts = counts.reindex(columns=list(schema.SPLITS), fill_value=0)
    return {str(word): (int(row[0]), int(row[1]), int(row[2]))
            for word, row in zip(counts.index, counts.to_numpy(), strict=True)}  # fmt: skip


def _queues(workspace: Workspace, images: pd.DataFrame) -> dict[str, int]:
    catalogue = workspace.catalogue
    decisions = labels.decided(catalogue, "liveness")
    settled = (decisions["label"] != "") | decisions["action"].isin(["reject", "accept"])
    decided = set(decisions.loc[settled, "image_id"])
    soft = labels.latest_soft(catalogue, "liveness")
    waiting = soft[(soft["status"] == "review") & ~soft["image_id"].isin(decided)]
    conflicts = labels.given_keys(catalogue)
    conflicts = conflicts[conflicts == labels.CONFLICT]
    undecided = set(images.loc[(images["turn"] < 0) & (images["status"] == "kept"), "image_id"])
    return {
        "soft labels to review": len(waiting),
        "contradictory given labels": len(set(conflicts.index) - decided),
        "turn undecided": len(undecided - set(decisions["image_id"])),
    }


def _run_row(row: Mapping[Any, Any]) -> dict[str, Any]:
    kept = {name: row[name] for name in ("run_id", "verb", "state", "seconds", "started")}
    return kept | {"counts": json.loads(row["counts"])}


def _next(standing: pd.DataFrame, queues: dict[str, int], images: pd.DataFrame) -> list[str]:
    done = set(standing["verb"])
    if images.empty:
        return ["curate ingest FOLDER_OF_IMAGES"]
    if "softlabel" not in done:
        return ["curate softlabel --threshold 0.9"]
    steps = ["curate review" if any(queues.values()) else ""]
    steps.append("curate synth" if "synth" not in done else "")
    steps.append("curate retrain" if "retrain" not in done else "curate report")
    return [step for step in steps if step]
