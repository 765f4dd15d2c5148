"""Which images may be labelled and trained on."""

import numpy as np
import pandas as pd

from curate import groups, labels, schema
from curate.catalogue import Catalogue


def usable_images(catalogue: Catalogue) -> pd.DataFrame:
    """Return the rows of `images` that may be labelled and trained on, indexed by image_id.

    Those kept, those a person put back (action keep), and duplicates reopened (`_reopened`), as
    long as they have a face. Not among them: a file that was replaced in place since; a synthetic
    image whose parent is gone or no longer believed bona fide; a train image whose group turns out
    to reach into dev or test (promise 4).
    """
    images = catalogue.read("images").set_index("image_id", drop=False)
    decisions = labels.decided(catalogue, "liveness")
    back = decisions.loc[decisions["action"] == "keep", "image_id"]
    words = labels.best_keys(catalogue)
    chosen = (images["status"] == "kept") | images["image_id"].isin(back)
    chosen |= images["image_id"].isin(_reopened(catalogue, images, words))
    bonafide = words.index[words == schema.BONAFIDE].intersection(images.index)
    orphaned = (images["origin"] == "synthetic") & ~images["parent_id"].isin(bonafide)
    leaking = images["image_id"].isin(groups.leaking(catalogue, words))
    shut_out = orphaned | leaking | _replaced(images)
    return images[chosen & ~shut_out & images["face"].notna()]


def _reopened(catalogue: Catalogue, images: pd.DataFrame, words: pd.Series) -> set[str]:
    """Return the duplicates that count after all.

    Where the copy kept is not visible any more, or bears no label or another one, a duplicate with
    a label of its own is reopened, one for each different label (promise 2); and where the copy
    kept is not visible, one of those without a label.
    """
    clusters = groups.clusters(catalogue)
    copies = images.loc[images["status"] == "duplicate", []]
    copies = copies.assign(home=clusters.reindex(copies.index), word=words.reindex(copies.index))
    copies = copies.dropna(subset=["home"])
    copies["home_word"] = words.reindex(copies["home"]).to_numpy()
    there = copies["home"].isin(images.index)
    sure = labels.resolved(catalogue).index
    apart = np.fromiter(map(labels.differs, copies["word"], copies["home_word"]), bool, len(copies))
    learnt = copies.index.isin(sure) & ~copies["home"].isin(sure)
    reopened = copies[apart | learnt | ~there].rename_axis("image_id").reset_index()
    reopened = reopened.fillna({"word": ""}).sort_values("image_id")
    return set(reopened.drop_duplicates(["home", "word"])["image_id"])


def _replaced(images: pd.DataFrame) -> pd.Series:
    """Tell which images lie nowhere any more: another content was found at their only place."""
    later = images["uri"].duplicated(keep="last")
    return later & (images["also_at"].str.len().fillna(0) == 0)
