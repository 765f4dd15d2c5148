"""Forget a person: erase every row, crop, embedding and synthetic image that the workspace holds.

What goes: the images of the subject; copies and recaptures of them that are nobody else's; the
synthetic images made from any of these. Originals are not ours to delete: they are listed. What
stays is a mark (a sha256) of each image and of the name, so that the next ingest leaves them out.
Unlike every other verb this one has no undo.
"""

import hashlib
import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate import champions, places, runs, schema
from curate.catalogue import Catalogue
from curate.errors import DataError
from curate.groups import LINKING
from curate.workspace import Workspace

# Table -> columns that name an image, in the order of erasure: `images` last, because a second try
# after a kill finds by it what is left.
NAMED_IN = {
    "labels": ("image_id",),
    "soft_labels": ("image_id",),
    "issues": ("image_id",),
    "audits": ("image_id",),
    "decisions": ("image_id",),
    "splits": ("image_id",),
    "places": ("image_id",),
    "pairs": ("a", "b"),
    "images": ("image_id",),
}
NAMED = 16  # letters of the parent's id that a synthetic file's name begins with
PLAN = "forget.json"  # under runs/: what an erasure under way is about


@dataclass(frozen=True)
class Forgotten:
    """What is, or would be, erased, and what is left for the user to do."""

    run_id: str
    images: int
    synthetic: int
    rows: dict[str, int]
    originals: list[str]
    models: list[str]  # folders of models that learnt from the subject
    notes: list[str] = field(default_factory=list)


def mark_of(subject: str) -> str:
    """Return the sha256 by which a forgotten name is known."""
    return hashlib.sha256(f"subject:{subject}".encode()).hexdigest()


def forget(workspace: Workspace, subject: str, *, dry_run: bool) -> Forgotten:
    """Erase ``subject`` ("<source>/<name>", as in the column `subject`) and all that shows them.

    Raises:
        DataError: nobody of that name is on record.
        WorkspaceError: a table cannot be written.
    """
    with runs.start(workspace, "forget", {"subject": mark_of(subject)}) as run:
        run.recorded = not dry_run
        plan = _plan(workspace, subject)
        if dry_run:
            return _said(workspace, plan, "", {})
        _write_plan(workspace, plan)
        _erase_files(workspace, plan)
        rows = _erase_rows(workspace.catalogue, plan["image_ids"])
        marks = [*plan["image_ids"], mark_of(subject)]
        run.append("forgotten", pd.DataFrame({"mark": marks}))
        run.counts = {"images": len(plan["image_ids"]), "synthetic": len(plan["synthetic"])}
        done = _said(workspace, plan, run.run_id, rows)
    (workspace.root / "runs" / PLAN).unlink()
    return done


def marks(catalogue: Catalogue) -> set[str]:
    """Return the marks of all images and names that were forgotten."""
    return set(catalogue.read("forgotten", ["mark"])["mark"])


def _plan(workspace: Workspace, subject: str) -> dict[str, Any]:
    """Return what is to go; what an erasure cut short still has to do counts too."""
    file = workspace.root / "runs" / PLAN
    begun = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
    if begun and begun["subject"] == mark_of(subject):
        return dict(begun)
    if begun:
        raise DataError(
            "an earlier `curate forget` was cut short.\n"
            "Next: run it again with the subject it was given; then this one"
        )
    catalogue = workspace.catalogue
    columns = ["image_id", "subject", "parent_id", "uri", "also_at", "origin"]
    images = catalogue.read_undone_too("images", columns)
    images = images.drop_duplicates("image_id").set_index("image_id")
    ids = _shown_in(catalogue, images, subject)
    gone = images[images.index.isin(ids)]
    synthetic = gone[gone["origin"] == "synthetic"]["uri"]
    mined = gone[gone["origin"] != "synthetic"]
    elsewhere = catalogue.read_undone_too("places", ["image_id", "uri"])
    also = elsewhere.loc[elsewhere["image_id"].isin(list(ids)), "uri"]
    return {
        "subject": mark_of(subject),
        "image_ids": sorted(ids),
        "synthetic": sorted(synthetic),
        "originals": sorted({*mined["uri"], *mined["also_at"].explode().dropna(), *also}),
        "models": _models_trained_on(workspace, ids),
    }


