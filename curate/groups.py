"""Which catalogued images belong together: one subject, clip, picture, recapture or parent."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from curate import schema, splits
from curate.catalogue import Catalogue
from curate.duplicates import RECAPTURED
from curate.labels import Codes, Flags, Said, apart
from curate.snapshot import NONE, Snapshot

LINKING = ("duplicate", "recapture", "contamination")  # kinds of pairs that tie two images together
# Similarity from which a pair is one picture, under whatever names it came. Of aligned live and
# attack images of one person none reached it where the attack was a print or a phone, and 1.2 % of
# close crops where it was a tablet: labels and clips must do the rest.
SAME_PICTURE = 0.98

COLUMNS = ["image_id", "subject", "clip", "parent_id"]
PAIR_COLUMNS = ["a", "b", "kind", "similarity"]


def of_catalogue(catalogue: Catalogue, words: pd.Series) -> pd.Series:
    """Return image_id -> group over every visible image; ``words`` is `labels.best_keys`."""
    images = catalogue.read("images", COLUMNS)
    places = catalogue.read("places", COLUMNS[:3])
    return grouped(images, places, catalogue.read("pairs", PAIR_COLUMNS), words)


def grouped(
    images: pd.DataFrame, places: pd.DataFrame, pairs: pd.DataFrame, words: pd.Series
) -> pd.Series:
    """Return image_id -> group of ``images``: image_id, subject, clip, parent_id.

    The group is the smallest id of all that belong together. ``places`` says image_id, subject,
    clip once more, for contents that lie at several places; ``pairs`` are rows of `pairs`;
    ``words`` is image_id -> label key.
    """
    belongings = pd.concat([images[COLUMNS], places.reindex(columns=COLUMNS)], ignore_index=True)
    columns = [belongings["image_id"], belongings["parent_id"], pairs["a"], pairs["b"]]
    code, ids = pd.factorize(pd.concat([*columns, words.index.to_series()], ignore_index=True))
    image, parent, a, b, spoken = np.split(code, np.cumsum([len(column) for column in columns]))
    word = np.full(len(ids), NONE)
    word[spoken], known = pd.factorize(words)
    component = components(
        len(ids),
        belongings.assign(image_id=image, parent_id=parent),
        pairs[PAIR_COLUMNS[2:]].assign(a=a, b=b),
        word,
        known.tolist(),
    )
    group = splits.smallest(pd.Series(ids).to_numpy(object), component)
    return pd.Series(group[image[: len(images)]], images["image_id"].to_numpy(object))


def components(
    total: int,
    belongings: pd.DataFrame,
    pairs: pd.DataFrame,
    word: Codes,
    words: Sequence[str],
) -> Codes:
    """Return (total,) the smallest number that each image is tied to, itself or another.

    ``belongings`` are image_id, subject, clip, parent_id and ``pairs`` a, b, kind, similarity, all
    with numbers below ``total`` for ids; ``word`` (total,) are codes into ``words``: label keys.
    """
    image = belongings["image_id"].to_numpy()
    parent = belongings["parent_id"].to_numpy()
    links = [np.stack([image, parent], 1)[parent != NONE]]
    nodes = total
    for column in ("subject", "clip"):
        shared, names = pd.factorize(belongings[column])
        links.append(np.stack([image, nodes + shared], 1)[shared != NONE])
        nodes += len(names)
    tied = pairs[_tied(total, belongings, pairs, word, words)]
    links.append(tied[["a", "b"]].to_numpy())
    return splits.components(nodes, np.concatenate(links))[:total]


def numbered(snapshot: Snapshot, said: Said) -> Codes:
    """Return `components` of a whole catalogue."""
    pairs = snapshot.read("pairs", PAIR_COLUMNS)
    return components(snapshot.total, belongings(snapshot), pairs, said.best, said.words)


def homes(snapshot: Snapshot) -> Codes:
    """Return (snapshot.total,) the number of the copy kept, NONE outside clusters."""
    pairs = snapshot.read("pairs", ["a", "b", "cluster"])
    pairs = pairs[pairs["cluster"] != NONE]
    home = np.full(snapshot.total, NONE)
    for side in ("b", "a"):  # the first one counts, those of a before those of b
        home[pairs[side].to_numpy()[::-1]] = pairs["cluster"].to_numpy()[::-1]
    return home


def split_ranks(snapshot: Snapshot) -> Codes:
    """Return (snapshot.total,) the rank of each image's split in SPLITS, NONE where it has none."""
    rows = snapshot.read("splits", ["image_id", "split"])
    rank = pd.Categorical(rows["split"]).set_categories(list(schema.SPLITS)).codes
    split = np.full(snapshot.total, NONE)
    split[rows["image_id"].to_numpy()[::-1]] = rank[::-1]  # the first one counts
    return split


