"""A calibrated linear head over frozen features, out of fold by group of people. Pure.

Several sources of features may be offered: layers of a backbone at several crops, and the scores of
networks trained by others. Each source gets a head; which one counts, or the mean of all, is chosen
by log loss out of fold, on presentations rather than frames.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold

from curate.errors import DataError
from labeling import calibrate
from labeling.directions import directions

STRENGTHS = (0.0003, 0.003, 0.03, 0.3)  # inverse regularisation C
CLIP = 6.0  # standard deviations beyond which a feature says no more
FRAMES = 4  # frames of a clip learnt from: more of them teach little
MOST = 6000  # rows learnt from
EVERY = "mean of all"
SCORES = "scores"  # the source that is a few scores of trained networks, joined to each other one
LOUDER = 8.0  # by how much a score outweighs one of a thousand features, or it would go unheard

Floats = NDArray[np.floating]
Names = NDArray[np.object_]
Sources = Mapping[str, Floats]  # name -> (N, D)


class OneSided(DataError):
    """What is known shows one class only, or a class on one person: nothing can be told apart."""


@dataclass(frozen=True)
class Known:
    """What is learnt from: (N,) each.

    Attributes:
        classes: class names.
        groups: never on both sides of a fold.
        clips: presentations.
        weights: above 0.
    """

    classes: Names
    groups: Names
    clips: Names
    weights: Floats


@dataclass(frozen=True)
class Scale:
    """How features of one source are brought to one size: standardised and clipped."""

    mean: Floats
    rate: Floats

    @classmethod
    def of(cls, values: Floats) -> "Scale":
        """Take the mean and the deviation of (N, D) ``values``."""
        mean, size = values.mean(axis=0), np.maximum(values.std(axis=0), 1e-6)
        return cls(np.asarray(mean, np.float32), np.asarray(1 / size, np.float32))

    def __call__(self, values: Floats) -> NDArray[np.float32]:
        """Return (N, D)."""
        seen = np.subtract(values, self.mean, dtype=np.float32)
        seen *= self.rate
        return np.clip(seen, -CLIP, CLIP, out=seen)


@dataclass(frozen=True)
class Linear:
    """One linear map for each fold, over the scaled features of one source.

    Attributes:
        weights: (folds, D, C).
        bias: (folds, C).
    """

    scale: Scale
    weights: Floats
    bias: Floats

    def logits(self, features: Floats, fold: Floats) -> NDArray[np.float64]:
        """Return (N, C) logits; ``fold`` (N,) chooses the map, NaN the mean of all."""
        seen = self.scale(features)
        found = np.asarray(seen @ self.weights.mean(axis=0) + self.bias.mean(axis=0), np.float64)
        for k in np.unique(fold[~np.isnan(fold)]).astype(int):
            found[fold == k] = seen[fold == k] @ self.weights[k] + self.bias[k]
        return found


@dataclass(frozen=True)
class Head:
    """One linear map per fold and source.

    A group the head learnt from is only ever labelled by the fold that left it out; any other one
    by the mean of all folds.

    Attributes:
        maps: source -> its maps.
        fold_of: group -> the fold that left it out.
        classes: the columns, sorted.
        chosen: name of the source that counts, or EVERY.
        losses: source -> log loss out of fold, of EVERY too.
        strengths: source -> the inverse regularisation chosen.
    """

    maps: dict[str, Linear]
    fold_of: dict[str, int]
    classes: tuple[str, ...]
    chosen: str
    losses: dict[str, float]
    strengths: dict[str, float]

    @property
    def folds(self) -> int:
        """How many maps a source has."""
        return max(self.fold_of.values()) + 1

    @property
    def needs(self) -> list[str]:
        """The sources that `logits` wants."""
        return sorted({part for name in self.maps for part in name.split(" + ")})

    def logits(self, sources: Sources, groups: Names) -> NDArray[np.float64]:
        """Return (N, C) logits for the features and groups (N,) of units, known or new."""
        fold = np.asarray(pd.Series(groups).map(self.fold_of), np.float64)
        each = [map_.logits(_join(sources, name), fold) for name, map_ in self.maps.items()]
        return np.asarray(np.mean(each, axis=0))


def fit(sources: Sources, known: Known, *, folds: int, seed: int) -> Head:
    """Fit on ``sources`` of the same N rows.

    Raises:
        OneSided: fewer than two classes, or a class with fewer than two groups.
        DataError: a feature is NaN.
    """
    _check(sources)
    classes = tuple(sorted(set(known.classes)))
    usable = possible_folds(known, folds)
    targets = np.array([classes.index(word) for word in known.classes])
    splitter = StratifiedGroupKFold(usable, shuffle=True, random_state=seed)
    fold = np.empty(len(targets), int)
    for number, (_, left_out) in enumerate(splitter.split(targets, targets, known.groups)):
        fold[left_out] = number
    learnt = few(known.clips, seed, MOST)
    trials = {
        name: _tried(_join(sources, name), _gain(sources, name), targets, fold, learnt, known)
        for name in _names(sources)
    }
    losses = {name: trial.losses for name, trial in trials.items()}
    if len(trials) > 1:
        mean = np.mean([trial.logits for trial in trials.values()], axis=0)
        losses[EVERY] = _loss(mean, targets, known.clips)
    chosen = _choice(losses)
    kept = trials if chosen == EVERY else {chosen: trials[chosen]}
    return Head(
        {name: trial.maps for name, trial in kept.items()},
        dict(zip(known.groups, fold.tolist(), strict=True)),
        classes,
        chosen,
        {name: float(rows.mean()) for name, rows in losses.items()},
        {name: trial.strength for name, trial in kept.items()},
    )


@dataclass(frozen=True)
class _Trial:
    maps: Linear
    logits: NDArray[np.float64]  # out of fold
    losses: NDArray[np.float64]  # of each presentation
    strength: float


def _tried(
    values: Floats,
    gain: Floats,
    targets: NDArray[np.int64],
    fold: NDArray[np.int64],
    learnt: NDArray[np.bool_],
    known: Known,
) -> _Trial:
    """Return the best of STRENGTHS for one source."""
    scale = Scale.of(values)
    seen = scale(values) * gain
    # An L2 penalty does not see rotations, so where rows are fewer than columns the rows' own
    # directions do, and the fits take a tenth of the time.
    turn = directions(seen[learnt])[1] if learnt.sum() < seen.shape[1] else None
    small = seen if turn is None else seen @ turn
    count, folds = int(targets.max()) + 1, range(int(fold.max()) + 1)
    paths = []
    for k in folds:
        rows = np.flatnonzero((fold != k) & learnt)
        paths.append(_path(small[rows], targets[rows], known.weights[rows], count))
    trials = []
    for place, strength in enumerate(STRENGTHS):
        weights, bias = (np.stack([path[place][n] for path in paths]) for n in (0, 1))
        out = np.empty((len(small), count))
        for k in folds:
            out[fold == k] = small[fold == k] @ weights[k] + bias[k]
        maps = Linear(scale, weights, bias)
        trials.append(_Trial(maps, out, _loss(out, targets, known.clips), strength))
    best = min(trials, key=lambda trial: trial.losses.mean())
    weights = best.maps.weights if turn is None else turn @ best.maps.weights
    return replace(best, maps=replace(best.maps, weights=gain[:, np.newaxis] * weights))


def _path(
    seen: Floats, targets: NDArray[np.int64], weights: Floats, count: int
) -> list[tuple[Floats, Floats]]:
    """Return (D, C) weights and (C,) biases for each of STRENGTHS."""
    model = LogisticRegression(warm_start=True, max_iter=300, tol=1e-3)
    found = []
    for strength in STRENGTHS:
        model.set_params(C=strength).fit(seen, targets, sample_weight=weights)
        coefficients, bias = _all_columns(model, count)
        found.append((np.asarray(coefficients, np.float32), np.asarray(bias, np.float32)))
    return found


def _all_columns(model: LogisticRegression, count: int) -> tuple[Floats, Floats]:
    """Return (D, count) weights and (count,) biases; sklearn has one column for two classes."""
    weights, bias = model.coef_.T, model.intercept_
    if weights.shape[1] == 1:
        weights, bias = np.hstack([-weights, weights]) / 2, np.hstack([-bias, bias]) / 2
    if weights.shape[1] == count:
        return weights, bias
    every, offset = np.zeros((len(weights), count)), np.full(count, -20.0)
    every[:, model.classes_], offset[model.classes_] = weights, bias
    return every, offset


def _loss(logits: Floats, targets: NDArray[np.int64], clips: Names) -> NDArray[np.float64]:
    """Return the log loss of each presentation, after the temperature that suits them best."""
    values = calibrate.pooled(np.asarray(logits, np.float64), clips)
    first = np.unique(pd.factorize(clips)[0], return_index=True)[1]
    values, true = values[first], targets[first]
    heat = calibrate.fit_temperature(values, true)
    return np.asarray(-log_softmax(values / heat, axis=1)[np.arange(len(true)), true])


def _choice(losses: Mapping[str, NDArray[np.float64]]) -> str:
    """Return the mean of all, unless a source is better by more than a standard error."""
    best = min(losses, key=lambda name: losses[name].mean())
    if EVERY not in losses or best == EVERY:
        return best
    gain = losses[EVERY] - losses[best]
    clearly = gain.mean() > gain.std() / np.sqrt(len(gain))
    return best if clearly else EVERY


def _names(sources: Sources) -> list[str]:
    """Return the sources to try: each one, with SCORES beside it where there are any."""
    others = [name for name in sources if name != SCORES]
    if SCORES not in sources:
        return others
    return [SCORES, *(f"{name} + {SCORES}" for name in others)]


def _join(sources: Sources, name: str) -> Floats:
    """Return the features of one of `_names`."""
    parts = [sources[part] for part in name.split(" + ")]
    return parts[0] if len(parts) == 1 else np.hstack(parts)


def _gain(sources: Sources, name: str) -> Floats:
    """Return (D,) by how much each feature counts: scores beside features LOUDER."""
    widths = [sources[part].shape[1] for part in name.split(" + ")]
    return np.repeat(np.array([1.0, LOUDER], np.float32)[: len(widths)], widths)


def few(clips: Names, seed: int, most: int) -> NDArray[np.bool_]:
    """Return (N,) what is learnt from: FRAMES of each of ``clips`` (N,), ``most`` rows of all."""
    order = np.random.default_rng(seed).permutation(len(clips))
    turn = pd.Series(clips[order]).groupby(clips[order]).cumcount().to_numpy()
    chosen = order[turn < FRAMES][:most]
    mask = np.zeros(len(order), bool)
    mask[chosen] = True
    return mask


def _check(sources: Sources) -> None:
    for name, values in sources.items():
        if not np.isfinite(values).all():
            bad = int((~np.isfinite(values)).any(axis=1).sum())
            raise DataError(
                f"{bad} rows of {name!r} are not finite numbers.\n"
                "Next: delete the workspace's crops/features-* folders; they are computed anew"
            )


def possible_folds(known: Known, wanted: int) -> int:
    """Return how many folds, at most ``wanted``, leave each class in all of them.

    Raises:
        OneSided: fewer than two classes, or a class with fewer than two groups.
    """
    groups_of = {
        word: len(set(known.groups[known.classes == word])) for word in sorted(set(known.classes))
    }
    if len(groups_of) < 2:
        raise OneSided(
            f"the trusted training images hold one class only: {', '.join(groups_of) or 'none'}.\n"
            "Next: ingest labelled images of the other classes with --trust given, or decide some "
            "in curate review"
        )
    least = min(groups_of, key=lambda word: groups_of[word])
    if groups_of[least] < 2:
        raise OneSided(
            f"the trusted {least!r} training images come from one subject or group; a teacher that "
            "must not label what it learnt from needs two.\nNext: ingest labelled images of more "
            "people with --trust given"
        )
    return min(wanted, groups_of[least])
