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
    auc = judge.auc(is_pool)
    chance = [judge.auc(drawn) for drawn in _deals(is_pool, rng)]
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

    def auc(self, is_pool: NDArray[np.bool_]) -> float:
        """Return the mean over folds of the area under the curve, of folds with both sides."""
        side = is_pool[self._group]
        areas = []
        for learnt, held, ridge in self._parts:
            if len(set(side[held])) == len(set(side[learnt])) == 2:
                areas.append(_area(ridge @ _balanced(side[learnt]), side[held]))
        return float(np.mean(areas)) if areas else 0.5


def _ridge(learnt: Floats, held: Floats) -> NDArray[np.float64]:
    """Return (held, learnt): what brings targets of the one to ridge scores of the other."""
    a, b = learnt.astype(float), held.astype(float)
    strength = RIDGE * float((a**2).sum(axis=1).mean())
    return np.asarray(b @ np.linalg.solve(a.T @ a + strength * np.eye(a.shape[1]), a.T))


def _balanced(side: NDArray[np.bool_]) -> NDArray[np.float64]:
    return np.asarray(np.where(side, 1 / side.sum(), -1 / (~side).sum()) * len(side))


def _area(score: NDArray[np.float64], side: NDArray[np.bool_]) -> float:
    """Return the share of (pool, known) pairs in which the pool's score is the larger one."""
    ranks, n = rankdata(score), int(side.sum())
    return float((ranks[side].sum() - n * (n + 1) / 2) / (n * (len(side) - n)))


def _principal(rows: Floats) -> Floats:
    """Return (N, <= DIRECTIONS) of standardised ``rows``, along the directions that vary most."""
    values = rows - rows.mean(axis=0)
    values = np.clip(values / np.maximum(values.std(axis=0), 1e-6), -6, 6)
    return np.asarray(values @ directions(values)[1][:, :DIRECTIONS], np.float32)


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
