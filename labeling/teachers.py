"""The fitted teacher: a linear head on frozen features, out of fold by group. Pure."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from curate.errors import DataError
from labeling.calibrate import fit_temperature, probabilities

STRENGTHS = (0.001, 0.01, 0.1, 1.0)  # inverse regularisation C, chosen by out-of-fold log loss
CLIP = 6.0  # standard deviations beyond which a feature says no more


@dataclass(frozen=True)
class Fitted:
    """One head per fold, and the temperature that all share.

    A group the teacher was fitted on is only ever labelled by the fold that left it out; any other
    image by the mean of all folds' logits.
    """

    heads: tuple[Pipeline, ...]
    fold_of: dict[str, int]  # group -> the fold that left it out
    temperature: float
    strength: float
    classes: tuple[str, ...]

    def label(self, features: np.ndarray, groups: NDArray[np.object_]) -> np.ndarray:
        """Return (N, C) probabilities over ``classes`` for (N, D) features of ``groups`` (N,)."""
        every = np.stack([_logits(head, features) for head in self.heads])  # (folds, N, C)
        logits = every.mean(axis=0)
        for row, group in enumerate(groups):
            if (fold := self.fold_of.get(group)) is not None:
                logits[row] = every[fold, row]
        return probabilities(logits, self.temperature)


def fit(
    features: np.ndarray,
    labels: NDArray[np.object_],
    groups: NDArray[np.object_],
    *,
    folds: int,
    seed: int,
) -> Fitted:
    """Fit on (N, D) float features, (N,) class names and (N,) group names.

    Raises:
        DataError: fewer than two classes, or a class with fewer than two groups.
    """
    classes = tuple(sorted(set(labels)))
    usable = _possible_folds(labels, groups, folds)
    targets = np.array([classes.index(label) for label in labels])
    splitter = StratifiedGroupKFold(usable, shuffle=True, random_state=seed)
    parts = list(splitter.split(features, targets, groups))
    best = min(
        (_out_of_fold(features, targets, parts, strength, len(classes)) for strength in STRENGTHS),
        key=lambda trial: trial.loss,
    )
    fold_of = {groups[row]: fold for fold, (_, left_out) in enumerate(parts) for row in left_out}
    return Fitted(best.heads, fold_of, best.temperature, best.strength, classes)


@dataclass(frozen=True)
class _Trial:
    strength: float
    heads: tuple[Pipeline, ...]
    temperature: float
    loss: float


def _out_of_fold(
    features: np.ndarray,
    targets: np.ndarray,
    parts: list[tuple[np.ndarray, np.ndarray]],
    strength: float,
    classes: int,
) -> _Trial:
    heads = tuple(_head(strength).fit(features[kept], targets[kept]) for kept, _ in parts)
    logits = np.zeros((len(targets), classes))
    for head, (_, left_out) in zip(heads, parts, strict=True):
        logits[left_out] = _logits(head, features[left_out])
    temperature = fit_temperature(logits, targets)
    chosen = probabilities(logits, temperature)[np.arange(len(targets)), targets]
    return _Trial(strength, heads, temperature, float(-np.log(np.maximum(chosen, 1e-12)).mean()))


def _head(strength: float) -> Pipeline:
    clip = FunctionTransformer(np.clip, kw_args={"a_min": -CLIP, "a_max": CLIP})
    linear = LogisticRegression(C=strength, class_weight="balanced", max_iter=1000)
    return make_pipeline(StandardScaler(), clip, linear)


def _logits(head: Pipeline, features: np.ndarray) -> np.ndarray:
    """Return (N, C) logits; sklearn gives one column where there are two classes."""
    scores = np.asarray(head.decision_function(features))
    return scores if scores.ndim == 2 else np.stack([-scores / 2, scores / 2], axis=1)


def _possible_folds(labels: NDArray[np.object_], groups: NDArray[np.object_], wanted: int) -> int:
    groups_of = {label: len(set(groups[labels == label])) for label in sorted(set(labels))}
    if len(groups_of) < 2:
        raise DataError(
            f"the trusted training images hold one class only: {', '.join(groups_of) or 'none'}.\n"
            "Next: ingest labelled bona fide and attack images with --trust given, or decide some "
            "in curate review"
        )
    least = min(groups_of, key=lambda label: groups_of[label])
    if groups_of[least] < 2:
        raise DataError(
            f"the trusted {least!r} training images come from one subject or group; a teacher that "
            "must not label what it learnt from needs two.\nNext: ingest labelled images of more "
            "people with --trust given"
        )
    return min(wanted, groups_of[least])
