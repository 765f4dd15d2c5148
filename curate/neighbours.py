"""Which images look alike: all pairs whose hashes lie within some bits of each other.

A picture and its copy, however turned or mirrored, look alike in their canonical poses
(`hashes.Hashed`), so hashes of those are joined, and the images as they lie: 2.1 an image, not 8.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.hashes import POSES, apply_pose
from curate.pigeonhole import near

AS_IT_LIES = np.uint8(1)  # bit of POSES[0]: no two images that lie alike are missed
CROWD = 32  # more images than this with one hash are linked to the first, not to each other

Hashes = NDArray[np.uint64]
Indices = NDArray[np.int64]
AnyIndices = NDArray[np.integer[Any]]
Masks = NDArray[np.uint8]


class Pairs(NamedTuple):
    """Pairs sorted by (i, j): `POSES[pose]` turns image i into (nearly) image j."""

    i: Indices
    j: Indices
    pose: NDArray[np.int8]  # index into hashes.POSES
    distance: NDArray[np.int16]  # bits of 64


class Matches(NamedTuple):
    """Pairs sorted by (i, j): of the hashes of i, number p is the nearest to j."""

    i: Indices
    p: NDArray[np.int8]
    j: Indices
    distance: NDArray[np.int16]  # bits of 64


def self_join(poses: Hashes, canonical: Masks, radius: int = 8, *, threads: int = 1) -> Pairs:
    """Return every pair i < j whose hashes lie within ``radius`` bits as they lie, or canonically.

    ``poses`` (N, 8) and ``canonical`` (N,) uint8 are those of `hashes.Hashed`. Each pair comes
    once, in its nearest poses, and ``pose`` is what leads from the one to the other (the first of
    POSES among equals). Of more than CROWD images with the same upright hash (black frames, one
    video frame over and over) the others are only linked to the first, which alone is compared with
    the rest, so that N equal images make N - 1 pairs.

    Raises:
        ValueError: radius outside [0, pigeonhole.MAX_RADIUS], or arrays of other shapes or dtypes.
    """
    _check(poses, canonical)
    first = _first_of_crowd(poses[:, 0])
    hashes, row, pose = _canonical_hashes(poses, canonical, _alone(first))
    one, other, distance = near(hashes, hashes, radius, threads=threads)
    swap = row[one] > row[other]
    one, other = np.where(swap, other, one), np.where(swap, one, other)
    apart = row[one] != row[other]  # some images look much alike in two of their poses
    one, other, distance = one[apart], other[apart], distance[apart]
    found = _nearest(row[one], row[other], _RELATION[pose[one], pose[other]], distance)
    return _with_crowds(found, first)


def cross_join(
    new: Hashes,
    new_canonical: Masks,
    old: Hashes,
    old_canonical: Masks,
    radius: int = 8,
    *,
    threads: int = 1,
) -> Pairs:
    """Return every pair of new i and old j within ``radius`` bits, as they lie or canonically.

    Shapes, poses and errors as for `self_join`. A crowd among the old is seen as its first member.
    Few new ones cost little: the old are read past a table of the new, and no table of them made.
    """
    _check(new, new_canonical)
    _check(old, old_canonical)
    news, new_row, new_pose = _canonical_hashes(new, new_canonical, np.arange(len(new)))
    alone = _alone(_first_of_crowd(old[:, 0]))
    olds, old_row, old_pose = _canonical_hashes(old, old_canonical, alone)
    one, other, distance = near(news, olds, radius, threads=threads)
    return _nearest(
        new_row[one], old_row[other], _RELATION[new_pose[one], old_pose[other]], distance
    )


def match(queries: Hashes, targets: Hashes, radius: int = 8, *, threads: int = 1) -> Matches:
    """Return every pair of which one of the P hashes of i lies within ``radius`` bits of target j.

    ``queries`` is (N, P) uint64, P at most 127, ``targets`` (M,) uint64. Each (i, j) comes once, in
    its nearest p, the first among equals. A crowd of equal targets is seen as its first member.

    Raises:
        ValueError: radius outside [0, pigeonhole.MAX_RADIUS], or arrays of other shapes or dtypes.
    """
    _check(queries)
    alone = _alone(_first_of_crowd(targets))
    query, target, distance = near(queries.flatten(), targets[alone], radius, threads=threads)
    i, p = np.divmod(query, queries.shape[1])
    found = _nearest(i, alone[target], p, distance)
    return Matches(found.i, found.pose, found.j, found.distance)


def _check(hashes: Hashes, canonical: Masks | None = None) -> None:
    if hashes.ndim != 2 or hashes.dtype != np.uint64 or not hashes.shape[1]:
        raise ValueError(f"hashes must be (N, P) uint64, got {hashes.shape} {hashes.dtype}")
    if canonical is not None and (hashes.shape[1] != 8 or canonical.shape != (len(hashes),)):
        raise ValueError(
            f"hashes must be (N, 8) and canonical (N,), got {hashes.shape} and {canonical.shape}"
        )


def _first_of_crowd(hashes: Hashes) -> Indices:
    """Return for each hash the first index of its crowd, or its own where it is in none."""
    ordered = np.sort(hashes)
    crowds = np.unique(ordered[CROWD:][ordered[CROWD:] == ordered[:-CROWD]])
    first = np.arange(len(hashes))
    if len(crowds):
        place = np.searchsorted(crowds, hashes).clip(max=len(crowds) - 1)
        members = np.flatnonzero(crowds[place] == hashes)
        _, start, crowd = np.unique(place[members], return_index=True, return_inverse=True)
        first[members] = members[start][crowd]
    return first


def _alone(first: Indices) -> Indices:
    """Return the indices of those that are compared: the first of a crowd, and all in none."""
    return np.flatnonzero(first == np.arange(len(first)))


def _with_crowds(found: Pairs, first: Indices) -> Pairs:
    """Add the pairs of each crowd's first with its others."""
    others = np.flatnonzero(first != np.arange(len(first)))
    i, j = np.append(found.i, first[others]), np.append(found.j, others)
    pose, distance = (np.append(x, np.zeros(len(others), x.dtype)) for x in found[2:])
    order = np.lexsort((j, i))
    return Pairs(i[order], j[order], pose[order], distance[order])


