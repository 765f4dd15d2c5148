"""Which images belong together, and on which side of a split each such group lies, for good.

A group is whatever shares a subject, a clip, a duplicate, a recapture or a synthetic parent,
directly or through others. Splits are dealt to groups, and an image whose group is on another side
than the image itself may be is *contamination*: in no split at all.
"""

import hashlib
from collections.abc import Mapping
from math import isclose

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate.schema import SPLITS

FRACTIONS = {"train": 0.7, "dev": 0.1, "test": 0.2}
RANK = {split: rank for rank, split in enumerate(SPLITS)}  # train 0, dev 1, test 2; test wins
NONE = -1

Ids = NDArray[np.object_]
Numbers = NDArray[np.int64]


def components(count: int, links: Numbers) -> Numbers:
    """Return (count,) the smallest node that each node 0..count-1 is linked to, or itself.

    ``links`` (L, 2) are pairs of nodes; closure is transitive. Each root hooks onto the smallest
    neighbour's root until none is left: rounds grow with the logarithm of the largest component
    (Shiloach and Vishkin, J. Algorithms 3, 1982).
    """
    root = np.arange(count)
    a, b = np.asarray(links, np.int64).reshape(-1, 2).T
    while True:
        one, other = root[a], root[b]
        apart = one != other
        if not apart.any():
            return root
        a, b, one, other = a[apart], b[apart], one[apart], other[apart]
        np.minimum.at(root, np.maximum(one, other), np.minimum(one, other))
        while (root != root[root]).any():
            root = root[root]


def smallest(names: Ids, component: Numbers) -> Ids:
    """Return (N,) the smallest of ``names`` within each one's component, of `components`."""
    result = names.copy()
    shared = np.flatnonzero(np.bincount(component, minlength=len(names))[component] > 1)
    rows = pd.DataFrame({"name": names[shared], "component": component[shared]})
    result[shared] = rows.groupby("component")["name"].transform("min").to_numpy(object)
    return result


def assign(
    images: pd.DataFrame,
    existing: "pd.Series[str]",
    *,
    fractions: Mapping[str, float] = FRACTIONS,
    seed: int = 0,
) -> pd.DataFrame:
    """Return image_id, split and contamination (bool) in the order of ``images``.

    ``images`` has image_id, group, stratum (label or attack type), eligible (trusted and not
    synthetic: dev and test hold nothing else) and official_split (of the source, or null), for the
    new images and for the members of their groups; ``existing`` maps image_id to split for those
    that earlier runs assigned.

    - An image of an earlier run keeps its split. A group with such members lies where they do; if
      those disagree (a link learnt later joined two groups) test wins over dev over train, and
      members elsewhere are contamination, though their split stays.
    - New groups without an eligible member are train. Else an official test image makes its group
      test, an official dev image dev. Official train stays train, but where the new images have an
      official train and test and no dev, a dev is cut from the train groups.
    - All other new groups are dealt by ``fractions`` within their stratum (the rarest of a group).
    - New images are contamination, split null, where the group lies in dev or test and was there
      before, or they are not eligible, or the source says another split; and where the source says
      dev or test and the group was in train before.

    The result does not depend on the order of rows.

    Raises:
        ValueError: fractions of unknown splits, negative, or not adding up to 1.
    """
    _check(fractions)
    group, names = pd.factorize(images.group)
    frame = pd.DataFrame(
        {
            "group": group,
            "eligible": images.eligible.to_numpy(bool),
            "stratum": images.stratum.fillna("").to_numpy(object),
            "official": _rank(images.official_split),
            "earlier": _rank(images.image_id.map(existing)),
        }
    )
    table = _group_table(frame, np.asarray(names, object))
    place = _place(table, fractions, seed)
    frame["place"] = place.to_numpy()[group]
    frame["before"] = (table.earlier != NONE).to_numpy()[group]
    frame["group_official"] = table.official.to_numpy()[group]
    contamination = _contamination(frame)
    rank = frame.place.where(frame.earlier == NONE, frame.earlier).to_numpy(int)
    split = np.array(SPLITS, object)[rank]
    split[contamination & (frame.earlier == NONE)] = None
    return pd.DataFrame(
        {
            "image_id": images.image_id.to_numpy(object),
            "split": pd.Series(split, dtype=object),
            "contamination": contamination.to_numpy(bool),
        }
    )


