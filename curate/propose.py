"""Which images may be copies of each other: by the hash of the frame, or by that of the face."""

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from curate import facehash
from curate.hashes import POSES
from curate.neighbours import cross_join, match, self_join
from curate.relations import after, inverse

Hashes = NDArray[np.uint64]
EVERY_POSE = 0xFF
UNDECIDED = -1  # of `turn`: hashed as if not turned

_POSE = {(pose.turn, pose.mirror): n for n, pose in enumerate(POSES)}
_AFTER = np.array([[POSES.index(after(one, then)) for then in POSES] for one in POSES], np.int8)
_STEP = ["a", "b", "pose", "distance"]
_INVERSE = np.array([POSES.index(inverse(pose)) for pose in POSES], np.int8)


def proposed(fresh: pd.DataFrame, old: pd.DataFrame, radius: int, threads: int) -> pd.DataFrame:
    """Return a, b, pose, distance, other_pose: each pair of new with new, and new with old, once.

    ``fresh`` and ``old`` are rows of `images`; the first of a crowd of equal hashes stands for it.
    POSES[pose] turns a into b; `distance` is in bits of the hash that is near, the frame's where
    both are. `other_pose` is that of the face where it is another one, else -1.
    """
    frames = [
        _by_frame(fresh, None, radius, threads),
        _by_frame(fresh, old, radius, threads),
        _by_face(fresh, None, radius, threads),
        _by_face(fresh, old, radius, threads),
    ]
    pairs = pd.concat(frames, ignore_index=True)
    twice = pairs.duplicated(["a", "b"])
    again = pairs[twice].drop_duplicates(["a", "b"]).set_index(["a", "b"])["pose"]
    pairs = pairs[~twice].reset_index(drop=True)
    other = again.reindex(pd.MultiIndex.from_frame(pairs[["a", "b"]])).fillna(-1).to_numpy(int)
    return pairs.assign(other_pose=np.where(other == pairs["pose"], -1, other))


def through_copies(
    judged: pd.DataFrame, homes: "pd.Series[str]", pairs: pd.DataFrame
) -> pd.DataFrame:
    """Propose an image to the copy kept of its copy, where no hash has: rows as of `proposed`.

    ``judged`` has a, b, pose, distance, kind; ``homes`` is image_id -> the copy kept. A crop is
    near the original, and so is a brighter one; that they are copies their own pixels have to say.
    If they are, one of them is kept no longer, and its copies lose it: they are proposed as well.
    """
    found = judged[judged["kind"] == "duplicate"]
    sides = [found, found.rename(columns={"a": "b", "b": "a"}).assign(pose=_INVERSE[found["pose"]])]
    steps = pd.concat(sides)[_STEP]
    home, own = (steps[side].map(homes).astype(object) for side in ("b", "a"))
    out = steps[(own == steps["a"]) & (home != own) & (home != steps["b"]) & home.notna()]
    kept = _two_steps(out, steps[home == steps["b"]])
    kept = kept[kept["through"].map(homes) == kept["b"]]
    theirs = _two_steps(steps[(home == steps["b"]) & (own == home)], kept[_STEP])
    further = pd.concat([kept, theirs], ignore_index=True)
    seen = {frozenset(pair) for pair in pairs[["a", "b"]].to_numpy()}
    new = []
    for pair in map(frozenset, further[["a", "b"]].to_numpy()):
        new.append(pair not in seen)
        seen.add(pair)
    rows: pd.DataFrame = further[np.array(new, dtype=bool)]
    return rows.drop(columns="through").assign(other_pose=-1)


