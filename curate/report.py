"""`curate report`: one self-contained HTML page that a manager can read."""

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
import simplejpeg

from curate import (
    champions,
    charts,
    embeddings,
    groups,
    labels,
    novelty,
    places,
    schema,
    softreport,
)
from curate.crops import Row, read_stored, read_upright, shrunk
from curate.errors import SourceError
from curate.status import overview
from curate.workspace import Workspace

SHEET = 12  # examples on a contact sheet
SIDE = 180  # pixels of the longer side of a thumbnail


def write(here: Workspace, target: Path) -> None:
    """Render the report of workspace ``here`` into ``target``, whole or not at all."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    page = environment.get_template("report.html").render(**_content(here))
    scratch = target.with_name(target.name + ".tmp")
    scratch.write_text(page, encoding="utf-8")
    scratch.replace(target)


def _content(here: Workspace) -> dict[str, Any]:
    catalogue = here.catalogue
    images = catalogue.read("images").set_index("image_id", drop=False)
    pairs = catalogue.read("pairs")
    soft = softreport.content(here)
    flow = [charts.flow(images)] if len(images) else []
    drawn = charts.html([*flow, *soft["figures"]])
    view = overview(here)
    return {
        "workspace": here.root,
        "written": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "view": view,
        "generated": (here.root / "sample" / "truth.csv").is_file(),  # the demo's
        "without_subject": groups.without_subject(catalogue),
        "batches": _batches(images),
        "reasons": _reasons(images),
        "duplicates": _pair_sheet(pairs[pairs["cluster"].fillna("") != ""], images),
        "recaptures": _pair_sheet(pairs[pairs["kind"] == "recapture"], images),
        "turned": _turned_sheet(images),
        "thrown_out": _thrown_out_sheet(images),
        "newcomers": _newcomers(here, images),
        "soft": soft,
        "disagreements": _disagreements(here, images),
        "models": [_model(model) for model in champions.models(here, schema.LIVENESS)],
        "runs": catalogue.runs_standing().to_dict("records")[::-1],
        "flow": drawn[: len(flow)],
        "charts": drawn[len(flow) :],
    }


def _batches(images: pd.DataFrame) -> list[dict[str, Any]]:
    rows = []
    for (batch, origin), group in images.groupby(["batch", "origin"]):
        counts = group["status"].value_counts()
        rows.append(
            {"batch": batch, "origin": origin, "images": len(group)}
            | {status: int(counts.get(status, 0)) for status in schema.IMAGE_STATUSES}
            | {"turned": int(((group["turn"] > 0) & (group["status"] != "quarantined")).sum())}
        )
    return rows


def _reasons(images: pd.DataFrame) -> list[tuple[str, int, str]]:
    out = images[images["status"] != "kept"]["reason"].value_counts()
    return [(str(reason), int(n), schema.REASONS.get(str(reason), "")) for reason, n in out.items()]


def _pair_sheet(pairs: pd.DataFrame, images: pd.DataFrame) -> list[dict[str, Any]]:
    pairs = pairs[pairs["a"].isin(images.index) & pairs["b"].isin(images.index)]
    sheet = []
    shown = _spread(pairs.sort_values("similarity"))
    rows = images[images.index.isin([*shown["a"], *shown["b"]])].to_dict("index")
    for row in shown.itertuples(index=False):
        one, other = rows[row.a], rows[row.b]
        sheet.append(
            {
                "a": _thumbnail(one, upright=False),
                "b": _thumbnail(other, upright=False),
                "says": f"{row.relation}, {row.distance} bits, similarity {row.similarity:.3f}",
                "status": f"{one['status']} | {other['status']}",
            }
        )
    return sheet


def _turned_sheet(images: pd.DataFrame) -> list[dict[str, Any]]:
    turned = images[(images["turn"] > 0) & images["face"].notna()]
    return [
        {
            "a": _thumbnail(row, upright=False),
            "b": _thumbnail(row, upright=True),
            "says": f"turned {row['turn']} degrees clockwise",
            "status": places.name_of(row["uri"]),
        }
        for _, row in _spread(turned.sort_values("uri")).iterrows()
    ]


def _thrown_out_sheet(images: pd.DataFrame) -> list[dict[str, Any]]:
    out = images[images["status"] == "quarantined"].sort_values(["reason", "uri"])
    return [
        {
            "a": _thumbnail(row, upright=False),
            "b": "",
            "says": row["reason"],
            "status": places.name_of(row["uri"]),
        }
        for _, row in _spread(out).iterrows()
    ]


def _newcomers(here: Workspace, images: pd.DataFrame) -> dict[str, Any]:
    """Return what of the latest batch lies far from everything known: says, clusters."""
    mined = images[(images["origin"] != "synthetic") & (images["status"] == "kept")]
    cache = embeddings.largest(here.root / "crops")
    seen = mined[mined.index.isin(list(cache.ids() if cache else ()))]
    batch = mined["batch"].max() if len(mined) else ""
    new, known = seen[seen["batch"] == batch], seen[seen["batch"] != batch]
    if cache is None or new.empty:
        return {"clusters": [], "says": "Not looked for: curate softlabel computes what it needs"}
    group = groups.of_catalogue(here.catalogue, labels.best_keys(here.catalogue))
    found = novelty.find(
        cache.matrix(new.index.to_list()),
        cache.matrix(known.index.to_list()),
        group.reindex(known.index).to_numpy(object),
        seed=here.config.seed,
    )
    if found is None:
        return {"clusters": [], "says": f"Only {len(known)} known images to compare with: too few"}
    far = int((found.cluster != 0).sum())
    return {
        "says": f"{far} of {len(new)} images of {batch} lie farther from all earlier images than "
        f"{novelty.QUANTILE:.0%} of those lie from each other (people aside)",
        "clusters": [_cluster(new, found, number) for number in _shown(found)],
    }


def _cluster(new: pd.DataFrame, found: novelty.Novelty, number: int) -> dict[str, Any]:
    members = new[found.cluster == number].assign(far=found.distance[found.cluster == number])
    shown = _spread(members.sort_values("far", ascending=False))
    sheet = [
        {
            "a": _thumbnail(row, upright=True),
            "b": "",
            "says": f"distance {row['far']:.2f}, limit {found.limit:.2f}",
            "status": places.name_of(row["uri"]),
        }
        for _, row in shown.iterrows()
    ]
    name = f"Cluster {number}" if number > 0 else "Each alone"
    return {"name": name, "images": len(members), "sheet": sheet}


def _shown(found: novelty.Novelty) -> list[int]:
    """Return the clusters, the largest first, then those that are far and alone, if any."""
    alone = [-1] if (found.cluster == -1).any() else []
    return [*range(1, int(found.cluster.max(initial=0)) + 1), *alone]


def _spread(frame: pd.DataFrame) -> pd.DataFrame:
    """Return at most SHEET rows, evenly spaced: the first, the last and what lies between."""
    picks = np.unique(np.linspace(0, len(frame) - 1, min(SHEET, len(frame))).astype(int))
    return frame.iloc[picks]


def _thumbnail(row: Row, *, upright: bool) -> str:
    """Return a data: URI of the image, as stored (EXIF applied) or upright; "" if unreadable."""
    try:
        if row["reason"] == "unreadable":
            return ""  # a FIFO would wait for ever
        if upright:
            rgb, _ = read_upright(row, min_side=SIDE)
        else:
            rgb = read_stored(row, min_side=SIDE).rgb
    except SourceError:
        return ""
    data = simplejpeg.encode_jpeg(np.ascontiguousarray(shrunk(rgb, SIDE)), 80)
    return "data:image/jpeg;base64," + base64.b64encode(data).decode()


def _disagreements(here: Workspace, images: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {"a": _thumbnail(row, upright=True), "b": "", "says": row["says"], "status": row["name"]}
        for _, row in softreport.disagreements(here, images).iterrows()
    ]


def _model(model: champions.Model) -> dict[str, Any]:
    card = model.folder / "card.json"
    metrics = (
        json.loads(card.read_text(encoding="utf-8")).get("metrics", {}) if card.is_file() else {}
    )
    return {
        "number": model.number,
        "promoted": model.promoted,
        "run_id": model.run_id,
        "metrics": metrics,
        "counts": model.counts,
    }
