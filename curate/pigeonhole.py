"""All pairs of 64-bit hashes that lie within some bits of each other, found exactly.

Pigeonhole: cut 64 bits into radius + k blocks, and two hashes within radius bits agree on at least
k whole blocks. So for every choice of k blocks one table buckets the hashes by those blocks, and
only hashes in one bucket are compared (Manku, Jain, Das Sarma, "Detecting near-duplicates for web
crawling", WWW 2007, section 3). With k = 0 all are compared. The only module that loads numba.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations, pairwise
from math import comb
from typing import TypeVar

import numba
import numpy as np
from numpy.typing import NDArray

MAX_RADIUS = 16  # beyond it the blocks get so short that most pairs share a bucket
FILL_COST, LOOK_COST = 12, 8  # a hash put into a table, one looked up, in comparisons (.85 ns)
UNEVEN = 2  # real hashes share a bucket that much more often than random ones; measured: 1.5
SPARE_BITS = 2  # a table has a bucket for every 2 to 4 hashes
LARGEST_TABLE = 20  # bits: 4 MB of bucket starts, about what the cache holds
IN_CACHE = 2**15  # hashes of a table that may be filled and looked up in any order
SPREAD = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio, made odd
COARSE = 8  # bits by which more are sorted first, so that a table is used part by part
FIRST_BUFFER = 4096  # hits a table may report before its buffer grows

Hashes = NDArray[np.uint64]
Indices = NDArray[np.int64]
Numbers = NDArray[np.uint32]
Function = TypeVar("Function", bound=Callable[..., object])


def near(
    queries: Hashes, targets: Hashes, radius: int, *, threads: int = 1
) -> tuple[Indices, Indices, NDArray[np.uint8]]:
    """Return every pair within ``radius`` bits once: query, target, distance, in no order.

    Both are (N,) uint64. With one array as both, its members are compared with each other, each
    pair one way round.

    Raises:
        ValueError: radius outside [0, MAX_RADIUS].
    """
    if not 0 <= radius <= MAX_RADIUS:
        raise ValueError(f"radius is {radius} bits; the tables serve 0 to {MAX_RADIUS}")
    if len(targets) > len(queries):  # the smaller set makes the table
        target, query, distance = near(targets, queries, radius, threads=threads)
        return query, target, distance
    comparisons = len(queries) * len(targets) / (2 if queries is targets else 1)
    shared = _blocks_to_share(len(queries), len(targets), comparisons, radius)
    blocks = _blocks(radius + shared)

    def search(chosen: tuple[int, ...]) -> Numbers:
        mask = np.bitwise_or.reduce(blocks[list(chosen)], initial=np.uint64(0))
        return _search_table(queries, targets, blocks, mask, np.uint64(radius))

    tables = combinations(range(radius + shared), shared)
    with ThreadPoolExecutor(threads) as pool:
        query, target = np.hstack(list(pool.map(search, tables))).astype(np.int64)
    return query, target, np.bitwise_count(queries[query] ^ targets[target])


def _blocks_to_share(queries: int, targets: int, comparisons: float, radius: int) -> int:
    """Choose k by the work it makes in all tables: filling, looking up and comparing."""

    def work(k: int) -> float:
        each = targets * FILL_COST + queries * LOOK_COST
        shared = comparisons * UNEVEN / 2 ** (64 * k / max(radius + k, 1))
        return comb(radius + k, k) * (each + shared)

    return min((0, 1, 2, 3), key=work)


def _blocks(count: int) -> Hashes:
    """Return the masks that cut 64 bits into ``count`` neighbouring blocks of nearly one width."""
    edges = [64 * n // max(count, 1) for n in range(count + 1)]
    return np.array([2**high - 2**low for low, high in pairwise(edges)], dtype=np.uint64)


def _search_table(
    queries: Hashes, targets: Hashes, blocks: Hashes, mask: np.uint64, radius: np.uint64
) -> Numbers:
    """Search the table of the blocks under ``mask``, growing the buffer until all hits fit."""
    same = queries is targets
    bits = len(targets).bit_length() - SPARE_BITS
    shift = np.uint64(64 - min(max(bits, 1), LARGEST_TABLE))
    sorted_targets, members, starts = _fill(*_grouped(targets, mask), mask, shift)
    if same:
        stream, numbers = sorted_targets, members
    elif len(targets) > IN_CACHE:
        stream, numbers = _grouped(queries, mask)
    else:
        stream, numbers = queries, np.arange(len(queries), dtype=np.uint32)
    room = FIRST_BUFFER
    while True:
        hits = np.empty((2, room), dtype=np.uint32)
        count = _scan(
            (stream, numbers),
            (sorted_targets, members, starts),
            blocks,
            mask,
            shift,
            radius,
            same,
            hits,
        )
        if count <= room:
            return hits[:, :count].copy()
        room = count


def _grouped(values: Hashes, mask: np.uint64) -> tuple[Hashes, Numbers]:
    """Return values and their numbers, many of them sorted coarsely by bucket.

    What goes through a table in this order stays in a part of it that fits the cache.
    """
    numbers = np.arange(len(values), dtype=np.uint32)
    if len(values) <= IN_CACHE:
        return values, numbers
    return _fill(values, numbers, mask, np.uint64(64 - COARSE))[:2]


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
    values: Hashes, numbers: Numbers, mask: np.uint64, shift: np.uint64
) -> tuple[Hashes, Numbers, Numbers]:
    """Sort values by bucket: (sorted, their numbers, starts); b's lie at starts[b]:starts[b+1]."""
    starts = np.zeros((1 << (64 - np.int64(shift))) + 1, dtype=np.uint32)
    for value in values:
        starts[_bucket(value, mask, shift)] += np.uint32(1)
    starts = np.cumsum(starts).astype(np.uint32)
    ordered, members = np.empty_like(values), np.empty(len(values), dtype=np.uint32)
    for member in range(len(values) - 1, -1, -1):
        bucket = _bucket(values[member], mask, shift)
        starts[bucket] -= np.uint32(1)
        ordered[starts[bucket]], members[starts[bucket]] = values[member], numbers[member]
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
        if agreed == mask:
            break
        if difference & block == np.uint64(0):
            if block & mask == np.uint64(0):
                return False
            agreed |= block
    return bool(agreed == mask)


@_compile
def _scan(
    queries: tuple[Hashes, Numbers],
    table: tuple[Hashes, Numbers, Numbers],
    blocks: Hashes,
    mask: np.uint64,
    shift: np.uint64,
    radius: np.uint64,
    same: bool,
    hits: Numbers,
) -> int:
    """Write to ``hits`` what this table is the first to find, while there is room; count it all.

    ``same``: the queries are the targets as sorted, and each looks only at those after it.
    """
    (stream, numbers), (targets, members, starts) = queries, table
    count = 0
    for n in range(len(stream)):
        query = stream[n]
        bucket = _bucket(query, mask, shift)
        start = n + 1 if same else np.int64(starts[bucket])
        stop = np.int64(starts[bucket + np.uint64(1)])
        for slot in range(start, stop):
            difference = query ^ targets[slot]
            if _popcount(difference) <= radius and _is_first_table(difference, blocks, mask):
                if count < hits.shape[1]:
                    hits[0, count], hits[1, count] = numbers[n], members[slot]
                count += 1
    return count
