"""All pairs of images whose hashes lie within some bits of each other, found exactly.

Pigeonhole: cut 64 bits into radius + k blocks, and two hashes within radius bits agree on at least
k whole blocks. So for every choice of k blocks one table buckets the hashes by those blocks, and
only hashes in one bucket are compared (Manku, Jain, Das Sarma, "Detecting near-duplicates for web
crawling", WWW 2007, section 3). The only module that loads numba.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations, pairwise
from math import comb
from typing import NamedTuple, TypeVar

import numba
import numpy as np
from numpy.typing import NDArray

MAX_RADIUS = 16  # beyond it the blocks get so short that most pairs share a bucket
CROWD = 32  # more images than this with one hash are linked to the first, not to each other
PROBE_COST = 15  # sorting a query and looking into its bucket, in comparisons; measured
LARGEST_TABLE = 20  # bits: 4 MB of bucket starts, about what the cache holds
SPREAD = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio, made odd
COARSE = 8  # bits by which queries are sorted, so that a table is read part by part, in cache
FIRST_BUFFER = 4096  # hits a table may report before its buffer grows

Hashes = NDArray[np.uint64]
Function = TypeVar("Function", bound=Callable[..., object])


class Pairs(NamedTuple):
    """Pairs sorted by (i, j): `POSES[pose]` turns image i into (nearly) image j."""

    i: NDArray[np.int64]
    j: NDArray[np.int64]
    pose: NDArray[np.int8]  # index into hashes.POSES
    distance: NDArray[np.int16]  # bits of 64


def self_join(poses: Hashes, radius: int = 8, *, threads: int = 1) -> Pairs:
    """Return every pair i < j of which i, in some pose, lies within ``radius`` bits of j.

    ``poses`` is what `hashes.pose_hashes` returns, (N, 8). Each pair comes once, in its nearest
    pose (the first of POSES among equals). Exact but for crowds: of more than CROWD images with the
    same upright hash (black frames, one video frame over and over) the others are only linked to
    the first, which alone is compared with the rest, so that N equal images make N - 1 pairs.

    Raises:
        ValueError: radius outside [0, MAX_RADIUS], or not (N, 8) uint64.
    """
    _check(radius, poses)
    first = _first_of_crowd(poses[:, 0])
    alone = np.flatnonzero(first == np.arange(len(first)))
    found = _join(poses[alone], poses[alone, 0], radius, True, threads)
    followers = np.flatnonzero(first != np.arange(len(first)))
    star = np.zeros((4, len(followers)), dtype=np.int64)
    star[0], star[1] = first[followers], followers
    return _best(np.hstack([_renumber(found, alone, alone), star]))


def cross_join(new: Hashes, old: Hashes, radius: int = 8, *, threads: int = 1) -> Pairs:
    """Return every pair of which new i, in some pose, lies within ``radius`` bits of old j.

    Shapes, poses and errors as for `self_join`. A crowd among the old is seen as its first member.
    """
    _check(radius, new, old)
    first = _first_of_crowd(old[:, 0])
    alone = np.flatnonzero(first == np.arange(len(first)))
    found = _join(new, old[alone, 0], radius, False, threads)
    return _best(_renumber(found, np.arange(len(new)), alone))


def _check(radius: int, *arrays: Hashes) -> None:
    if not 0 <= radius <= MAX_RADIUS:
        raise ValueError(f"radius is {radius} bits; the tables serve 0 to {MAX_RADIUS}")
    for array in arrays:
        if array.ndim != 2 or array.shape[1] != 8 or array.dtype != np.uint64:
            raise ValueError(f"hashes must be (N, 8) uint64, got {array.shape} {array.dtype}")


def _first_of_crowd(hashes: Hashes) -> NDArray[np.int64]:
    """Return for each hash the first index of its crowd, or its own where it is in none."""
    _, first, inverse, counts = np.unique(
        hashes, return_index=True, return_inverse=True, return_counts=True
    )
    in_crowd = counts[inverse] > CROWD
    return np.where(in_crowd, first[inverse], np.arange(len(hashes)))


def _renumber(
    found: NDArray[np.int64], rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> NDArray[np.int64]:
    return np.stack([rows[found[0]], columns[found[1]], found[2], found[3]])


def _best(found: NDArray[np.int64]) -> Pairs:
    """Keep of each (i, j) the nearest pose, the first among equals."""
    i, j, pose, distance = found
    order = np.lexsort((pose, distance, j, i))
    i, j = i[order], j[order]
    fresh = np.ones(len(order), dtype=bool)
    fresh[1:] = (i[1:] != i[:-1]) | (j[1:] != j[:-1])
    kept = order[fresh]
    return Pairs(i[fresh], j[fresh], pose[kept].astype(np.int8), distance[kept].astype(np.int16))


def _join(
    poses: Hashes, targets: Hashes, radius: int, upper: bool, threads: int
) -> NDArray[np.int64]:
    """Return hits (4, P): row of ``poses``, index of ``targets``, pose, distance, in no order.

    ``upper`` keeps only hits whose row lies below the index.
    """
    poses = np.ascontiguousarray(poses)
    shared = _blocks_to_share(poses.size, len(targets), radius)
    blocks = _blocks(radius + shared)

    def search(chosen: tuple[int, ...]) -> NDArray[np.int64]:
        mask = np.bitwise_or.reduce(blocks[list(chosen)])
        return _search_table(poses, targets, blocks, mask, radius=radius, upper=upper)

    tables = combinations(range(radius + shared), shared)
    with ThreadPoolExecutor(threads) as pool:
        return np.hstack([np.empty((4, 0), np.int64), *pool.map(search, tables)])


def _blocks_to_share(queries: int, targets: int, radius: int) -> int:
    """Choose k by the work it makes: tables times (probes and comparisons of random hashes)."""

    def work(k: int) -> float:
        bucket = targets / 2 ** (64 * k / (radius + k))
        return comb(radius + k, k) * (targets + queries * (PROBE_COST + bucket))

    return min((1, 2, 3), key=work)


def _blocks(count: int) -> Hashes:
    """Return the masks that cut 64 bits into ``count`` neighbouring blocks of nearly one width."""
    edges = [64 * n // count for n in range(count + 1)]
    return np.array([2**high - 2**low for low, high in pairwise(edges)], dtype=np.uint64)


def _search_table(
    poses: Hashes, targets: Hashes, blocks: Hashes, mask: np.uint64, *, radius: int, upper: bool
) -> NDArray[np.int64]:
    """Search the table of the blocks under ``mask``, growing the buffer until all hits fit."""
    shift = np.uint64(64 - min(max(len(targets).bit_length(), 1), LARGEST_TABLE))
    queries, numbers, _ = _fill(poses.reshape(-1), mask, max(shift, np.uint64(64 - COARSE)))
    table = _fill(targets, mask, shift)
    room = FIRST_BUFFER
    while True:
        hits = np.empty((4, room), dtype=np.int64)
        count = _scan(queries, numbers, *table, blocks, mask, shift, np.uint64(radius), upper, hits)
        if count <= room:
            return hits[:, :count].copy()
        room = count


def _compile(function: Function) -> Function:
    """Compile by numba, without the GIL; keep the machine code on disk where that can be done."""
    try:
        compiled: Function = numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # neither this folder nor the home is writable: compile in each process
        compiled = numba.njit(nogil=True)(function)
    return compiled


# Only unsigned below: numba makes float64 of uint64 mixed with int64.


@_compile
def _bucket(value: np.uint64, mask: np.uint64, shift: np.uint64) -> np.uint64:
    """Number a hash by its bits under ``mask``: the high bits of a product (Knuth, TAOCP 6.4)."""
    return ((value & mask) * SPREAD) >> shift


@_compile
def _fill(
    targets: Hashes, mask: np.uint64, shift: np.uint64
) -> tuple[Hashes, NDArray[np.uint32], NDArray[np.uint32]]:
    """Sort targets by bucket: (sorted, their indices, starts); b's lie at starts[b]:starts[b+1]."""
    starts = np.zeros((1 << (64 - np.int64(shift))) + 1, dtype=np.uint32)
    for value in targets:
        starts[_bucket(value, mask, shift)] += np.uint32(1)
    starts = np.cumsum(starts).astype(np.uint32)
    ordered, members = np.empty_like(targets), np.empty(len(targets), dtype=np.uint32)
    for member in range(len(targets) - 1, -1, -1):
        bucket = _bucket(targets[member], mask, shift)
        starts[bucket] -= np.uint32(1)
        ordered[starts[bucket]], members[starts[bucket]] = targets[member], member
    return ordered, members, starts


