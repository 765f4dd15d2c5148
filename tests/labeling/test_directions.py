"""Directions equal those of a singular value decomposition, whichever side is longer."""

import numpy as np
import pytest

from labeling.directions import directions


@pytest.mark.parametrize(("n", "d"), [(20, 50), (50, 20), (30, 30), (1, 4)])
def test_they_equal_a_singular_value_decomposition(n: int, d: int) -> None:
    rows = np.random.default_rng(n).normal(size=(n, d)) * np.linspace(1, 3, d)
    squares, found = directions(rows)
    sizes, right = np.linalg.svd(rows, full_matrices=False)[1:]
    np.testing.assert_allclose(squares, sizes[: len(squares)] ** 2, rtol=1e-6)
    half = slice(0, (len(squares) + 1) // 2)  # narrow directions turn freely among each other
    np.testing.assert_allclose(
        np.abs((found * right.T[:, : len(squares)]).sum(axis=0))[half], 1, atol=1e-4
    )
    np.testing.assert_allclose(rows @ found @ found.T, rows, atol=0.05)
    np.testing.assert_allclose(found.T @ found, np.eye(len(squares)), atol=1e-4)


def test_rows_of_few_directions_give_no_more() -> None:
    rows = np.outer(np.arange(5.0), np.ones(8)) + np.outer(np.ones(5), np.arange(8.0))
    assert directions(rows)[1].shape == (8, 2)
