"""How new images relate to each other and to the catalogue: copies, recaptures, splits.

propose -> confirm (as far as it matters) -> judge -> split -> keep the best copy
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from curate import crops, duplicates, engine, groups, schema, splits
from curate.compare import Comparer
from curate.config import Config
from curate.engine import Track
from curate.propose import proposed, through_copies
from curate.record import Record
from curate.relations import pose_of
from curate.snapshot import NONE, Numbers, Snapshot

KNOWN = (
    "image_id", "uri", "also_at", "bytes", "mtime_ns", "subject", "clip", "origin", "parent_id",
    "official_split", "status", "shows", "turn", "mirror", "width", "height", "phash", "canonical",
    "face", "face_score", "landmarks", "face_phash", "face_dhash", "sharpness",
)  # fmt: skip


@dataclass(frozen=True)
class Related:
    """The new rows of `images` with their final status, and those of `pairs` and `splits`."""

    images: pd.DataFrame
    pairs: pd.DataFrame
    splits: pd.DataFrame


def relate(
    config: Config,
    snapshot: Snapshot,
    images: pd.DataFrame,
    places: pd.DataFrame,
    given: pd.DataFrame,
    track: Track,
) -> Related:
    """Join, judge, split and keep the best copy.

    ``images`` are the new rows, one per content; ``places`` and ``given`` the new rows of `places`
    (a content may lie at several) and of `labels`; ``snapshot`` is what was on record before them.
    """
    settings, threads = config.ingest, engine.threads(config.threads)
    record = Record(snapshot, images["image_id"], given)
    fresh = _best_first(images[images["status"] == "kept"], settings.keep)
    numbered = fresh.assign(image_id=record.find(fresh["image_id"]))
    pairs = proposed(numbered, record.comparable(), settings.radius, threads)
    facts = _facts(record, fresh, pairs, places)
    by_number = pd.Series(facts.index.to_numpy(object), record.find(facts.index))
    pairs = pairs.assign(**{side: pairs[side].map(by_number).astype(object) for side in "ab"})
    pairs = pairs[~duplicates.of_one_clip(pairs, facts)].reset_index(drop=True)
    comparer = Comparer(
        pairs, facts, min_similarity=settings.similarity, threads=threads, track=track
    )
    homes = _homes(facts, pairs, comparer, policy=settings.keep)
    comparer.compare(_worth_comparing(pairs, facts, homes, comparer))
    judged = comparer.judged(comparer.rows)
    further = through_copies(judged, homes, pairs)
    further = further[~duplicates.of_one_clip(further, facts)]
    if len(further):
        pairs = pd.concat([pairs, further], ignore_index=True)
        comparer.add(further)
        homes = _homes(facts, pairs, comparer, policy=settings.keep)
        judged = comparer.judged(comparer.rows)
    grouped = record.groups(fresh, places, judged)
    assigned = _assigned(config, record, fresh, grouped)
    contaminated = set(assigned.loc[assigned["contamination"], "image_id"])
    if contaminated:  # some that were kept are not, and their copies need another home
        homes = _homes(facts, pairs, comparer, policy=settings.keep, without=contaminated)
        judged = comparer.judged(comparer.rows)
    finished = _finished_pairs(judged, homes, contaminated)
    worst = _worst_inside(snapshot, comparer, finished)
    columns = ["pose", "other_pose", "worst_patch", "same_state"]
    return Related(
        images=_finished_images(images, finished, homes, contaminated),
        pairs=finished.assign(worst=worst).drop(columns=columns),
        splits=assigned.loc[~assigned["contamination"], ["image_id", "split"]],
    )


def _best_first(images: pd.DataFrame, policy: Sequence[str]) -> pd.DataFrame:
    """Order new images so that the first of a crowd of equal hashes is the one to keep."""
    order = _keep_order(images.set_index("image_id", drop=False).assign(known=False), policy)
    return images.set_index("image_id", drop=False).loc[order].reset_index(drop=True)


def _facts(
    record: Record, fresh: pd.DataFrame, pairs: pd.DataFrame, places: pd.DataFrame
) -> pd.DataFrame:
    """Return the rows of all new images and of those on record that matter to them, by image_id.

    With every copy of a partner's cluster: its label stands guard even if it is no partner.
    Columns beside those of `images`: known, label_key, state, cluster (of the known).
    """
    near = np.unique(pairs[["a", "b"]].to_numpy(np.int64))
    partners = _with_places(record.snapshot, record.company(near), places)
    frames = [fresh.assign(known=False), partners.assign(known=True)]
    facts = pd.concat([frame for frame in frames if len(frame)] or frames).set_index("image_id")
    numbers = record.find(facts.index)
    return facts.assign(
        label_key=record.label_keys(numbers),
        state=pd.Series(record.states(numbers), facts.index, dtype="object"),
        cluster=pd.Series(record.homes(numbers), facts.index).where(facts["known"]),
    )


def _with_places(snapshot: Snapshot, numbers: Numbers, places: pd.DataFrame) -> pd.DataFrame:
    """Return images on record, `also_at` with what later runs found, ``places`` among it."""
    images = snapshot.take("images", numbers, KNOWN)
    rows = np.flatnonzero(np.isin(snapshot.numbers("places", "image_id"), numbers))
    columns = ["image_id", "uri"]
    places = pd.concat([snapshot.take("places", rows, columns), places[columns]])
    also = places.groupby("image_id")["uri"].agg(list).reindex(images["image_id"])
    both = [
        [*crops.listed(stored), *crops.listed(found)]
        for stored, found in zip(images["also_at"], also, strict=True)
    ]
    return images.assign(also_at=pd.Series(both, images.index, dtype=object))


def _homes(
    facts: pd.DataFrame,
    pairs: pd.DataFrame,
    comparer: Comparer,
    *,
    policy: Sequence[str],
    without: Collection[str] = (),
) -> pd.Series:
    """Return image_id -> the copy kept in its place, of all but those ``without``."""
    there = (facts["status"] != "quarantined") & ~facts.index.isin(list(without))
    order = _keep_order(facts[there], policy)
    return duplicates.keep_best(facts.loc[order], pairs, comparer.confirm)


def _keep_order(images: pd.DataFrame, policy: Sequence[str]) -> "pd.Index[str]":
    """Return the image_ids, best copy first; face and sharpness count in steps.

    A re-encoding that moves the box by a pixel makes the face neither larger nor sharper.
    """
    boxes = images["face"]
    areas = np.array([box[2] * box[3] if crops.given(box) else 1.0 for box in boxes], dtype=float)
    sharpness = images["sharpness"].to_numpy(float)
    arrived = images.reset_index(drop=True).sort_values(["mtime_ns", "uri"], kind="stable")
    steps = images.assign(
        face_area=np.round(np.log(np.maximum(areas, 1)) / np.log(1.1)),
        sharpness=np.round(np.log(sharpness + 0.1) / np.log(1.25)),
        order=np.argsort(arrived.index.to_numpy()),
    )
    return duplicates.keep_order(steps, policy)


def _worth_comparing(
    pairs: pd.DataFrame, facts: pd.DataFrame, homes: pd.Series, comparer: Comparer
) -> np.ndarray:
    """Return the rows not compared yet whose outcome may tie groups or name a recapture.

    Labels that contradict are always worth it. Else not: two copies of one image; two new ones that
    both found their copy; and an image tied already to the copy kept of the other.
    """
    done = comparer.judged(comparer.rows)
    tied = {
        frozenset(pair)
        for pair in done.loc[done["similarity"] >= groups.SAME_PICTURE, ["a", "b"]].to_numpy()
    }
    contradict = duplicates.contradicting(pairs, facts["label_key"])
    known = pairs["b"].map(facts["known"]).to_numpy(bool)
    rows = np.setdiff1d(np.arange(len(pairs)), comparer.rows)
    columns = pairs[["a", "b"]].iloc[rows].itertuples(index=False, name=None)
    worth = []
    for row, (a, b) in zip(rows.tolist(), columns, strict=True):
        home_a, home_b = homes.get(a), homes.get(b)
        free = known[row] or a == home_a or b == home_b
        near = tied & {frozenset((a, home_b)), frozenset((home_a, b))}
        guarded = contradict[row] or home_a is None or home_b is None
        if guarded or (home_a != home_b and free and not near):
            worth.append(row)
    return np.array(worth, dtype=np.int64)


def _assigned(
    config: Config, record: Record, fresh: pd.DataFrame, grouped: np.ndarray
) -> pd.DataFrame:
    """Return image_id, split, contamination of the new images."""
    split = record.padded(groups.split_ranks(record.snapshot))
    columns = ["origin", "official_split"]
    before = record.snapshot.read("images", columns).astype(object)
    dealt = np.flatnonzero(split[: len(before)] != NONE)
    number = np.concatenate([record.find(fresh["image_id"]), dealt])
    frame = pd.concat([fresh[columns], before.iloc[dealt]], ignore_index=True)
    frame = frame.assign(
        image_id=number, group=grouped[number], stratum=pd.Series(record.strata()[number])
    )
    frame["eligible"] = frame["stratum"].notna() & (frame["origin"] != "synthetic")
    existing = pd.Series(np.array([*schema.SPLITS, None], object)[split])
    shares = config.splits.model_dump()
    assigned = splits.assign(frame, existing, fractions=shares, seed=config.seed)
    return assigned.iloc[: len(fresh)].assign(image_id=fresh["image_id"].to_numpy(object))


def _finished_pairs(pairs: pd.DataFrame, homes: pd.Series, contaminated: set[str]) -> pd.DataFrame:
    barred = pairs["a"].isin(contaminated) | pairs["b"].isin(contaminated)
    same_picture = pairs["similarity"] >= groups.SAME_PICTURE
    leaks = barred & same_picture & (pairs["kind"] != "recapture")
    kind = pairs["kind"].mask(leaks, "contamination")
    a, b = pairs["a"].map(homes), pairs["b"].map(homes)
    together = (kind == "duplicate") & a.notna() & (a == b)
    pairs = pairs.assign(kind=kind, cluster=a.where(together, ""))
    return pairs.sort_values(["a", "b"], ignore_index=True)


def _worst_inside(snapshot: Snapshot, comparer: Comparer, pairs: pd.DataFrame) -> pd.Series:
    """Return per row of ``pairs`` the least similarity inside its cluster, null without one."""
    worst = comparer.worst_inside(pairs)
    wanted = snapshot.find(worst.index)
    rows = np.isin(snapshot.numbers("pairs", "cluster"), wanted[wanted != NONE])
    before = snapshot.take("pairs", np.flatnonzero(rows), ["cluster", "worst"])
    both = pd.concat([worst.groupby(level=0).min(), before.groupby("cluster")["worst"].min()])
    return pairs["cluster"].map(both.groupby(level=0).min()).astype("float32")


def _finished_images(
    images: pd.DataFrame, pairs: pd.DataFrame, homes: pd.Series, contaminated: set[str]
) -> pd.DataFrame:
    ids = images["image_id"]
    home = ids.map(homes)
    duplicate = home.notna() & (home != ids)
    barred = ids.isin(contaminated)
    status = images["status"].mask(duplicate, "duplicate").mask(barred, "quarantined")
    reason = images["reason"].mask(duplicate, "duplicate").mask(barred, "contamination")
    flips = pairs["relation"].map(lambda words: pose_of(words).mirror).astype(bool)
    flipped = pairs[flips & pairs["kind"].isin(groups.LINKING)]
    loose = images["clip"].isna() & (images["mirror"] == "no")  # its siblings know better
    unclear = loose & (ids.isin(flipped["a"]) | ids.isin(flipped["b"]))
    mirror = images["mirror"].mask(unclear, "ambiguous")
    return images.assign(status=status, reason=reason, mirror=mirror)
