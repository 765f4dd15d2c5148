"""Which catalogued images belong together: one subject, clip, picture, recapture or parent."""

import numpy as np
import pandas as pd

from curate import splits
from curate.catalogue import Catalogue
from curate.labels import differs

LINKING = ("duplicate", "recapture", "contamination")  # kinds of pairs that tie two images together
# Similarity from which a pair is one picture, under whatever names it came. Of aligned live and
# attack images of one person none reached it where the attack was a print or a phone, and 1.2 % of
# close crops where it was a tablet: labels and clips must do the rest.
SAME_PICTURE = 0.98


def of_catalogue(catalogue: Catalogue, words: pd.Series) -> pd.Series:
    """Return image_id -> group over every visible image; ``words`` is `labels.best_keys`."""
    images = catalogue.read("images", ["image_id", "subject", "clip", "parent_id"])
    return grouped(images, catalogue.read("places"), catalogue.read("pairs"), words)


def grouped(
    images: pd.DataFrame, places: pd.DataFrame, pairs: pd.DataFrame, words: pd.Series
) -> pd.Series:
    """Return image_id -> group of ``images``: image_id, subject, clip, parent_id.

    ``places`` says image_id, subject, clip once more, for contents that lie at several places;
    ``words`` is image_id -> label key.
    """
    columns = ["image_id", "subject", "clip", "parent_id"]
    belongings = pd.concat([images[columns], places.reindex(columns=columns)], ignore_index=True)
    tied = _tied(pairs, belongings, words)
    links = np.concatenate([splits.column_links(belongings), tied.to_numpy(object)])
    ids = images["image_id"].to_numpy(object)
    return pd.Series(splits.groups(ids, links), index=ids)


def clusters(catalogue: Catalogue) -> pd.Series:
    """Return image_id -> the copy kept, for every image of a cluster of duplicates."""
    pairs = catalogue.read("pairs", ["a", "b", "cluster"]).query("cluster != ''")
    kept = pd.concat([pairs.set_index(side)["cluster"] for side in ("a", "b")])
    once: pd.Series = kept[~kept.index.duplicated()]
    return once


def leaking(catalogue: Catalogue, words: pd.Series) -> set[str]:
    """Return the train images whose group also has members in dev or test.

    Ingest lets none in; but a pair, label or subject learnt later can tie two groups that were
    apart, and splits are frozen. Such images stay where they are and are left out of training.
    """
    split = catalogue.split_of()
    group = of_catalogue(catalogue, words).reindex(split.index)
    guarded = set(group[split != "train"])
    return set(split.index[(split == "train") & group.isin(guarded)])


def without_subject(catalogue: Catalogue) -> int:
    """Count the images in dev and test whose subject nobody knows: no split is proven by person."""
    split = catalogue.split_of()
    guarded = split.index[split != "train"]
    images = catalogue.read("images", ["image_id", "subject"])
    return int((images["subject"].isna() & images["image_id"].isin(guarded)).sum())


def _tied(pairs: pd.DataFrame, belongings: pd.DataFrame, words: pd.Series) -> pd.DataFrame:
    """Return a, b of the pairs that must share a side.

    Beside copies and recaptures: one picture under two names, and candidates that a label learnt
    since makes recaptures, unless they show two different people.
    """
    tied = pairs["kind"].isin(LINKING) | (pairs["similarity"] >= SAME_PICTURE)
    rest = pairs[~tied]
    of = belongings.dropna(subset=["subject"]).drop_duplicates("image_id")
    subject = of.set_index("image_id")["subject"]
    a, b = (rest[side].map(subject) for side in ("a", "b"))
    strangers = a.notna() & b.notna() & (a != b)
    said = (rest[side].map(words) for side in ("a", "b"))
    apart = np.fromiter(map(differs, *said), bool, len(rest))
    tied.loc[rest.index] = apart & ~strangers
    return pairs.loc[tied, ["a", "b"]]
