"""How new images relate to each other and to the catalogue: copies, recaptures, splits.

propose -> confirm (as far as it matters) -> judge -> split -> keep the best copy
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from curate import crops, duplicates, engine, groups, labels, schema, splits
from curate.catalogue import Catalogue
from curate.compare import Comparer
from curate.propose import proposed, through_copies
from curate.relations import pose_of
from curate.workspace import Workspace

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
    workspace: Workspace,
    images: pd.DataFrame,
    known: pd.DataFrame,
    places: pd.DataFrame,
    keys: pd.Series,
    given: pd.DataFrame,
) -> Related:
    """Join, judge, split and keep the best copy.

    ``images`` are the new rows, one per content; ``known`` the columns KNOWN of those on record, as
    `Catalogue.compact` gives them; ``places`` image_id, uri, subject, clip of every other file (a
    content may lie at several places);
    ``keys`` image_id -> label key of any given label; ``given`` the new rows of `labels`.
    """
    settings, threads = workspace.config.ingest, engine.threads(workspace.config.threads)
    fresh = _best_first(images[images["status"] == "kept"], settings.keep)
    old = _comparable(known)
    pairs = proposed(fresh, old, settings.radius, threads)
    clusters = groups.clusters(workspace.catalogue)
    facts = _facts(fresh, known, pairs, clusters, keys, places)
    facts["state"] = _states(workspace.catalogue, given, facts.index)
    known = known[[*groups.COLUMNS, "origin", "official_split"]]  # of a million rows half a GB less
    del old
    pairs = pairs[~duplicates.of_one_clip(pairs, facts)].reset_index(drop=True)
    comparer = Comparer(pairs, facts, min_similarity=settings.similarity, threads=threads)
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
    columns = list(groups.PAIR_COLUMNS)
    before = workspace.catalogue.read("pairs", columns)
    every_pair = pd.concat([before, judged[columns]], ignore_index=True)
    both = pd.concat([each[groups.COLUMNS] for each in (known, fresh)], ignore_index=True)
    grouped = groups.grouped(both, places, every_pair, keys)
    assigned = _assigned(workspace, fresh, known, grouped, given)
    contaminated = set(assigned.loc[assigned["contamination"], "image_id"])
    if contaminated:  # some that were kept are not, and their copies need another home
        homes = _homes(facts, pairs, comparer, policy=settings.keep, without=contaminated)
        judged = comparer.judged(comparer.rows)
    finished = _finished_pairs(judged, homes, contaminated)
    worst = _worst_inside(workspace.catalogue, comparer, finished)
    columns = ["pose", "other_pose", "worst_patch", "same_state"]
    return Related(
        images=_finished_images(images, finished, homes, contaminated),
        pairs=finished.assign(worst=worst).drop(columns=columns),
        splits=assigned.loc[~assigned["contamination"], ["image_id", "split"]],
    )


def _comparable(known: pd.DataFrame) -> pd.DataFrame:
    """Return the images on record that new ones are compared with, the kept ones first."""
    hashed = known["phash"].notna() & (known["face"].notna() | (known["status"] != "quarantined"))
    columns = ["image_id", "turn", "phash", "canonical", "face_phash", "face_dhash"]
    there = hashed & (known["origin"] != "synthetic")
    kept = known["status"] == "kept"
    rows = np.concatenate([np.flatnonzero(there & kept), np.flatnonzero(there & ~kept)])
    return known[columns].take(rows)


def _best_first(images: pd.DataFrame, policy: Sequence[str]) -> pd.DataFrame:
    """Order new images so that the first of a crowd of equal hashes is the one to keep."""
    order = _keep_order(images.set_index("image_id", drop=False).assign(known=False), policy)
    return images.set_index("image_id", drop=False).loc[order].reset_index(drop=True)


def _facts(
    fresh: pd.DataFrame,
    known: pd.DataFrame,
    pairs: pd.DataFrame,
    clusters: pd.Series,
    keys: pd.Series,
    places: pd.DataFrame,
) -> pd.DataFrame:
    """Return the rows of all new images and of those on record that matter to them, by image_id.

    With every copy of a partner's cluster: its label stands guard even if it is no partner.
    Columns beside those of `images`: known, label_key, cluster (of the known).
    """
    near = set(pairs["a"]) | set(pairs["b"])
    company = near | set(clusters.index[clusters.isin(clusters.reindex(list(near)))])
    partners = known[known["image_id"].isin(list(company)) & (known["origin"] != "synthetic")]
    partners = _with_places(partners, places)
    frames = [fresh.assign(known=False), partners.assign(known=True)]
    facts = pd.concat([frame for frame in frames if len(frame)] or frames).set_index("image_id")
    facts["label_key"] = keys.reindex(facts.index)
    facts["cluster"] = clusters.reindex(facts.index).where(facts["known"])
    return facts


def _states(catalogue: Catalogue, given: pd.DataFrame, ids: "pd.Index[str]") -> pd.Series:
    """Return what labels say of eyes and covers of ``ids``: those on record and ``given``."""
    columns = ["image_id", "task", "part", "label"]
    said = catalogue.read("labels", columns)
    said = pd.concat([said[said["image_id"].isin(ids)], given[columns]], ignore_index=True)
    return labels.states(said).reindex(ids)


def _with_places(images: pd.DataFrame, places: pd.DataFrame) -> pd.DataFrame:
    """Return ``images`` with lists as objects, and `also_at` with what later runs found."""
    kinds = {name: object for name in images if isinstance(images[name].dtype, pd.ArrowDtype)}
    images = images.astype(kinds)
    later = places[places["image_id"].isin(images["image_id"])].groupby("image_id")["uri"]
    also = later.agg(list).reindex(images["image_id"])
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
    workspace: Workspace,
    fresh: pd.DataFrame,
    known: pd.DataFrame,
    grouped: pd.Series,
    given: pd.DataFrame,
) -> pd.DataFrame:
    """Return image_id, split, contamination of the new images."""
    catalogue = workspace.catalogue
    existing = catalogue.split_of()
    needed = ["image_id", "task", "label", "attack_type", "trusted"]
    trusted = pd.concat([catalogue.read("labels", needed), given[needed]])
    trusted = trusted[trusted["trusted"].astype(bool)]
    liveness_first = trusted["task"].map(schema.TASKS.index).to_numpy().argsort(kind="stable")
    trusted = trusted.iloc[liveness_first].drop_duplicates("image_id")
    stratum = pd.Series(labels.words(trusted), trusted["image_id"], dtype="object")
    columns = ["image_id", "origin", "official_split"]
    split = known["image_id"].map(existing).notna()
    frame = pd.concat([fresh[columns], known.loc[split, columns]], ignore_index=True)
    frame["group"] = frame["image_id"].map(grouped)
    frame["stratum"] = frame["image_id"].map(stratum).astype("object")
    frame["eligible"] = frame["stratum"].notna() & (frame["origin"] != "synthetic")
    shares = workspace.config.splits.model_dump()
    assigned = splits.assign(frame, existing, fractions=shares, seed=workspace.config.seed)
    return assigned.iloc[: len(fresh)]


def _finished_pairs(pairs: pd.DataFrame, homes: pd.Series, contaminated: set[str]) -> pd.DataFrame:
    barred = pairs["a"].isin(contaminated) | pairs["b"].isin(contaminated)
    same_picture = pairs["similarity"] >= groups.SAME_PICTURE
    leaks = barred & same_picture & (pairs["kind"] != "recapture")
    kind = pairs["kind"].mask(leaks, "contamination")
    a, b = pairs["a"].map(homes), pairs["b"].map(homes)
    together = (kind == "duplicate") & a.notna() & (a == b)
    pairs = pairs.assign(kind=kind, cluster=a.where(together, ""))
    return pairs.sort_values(["a", "b"], ignore_index=True)


def _worst_inside(catalogue: Catalogue, comparer: Comparer, pairs: pd.DataFrame) -> pd.Series:
    """Return per row of ``pairs`` the least similarity inside its cluster, null without one."""
    worst = comparer.worst_inside(pairs)
    before = catalogue.read("pairs", ["cluster", "worst"])
    before = before[before["cluster"].isin(worst.index)]
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
