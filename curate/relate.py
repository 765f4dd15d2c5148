"""How new images relate to each other and to the catalogue: copies, recaptures, splits."""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import pandas as pd

from curate import duplicates, engine, groups, labels, splits
from curate.catalogue import Catalogue
from curate.crops import Row, read_stored
from curate.errors import SourceError
from curate.hashes import POSES
from curate.neighbours import cross_join, self_join
from curate.workspace import Workspace

PIXELS_SIDE = 128  # pixels of the shorter side at which two images are compared
CACHED = 4096  # grey images of that size kept while pairs are compared: about 100 MB


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

    ``images`` are the new rows, one per content; ``known`` the visible rows of `images`;
    ``places`` image_id, subject, clip of every other file (a content may lie at several places);
    ``keys`` image_id -> label key of any given label; ``given`` the new rows of `labels`.
    """
    catalogue = workspace.catalogue
    fresh = _best_first(images[images["status"] == "kept"])
    old = known[known["face"].notna() & (known["origin"] != "synthetic")]
    old = old.sort_values("status", key=lambda status: status != "kept", kind="stable")
    facts = pd.concat([fresh, old]).set_index("image_id")
    facts["label_key"] = keys.reindex(facts.index)
    pairs = _proposed(fresh, old, workspace)
    pairs = duplicates.judge(
        _compared(pairs, facts, workspace),
        facts,
        min_similarity=workspace.config.ingest.similarity,
    )
    every_pair = pd.concat([catalogue.read("pairs"), pairs], ignore_index=True)
    grouped = groups.grouped(pd.concat([known, fresh]), places, every_pair, keys)
    assigned = _assigned(workspace, fresh, known, grouped, given)
    contaminated = set(assigned.loc[assigned["contamination"], "image_id"])
    homes = _homes(catalogue, fresh, facts, pairs, contaminated)
    pairs = _finished_pairs(pairs, homes, contaminated)
    return Related(
        images=_finished_images(images, pairs, homes, contaminated),
        pairs=pairs,
        splits=assigned.loc[~assigned["contamination"], ["image_id", "split"]],
    )


def _proposed(fresh: pd.DataFrame, old: pd.DataFrame, workspace: Workspace) -> pd.DataFrame:
    """Return a, b, relation, pose, distance of pairs within the radius: new x new, new x old."""
    threads = engine.threads(workspace.config.threads)
    radius = workspace.config.ingest.radius
    new_hashes, old_hashes = _hashes(fresh), _hashes(old)
    frames = []
    for found, partners in (
        (self_join(new_hashes, radius, threads=threads), fresh),
        (cross_join(new_hashes, old_hashes, radius, threads=threads), old),
    ):
        frames.append(
            pd.DataFrame(
                {
                    "a": fresh["image_id"].to_numpy(object)[found.i],
                    "b": partners["image_id"].to_numpy(object)[found.j],
                    "pose": found.pose,
                    "relation": [POSES[pose].name for pose in found.pose],
                    "distance": found.distance,
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def _hashes(images: pd.DataFrame) -> np.ndarray:
    """Return (N, 8) uint64 from the column `phash`."""
    if images.empty:
        return np.empty((0, len(POSES)), dtype=np.uint64)
    return np.stack([np.asarray(row, dtype=np.int64) for row in images["phash"]]).view(np.uint64)


def _compared(pairs: pd.DataFrame, facts: pd.DataFrame, workspace: Workspace) -> pd.DataFrame:
    """Add `similarity`; null for pairs of one clip, which need none."""
    a, b = (facts["clip"].reindex(pairs[side]) for side in ("a", "b"))
    worth = np.flatnonzero(~((a.to_numpy() == b.to_numpy()) & a.notna().to_numpy()))
    rows_of = facts.to_dict("index")

    @lru_cache(CACHED)
    def gray(image_id: str) -> np.ndarray | None:
        return _gray(rows_of[image_id] | {"image_id": image_id})

    poses = pairs["pose"].tolist()

    def compare(row: int) -> float:
        one, other = gray(pairs["a"].iat[row]), gray(pairs["b"].iat[row])
        if one is None or other is None:
            return np.nan
        return duplicates.similarity(one, other, POSES[poses[row]])

    similarity = np.full(len(pairs), np.nan, dtype=np.float32)
    threads = engine.threads(workspace.config.threads)
    similarity[worth] = list(engine.mapped(compare, worth.tolist(), threads=threads))
    return pairs.assign(similarity=similarity)


def _gray(row: Row) -> np.ndarray | None:
    """Return the image as stored, EXIF applied, in grey; None where its original is gone."""
    try:
        rgb = read_stored(row, min_side=PIXELS_SIDE).rgb
    except SourceError:
        return None
    gray: np.ndarray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    factor = PIXELS_SIDE / min(gray.shape)
    if factor >= 1:
        return gray
    small: np.ndarray = cv2.resize(gray, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return small


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
    trusted = pd.concat([catalogue.read("labels").drop(columns="run_id"), given])
    trusted = trusted[trusted["trusted"].astype(bool)].drop_duplicates("image_id")
    stratum = pd.Series(labels.words(trusted), trusted["image_id"], dtype="object")
    columns = ["image_id", "origin", "official_split"]
    members = known.loc[known["image_id"].isin(existing.index), columns]
    frame = pd.concat([fresh[columns], members], ignore_index=True)
    frame["group"] = frame["image_id"].map(grouped)
    frame["stratum"] = frame["image_id"].map(stratum).astype("object")
    frame["eligible"] = frame["stratum"].notna() & (frame["origin"] != "synthetic")
    shares = workspace.config.splits.model_dump()
    assigned = splits.assign(frame, existing, fractions=shares, seed=workspace.config.seed)
    return assigned.iloc[: len(fresh)]


def _homes(
    catalogue: Catalogue,
    fresh: pd.DataFrame,
    facts: pd.DataFrame,
    pairs: pd.DataFrame,
    contaminated: set[str],
) -> pd.Series:
    """Return image_id -> the copy kept in its place, for the new images and their partners."""
    clusters = groups.clusters(catalogue)
    near = pd.concat([pairs["a"], pairs["b"], fresh["image_id"]])
    # With every copy of a partner's cluster: its label stands guard even if it is no partner.
    company = set(near) | set(clusters.index[clusters.isin(clusters.reindex(near))])
    there = facts.index.isin(list(company)) & (facts["status"] != "quarantined")
    frame = facts[there & ~facts.index.isin(contaminated)].copy()
    frame["known"] = ~frame.index.isin(fresh["image_id"])
    frame["cluster"] = clusters.reindex(frame.index)
    frame["face_area"], frame["sharpness"] = _steps(frame)
    frame["order"] = _larger_file_first(frame)
    kept = duplicates.keep_best(frame, pairs)
    return kept.set_index("image_id")["cluster"]


def _best_first(images: pd.DataFrame) -> pd.DataFrame:
    """Order new images so that the first of a crowd of equal hashes is the one to keep."""
    area, sharpness = _steps(images)
    place = _larger_file_first(images)
    frame = images.assign(known=False, face_area=area, sharpness=sharpness, order=place)
    order = duplicates.keep_order(frame.set_index("image_id"))
    return images.set_index("image_id", drop=False).loc[order].reset_index(drop=True)


def _larger_file_first(images: pd.DataFrame) -> np.ndarray:
    """Return the rank of each image: the larger file, then the uri. A re-encoding is smaller."""
    ranked = images.reset_index(drop=True).sort_values(["bytes", "uri"], ascending=[False, True])
    return np.argsort(ranked.index.to_numpy())


def _steps(images: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return face area and sharpness in steps of a tenth and a quarter.

    A re-encoding that moves the box by a pixel makes the face neither larger nor sharper.
    """
    areas = np.array([box[2] * box[3] for box in images["face"]], dtype=float)
    sharpness = images["sharpness"].to_numpy(float)
    return np.round(np.log(areas) / np.log(1.1)), np.round(np.log(sharpness + 0.1) / np.log(1.25))