def leaking(snapshot: Snapshot, said: Said, split: Codes) -> Flags:
    """Return (snapshot.total,) the train images whose group also has members in dev or test.

    Ingest lets none in; but a pair, label or subject learnt later can tie two groups that were
    apart, and splits are frozen. Such images stay where they are and are left out of training.
    """
    component = numbered(snapshot, said)
    visible = np.arange(snapshot.total) < snapshot.images
    guarded = np.zeros(snapshot.total, bool)
    guarded[component[visible & (split > splits.RANK["train"])]] = True
    leaks: Flags = visible & (split == splits.RANK["train"]) & guarded[component]
    return leaks


def without_subject(catalogue: Catalogue) -> int:
    """Count the images in dev and test whose subject nobody knows: no split is proven by person."""
    snapshot = Snapshot(catalogue)
    nobody = snapshot.read("images", ["subject"])["subject"].isna().to_numpy()
    guarded = split_ranks(snapshot)[: snapshot.images] > splits.RANK["train"]
    return int((nobody & guarded).sum())


def belongings(
    snapshot: Snapshot, images: pd.DataFrame | None = None, places: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Return image_id, subject, clip, parent_id of images and, below, of places, ids as numbers.

    ``images`` and ``places`` are further rows of theirs, numbered as well.
    """
    columns = []
    for table, more in (("images", images), ("places", places)):
        words = snapshot.table(table, ["subject", "clip"])
        image = snapshot.numbers(table, "image_id")
        parent = np.full(len(image), NONE)
        if table == "images":
            parent = snapshot.numbers(table, "parent_id")
        columns.append((words, image, parent))
        if more is not None and len(more):
            said = {
                n: pa.array(more[n], pa.string()).dictionary_encode() for n in words.schema.names
            }
            none = np.full(len(more), NONE)
            parent = more["parent_id"].to_numpy() if "parent_id" in more else none
            columns.append((pa.table(said), more["image_id"].to_numpy(), parent))
    tables, images_of, parents = zip(*columns, strict=True)
    frame: pd.DataFrame = pa.concat_tables(tables).to_pandas()
    return frame.assign(image_id=np.concatenate(images_of), parent_id=np.concatenate(parents))


def _tied(
    total: int, belongings: pd.DataFrame, pairs: pd.DataFrame, word: Codes, words: Sequence[str]
) -> Flags:
    """Tell which pairs must share a side.

    Beside copies and recaptures: one picture under two names, and candidates that a label learnt
    since makes recaptures, unless they show two different people.
    """
    shown, _ = pd.factorize(belongings["subject"])
    known = shown != NONE
    subject = np.full(total, NONE)
    subject[belongings["image_id"].to_numpy()[known][::-1]] = shown[known][::-1]  # the first counts
    a, b = pairs["a"].to_numpy(), pairs["b"].to_numpy()
    strangers = (subject[a] != NONE) & (subject[b] != NONE) & (subject[a] != subject[b])
    tied = pairs["kind"].isin(LINKING) | (pairs["similarity"] >= SAME_PICTURE)
    near = pairs["similarity"].isna() | (pairs["similarity"] >= RECAPTURED)  # null: none was read
    tied |= apart(word[a], word[b], words) & ~strangers & near
    found: Flags = tied.to_numpy()
    return found
