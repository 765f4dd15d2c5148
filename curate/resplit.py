"""A new draw of train, dev and test over everything on record; the run of it can be undone."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from curate import groups, schema, splits
from curate.catalogue import Catalogue
from curate.labels import CLASH, Said
from curate.snapshot import NONE, Snapshot


def redraw(
    catalogue: Catalogue, *, fractions: Mapping[str, float] = splits.FRACTIONS, seed: int = 0
) -> pd.DataFrame:
    """Return image_id, split and contamination of every image, dealt as if all had come at once.

    The rules are those of `splits.assign`. Images that were quarantined as contamination take part,
    and labels learnt since count: what a person decided, else the trusted label. Written as rows
    of `splits` by a run of verb schema.REDRAW (those without contamination), the draw hides all
    earlier ones, until it is undone.

    Raises:
        ValueError: fractions that are none; see `splits.assign`.
    """
    snapshot = Snapshot(catalogue)
    said = Said(snapshot)
    columns = ["status", "reason", "origin", "official_split"]
    images = snapshot.read("images", columns)
    dealt = ((images["status"] != "quarantined") | (images["reason"] == "contamination")).to_numpy()
    truth = np.where(said.decided != NONE, said.decided, said.trusted)[: snapshot.images]
    sound = (truth != NONE) & (truth != CLASH) & ~said.rejected[: snapshot.images]
    stratum = pd.Series(np.array([*said.words, None], object)[np.where(sound, truth, NONE)])
    stratum = stratum.where(stratum.notna(), _of_other_tasks(snapshot))
    every = np.arange(snapshot.total)
    ids = snapshot.ids(every).to_numpy(object)
    group = splits.smallest(ids, groups.numbered(snapshot, said))[: snapshot.images]
    frame = images.assign(
        image_id=ids[: snapshot.images],
        group=group,
        stratum=stratum,
        eligible=stratum.notna() & (images["origin"] != "synthetic"),
    )
    nothing = pd.Series(dtype=object)
    return splits.assign(frame[dealt], nothing, fractions=fractions, seed=seed)


def _of_other_tasks(snapshot: Snapshot) -> pd.Series:
    """Return (images,) a trusted label of eyes or occlusion, null where there is none."""
    given = snapshot.read("labels", ["image_id", "task", "label", "trusted"])
    given = given[given["trusted"].astype(bool) & (given["task"] != schema.TASKS[0])]
    given = given[given["image_id"] < snapshot.images].drop_duplicates("image_id")
    found = pd.Series(None, range(snapshot.images), dtype=object)
    found[given["image_id"].to_numpy()] = given["label"].astype(object).to_numpy()
    return found
