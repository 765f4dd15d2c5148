"""What teachers make of one image, in a workspace or without; nothing about the image is kept."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate import engine, schema, show, workspace
from curate.config import Config
from curate.errors import AssetError, ConfigError, SourceError, require
from curate.examine import examine
from curate.options import opened
from curate.places import uri_of
from curate.reading import detector
from curate.workspace import Workspace
from labeling import cards
from labeling.cards import Card, Net, Shelf

Floats: TypeAlias = NDArray[np.float64]

# What labeling.teachers builds in a workspace, in words: listing them must not load torch.
BUILT_IN = {
    "fitted": "linear heads on frozen features, learnt from the workspace's trusted labels",
    "stack": "fitted, with the scores of cards beside the features; default where weights are here",
    "fine-tuned": "fitted, with the scores of the backbone tuned on those labels; takes minutes",
    "geometry": "eyes and occlusion, from landmarks and blendshapes; learns nothing",
    "champion": "the promoted model",
    "agreement": "fitted and teachers independent of it; what they differ on goes to review",
}
BUILT_IN_NEED = ("timm", "sklearn")


@dataclass(frozen=True)
class Surroundings:
    """The workspace with its settings and cards; the defaults where there is none."""

    here: Workspace | None
    config: Config
    shelf: Shelf


def around(root: Path | None) -> Surroundings:
    """Return what surrounds ``root``, or the folder we are in: no workspace is needed."""
    found = root or workspace.nearest(Path.cwd())
    if found is None:
        return Surroundings(None, Config(), cards.shelf())
    here = workspace.open_at(found)
    return Surroundings(here, here.config, cards.of_workspace(here))


def listed(shelf: Shelf) -> dict[str, Any]:
    """Return `built_in`, in words, and `cards`: which weights are here, how to get the others."""
    return {
        "built_in": BUILT_IN,
        "cards": [_described(shelf, card) for card in shelf.cards.values()],
    }


def tried(around: Surroundings, image: Path, name: str | None, task: str | None) -> dict[str, Any]:
    """Return what the teacher ``name``, or every card whose weights are here, makes of ``image``.

    Raises:
        ConfigError: no such teacher, or it does another task.
        AssetError: no card has its weights here.
        SourceError: the image cannot be read, or shows no face.
        WorkspaceError: the teacher learns, and there is no workspace.
    """
    task, names = _chosen(around.shelf, name, task)
    require("torch", "onnxruntime", *([] if names[0] in around.shelf.cards else BUILT_IN_NEED))
    row = _examined(image, around.config)
    said = [line for name in names for line in _asked(around, name, task, row)]
    return {"image": str(image), "task": task, "turn": row["turn"], "teachers": said}


def _described(shelf: Shelf, card: Card) -> dict[str, Any]:
    files = {net.weights.file: shelf.find(net) for net in shelf.nets(card)}
    return {
        "name": card.name,
        "task": card.task,
        "weights": {file: str(place) if place else None for file, place in files.items()},
        "here": all(files.values()),
        "obtain": card.obtain,
        "licence": card.licence,
        "members": [] if isinstance(card, Net) else list(card.members),
        "card": str(shelf.files[card.name]),
    }


def _chosen(shelf: Shelf, name: str | None, task: str | None) -> tuple[str, list[str]]:
    """Return the task and the teachers to ask.

    Raises:
        ConfigError: the one named does not exist, or does another task.
        AssetError: none is named, and no card has its weights here.
    """
    if name in BUILT_IN:
        return task or schema.TASKS[0], [name]
    if name is not None:
        if name not in shelf.cards:
            raise ConfigError(
                f"no teacher is called {name!r}; known: {', '.join([*BUILT_IN, *shelf.cards])}.\n"
                "Next: curate teachers list"
            )
        card = shelf.card(name)
        if task not in (None, card.task):
            raise ConfigError(
                f"teacher {name!r} does task {card.task}, not {task}.\nNext: leave out --task"
            )
        return card.task, [name]
    wanted = task or schema.TASKS[0]
    if found := shelf.available(wanted):
        return wanted, [card.name for card in found]
    raise AssetError(
        f"no card of task {wanted} has its weights here.\n"
        "Next: curate teachers list   says which there are and how to get them; or, in a workspace "
        "with trusted labels, --teacher fitted"
    )


def _examined(image: Path, config: Config) -> dict[str, Any]:
    """Return the columns of `images` of one image file.

    Raises:
        SourceError: it cannot be read, or shows no face.
    """
    try:
        row = examine(image.read_bytes(), detector(config), judge=False)
    except OSError as error:
        raise SourceError(
            f"{image} cannot be read: {error.strerror or error}.\nNext: name an image file"
        ) from error
    if row["status"] != "kept":
        raise SourceError(
            f"{image}: {schema.REASONS[row['reason']]}.\nNext: name an image that shows a face"
        )
    return row | {"uri": uri_of(image)}


def _asked(around: Surroundings, name: str, task: str, row: dict[str, Any]) -> list[dict[str, Any]]:
    """Return one line per part that the teacher judges."""
    parts = [part for part in schema.PARTS_OF[task] if part != "eye"]  # a patch is no face
    units = pd.DataFrame([row | {"part": part} for part in parts])
    ask = _ask_card if name in around.shelf.cards else _ask_built_in
    found = ask(around, name, task, units)
    return [
        {
            "teacher": name,
            "part": part,
            "probabilities": dict(zip(schema.CLASSES_OF[task], map(float, line), strict=True)),
        }
        for part, line in zip(parts, found, strict=True)
        if not np.isnan(line[0])  # it judges that part
    ]


def _ask_card(around: Surroundings, name: str, task: str, units: pd.DataFrame) -> Floats:
    from labeling import card_teacher

    threads = engine.threads(around.config.threads)
    with tempfile.TemporaryDirectory() as scratch:
        teacher = card_teacher.load(
            around.shelf, name, Path(scratch), threads=threads, track=show.track
        )
        return teacher.probabilities(units)


def _ask_built_in(around: Surroundings, name: str, task: str, units: pd.DataFrame) -> Floats:
    """Fit the teacher and ask it; what it cached of the image is thrown away.

    Raises:
        WorkspaceError: there is no workspace.
    """
    from labeling import teachers as built
    from labeling.units import gather

    here = around.here or opened(None)
    with here.lock("teachers try"):
        known = gather(here, task, learning=name in built.LEARNING)
        teacher = built.build(here, name, known, show.track)
        before = set(here.root.glob("crops/*/*.parquet"))
        try:
            return teacher.probabilities(_grouped(units, known.every))
        finally:
            for part in set(here.root.glob("crops/*/*.parquet")) - before:
                part.unlink()


def _grouped(units: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    """Return ``units`` of one image with group and clip_id: its own where the image is known."""
    own = units["image_id"].iloc[0]
    rows = known[known["image_id"] == own]
    group, clip = (rows[name].iloc[0] if len(rows) else own for name in ("group", "clip_id"))
    return units.assign(group=group, clip_id=clip)
