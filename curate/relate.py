"""How new images relate to each other and to the catalogue: copies, recaptures, splits."""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import pandas as pd

from curate import duplicates, engine, groups, splits
from curate.catalogue import Catalogue
from curate.decode import decode
from curate.hashes import POSES
from curate.neighbours import cross_join, self_join
from curate.sources import path_of
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
    ``places`` image_id, subject, clip of every file of the batch (a content may have several);
    ``keys`` image_id -> label key of any given label; ``given`` the new rows of `labels`.
    """
    catalogue = workspace.catalogue
    fresh = images[images["status"] == "kept"]
    old = known[known["face"].notna() & (known["origin"] != "synthetic")]
    facts = pd.concat([fresh, old]).set_index("image_id")
    facts["label_key"] = keys.reindex(facts.index)
    pairs = _proposed(fresh, old, workspace)
    pairs = duplicates.judge(
        _compared(pairs, facts, workspace),
        facts,
        min_similarity=workspace.config.ingest.similarity,
    )
    grouped = groups.grouped(pd.concat([known, fresh]), places, catalogue.read("pairs"), pairs)
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
    uris = facts["uri"]
    gray = lru_cache(CACHED)(_gray)

    def compare(row: int) -> float:
        pair = pairs.iloc[row]
        one, other = (gray(str(uris[pair[side]])) for side in ("a", "b"))
        return duplicates.similarity(one, other, POSES[int(pair["pose"])])

    similarity = np.full(len(pairs), np.nan, dtype=np.float32)
    threads = engine.threads(workspace.config.threads)
    similarity[worth] = list(engine.mapped(compare, worth.tolist(), threads=threads))
    return pairs.assign(similarity=similarity)


def _gray(uri: str) -> np.ndarray:
    rgb = decode(path_of(uri).read_bytes(), min_side=PIXELS_SIDE).rgb
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
    existing = catalogue.read("splits").set_index("image_id")["split"]
    trusted = pd.concat([catalogue.read("labels").drop(columns="run_id"), given])
    trusted = trusted[trusted["trusted"].astype(bool)].drop_duplicates("image_id")
    stratum = (trusted["label"] + "/" + trusted["attack_type"]).set_axis(trusted["image_id"])
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
    partners = pd.concat([pairs["a"], pairs["b"], fresh["image_id"]])
    frame = facts[facts.index.isin(partners) & ~facts.index.isin(contaminated)].copy()
    frame["known"] = ~frame.index.isin(fresh["image_id"])
    earlier = catalogue.read("pairs", ["a", "b", "cluster"]).query("cluster != ''")
    clusters = pd.concat([earlier.set_index(side)["cluster"] for side in ("a", "b")])
    frame["cluster"] = clusters[~clusters.index.duplicated()].reindex(frame.index)
    # In steps: a re-encoding that moves the box by a pixel makes no larger or sharper face.
    areas = np.array([box[2] * box[3] for box in frame["face"]])
    frame["face_area"] = np.round(np.log(areas) / np.log(1.1))
    frame["sharpness"] = np.round(np.log(frame["sharpness"] + 0.1) / np.log(1.25))
    frame["order"] = np.argsort(np.argsort(frame["uri"].to_numpy(), kind="stable"), kind="stable")
    kept = duplicates.keep_best(frame, pairs)
    return kept.set_index("image_id")["cluster"]


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
