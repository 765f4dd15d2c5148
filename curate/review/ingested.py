"""What ingest did with whole images, for a person to look over. Frames in, members of lists out.

Members are frames with image_id, part ("" here), reason and group (what lies together), indexed by
image_id and part as one word.
"""

from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from curate import schema

SHORT = 12  # hex digits that name an image where people read


def members(ids: Any, reasons: Any, *, groups: Any = "", parts: Any = "") -> pd.DataFrame:
    """Return such a frame of one row per image, or per image and part."""
    columns = {"image_id": ids, "part": parts, "reason": reasons, "group": groups}
    plain = {k: v if isinstance(v, str) else np.asarray(v) for k, v in columns.items()}
    rows = pd.DataFrame(plain, index=range(len(ids)), dtype="object")
    return rows.set_axis(rows["image_id"] + rows["part"])


def duplicates(images: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """Return the members of duplicate clusters: the duplicates and the copy kept."""
    pairs = pairs[pairs["kind"] == "duplicate"]
    rows = pd.DataFrame(
        {
            "image_id": pd.concat([pairs["cluster"], pairs["a"], pairs["b"]]),
            "cluster": pd.concat([pairs["cluster"]] * 3),
        }
    ).drop_duplicates("image_id", ignore_index=True)
    duplicate = (images["status"].reindex(rows["image_id"]) == "duplicate").to_numpy()
    kept = (rows["image_id"] == rows["cluster"]) & rows["cluster"].isin(
        rows.loc[duplicate, "cluster"]
    )
    reason = ("duplicate of " + rows["cluster"].str[:SHORT]).where(~kept, "the copy that is kept")
    rows, reason = rows[duplicate | kept], reason[duplicate | kept]
    return members(rows["image_id"], reason, groups=rows["cluster"])


def recaptures(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return the members of recapture pairs; pairs that share an image lie together."""
    pairs = pairs[pairs["kind"] == "recapture"]
    names = np.unique(pairs[["a", "b"]].to_numpy(dtype=str))
    a, b = np.searchsorted(names, pairs[["a", "b"]].to_numpy(dtype=str)).T
    links = coo_array((np.ones(len(a)), (a, b)), shape=(len(names), len(names)))
    component = connected_components(links)[1] if len(names) else np.zeros(0, dtype=int)
    first = pd.Series(names).groupby(component).transform("min")
    return members(names, "pictured the same, labelled differently", groups=first)


def turned(images: pd.DataFrame) -> pd.DataFrame:
    """Return the images that were brought upright."""
    rows = images[(images["turn"] > 0) & (images["status"] != "quarantined")]
    return members(rows.index, "turned " + rows["turn"].astype(str) + " degrees clockwise")


def quarantined(images: pd.DataFrame) -> pd.DataFrame:
    """Return the images that were set aside, with the reason."""
    rows = images[images["status"] == "quarantined"]
    words = rows["reason"].map(lambda why: f"{why}: {schema.REASONS.get(why, '')}".strip(": "))
    return members(rows.index, words)


def sampled(rows: pd.DataFrame, decided: pd.Index, sample: int) -> pd.DataFrame:
    """Return the first ``sample`` members in the order of their (random) ids, and whole groups."""
    group = rows["group"].where(rows["group"] != "", rows["image_id"])
    done = rows["image_id"].isin(decided).groupby(group).transform("any")
    by = [done.rename("done"), group.rename("by")]
    sizes = rows["image_id"].groupby(by).transform("size")
    order = pd.concat(by, axis=1).sort_values(["done", "by"], kind="stable")
    firsts = sizes[order.index].where(~order.duplicated(), 0)
    begins = firsts.cumsum() - sizes[order.index]
    return rows.loc[order.index[(begins < sample).to_numpy()]]
