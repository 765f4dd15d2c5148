"""What is trained on, and what is measured on: rows of the catalogue, and their crops in memory.

Training takes every usable image with a label: given, decided by a person, soft and accepted,
synthetic. Development and test images are real ones whose label a person or a trusted source gave.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate import engine, labels, schema
from curate.catalogue import Catalogue
from curate.crops import face_crop
from curate.errors import DataError
from curate.usable import usable_images

Crops = NDArray[np.uint8]

TRUTHS = ("given", "decision")  # what a label of dev and test may rest on
IN_MEMORY = 1 << 30  # bytes of crops held in RAM; more are kept in a file
HASHED = ["split", "label", "attack_type", "p_bonafide", "turn", "mirror", "face"]


@dataclass(frozen=True)
class Frames:
    """Rows of `images` with label, attack_type, basis, p_bonafide and split, sorted by image_id."""

    train: pd.DataFrame
    dev: pd.DataFrame
    test: pd.DataFrame

    def fingerprint(self) -> str:
        """Return the sha256 of what training and measuring see of the catalogue."""
        every = pd.concat([self.train, self.dev, self.test]).sort_index()
        faces = every["face"].map(lambda box: np.asarray(box, np.float32).tolist())
        text = every.assign(face=faces)[HASHED].to_json(orient="index", double_precision=10)
        return hashlib.sha256(text.encode()).hexdigest()


def frames(
    catalogue: Catalogue, task: str = schema.LIVENESS, *, needs: Iterable[str] = schema.SPLITS
) -> Frames:
    """Return the rows to train on, to fix the threshold on, and to test on.

    Raises:
        DataError: a split of ``needs`` lacks bona fide images or attacks.
    """
    known = labels.resolved(catalogue, task)
    usable = usable_images(catalogue).drop(columns="image_id").join(known, how="inner")
    rows = (
        usable.assign(split=catalogue.split_of().reindex(usable.index))
        .rename_axis("image_id")
        .sort_index()
    )
    trusted = rows["basis"].isin(TRUTHS) & (rows["origin"] != "synthetic")
    dev, test = (rows[trusted & (rows["split"] == name)] for name in ("dev", "test"))
    found = Frames(rows[rows["split"] == "train"], dev, test)
    _check(found, needs)
    return found


def weights(rows: pd.DataFrame) -> NDArray[np.float32]:
    """Return a weight per row, of mean 1: half to bona fide, half shared by the attack types.

    Each attack type gets an equal share, however few its images; so does each image within a type.
    """
    kinds = rows["attack_type"].where(rows["label"] == schema.ATTACK, schema.BONAFIDE)
    counts = kinds.value_counts()
    attacks = len(counts) - (schema.BONAFIDE in counts)
    share = {kind: 0.5 if kind == schema.BONAFIDE else 0.5 / attacks for kind in counts.index}
    each = kinds.map({kind: share[kind] / counts[kind] for kind in counts.index})
    return (each.to_numpy(float) / each.mean()).astype(np.float32)


def stream(rows: pd.DataFrame, *, scale: float, size: int, threads: int) -> Iterator[Crops]:
    """Yield the (size, size, 3) uint8 face crop of each row, in order, decoded by threads.

    Raises:
        SourceError: an original is gone or no longer decodes.
    """
    records: list[dict[str, Any]] = rows.reset_index().to_dict("records")  # type: ignore[assignment]
    yield from engine.mapped(
        lambda row: face_crop(row, scale=scale, size=size), records, threads=threads
    )


def hold(crops: Iterator[Crops], shape: tuple[int, int], spill: Path) -> Crops:
    """Return ``crops`` as one (n, side, side, 3) uint8 array; ``shape`` is (n, side).

    Above IN_MEMORY bytes the array is the file ``spill``, mapped into memory.
    """
    n, side = shape
    whole = (n, side, side, 3)
    held: Crops
    if int(np.prod(whole, dtype=np.int64)) > IN_MEMORY:
        spill.parent.mkdir(parents=True, exist_ok=True)
        held = np.lib.format.open_memmap(spill, mode="w+", dtype=np.uint8, shape=whole)
    else:
        held = np.empty(whole, np.uint8)
    for position, crop in enumerate(crops):
        held[position] = crop
    return held


def counts(rows: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Return bonafide or attack type -> basis (given, decision, soft, synthetic) -> images."""
    kinds = rows["attack_type"].where(rows["label"] == schema.ATTACK, schema.BONAFIDE)
    bases = rows["basis"].where(rows["origin"] != "synthetic", "synthetic")
    table: dict[str, dict[str, int]] = {}
    for kind, basis in sorted(zip(kinds, bases, strict=True)):
        row = table.setdefault(str(kind), {})
        row[str(basis)] = row.get(str(basis), 0) + 1
    return table


def _check(found: Frames, needs: Iterable[str]) -> None:
    for name in needs:
        rows = getattr(found, name)
        have = {kind: int((rows["label"] == kind).sum()) for kind in (schema.BONAFIDE, "attack")}
        if not all(have.values()):
            source = (
                "labelled" if name == "train" else "real images with a trusted label or decision"
            )
            raise DataError(
                f"split {name} holds {have['bonafide']} bonafide and {have['attack']} attack "
                f"images ({source}); both are needed.\n"
                f"Next: {_remedy(name)}"
            )


def _remedy(split: str) -> str:
    if split == "train":
        return "curate softlabel --threshold 0.9, then curate review; or ingest more images"
    return (
        "curate ingest FOLDER --trust given with both classes and several subjects, "
        "or decide labels in curate review"
    )
