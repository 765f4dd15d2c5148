"""Images unlike anything known are found, and those that are alike are put together."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from curate import novelty

PEOPLE = 40


def around(centre: np.ndarray, count: int, spread: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (centre + spread * rng.normal(size=(count, len(centre)))).astype(np.float32)


def known(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return embeddings of PEOPLE people, five images each, about one direction."""
    base = np.eye(64)[0] * 4
    people = around(base, PEOPLE, 0.3, seed)
    rows = np.concatenate([around(one, 5, 0.02, n) for n, one in enumerate(people)])
    return rows, np.repeat(np.arange(PEOPLE), 5).astype(object)


def test_more_of_the_known_is_not_far() -> None:
    rows, groups = known()
    more = around(np.eye(64)[0] * 4, 200, 0.3, 7)
    found = novelty.find(more, rows, groups)
    assert found is not None
    assert (found.cluster != 0).mean() <= 0.1


def test_two_new_kinds_are_two_clusters_the_larger_first() -> None:
    rows, groups = known()
    one, two = around(np.eye(64)[1] * 4, 20, 0.1, 1), around(np.eye(64)[1] * -4, 8, 0.1, 2)
    more = around(np.eye(64)[0] * 4, 30, 0.3, 3)
    found = novelty.find(np.concatenate([two, more, one]), rows, groups)
    assert found is not None
    assert set(found.cluster[:8]) == {2}
    assert set(found.cluster[38:]) == {1}
    assert found.distance[:8].min() > found.limit


def test_a_lone_stranger_is_far_but_no_cluster() -> None:
    rows, groups = known()
    found = novelty.find(np.eye(64)[3:4].astype(np.float32), rows, groups)
    assert found is not None
    assert list(found.cluster) == [-1]


def test_too_little_known_says_nothing() -> None:
    rows, groups = known()
    new = np.eye(64)[3:4].astype(np.float32)
    assert novelty.find(new, rows[: novelty.LEAST_KNOWN - 1], groups[:49]) is None
    assert novelty.find(new, rows[: novelty.LEAST_KNOWN], groups[:50]) is not None
    assert novelty.find(new, rows, np.full(len(rows), "one", object)) is None


@given(st.integers(0, 30), st.integers(0, 5))
def test_every_new_image_gets_one_answer(count: int, seed: int) -> None:
    rows, groups = known()
    found = novelty.find(around(np.eye(64)[1], count, 1.0, seed), rows, groups)
    assert found is not None
    assert found.distance.shape == found.cluster.shape == (count,)
    assert ((found.cluster == 0) == (found.distance <= found.limit)).all()
    sizes = np.bincount(found.cluster[found.cluster > 0])[1:]
    assert (np.diff(sizes) <= 0).all()
    assert (sizes >= novelty.LEAST_CLUSTER).all()
