"""What the report says of soft labels: how sure, how right, what they are worth, in doubt."""

from collections import Counter
from typing import Any

import pandas as pd

from curate import charts, labels, places, runs, schema
from curate.workspace import Workspace

WORST = 25  # disagreements shown


def content(here: Workspace) -> dict[str, Any]:
    """Return counts, bounds, charts and what the last teacher was worth, for task liveness."""
    soft = labels.latest_soft(here.catalogue, schema.TASKS[0])
    run = _last(here)
    figures = [charts.confidence(soft)] if len(soft) else []
    figures += [charts.reliability(run["reliability"])] if run.get("reliability") else []
    figures += [charts.risk(run["curve"])] if run.get("curve") else []
    return {
        "rows": _table(soft),
        "bounds": run.get("bounds", []),
        "refused": run.get("refused", ""),
        "alarm": run.get("alarm", {}),
        "teacher": run.get("teacher", {}).get("name", ""),
        "figures": figures,
    }


def disagreements(here: Workspace, images: pd.DataFrame) -> pd.DataFrame:
    """Return the images whose label the teacher contradicts most surely: `says`, `status`."""
    soft = labels.latest_soft(here.catalogue, schema.TASKS[0])
    against = soft[soft["reason"].isin([schema.CONTRADICTS, schema.DOUBTED])]
    worst = against.sort_values("confidence", ascending=False).head(WORST).set_index("image_id")
    given = labels.given_keys(here.catalogue).reindex(worst.index).fillna("no label")
    said = pd.Series(labels.words(worst), worst.index, dtype=object)
    shown = images[images.index.isin(worst.index)].reindex(worst.index)
    sure = worst["confidence"].map("{:.3f}".format)
    return shown.assign(
        says="came as " + given + "; teacher: " + said + ", " + sure,
        name=shown["uri"].map(places.name_of),
    )


def _last(here: Workspace) -> dict[str, Any]:
    """Return the counts of the last softlabel run of liveness, {} before the first."""
    counts = [row["counts"] for row in runs.of_verb(here, "softlabel")]
    mine = [one for one in counts if one.get("task", schema.TASKS[0]) == schema.TASKS[0]]
    return mine[-1] if mine else {}


def _table(soft: pd.DataFrame) -> list[tuple[str, str, int]]:
    if soft.empty:
        return []
    what = soft["label"].where(soft["status"] == "accepted", soft["reason"])
    counts = Counter(zip(soft["status"].astype(str), what.astype(str), strict=True))
    return [(status, name, n) for (status, name), n in sorted(counts.items())]
