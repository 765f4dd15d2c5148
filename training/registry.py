"""Model folders: `models/<task>/<number>`, each with all that is needed to use and to judge it.

weights.safetensors   tensors only, so that loading runs no code
card.json             contract, threshold, figures, what it was trained on: for programs
README.md             the same for people
trained_on.parquet    every image the weights or the threshold come from, with its subject

A folder appears whole, by renaming. It counts once its run is in `runs`; the next retrain removes
folders of runs that never finished.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from curate.champions import Model
from curate.errors import AssetError
from curate.workspace import Workspace
from training import card, model
from training.model import Contract, Network

WEIGHTS, CARD, PEOPLE, ORIGIN = (
    "weights.safetensors",
    "card.json",
    "README.md",
    "trained_on.parquet",
)
ORIGIN_COLUMNS = ["subject", "parent_id", "split", "label", "attack_type", "basis"]


@dataclass(frozen=True)
class Saved:
    """A model read back, ready to score."""

    net: Network
    threshold: float
    card: dict[str, Any]


def recorded(workspace: Workspace, task: str) -> set[int]:
    """Return the numbers of all models whose run finished, also of runs since undone."""
    runs = workspace.catalogue.read("runs", ["verb", "counts"])
    every = [json.loads(counts) for counts in runs.loc[runs["verb"] == "retrain", "counts"]]
    return {int(counts["model"]) for counts in every if counts["task"] == task}


def sweep(workspace: Workspace, task: str) -> int:
    """Remove what dead runs left under models/<task>; return the number the next model gets.

    Only for the holder of the workspace lock. Folders with other names are none of our business.
    """
    taken = recorded(workspace, task)
    for folder in (workspace.root / "models" / task).glob("*"):
        name = folder.name.removeprefix(".")
        if name.isdecimal() and (name != folder.name or int(name) not in taken):
            shutil.rmtree(folder)
    return max(taken, default=0) + 1


def save(folder: Path, net: Network, facts: dict[str, Any], origin: pd.DataFrame) -> None:
    """Write the model folder; ``facts`` become the card, ``origin`` what it learnt from."""
    hidden = folder.with_name(f".{folder.name}")
    hidden.mkdir(parents=True)
    tensors = {name: value.contiguous().cpu() for name, value in net.state_dict().items()}
    save_file(tensors, hidden / WEIGHTS)
    (hidden / CARD).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    (hidden / PEOPLE).write_text(card.text(facts), encoding="utf-8")
    origin[ORIGIN_COLUMNS].to_parquet(hidden / ORIGIN)
    hidden.rename(folder)


def load(found: Model) -> Saved:
    """Return the model in a folder.

    Raises:
        AssetError: a file of it is missing or damaged.
    """
    try:
        facts = json.loads((found.folder / CARD).read_text(encoding="utf-8"))
        contract = Contract(**facts["contract"])
        net = model.create(
            contract.backbone,
            crop_scale=contract.crop_scale,
            image_size=contract.image_size,
            pretrained=False,
        )
        net.load_state_dict(load_file(found.folder / WEIGHTS))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise AssetError(
            f"model {found.folder} cannot be loaded: {error}.\n"
            f"Next: put its files back from a copy; or curate undo {found.run_id}, "
            "then curate retrain"
        ) from error
    return Saved(net, float(facts["threshold"]), facts)
