"""Which trusted labels are probably wrong, and which to look at first. Pure.

Three steps. A head is fitted out of fold; confident learning (cleanlab) sets the surest errors
aside; a second head learns from the rest. What its logits say of each class, and how often each
class is mistaken for each other, are then estimated together, from labels that are known to err,
and say how likely every label is right.

The last step is what the count of confident learning lacks. Probabilities calibrated on labels of
which 5 % are wrong are too unsure by that much: of a few dozen clips doubt explains the errors as
well as error does, although in the logits a gap sets them apart. Measured with bench_noise.py.
"""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from cleanlab.filter import find_label_issues
from cleanlab.multiannotator import get_active_learning_scores
from numpy.typing import NDArray
from scipy.special import logsumexp, softmax

from labeling import calibrate, head

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Names = NDArray[np.object_]

NOISE = 0.05  # share of wrong labels assumed before any is counted
COUNTED = 30  # labels of each class that this assumption weighs as much as
OWN = 10  # clips that a class's covariance needs to differ from the others'; 10 to 100 made no odds
# Degrees of freedom of the clouds. Normal ones take every hard clip for an error where tails are
# heavy; 4 miss errors where they are not. Where the likelihood asks for heavy tails it asks for 8.
TAILS = 8
LEAST = 1e-3  # of the variance: added to it, or a few clips could lie on a line
ROUNDS, ENOUGH = 200, 1e-4  # of expectation-maximisation; it ends where the log likelihood stays
SPREAD = 300  # issues that are spread out over what they look like; nobody looks at more in a day


@dataclass(frozen=True)
class Doubts:
    """What is thought of the labels of N units.

    Attributes:
        units: quality in [0, 1], the probability that the label is right; issue (bool), quality
            below one half; suggested, the likeliest class that contradicts the label; rank, 0 is
            looked at first.
        probabilities: (N, C) of the model alone, which has not seen the label.
        names: the C classes, sorted.
    """

    units: pd.DataFrame
    probabilities: Floats
    names: tuple[str, ...]


def find(
    sources: Mapping[str, NDArray[np.floating]],
    classes: Names,
    clips: Names,
    groups: Names,
    *,
    unasked: Flags | None = None,
    alike: Callable[[str, str], bool] = operator.eq,
    folds: int = 5,
    seed: int = 0,
) -> Doubts:
    """Judge the labels of N units; units of one clip are judged together.

    Args:
        sources: name -> (N, D) features.
        classes: (N,) class names, the labels in doubt; "" where there is none, and then quality is
            0.
        clips: (N,) presentations.
        groups: (N,) never on both sides of a fold.
        unasked: (N,) units that are no issues whatever the model makes of them, and come last.
        alike: whether two classes do not contradict each other.
        folds: at most so many; fewer where a class has fewer groups.
        seed: of the folds.

    Raises:
        DataError: fewer than two classes, a class of one group, a feature that is no number.
    """
    names = np.array(sorted(set(classes) - {""}), object)
    given = pd.Index(names).get_indexer(classes)
    clip = pd.factorize(clips)[0]
    shown = {name: _means(values, clip) for name, values in sources.items()}
    told = _told(given, clip, len(names))
    group = groups[np.unique(clip, return_index=True)[1]]
    logits = _logits(shown, told, group, names, folds, seed)
    right, model = right_labels(logits, told)
    agrees = np.array([[alike(one, other) for other in names] for one in names])
    agrees = np.vstack([agrees, np.zeros((1, len(names)), bool)])  # the last one is no label's
    quality = np.clip((right[clip] * agrees[given]).sum(axis=1), 0, 1)
    quality = quality if unasked is None else np.where(unasked, 1.0, quality)
    against = np.where(agrees[given], -1.0, right[clip])
    looks = np.hstack(list(shown.values()))
    found = {
        "quality": quality,
        "issue": quality < 0.5,
        "suggested": names[against.argmax(axis=1)],
        "rank": ranks(quality, worth(right, told)[clip], clip, looks),
    }
    return Doubts(pd.DataFrame(found), model[clip], tuple(names))


