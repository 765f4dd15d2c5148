"""All pairs of 64-bit hashes that lie within some bits of each other, found exactly.

Pigeonhole: cut 64 bits into radius + k blocks, and two hashes within radius bits agree on at least
k whole blocks (Manku, Jain, Das Sarma, "Detecting near-duplicates for web crawling", WWW 2007,
section 3). So hashes are sorted by one block, every group of equal ones by each later block, and so
on k deep; what lies in one group then is compared. Groups soon fit the cache, and the comparing is
a loop that processors do eight at a time. The only module that loads numba.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from math import comb
from typing import NamedTuple, TypeVar

import numba
import numpy as np
from numpy.typing import NDArray

MAX_RADIUS = 16  # beyond it the blocks get so short that most pairs share a group
MAX_SHARED = 4  # blocks that the hashes of a group agree on
MAX_BITS = 8  # of a block that are sorted by: more would write to more places than the cache has
SORT_COST, LOOK_COST = 50, 40  # a hash put into its group, or compared at all, in comparisons
UNEVEN = 2  # real hashes share a group that much more often than random ones; measured: 1.5
FEW = 64  # a group this large is compared rather than sorted by one more block
FIRST_BUFFER = 4096  # hits that are found before the buffer grows

Hashes = NDArray[np.uint64]
Indices = NDArray[np.int64]
Numbers = NDArray[np.uint32]
Hits = tuple[Numbers, np.uint64]  # (2, room) numbers of queries and targets; how many there are
Function = TypeVar("Function", bound=Callable[..., object])


class Side(NamedTuple):
    """Hashes in rows: row 0 as given, one group; the next a group of the row above, sorted.

    Group g of row d lies at starts[d, g] to starts[d, g + 1]. What is never filled takes no memory.
    """

    values: Hashes  # (shared + 1, N)
    numbers: Numbers  # (shared + 1, N)
    starts: Hashes  # (shared + 1, 2**MAX_BITS + 1)


class Join(NamedTuple):
    """What one search works on."""

    blocks: Hashes  # see `_blocks`
    shared: np.uint64  # k
    radius: np.uint64
    few: np.uint64
    one: Side
    other: Side
    same: bool  # both sides are one


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
        raise ValueError(f"radius is {radius} bits; the blocks serve 0 to {MAX_RADIUS}")
    if len(targets) > len(queries):  # the innermost loop is over the smaller set
        target, query, distance = near(targets, queries, radius, threads=threads)
        return query, target, distance
    same = queries is targets
    shared = _blocks_to_share(len(queries), 0 if same else len(targets), radius)
    blocks = _blocks(radius + shared)

    def search(first: int) -> Numbers:
        one = _side(queries, shared)
        other = one if same else _side(targets, shared)
        limits = np.uint64(shared), np.uint64(radius), np.uint64(FEW)
        return _search(Join(blocks, *limits, one, other, same), np.uint64(first))

    with ThreadPoolExecutor(threads) as pool:
        found = list(pool.map(search, range(radius + 1 if shared else 1)))
    query, target = np.hstack(found).astype(np.int64)
    return query, target, np.bitwise_count(queries[query] ^ targets[target])


def _blocks_to_share(queries: int, targets: int, radius: int) -> int:
    """Choose k by the work it makes: sorting at every depth, and comparing in the last groups.

    ``targets`` is 0 where queries are compared with each other.
    """

    def work(k: int) -> float:
        sortings = sum(comb(radius + depth, depth) for depth in range(1, k + 1))
        bits = k * min(64 / max(radius + k, 1), MAX_BITS)
        compared = queries * (targets or queries / 2) * UNEVEN / 2**bits
        last = comb(radius + k, k) * (queries * LOOK_COST + compared)
        return sortings * (queries + targets) * SORT_COST + last

    return min(range(MAX_SHARED + 1), key=work)


def _blocks(count: int) -> Hashes:
    """Return (count, 2): mask and lowest bit of blocks of nearly one width that cut 64 bits."""
    edges = [64 * n // max(count, 1) for n in range(count + 1)]
    cut = [(2**high - 2**low, low) for low, high in pairwise(edges)]
    return np.array(cut, dtype=np.uint64).reshape(-1, 2)


def _side(hashes: Hashes, shared: int) -> Side:
    values = np.empty((shared + 1, len(hashes)), np.uint64)
    numbers = np.empty((shared + 1, len(hashes)), np.uint32)
    starts = np.zeros((shared + 1, 2**MAX_BITS + 1), np.uint64)
    values[0], numbers[0], starts[0, 1] = hashes, np.arange(len(hashes)), len(hashes)
    return Side(values, numbers, starts)


def _compile(function: Function) -> Function:
    """Compile by numba, without the GIL; keep the machine code on disk where that can be done."""
    try:
        compiled: Function = numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # neither this folder nor the home is writable: compile in each process
        compiled = numba.njit(nogil=True)(function)
    return compiled


# Only unsigned below: numba makes float64 of uint64 mixed with int64, and with an index that may be
# negative no loop is made to take several numbers at a time.
ZERO, ONE, TWO, RADII = np.uint64(0), np.uint64(1), np.uint64(2), np.uint64(65)
MOST = np.uint64(2**MAX_BITS - 1)


@_compile
def _popcount(value: np.uint64) -> np.uint64:
    """Count the bits set; LLVM knows this form and makes one instruction of it."""
    value -= (value >> np.uint64(1)) & np.uint64(0x5555555555555555)
    twos = np.uint64(0x3333333333333333)
    value = (value & twos) + ((value >> np.uint64(2)) & twos)
    value = (value + (value >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (value * np.uint64(0x0101010101010101)) >> np.uint64(56)


@_compile
def _sort(side: Side, depth: np.uint64, group: np.uint64, block: Hashes) -> np.uint64:
    """Sort a group of row ``depth`` by a block into the next row; return how many that makes."""
    values, numbers = side.values[depth], side.numbers[depth]
    below = depth + ONE
    ordered, members, starts = side.values[below], side.numbers[below], side.starts[below]
    start, stop = side.starts[depth, group], side.starts[depth, group + ONE]
    low, cut = block[ONE], min(block[ZERO] >> block[ONE], MOST)
    for inner in range(cut + TWO):
        starts[inner] = ZERO
    for slot in range(start, stop):
        starts[(values[slot] >> low) & cut] += ONE
    for inner in range(cut + ONE):
        starts[inner + ONE] += starts[inner]
    for slot in range(start, stop):
        inner = (values[slot] >> low) & cut
        starts[inner] -= ONE
        ordered[starts[inner]], members[starts[inner]] = values[slot], numbers[slot]
    groups: np.uint64 = cut + ONE
    return groups


@_compile
def _is_first(difference: np.uint64, blocks: Hashes, agreed: np.uint64) -> bool:
    """Tell whether ``agreed`` are the first blocks of all on which two hashes agree."""
    seen = ZERO
    for number in range(np.uint64(len(blocks))):
        block = blocks[number, ZERO]
        if seen == agreed:
            break
        if difference & block == ZERO:
            if block & agreed == ZERO:
                return False
            seen |= block
    return bool(seen == agreed)


@_compile
def _keep(hits: Hits, query: np.uint32, target: np.uint32) -> Hits:
    """Add one hit, in a larger buffer where this one is full."""
    found, count = hits
    if count == np.uint64(found.shape[1]):
        larger = np.empty((2, 2 * found.shape[1]), np.uint32)
        larger[:, : found.shape[1]] = found
        found = larger
    found[ZERO, count], found[ONE, count] = query, target
    return found, count + ONE


@_compile
def _few(here: np.uint64, there: np.uint64, limit: np.uint64) -> bool:
    """Tell whether to compare so many with so many costs less than to sort them on."""
    return bool(here * there <= limit * (here + there))


@_compile
def _next(
    value: np.uint64, targets: Hashes, start: np.uint64, stop: np.uint64, radius: np.uint64
) -> np.uint64:
    """Return the first slot from ``start`` that lies within the radius, else ``stop``."""
    for slot in range(start, stop):
        if _popcount(value ^ targets[slot]) <= radius:
            return np.uint64(slot)
    return stop


@_compile
def _compare(
    join: Join, depth: np.uint64, groups: np.uint64, limit: np.uint64, agreed: np.uint64, hits: Hits
) -> Hits:
    """Compare the members of each group of few, which agree in the blocks ``agreed``."""
    values, targets = join.one.values[depth], join.other.values[depth]
    starts, others = join.one.starts[depth], join.other.starts[depth]
    for group in range(groups):
        begin, end = starts[group], starts[group + ONE]
        first, stop = others[group], others[group + ONE]
        if not _few(end - begin, stop - first, limit):
            continue
        for n in range(begin, end):
            value, start = values[n], n + ONE if join.same else first
            nearest = RADII
            for slot in range(start, stop):
                nearest = min(nearest, _popcount(value ^ targets[slot]))
            if nearest > join.radius:  # as a rule, so the loop above is kept without branches
                continue
            found = _next(value, targets, start, stop, join.radius)
            while found < stop:
                if _is_first(value ^ targets[found], join.blocks, agreed):
                    hits = _keep(hits, join.one.numbers[depth, n], join.other.numbers[depth, found])
                found = _next(value, targets, found + ONE, stop, join.radius)
    return hits


@_compile
def _descend(
    join: Join, depth: np.uint64, group: np.uint64, first: np.uint64, agreed: np.uint64, hits: Hits
) -> Hits:
    """Find the pairs of a group that agree next on block ``first`` or, below row 0, a later one."""
    below = depth + ONE
    end = np.uint64(len(join.blocks)) + below - join.shared
    starts, others = join.one.starts[below], join.other.starts[below]
    limit = np.uint64(join.one.values.shape[1])  # at the last depth all are compared
    for number in range(first, end if depth else first + ONE):
        block = np.uint64(number)
        groups = _sort(join.one, depth, group, join.blocks[block])
        if not join.same:
            _sort(join.other, depth, group, join.blocks[block])
        both = agreed | join.blocks[block, ZERO]
        if below < join.shared:
            limit = join.few * (end - block)  # for each of the blocks left to sort by
        hits = _compare(join, below, groups, limit, both, hits)
        for number in range(groups if below < join.shared else ZERO):
            inner = np.uint64(number)
            here = starts[inner + ONE] - starts[inner]
            if not _few(here, others[inner + ONE] - others[inner], limit):
                hits = _descend(join, below, inner, block + ONE, both, hits)
    return hits


@_compile
def _search(join: Join, first: np.uint64) -> Numbers:
    """Find the pairs of which block ``first`` is the first they agree on; all if none is shared."""
    hits = (np.empty((2, FIRST_BUFFER), np.uint32), ZERO)
    if join.shared:
        hits = _descend(join, ZERO, ZERO, first, ZERO, hits)
    else:
        hits = _compare(join, ZERO, ONE, np.uint64(join.one.values.shape[1]), ZERO, hits)
    return hits[0][:, : hits[1]].copy()