def _check(fractions: Mapping[str, float]) -> None:
    known = set(fractions) <= set(SPLITS) and min(fractions.values(), default=0) >= 0
    if not known or not isclose(sum(fractions.values()), 1, abs_tol=1e-6):
        raise ValueError(f"fractions must be of {SPLITS} and add up to 1, got {dict(fractions)}")


def _rank(splits: "pd.Series[str]") -> NDArray[np.int64]:
    ranks: NDArray[np.int64] = pd.Index(SPLITS).get_indexer(pd.Index(splits)).astype(np.int64)
    return ranks


def _group_table(frame: pd.DataFrame, names: Ids) -> pd.DataFrame:
    """Return per group: name, earlier and official (ranks), size (eligible images), stratum."""
    table = frame.groupby("group")[["earlier", "official"]].max()
    eligible = frame.loc[frame.eligible, ["group", "stratum"]]
    table["name"] = names
    table["size"] = np.bincount(eligible.group, minlength=len(table))
    counts = eligible.stratum.value_counts()
    rarest_first = sorted(counts.index, key=lambda stratum: (counts[stratum], stratum))
    place = eligible.stratum.map({stratum: n for n, stratum in enumerate(rarest_first)})
    rarest = place.groupby(eligible.group).min().reindex(table.index)
    table["stratum"] = rarest.map(dict(enumerate(rarest_first)))
    return table


def _place(table: pd.DataFrame, fractions: Mapping[str, float], seed: int) -> "pd.Series[int]":
    """Return the split (rank) of each group."""
    fresh, eligible = table.earlier == NONE, table["size"] > 0
    place = table.earlier.copy()
    place[fresh & ~eligible] = RANK["train"]
    claimed = fresh & eligible & (table.official != NONE)
    place[claimed] = table.official[claimed]
    officials = set(table.official[claimed])
    if officials == {RANK["train"], RANK["test"]}:
        place.update(_cut_dev(table[claimed & (table.official == RANK["train"])], fractions, seed))
    undecided = place == NONE
    place.update(_deal(table[undecided], table[~undecided].assign(place=place), fractions, seed))
    return place


def _cut_dev(train: pd.DataFrame, fractions: Mapping[str, float], seed: int) -> "pd.Series[int]":
    share = {split: fractions.get(split, 0) for split in ("train", "dev")}
    total = sum(share.values()) or 1
    none = train.iloc[:0].assign(place=0)
    return _deal(train, none, {split: part / total for split, part in share.items()}, seed)


def _deal(
    todo: pd.DataFrame, done: pd.DataFrame, fractions: Mapping[str, float], seed: int
) -> "pd.Series[int]":
    """Give each group of ``todo`` to the split that lacks most of its share of the stratum.

    Lack is relative: (share - had) / share, in eligible images; among equals test, dev, train.
    """
    had = done.groupby(["stratum", "place"])["size"].sum().to_dict()
    total = pd.concat([todo, done]).groupby("stratum")["size"].sum()
    shares = {RANK[split]: part for split, part in fractions.items() if part > 0}
    dealt: dict[int, int] = {}
    drawn = todo.iloc[np.argsort([_draw(seed, name) for name in todo["name"]], kind="stable")]
    for group, stratum, size in zip(drawn.index, drawn.stratum, drawn["size"], strict=True):

        def lack(rank: int, stratum: str = stratum) -> tuple[float, int]:
            return 1 - had.get((stratum, rank), 0) / (shares[rank] * total[stratum]), rank

        dealt[group] = max(shares, key=lack)
        had[stratum, dealt[group]] = had.get((stratum, dealt[group]), 0) + size
    return pd.Series(dealt, dtype=np.int64)


def _draw(seed: int, group: str) -> str:
    """Draw a group's place in the queue from its own name, so that others do not move it."""
    return hashlib.sha256(f"{seed}:{group}".encode()).hexdigest()


def _contamination(frame: pd.DataFrame) -> "pd.Series[bool]":
    """Tell which rows may not lie where their group lies; see `assign`."""
    fresh, guarded = frame.earlier == NONE, frame.place != RANK["train"]
    says_other = (frame.official != NONE) & (frame.official < frame.group_official)
    barred = fresh & guarded & (frame.before | ~frame.eligible | says_other)
    too_late = fresh & ~guarded & frame.before & (frame.official > RANK["train"])
    torn = ~fresh & (frame.earlier != frame.place)
    return barred | too_late | torn
