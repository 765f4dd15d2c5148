"""Which catalogued images belong together: one subject, clip, picture, recapture or parent."""

import numpy as np
import pandas as pd

from curate import splits
from curate.catalogue import Catalogue

LINKING = ("duplicate", "recapture", "contamination")  # kinds of pairs that tie two images together
# Similarity from which a pair is one picture, under whatever names it came. Of aligned live and
# attack images of one person none reached it where the attack was a print or a phone, and 1.2 % of
# close crops where it was a tablet: labels and clips must do the rest.
SAME_PICTURE = 0.98


def of_catalogue(catalogue: Catalogue) -> pd.Series:
    """Return image_id -> group over every visible image."""
    images = catalogue.read("images", ["image_id", "subject", "clip", "parent_id"])
    return grouped(images, images.iloc[:0], catalogue.read("pairs"))


def grouped(images: pd.DataFrame, places: pd.DataFrame, *pairs: pd.DataFrame) -> pd.Series:
    """Return image_id -> group of ``images``: image_id, subject, clip, parent_id.

    ``places`` says image_id, subject, clip once more, for contents that lie at several places.
    """
    columns = ["image_id", "subject", "clip", "parent_id"]
    belongings = pd.concat([images[columns], places.reindex(columns=columns)], ignore_index=True)
    tied = pd.concat([_tied(frame) for frame in pairs])
    links = np.concatenate([splits.column_links(belongings), tied.to_numpy(object)])
    ids = images["image_id"].to_numpy(object)
    return pd.Series(splits.groups(ids, links), index=ids)


def leaking(catalogue: Catalogue) -> set[str]:
    """Return the train images whose group also has members in dev or test.

    Ingest lets none in; but a pair or subject learnt later can tie two groups that were apart, and
    splits are frozen. Such images stay where they are and are left out of training.
    """
    split = catalogue.read("splits", ["image_id", "split"]).set_index("image_id")["split"]
    group = of_catalogue(catalogue).reindex(split.index)
    guarded = set(group[split != "train"])
    return set(split.index[(split == "train") & group.isin(guarded)])


def _tied(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return a, b of the pairs that must share a side: also one picture under two names."""
    same_picture = pairs["similarity"] >= SAME_PICTURE
    return pairs.loc[pairs["kind"].isin(LINKING) | same_picture, ["a", "b"]]
