"""Whether a face looks like the bona fide ones known: a guard against unseen attacks. Pure.

A head tells bona fide from the attacks it was shown; a new kind of attack may lie on either side.
What a few directions of the known bona fide faces leave unexplained tells most of it. On NUAA, with
5 people known and simulated replays as the only attacks, heads accepted 27 % of the prints as bona
fide at .9 and 82 % of new people's live faces; with this guard 1.1 and 67 % (6 draws, the constants
chosen on them). With 3 people known it did little: 15 % became 10.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from labeling.directions import directions

PASSING = 0.7  # of the known bona fide presentations, each judged by those of other people
EXPLAINED = 0.9  # of the variance, by the directions kept
CLIP = 6.0  # standard deviations beyond which a feature says no more
FOLDS = 10
LEAST_GROUPS = 4  # people below which nothing can be said
MOST = 600  # faces learnt from

Floats = NDArray[np.floating]
Names = NDArray[np.object_]
Flags = NDArray[np.bool_]


def odd(
    sources: Mapping[str, Floats], known: Flags, groups: Names, clips: Names, *, seed: int
) -> Flags:
    """Return (N,) which units are unlike the ``known`` (N,) bona fide ones; all False if too few.

    ``sources`` are (N, D) features of the same N units; ``groups`` and ``clips`` are (N,). A unit
    is odd when any source finds it so; those of a known group are judged without that group.
    """
    people = np.unique(groups[known].astype(str))
    if len(people) < LEAST_GROUPS:
        return np.zeros(len(groups), bool)
    dealt = np.random.default_rng(seed).permutation(len(people)) % min(FOLDS, len(people))
    fold = pd.Series(groups).map(dict(zip(people, dealt, strict=True))).to_numpy(float)
    first = pd.Series(clips).duplicated().to_numpy()
    ranks = []
    for values in sources.values():
        left = _pooled(_left_over(np.asarray(values, np.float32), known, fold, seed), clips)
        own = np.sort(left[known & ~first])
        ranks.append(np.searchsorted(own, left) / len(own))
    worst = np.max(ranks, axis=0)
    return np.asarray(worst > np.quantile(worst[known & ~first], PASSING))


def _left_over(values: Floats, known: Flags, fold: Floats, seed: int) -> Floats:
    """Return (N,): mean square that the known faces of other folds do not explain."""
    left = np.empty(len(values))
    for k in [*np.unique(fold[~np.isnan(fold)]), np.nan]:
        judged = np.isnan(fold) if np.isnan(k) else fold == k
        learnt = np.flatnonzero(known & ~judged)
        learnt = np.random.default_rng(seed).permutation(learnt)[:MOST]
        left[judged] = _residual(values[learnt], values[judged])
    return left


def _residual(learnt: Floats, judged: Floats) -> Floats:
    mean, scale = learnt.mean(axis=0), np.maximum(learnt.std(axis=0), 1e-6)
    seen = np.clip((learnt - mean) / scale, -CLIP, CLIP)
    squares, along = directions(seen)
    share = np.cumsum(squares) / max(float(squares.sum()), 1e-12)
    kept = along[:, : int(np.searchsorted(share, EXPLAINED)) + 1]
    found = np.empty(len(judged))
    for start in range(0, len(judged), 8192):
        rows = np.clip((judged[start : start + 8192] - mean) / scale, -CLIP, CLIP)
        unexplained = (rows**2).sum(axis=1) - ((rows @ kept) ** 2).sum(axis=1)
        found[start : start + 8192] = unexplained / rows.shape[1]
    return found


def _pooled(values: Floats, clips: Names) -> Floats:
    return pd.Series(values).groupby(pd.factorize(clips)[0]).transform("mean").to_numpy()