def _two_steps(first: pd.DataFrame, then: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a -> through -> b, a and b not the same."""
    both = first.merge(then, left_on="b", right_on="a", suffixes=("", "_then"))
    both = both.assign(
        through=both["b"],
        b=both["b_then"],
        pose=_AFTER[both["pose"], both["pose_then"]],
        distance=np.maximum(both["distance"], both["distance_then"]),
    )
    return both.loc[both["a"] != both["b"], [*_STEP, "through"]]


def _by_frame(
    fresh: pd.DataFrame, old: pd.DataFrame | None, radius: int, threads: int
) -> pd.DataFrame:
    partners = fresh if old is None else old
    hashes, masks = _hashes(fresh, "phash"), _canonical(fresh)
    if old is None:
        found = self_join(hashes, masks, radius, threads=threads)
    else:
        others = _hashes(old, "phash"), _canonical(old)
        found = cross_join(hashes, masks, *others, radius, threads=threads)
    return _frame(fresh, partners, found.i, found.j, found.pose, found.distance)


def _by_face(
    fresh: pd.DataFrame, old: pd.DataFrame | None, radius: int, threads: int
) -> pd.DataFrame:
    """Ask with the squares about each new face for the first square of any other, or mirrored."""
    fresh = fresh[fresh["face_phash"].notna()]
    partners = fresh if old is None else old[old["face_phash"].notna()]
    asks, answers = _hashes(fresh, "face_phash"), _hashes(partners, "face_phash")
    answering = np.concatenate([answers[:, 0], answers[:, facehash.MIRRORED]])
    found = match(
        np.ascontiguousarray(asks[:, : facehash.MIRRORED]), answering, radius, threads=threads
    )
    mirrored, j = np.divmod(found.j, max(len(partners), 1))
    column = np.where(mirrored == 1, facehash.MIRRORED, 0)
    asked = _hashes(fresh, "face_dhash")[found.i, found.p]
    given = _hashes(partners, "face_dhash")[j, column]
    near = np.bitwise_count(asked ^ given) <= facehash.DHASH_RADIUS
    if old is None:
        near &= found.i != j
    i, j, mirrored, distance = found.i[near], j[near], mirrored[near], found.distance[near]
    if old is None:
        i, j = np.minimum(i, j), np.maximum(i, j)
    pose = _stored_pose(fresh["turn"].to_numpy()[i], partners["turn"].to_numpy()[j], mirrored)
    frame = _frame(fresh, partners, i, j, pose, distance)
    return frame.sort_values("distance", kind="stable").drop_duplicates(["a", "b"])


def _stored_pose(
    turn_a: NDArray[np.integer], turn_b: NDArray[np.integer], mirrored: NDArray[np.integer]
) -> NDArray[np.int8]:
    """Return the index of the pose that turns a, as stored, into b, whose upright faces match."""
    a, b = (np.where(turn == UNDECIDED, 0, turn) for turn in (turn_a, turn_b))
    turn = np.where(mirrored == 1, a + b, a - b) % 360
    pairs = zip(turn.tolist(), (mirrored == 1).tolist(), strict=True)
    return np.fromiter((_POSE[pair] for pair in pairs), np.int8, len(turn))


def _canonical(images: pd.DataFrame) -> NDArray[np.uint8]:
    """Return (N,) masks; rows of an older version have none, and are searched in every pose."""
    masks: NDArray[np.uint8] = images["canonical"].fillna(EVERY_POSE).to_numpy(np.uint8)
    return masks


def _hashes(images: pd.DataFrame, column: str) -> Hashes:
    """Return (N, 8) uint64 of a column of lists of int64, whether objects or Arrow."""
    if images.empty:
        return np.empty((0, len(POSES)), np.uint64)
    lists = pa.array(images[column], pa.list_(pa.int64()))
    chunks = lists.chunks if isinstance(lists, pa.ChunkedArray) else [lists]
    flat = np.concatenate([chunk.flatten().to_numpy() for chunk in chunks])
    return flat.reshape(-1, len(POSES)).view(np.uint64)


def _frame(
    fresh: pd.DataFrame,
    partners: pd.DataFrame,
    i: NDArray[np.integer],
    j: NDArray[np.integer],
    pose: NDArray[np.integer],
    distance: NDArray[np.integer],
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "a": fresh["image_id"].to_numpy(object)[i],
            "b": partners["image_id"].to_numpy(object)[j],
            "pose": np.asarray(pose, np.int8),
            "distance": np.asarray(distance, np.int16),
        }
    )