def right_labels(logits: Floats, told: Floats) -> tuple[Floats, Floats]:
    """Return how likely each class is the true one, (n, C): with what the labels say, and without.

    ``logits`` (n, C) come from a model that has not seen the label; ``told`` (n, C) are the shares
    of labels of each class: rows sum to 1, or to 0 where there is no label. The logits of a true
    class are a cloud, and the label is that class seen through one confusion matrix (Dawid and
    Skene, 1979). Both are found together by expectation-maximisation: discriminant analysis under
    label noise (Lawrence and Schoelkopf, ICML 2001), of t distributions (Peel and McLachlan, 2000).
    """
    classes = logits.shape[1]
    prior = np.full((classes, classes), NOISE / (classes - 1))
    np.fill_diagonal(prior, 1 - NOISE)
    places = logits @ _contrasts(classes)
    unsaid = 1 - told.sum(axis=1, keepdims=True)
    said = told + unsaid / classes
    usual = np.log(said.mean(axis=0))  # not estimated: where logits say nothing it would run away
    right, near, before = said @ prior, np.ones_like(said), -np.inf
    for _ in range(ROUNDS):
        counts = right.T @ told + COUNTED * prior
        confusion = counts / counts.sum(axis=1, keepdims=True)
        density, near = _clouds(places, right, near)
        model = density + usual
        joint = model + told @ np.log(confusion).T
        likelihood = logsumexp(joint, axis=1)
        right = np.exp(joint - likelihood[:, np.newaxis])
        if abs(likelihood.sum() - before) < ENOUGH:
            break
        before = likelihood.sum()
    return np.asarray(right), np.asarray(softmax(model, axis=1))


def set_aside(probabilities: Floats, told: Floats, groups: Names) -> Flags:
    """Return (n,) which labels confident learning counts as wrong.

    cleanlab, after Northcutt et al., "Confident Learning", JAIR 70, 2021. A class that would be
    left with fewer than two groups keeps all of its labels.
    """
    labelled = np.asarray(told.any(axis=1))
    given = told.argmax(axis=1)
    wrong = np.zeros(len(told), bool)
    wrong[labelled] = find_label_issues(given[labelled], probabilities[labelled], n_jobs=1)
    for which in range(told.shape[1]):
        mine = labelled & (given == which)
        if len(set(groups[mine & ~wrong])) < 2:
            wrong &= ~mine
    return wrong


def worth(right: Floats, told: Floats) -> Floats:
    """Return (n,) ActiveLab's score of each label: the lowest gains most by another look."""
    given = told.argmax(axis=1).astype(float)[:, np.newaxis]
    return np.asarray(get_active_learning_scores(given, right)[0])


def ranks(quality: Floats, score: Floats, clip: Ints, looks: NDArray[np.floating]) -> Ints:
    """Return (N,) ranks, 0 first: issues before others, one unit of each clip before a second one.

    The first SPREAD issues are taken farthest first: each is the one whose doubt, 1 - ``score``,
    times its distance to those taken before is largest. ``looks`` (n, D) are features of clips.
    """
    unit = np.arange(len(clip))
    again = pd.Series(unit).groupby([clip, quality]).cumcount().to_numpy()
    place = np.full(len(clip), SPREAD)
    first = np.flatnonzero((quality < 0.5) & (again == 0))
    place[first[_spread_out(score[first], looks[clip[first]])]] = np.arange(min(len(first), SPREAD))
    order = np.lexsort((unit, quality, score, place, again > 0, quality >= 0.5))
    found = np.empty(len(order), np.int64)
    found[order] = unit
    return found


