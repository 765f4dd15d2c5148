"""The whole label history of one image: what was said, by whom, and what counts now."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from curate import labels, places, tables
from curate.catalogue import Catalogue
from curate.crops import listed
from curate.errors import DataError
from curate.workspace import Workspace

TAKEN = "taken back"
TABLES = ("labels", "soft_labels", "issues", "audits", "decisions")


def history(here: Workspace, image: str) -> dict[str, Any]:
    """Return image_id, uri, `now` (task and part -> label in use), and `events`, oldest first.

    ``image`` is a path as ingested, a name that ends one, or the first letters of an id. Events of
    runs that were taken back are among them, and say so.

    Raises:
        DataError: no image, or several, go by that name.
    """
    image_id, uri = _named(here.catalogue, image)
    runs = here.catalogue.read("runs", ["run_id", "started", "verb"]).set_index("run_id")
    standing = set(here.catalogue.runs_standing()["run_id"])
    rows = pd.concat([_rows(here.catalogue, table, image_id) for table in TABLES])
    rows = rows[rows["run_id"].isin(runs.index)]
    words = ["part", "label", "attack_type"]
    rows = rows.assign(**rows[words].astype(object).fillna(""))
    rows = rows.assign(when=rows["run_id"].map(runs["started"])).sort_values("when", kind="stable")
    soft = rows[(rows["table"] == "soft_labels") & rows["run_id"].isin(standing)]
    last = set(soft.drop_duplicates(["task", "part"], keep="last")["run_id"])
    old = set(soft["run_id"]) - last
    events = [
        _event(row, TAKEN if row["run_id"] not in standing else
               "superseded" if row["run_id"] in old and row["table"] == "soft_labels" else "")
        for row in rows.to_dict("records")
    ]  # fmt: skip
    return {
        "image_id": image_id,
        "uri": uri,
        "now": _now(here.catalogue, image_id, rows),
        "events": events,
    }


def _named(catalogue: Catalogue, image: str) -> tuple[str, str]:
    image = str(Path(image).resolve()) if Path(image).is_file() else image
    images = catalogue.read("images", ["image_id", "uri", "also_at"])
    by_id = images["image_id"].str.startswith(image) if len(image) >= 4 else images["uri"].isna()
    both = zip(images["uri"], images["also_at"], strict=True)
    uris = [[f"/{uri}" for uri in (first, *listed(also))] for first, also in both]
    by_place = [any(uri.endswith(f"/{image}") for uri in every) for every in uris]
    found = images[by_id | np.array(by_place, bool)]
    if len(found) == 1:
        return str(found["image_id"].iloc[0]), str(found["uri"].iloc[0])
    some = ", ".join(places.name_of(uri) for uri in (found if len(found) else images)["uri"][:3])
    fault = f"is {len(found)} images, among them" if len(found) else "is no image on record; some:"
    raise DataError(
        f"{image!r} {fault} {some or 'none at all'}.\nNext: give its whole path, or the first "
        "letters of its image_id"
    )


def _rows(catalogue: Catalogue, table: str, image_id: str) -> pd.DataFrame:
    """Return what ``table`` says of the image, undone runs included, as one kind of row."""
    rows = catalogue.read_undone_too(table, tables.TABLES[table].names)
    return rows[rows["image_id"] == image_id].assign(table=table)


def _event(row: dict[Any, Any], void: str) -> dict[str, Any]:
    who, sure, note = _WHO[row["table"]](row)
    said = labels.key(str(row["label"] or ""), str(row["attack_type"] or ""))
    return {
        "when": str(row["when"])[:19].replace("T", " "),
        "task": row["task"],
        "part": row["part"] or "",
        "who": who,
        "said": " ".join(filter(None, [row["part"], said])),
        "sure": sure,
        "counts": ", ".join(filter(None, [note if void != TAKEN else "", void])),
        "run_id": row["run_id"],
    }


def _given(row: dict[Any, Any]) -> tuple[str, str, str]:
    return f"given by {row['source']}", "", "trusted" if row["trusted"] else "not trusted"


def _soft(row: dict[Any, Any]) -> tuple[str, str, str]:
    bound = row["bound"]
    worth = "" if bound is None or np.isnan(bound) else f", at most {bound:.1%} such wrong"
    sure = f"{row['confidence']:.3f} of {row['threshold']:.3g}{worth}"
    return f"teacher {row['teacher']}", sure, f"{row['status']} {row['reason'] or ''}".strip()


def _issue(row: dict[Any, Any]) -> tuple[str, str, str]:
    doubt = f"suggests {row['suggested']}" if row["issue"] else "no issue"
    return "label check", f"quality {row['quality']:.2f}", doubt


def _audit(row: dict[Any, Any]) -> tuple[str, str, str]:
    return "audit", "", "drawn at random" if row["label"] else "asked for: the shift alarm rang"


def _decision(row: dict[Any, Any]) -> tuple[str, str, str]:
    return str(row["reviewer"]), "", str(row["action"])


_WHO = {
    "labels": _given,
    "soft_labels": _soft,
    "issues": _issue,
    "audits": _audit,
    "decisions": _decision,
}


def _now(catalogue: Catalogue, image_id: str, rows: pd.DataFrame) -> dict[str, str]:
    """Return task and part -> the label in use and what it rests on."""
    found = {}
    for task, part in sorted(set(zip(rows["task"], rows["part"].fillna(""), strict=True))):
        resolved = labels.resolved(catalogue, task, part)
        name = f"{task} {part}".strip()
        if image_id in resolved.index:
            row = resolved.loc[image_id]
            found[name] = (
                f"{labels.key(str(row['label']), str(row['attack_type']))} ({row['basis']})"
            )
        else:
            found[name] = "no label in use"
    return found
