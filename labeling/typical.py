"""Whether a face looks like the bona fide ones known: a guard against unseen attacks. Pure.

A head tells bona fide from the attacks it was shown; a new kind of attack may lie on either side.
What a few directions of the known bona fide faces leave unexplained tells most of it. On NUAA, with
5 people known and simulated replays as the only attacks, heads accepted 27 % of the prints as bona
fide at .9 and 82 % of new people's live faces; with this guard 1.1 and 67 % (6 draws, the constants
chosen on them). With 3 people known it did little: 15 % became 10.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Look:
    """What the faces known explain of one source of features: a few directions about their mean."""

    mean: Floats
    rate: Floats
    along: Floats  # (D, K)

    @classmethod
    def of(cls, faces: Floats) -> "Look":
        """Learn from (N, D) faces."""
        mean, rate = faces.mean(axis=0), 1 / np.maximum(faces.std(axis=0), 1e-6)
        squares, along = directions(_scaled(faces, mean, rate))
        share = np.cumsum(squares) / max(float(squares.sum()), 1e-12)
        return cls(mean, rate, along[:, : int(np.searchsorted(share, EXPLAINED)) + 1])

    def left(self, faces: Floats) -> Floats:
        """Return (N,): mean square of (N, D) faces that the directions leave unexplained."""
        seen = _scaled(faces, self.mean, self.rate)
        unexplained = _squares(seen) - _squares(seen @ self.along)
        return np.asarray(unexplained / seen.shape[1])


@dataclass(frozen=True)
class Guard:
    """The looks of known bona fide faces: without each fold of their people, and of all."""

    fold_of: Mapping[str, int]  # group -> fold
    looks: Mapping[str, Sequence[Look]]  # source -> the look without fold 0, 1, ...; of all

    @classmethod
    def of(cls, sources: Mapping[str, Floats], groups: Names, *, seed: int) -> "Guard | None":
        """Learn from (N, D) ``sources`` of the bona fide faces known; None where too few people."""
        people = np.unique(groups.astype(str))
        if len(people) < LEAST_GROUPS:
            return None
        folds = min(FOLDS, len(people))
        dealt = np.random.default_rng(seed).permutation(len(people)) % folds
        fold_of = dict(zip(people.tolist(), dealt.tolist(), strict=True))
        fold = pd.Series(groups).map(fold_of).to_numpy()
        parts = [_drawn(np.flatnonzero(fold != k), seed) for k in range(folds + 1)]
        looks = {
            name: [Look.of(np.asarray(values[rows], np.float32)) for rows in parts]
            for name, values in sources.items()
        }
        return cls(fold_of, looks)

    def left(self, sources: Mapping[str, Floats], groups: Names) -> Floats:
        """Return (sources, N): what the known faces of other people leave unexplained of N units.

        ``sources`` are (N, D) by the names learnt, ``groups`` (N,).
        """
        last = len(next(iter(self.looks.values()))) - 1
        fold = pd.Series(groups).map(self.fold_of).fillna(last).to_numpy(int)
        left = np.empty((len(self.looks), len(groups)))
        for place, (name, looks) in enumerate(self.looks.items()):
            values = np.asarray(sources[name], np.float32)
            for k in np.unique(fold):
                rows = slice(None) if (fold == k).all() else fold == k
                left[place, rows] = looks[k].left(values[rows])
        return left


def odd(left: Floats, known: Flags, clips: Names) -> Flags:
    """Return (N,) which units are unlike the ``known`` (N,) bona fide ones.

    ``left`` (sources, N) is `Guard.left`, -inf for units nobody asks about: they are not odd.
    ``clips`` (N,): their frames are judged together. A unit is odd when any source finds it so.
    """
    first = known & ~pd.Series(clips).duplicated().to_numpy()
    pooled = [_pooled(values, clips) for values in left]
    ranks = [np.searchsorted(np.sort(each[first]), each) / first.sum() for each in pooled]
    worst = np.max(ranks, axis=0)
    return np.asarray(worst > np.quantile(worst[first], PASSING))


def _drawn(rows: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed).permutation(rows)[:MOST]


def _scaled(faces: Floats, mean: Floats, rate: Floats) -> Floats:
    seen = faces - mean
    seen *= rate
    return np.clip(seen, -CLIP, CLIP, out=seen)


def _squares(rows: Floats) -> Floats:
    return np.asarray(np.einsum("nd,nd->n", rows, rows))


def _pooled(values: Floats, clips: Names) -> Floats:
    return pd.Series(values).groupby(pd.factorize(clips)[0]).transform("mean").to_numpy()
