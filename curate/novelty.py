"""What looks like nothing known: candidates for attacks never seen before. Pure.

An image is *far* when its nearest known images are farther from it than nearly every known image
is from the known images of other people. Far images that are nearer each other than to anything
known make a cluster: one that grows is worth a name. Distance is 1 - cosine of embeddings, which
labeling computes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage

NEIGHBOURS = 5  # nearest known images whose mean distance counts
QUANTILE = 0.99  # of the known images' own distances: beyond it an image is far
LEAST_KNOWN = 50  # known images below which "far" means nothing
LEAST_CLUSTER = 3  # far images that are near each other, from which they count as a kind
MOST = 4000  # known, and far, images looked at: distances between all of them are held at once
BLOCK = 512  # rows compared at a time

Floats = NDArray[np.float32]
Names = NDArray[np.object_]


@dataclass(frozen=True)
class Novelty:
    """How far new images lie from known ones.

    Attributes:
        distance: (N,) float32 of each new image to its nearest known ones, in [0, 2].
        limit: the distance beyond which an image is far.
        cluster: (N,) int, 1 the largest; 0 not far, -1 far and alone.
    """

    distance: Floats
    limit: float
    cluster: NDArray[np.int64]


def find(new: Floats, known: Floats, groups: Names, *, seed: int = 0) -> Novelty | None:
    """Return how far ``new`` (N, D) lies from ``known`` (M, D); None where M is too small.

    ``groups`` (M,) says which known images belong together (a person, a clip, copies): those are no
    measure for each other. At most MOST known images, drawn by ``seed``, are looked at.
    """
    if len(known) < LEAST_KNOWN or len(set(groups)) < 2:
        return None
    if len(known) > MOST:
        drawn = np.random.default_rng(seed).choice(len(known), MOST, replace=False)
        known, groups = known[drawn], groups[drawn]
    new, known = _unit(new), _unit(known)
    _, group = np.unique(groups.astype(str), return_inverse=True)
    own = _nearest(known, known, group, group)
    limit = float(np.quantile(own, QUANTILE))
    distance = _nearest(new, known, np.full(len(new), -1), group)
    return Novelty(distance, limit, _clusters(new, distance, limit))


def _unit(rows: Floats) -> Floats:
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: Floats = (rows / np.maximum(norm, np.finfo(np.float32).tiny)).astype(np.float32)
    return unit


def _nearest(
    rows: Floats, known: Floats, row_group: NDArray[np.int64], known_group: NDArray[np.int64]
) -> Floats:
    """Return the mean distance of each row to its NEIGHBOURS nearest known of other groups."""
    found = [np.empty(0, np.float32)]
    for start in range(0, len(rows), BLOCK):
        part = slice(start, start + BLOCK)
        distance = 1 - rows[part] @ known.T
        distance[row_group[part, None] == known_group] = 2.0
        nearest = np.partition(distance, NEIGHBOURS - 1, axis=1)[:, :NEIGHBOURS]
        found.append(nearest.mean(axis=1))
    return np.concatenate(found)


def _clusters(new: Floats, distance: Floats, limit: float) -> NDArray[np.int64]:
    """Number the clusters of far images, the largest first; the farthest MOST of them at most."""
    cluster = np.where(distance > limit, -1, 0).astype(np.int64)
    far = np.flatnonzero(cluster)
    far = far[np.argsort(-distance[far], kind="stable")][:MOST]
    if len(far) < LEAST_CLUSTER:
        return cluster
    tree = linkage(new[far].astype(np.float64), "average", metric="cosine")
    nearer = max(limit, float(np.median(distance[far])))
    part = fcluster(np.maximum(tree, 0), nearer, "distance")
    sizes = np.bincount(part)
    ranked = [one for one in np.argsort(-sizes, kind="stable") if sizes[one] >= LEAST_CLUSTER]
    for number, one in enumerate(ranked, start=1):
        cluster[far[part == one]] = number
    return cluster