def _finished_pairs(pairs: pd.DataFrame, homes: pd.Series, contaminated: set[str]) -> pd.DataFrame:
    barred = pairs["a"].isin(contaminated) | pairs["b"].isin(contaminated)
    same_picture = pairs["similarity"] >= groups.SAME_PICTURE
    leaks = barred & same_picture & (pairs["kind"] != "recapture")
    kind = pairs["kind"].mask(leaks, "contamination")
    a, b = pairs["a"].map(homes), pairs["b"].map(homes)
    together = (kind == "duplicate") & a.notna() & (a == b)
    pairs = pairs.assign(kind=kind, cluster=a.where(together, ""))
    return pairs.drop(columns="pose").sort_values(["a", "b"], ignore_index=True)


def _finished_images(
    images: pd.DataFrame, pairs: pd.DataFrame, homes: pd.Series, contaminated: set[str]
) -> pd.DataFrame:
    ids = images["image_id"]
    home = ids.map(homes)
    duplicate = home.notna() & (home != ids)
    barred = ids.isin(contaminated)
    status = images["status"].mask(duplicate, "duplicate").mask(barred, "quarantined")
    reason = images["reason"].mask(duplicate, "duplicate").mask(barred, "contamination")
    flips = {pose.name for pose in POSES if pose.mirror}
    flipped = pairs[pairs["relation"].isin(flips) & pairs["kind"].isin(groups.LINKING)]
    unclear = ids.isin(flipped["a"]) | ids.isin(flipped["b"])
    mirror = images["mirror"].mask(unclear, "ambiguous")
    return images.assign(status=status, reason=reason, mirror=mirror)