def _canonical_hashes(
    poses: Hashes, canonical: Masks, rows: Indices
) -> tuple[Hashes, NDArray[np.uint32], NDArray[np.int8]]:
    """Return hash, row and pose of ``rows`` as they lie, and in what may be canonical poses."""
    searched = canonical[rows, np.newaxis] | AS_IT_LIES
    bits = np.unpackbits(searched, axis=1, bitorder="little")
    place, pose = np.nonzero(bits)
    row = rows[place]
    return poses[row, pose], row.astype(np.uint32), pose.astype(np.int8)


def _nearest(i: AnyIndices, j: AnyIndices, pose: AnyIndices, distance: AnyIndices) -> Pairs:
    """Keep of each (i, j) the nearest pose, the first among equals; sort by (i, j)."""
    order = np.lexsort((pose, distance, j, i))
    i, j = i[order], j[order]
    fresh = np.ones(len(order), dtype=bool)
    fresh[1:] = (i[1:] != i[:-1]) | (j[1:] != j[:-1])
    pose, distance = pose[order[fresh]], distance[order[fresh]]
    return Pairs(
        i[fresh].astype(np.int64),
        j[fresh].astype(np.int64),
        pose.astype(np.int8),
        distance.astype(np.int16),
    )


def _relations() -> NDArray[np.int8]:
    """Return (8, 8): if i in pose r looks as j in pose q does, the pose that turns i into j."""
    square = np.arange(4).reshape(2, 2)
    posed = [apply_pose(square, pose) for pose in POSES]
    again = {(p, q): apply_pose(posed[p], POSES[q]).tobytes() for p in range(8) for q in range(8)}
    return np.array(
        [
            [next(p for p in range(8) if again[p, q] == r.tobytes()) for q in range(8)]
            for r in posed
        ],
        np.int8,
    )


_RELATION = _relations()