def _spread_out(score: Floats, looks: NDArray[np.floating]) -> Ints:
    """Return the first SPREAD of (n,) in the order in which they are taken."""
    taken: list[int] = []
    value = np.where(np.isfinite(score), 1 - score, 1) + 1e-9
    far = np.ones(len(score))
    for _ in range(min(len(score), SPREAD)):
        left = value * far
        left[taken] = -1
        taken.append(int(left.argmax()))
        gap = np.linalg.norm(looks - looks[taken[-1]], axis=1)
        far = np.minimum(far, gap / max(gap.max(), 1e-9))
    return np.array(taken, np.int64)


def _logits(
    shown: Mapping[str, Floats], told: Floats, groups: Names, names: Names, folds: int, seed: int
) -> Floats:
    """Return (n, C) logits out of fold, of a second round without the surest errors."""
    labelled = np.asarray(told.any(axis=1))
    given = names[told.argmax(axis=1)]

    def learnt(kept: Flags) -> Floats:
        alone = np.arange(kept.sum()).astype(object)
        known = head.Known(given[kept], groups[kept], alone, _even(given[kept]))
        part = {name: values[kept] for name, values in shown.items()}
        return head.fit(part, known, folds=folds, seed=seed).logits(shown, groups)

    first = learnt(labelled)
    probabilities = np.asarray(softmax(first / _heat(first, told), axis=1))
    wrong = set_aside(probabilities, told, groups)
    return learnt(labelled & ~wrong) if wrong.any() else first


def _heat(logits: Floats, told: Floats) -> float:
    labelled = told.any(axis=1)
    return calibrate.fit_temperature(logits[labelled], told.argmax(axis=1)[labelled])


def _clouds(places: Floats, right: Floats, near: Floats) -> tuple[Floats, Floats]:
    """Fit a cloud for each class to (n, D) ``places``.

    ``right`` (n, C) is how far a place belongs to it, ``near`` (n, C) how much it counts there.
    Returns the log densities (n, C), up to one constant, and what is near now. A covariance is the
    class's own and, weighing as much as OWN clips, the mean one of all classes.
    """
    width, share, weight = places.shape[1], right.sum(axis=0), right * near
    centres = weight.T @ places / weight.sum(axis=0)[:, np.newaxis]
    off = places[:, np.newaxis] - centres  # (n, C, D)
    scatter = np.einsum("nc,ncd,nce->cde", weight, off, off)
    common = scatter.sum(axis=0) / len(places)
    least = LEAST * (np.trace(common) + LEAST) * np.eye(width)
    own = (scatter + OWN * common) / (share + OWN)[:, np.newaxis, np.newaxis] + least
    far = np.einsum("ncd,cde,nce->nc", off, np.linalg.inv(own), off)
    tails = (TAILS + width) * np.log1p(far / TAILS)
    return (
        np.asarray(-(tails + np.linalg.slogdet(own)[1]) / 2),
        np.asarray((TAILS + width) / (TAILS + far)),
    )


def _contrasts(classes: int) -> Floats:
    """Return (C, C - 1) orthonormal columns that sum to 0: softmax sees nothing else of logits."""
    centred = np.eye(classes) - 1 / classes
    return np.asarray(np.linalg.qr(centred)[0][:, :-1])


def _even(given: Names) -> Floats:
    """Return (n,) weights of mean 1 that give every class the same share."""
    _, index, counts = np.unique(given.astype(str), return_inverse=True, return_counts=True)
    return np.asarray(len(given) / len(counts) / counts[index])


def _told(given: Ints, clip: Ints, classes: int) -> Floats:
    """Return (n, C) shares of each class among the labels of each clip; -1 is no label."""
    counts = np.zeros((clip.max() + 1, classes))
    np.add.at(counts, (clip[given >= 0], given[given >= 0]), 1)
    return np.asarray(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))


def _means(values: NDArray[np.floating], clip: Ints) -> Floats:
    """Return (n, D) means over the units of each clip."""
    return pd.DataFrame(values).groupby(clip).mean().to_numpy(np.float64)
