"""Which images belong together, and on which side of a split each such group lies, for good.

A group is whatever shares a subject, a clip, a duplicate, a recapture or a synthetic parent,
directly or through others. Splits are dealt to groups, and an image whose group is on another side
than the image itself may be is *contamination*: in no split at all.
"""

import hashlib
from collections.abc import Callable, Mapping
from math import isclose

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from curate.schema import SPLITS

FRACTIONS = {"train": 0.7, "dev": 0.1, "test": 0.2}
RANK = {split: rank for rank, split in enumerate(SPLITS)}  # train 0, dev 1, test 2; test wins
NONE = -1

Ids = NDArray[np.object_]


def groups(image_ids: Ids, links: Ids) -> Ids:
    """Return the group of each image: the smallest id among all that it is linked to, or its own.

    ``links`` (L, 2) are pairs of ids that belong together; closure is transitive, and ids that are
    not in ``image_ids`` (N,) count as stepping stones.
    """
    nodes, names = pd.factorize(
        np.concatenate([np.asarray(image_ids, object), np.asarray(links, object).ravel()]),
        sort=True,
    )
    ends = nodes[len(image_ids) :].reshape(-1, 2)
    graph = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(len(names),) * 2)
    _, component = connected_components(graph, directed=False)
    # The names are sorted, so the first of a component is its smallest.
    _, smallest = np.unique(component, return_index=True)
    result: Ids = np.asarray(names, object)[smallest[component[nodes[: len(image_ids)]]]]
    return result


def column_links(images: pd.DataFrame) -> Ids:
    """Return the links (L, 2) that the columns image_id, subject, clip and parent_id imply.

    Each image is linked to the first of its subject, the first of its clip, and its parent; nulls
    link nothing.
    """
    first_of = [
        images.groupby(column)["image_id"].transform("first") for column in ("subject", "clip")
    ]
    links = [
        np.stack([images.image_id, other], axis=1)[other.notna()]
        for other in (*first_of, images.parent_id)
    ]
    return np.concatenate(links).astype(object)


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
    frame = pd.DataFrame(
        {
            "group": images.group.to_numpy(object),
            "eligible": images.eligible.to_numpy(bool),
            "stratum": images.stratum.fillna("").to_numpy(object),
            "official": _rank(images.official_split),
            "earlier": _rank(images.image_id.map(existing)),
        }
    )
    table = _group_table(frame)
    frame["place"] = frame.group.map(_place(table, fractions, seed))
    frame["before"] = frame.group.map(table.earlier) != NONE
    frame["group_official"] = frame.group.map(table.official)
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
    return splits.map(RANK).fillna(NONE).to_numpy().astype(np.int64)


def _group_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Return per group: earlier and official (ranks), size (eligible images), stratum."""
    eligible = frame[frame.eligible]
    table = frame.groupby("group")[["earlier", "official"]].max()
    table["size"] = eligible.groupby("group").size().reindex(table.index, fill_value=0)
    counts = eligible.groupby("stratum").size().rename("count").reset_index()
    rarest = eligible.merge(counts, on="stratum").sort_values(["count", "stratum"])
    table["stratum"] = rarest.groupby("group").stratum.first().reindex(table.index)
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
    dealt: dict[str, int] = {}
    queue = sorted(zip(todo.index, todo.stratum, todo["size"], strict=True), key=_drawn_by(seed))
    for group, stratum, size in queue:

        def lack(rank: int, stratum: str = stratum) -> tuple[float, int]:
            return 1 - had.get((stratum, rank), 0) / (shares[rank] * total[stratum]), rank

        dealt[group] = max(shares, key=lack)
        had[stratum, dealt[group]] = had.get((stratum, dealt[group]), 0) + size
    return pd.Series(dealt, dtype=np.int64)


def _drawn_by(seed: int) -> Callable[[tuple[str, str, int]], str]:
    """Draw a group's place in the queue from its own name, so that others do not move it."""
    return lambda group: hashlib.sha256(f"{seed}:{group[0]}".encode()).hexdigest()


def _contamination(frame: pd.DataFrame) -> "pd.Series[bool]":
    """Tell which rows may not lie where their group lies; see `assign`."""
    fresh, guarded = frame.earlier == NONE, frame.place != RANK["train"]
    says_other = (frame.official != NONE) & (frame.official < frame.group_official)
    barred = fresh & guarded & (frame.before | ~frame.eligible | says_other)
    too_late = fresh & ~guarded & frame.before & (frame.official > RANK["train"])
    torn = ~fresh & (frame.earlier != frame.place)
    return barred | too_late | torn
