"""Whether images are drawn as those that a certificate rests on were: a shift alarm. Pure.

A linear classifier learns to tell the two sets apart and is judged on people it has not seen. New
people of the same source leave it at chance; another camera makes it right nearly always.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from labeling.directions import directions

FOLDS = 5
DRAWS = 400  # permutations that say what chance looks like
MOST = 600  # images of each side worth looking at
DIRECTIONS = 64  # principal components kept
RIDGE = 0.1  # regularisation, as a share of the mean squared norm of a row
LEVEL = 0.05  # of false alarms, where both sides are alike
CLEAR = 0.75  # area under the curve below which a difference is too small to void a certificate
SURE = 0.95  # area that rings where there are too few people to draw permutations of

Floats = NDArray[np.float32]
Names = NDArray[np.object_]


@dataclass(frozen=True)
class Shift:
    """What the alarm saw.

    Attributes:
        rings: whether the certificate is void.
        auc: how well images of unseen people are told apart, 0.5 is chance.
        p_value: how often people dealt at random to both sides are told apart as well.
        people: groups on either side.
    """

    rings: bool
    auc: float
    p_value: float
    people: tuple[int, int]


def alarm(
    known: Floats, known_groups: Names, pool: Floats, pool_groups: Names, *, seed: int, level: float
) -> Shift | None:
    """Return whether ``pool`` (M, D) is told from ``known`` (N, D), by groups of people (N,), (M,).

    ``level`` is the share of false alarms allowed. None where a side has fewer than two groups:
    nothing can be said then.
    """
    rng = np.random.default_rng(seed)
    names = [
        np.char.add(str(side), groups.astype(str))
        for side, groups in enumerate((known_groups, pool_groups))
    ]
    people, group = np.unique(np.concatenate(names), return_inverse=True)
    is_pool = np.array([name[0] == "1" for name in people])
    counts = int((~is_pool).sum()), int(is_pool.sum())
    if min(counts) < 2:
        return None
    judge = _Judge(np.concatenate([known, pool]), group, is_pool, rng)
    auc, *chance = judge.auc(np.array([is_pool, *_deals(is_pool, rng)]))
    p_value = (1 + sum(other >= auc for other in chance)) / (1 + len(chance))
    rings = (p_value <= level and auc >= CLEAR) or auc >= SURE
    return Shift(bool(rings), auc, p_value, counts)


class _Judge:
    """Out-of-fold ridge scores for any dealing of the people; the folds stay."""

    def __init__(
        self,
        rows: Floats,
        group: NDArray[np.int64],
        is_pool: NDArray[np.bool_],
        rng: np.random.Generator,
    ) -> None:
        self._group = group
        values = _principal(rows)
        fold = _dealt(is_pool, rng)[group]
        self._parts = [
            (fold != k, fold == k, _ridge(values[fold != k], values[fold == k]))
            for k in range(fold.max() + 1)
        ]

    def auc(self, is_pool: NDArray[np.bool_]) -> list[float]:
        """Return the area under the curve of each of (K, people) dealings.

        The mean over folds, of those with both sides; 0.5 where there is none.
        """
        side = is_pool[:, self._group].T  # (N, K)
        areas = np.full((len(self._parts), len(is_pool)), np.nan)
        for fold, (learnt, held, ridge) in enumerate(self._parts):
            both = _mixed(side[learnt]) & _mixed(side[held])
            if both.any():
                score = ridge @ _balanced(side[learnt][:, both])
                areas[fold, both] = _area(score, side[held][:, both])
        told = ~np.isnan(areas)
        mean = np.where(told, areas, 0).sum(axis=0) / np.maximum(told.sum(axis=0), 1)
        return [float(area) for area in np.where(told.any(axis=0), mean, 0.5)]


def _ridge(learnt: Floats, held: Floats) -> NDArray[np.float64]:
    """Return (held, learnt): what brings targets of the one to ridge scores of the other."""
    a, b = learnt.astype(float), held.astype(float)
    strength = RIDGE * float((a**2).sum(axis=1).mean())
    return np.asarray(b @ np.linalg.solve(a.T @ a + strength * np.eye(a.shape[1]), a.T))


def _mixed(side: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return (K,): both sides are among the (N, K)."""
    return np.asarray(side.any(axis=0) & ~side.all(axis=0))


def _balanced(side: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return (N, K) targets that sum to 0."""
    return np.asarray(np.where(side, 1 / side.sum(axis=0), -1 / (~side).sum(axis=0)) * len(side))


def _area(score: NDArray[np.float64], side: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return (K,) shares of (pool, known) pairs in which the pool's score (N, K) is larger."""
    ranks, n = rankdata(score, axis=0), side.sum(axis=0)
    wins = np.where(side, ranks, 0).sum(axis=0) - n * (n + 1) / 2
    return np.asarray(wins / (n * (len(side) - n)))


def _principal(rows: Floats) -> Floats:
    """Return (N, <= DIRECTIONS) of standardised ``rows``, along the directions that vary most."""
    values = rows - rows.mean(axis=0)
    values /= np.maximum(values.std(axis=0), 1e-6)
    np.clip(values, -6, 6, out=values)
    return np.asarray(values @ directions(values, DIRECTIONS)[1], np.float32)


def _dealt(is_pool: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the fold of each group: both sides are spread evenly over the folds."""
    folds = min(FOLDS, int(is_pool.sum()), int((~is_pool).sum()))
    fold = np.empty(len(is_pool), np.int64)
    for side in (False, True):
        members = rng.permutation(np.flatnonzero(is_pool == side))
        fold[members] = np.arange(len(members)) % folds
    return fold


def _deals(is_pool: NDArray[np.bool_], rng: np.random.Generator) -> list[NDArray[np.bool_]]:
    return [rng.permutation(is_pool) for _ in range(DRAWS)]


def drawn(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return MOST of ``rows`` at random, all where they are fewer."""
    return rows if len(rows) <= MOST else rows.sample(MOST, random_state=seed)