def _shown_in(catalogue: Catalogue, images: pd.DataFrame, subject: str) -> set[str]:
    """Return the images of ``subject``, their copies and recaptures, and what was made of them."""
    elsewhere = catalogue.read_undone_too("places", ["image_id", "subject"])
    own = {
        *images.index[images["subject"] == subject],
        *elsewhere.loc[elsewhere["subject"] == subject, "image_id"],
    }
    if not own:
        known = sorted({*images["subject"].dropna(), *elsewhere["subject"].dropna()})
        like = [name for name in known if subject.lower() in name.lower()][:5] or known[:5]
        raise DataError(
            f"no subject {subject!r} on record; for instance: {', '.join(like) or 'none is named'}."
            "\nNext: name one as in the column `subject` (<source>/<name>)"
        )
    others = set(images.index[images["subject"].notna() & (images["subject"] != subject)]) - own
    pairs = catalogue.read_undone_too("pairs", ["a", "b", "kind"])
    pairs = pairs[pairs["kind"].isin(LINKING)]
    links = [*zip(pairs["a"], pairs["b"], strict=True)]
    children = images["parent_id"].dropna()
    links += [*zip(children.index, children, strict=True)]
    return _reached(own, links, barred=others)


def _reached(start: set[str], links: list[tuple[str, str]], *, barred: set[str]) -> set[str]:
    """Return what is connected with ``start`` without passing ``barred``."""
    beside: dict[str, set[str]] = {}
    for a, b in links:
        beside.setdefault(a, set()).add(b)
        beside.setdefault(b, set()).add(a)
    reached, edge = set(start), set(start)
    while edge:
        edge = {other for one in edge for other in beside.get(one, ())} - reached - barred
        reached |= edge
    return reached


def _models_trained_on(workspace: Workspace, ids: set[str]) -> list[str]:
    """Return the folders of models, also of runs undone since, that learnt from any of ``ids``."""
    wanted = pa.array(sorted(ids), pa.string())
    found = []
    for origin in sorted((workspace.root / "models").glob("*/*/trained_on.parquet")):
        learnt = pq.read_table(origin, columns=["image_id"])["image_id"]
        if pc.any(pc.is_in(learnt, wanted)).as_py():
            found.append(str(origin.parent))
    return found


def _write_plan(workspace: Workspace, plan: dict[str, Any]) -> None:
    file = workspace.root / "runs" / PLAN
    file.parent.mkdir(exist_ok=True)
    part = file.with_suffix(".part")
    part.write_text(json.dumps(plan), encoding="utf-8")
    part.replace(file)


def _erase_files(workspace: Workspace, plan: dict[str, Any]) -> None:
    """Delete synthetic images, embeddings, crops of unfinished work, and views that show faces."""
    root, ids = workspace.root, plan["image_ids"]
    for uri in plan["synthetic"]:
        places.path_of(uri).unlink(missing_ok=True)
    parents = {image_id[:NAMED] for image_id in ids}
    for file in root.glob("synthetic/**/*"):  # of a run that died too: named after the parent
        if file.name.split("_")[0] in parents:
            file.unlink()
    for part in root.glob("crops/*/*.tmp"):
        part.unlink()
    for part in root.glob("crops/*/*.parquet"):
        _without(part, ids)
    for kind in ("ingest", "retrain", "finetune"):  # what is unfinished, and nets tuned on a face
        for staging in root.glob(f"runs/{kind}-*"):
            shutil.rmtree(staging)
    for view in ("review/media", "review/db"):
        shutil.rmtree(root / view, ignore_errors=True)
    for page in ("review/pushed.json", "report.html"):
        (root / page).unlink(missing_ok=True)


def _without(part: Path, ids: list[str]) -> None:
    """Write a Parquet file of rows by image_id anew, without ``ids``, where it holds any."""
    rows = pq.read_table(part)
    gone = pc.is_in(rows["image_id"], pa.array(ids, pa.string()))
    if pc.any(gone).as_py():
        pq.write_table(rows.filter(pc.invert(gone)), part.with_suffix(".tmp"))
        part.with_suffix(".tmp").replace(part)


def _erase_rows(catalogue: Catalogue, ids: Iterable[str]) -> dict[str, int]:
    values = list(ids)
    return {
        table: sum(catalogue.erase(table, column, values) for column in columns)
        for table, columns in NAMED_IN.items()
    }


def _said(
    workspace: Workspace, plan: dict[str, Any], run_id: str, rows: dict[str, int]
) -> Forgotten:
    return Forgotten(
        run_id=run_id,
        images=len(plan["image_ids"]),
        synthetic=len(plan["synthetic"]),
        rows=rows,
        originals=plan["originals"],
        models=plan["models"],
        notes=_notes(workspace, plan),
    )


def _notes(workspace: Workspace, plan: dict[str, Any]) -> list[str]:
    notes = ["the review view and report.html are thrown away: they show faces"]
    champion = champions.champion(workspace, schema.TASKS[0])
    if champion and str(champion.folder) in plan["models"]:
        notes.append("the champion learnt from this subject: curate retrain trains one without")
    return notes
