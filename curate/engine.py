"""Where a stage runs: one pure function mapped over items by a pool of threads."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
# Shows items pass by: (items, how many, what is done to them) -> the same items; `show.track`.
Track = Callable[[Iterable[Any], int, str], Iterator[Any]]

CHUNK = 16  # items a thread takes at a time: short tasks pay for hand-over one by one


def threads(wanted: int) -> int:
    """Return the number of threads to use; 0 means one per core we may run on."""
    return wanted or len(os.sched_getaffinity(0))


def batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield ``items`` in lists of ``size``, the last one shorter, holding one of them at a time."""
    source = iter(items)
    return iter(lambda: list(islice(source, size)), [])


def mapped(
    function: Callable[[Item], Result], items: Iterable[Item], *, threads: int
) -> Iterator[Result]:
    """Yield ``function(item)`` in the order of ``items``, computed by ``threads`` threads.

    At most 2 x threads chunks are under way, so memory does not grow with the number of items.
    """

    def work(chunk: list[Item]) -> list[Result]:
        return [function(item) for item in chunk]

    chunks = batched(items, CHUNK)
    with ThreadPoolExecutor(threads) as pool:
        under_way: deque[Future[list[Result]]] = deque(
            pool.submit(work, chunk) for chunk in islice(chunks, 2 * threads)
        )
        try:
            while under_way:
                results = under_way.popleft().result()
                under_way.extend(pool.submit(work, chunk) for chunk in islice(chunks, 1))
                yield from results
        finally:
            for future in under_way:
                future.cancel()