@_compile
def _popcount(value: np.uint64) -> np.uint64:
    """Count the bits set; LLVM knows this form and makes one instruction of it."""
    value -= (value >> np.uint64(1)) & np.uint64(0x5555555555555555)
    twos = np.uint64(0x3333333333333333)
    value = (value & twos) + ((value >> np.uint64(2)) & twos)
    value = (value + (value >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (value * np.uint64(0x0101010101010101)) >> np.uint64(56)


@_compile
def _is_first_table(difference: np.uint64, blocks: Hashes, mask: np.uint64) -> bool:
    """Tell whether ``mask`` is the first choice of blocks on which two hashes agree."""
    agreed = np.uint64(0)
    for block in blocks:
        if difference & block == np.uint64(0):
            if block & mask == np.uint64(0):
                return False
            agreed |= block
            if agreed == mask:
                return True
    return False


@_compile
def _scan(
    queries: Hashes,
    numbers: NDArray[np.uint32],
    targets: Hashes,
    members: NDArray[np.uint32],
    starts: NDArray[np.uint32],
    blocks: Hashes,
    mask: np.uint64,
    shift: np.uint64,
    radius: np.uint64,
    upper: bool,
    hits: NDArray[np.int64],
) -> int:
    """Write to ``hits`` what this table is the first to find, while there is room; count it all."""
    count = 0
    for n in range(len(queries)):
        query, row, pose = queries[n], numbers[n] >> np.uint32(3), numbers[n] & np.uint32(7)
        bucket = _bucket(query, mask, shift)
        for slot in range(starts[bucket], starts[bucket + np.uint64(1)]):
            difference = query ^ targets[slot]
            distance = _popcount(difference)
            if distance > radius or (upper and members[slot] <= row):
                continue
            if _is_first_table(difference, blocks, mask):
                if count < hits.shape[1]:
                    hits[0, count], hits[1, count] = row, members[slot]
                    hits[2, count], hits[3, count] = pose, distance
                count += 1
    return count
