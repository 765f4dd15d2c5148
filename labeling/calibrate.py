"""Probabilities that mean what they say: clips pooled, then one temperature. Pure."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax, logsumexp, softmax

from curate import schema

COLDEST, HOTTEST = 0.05, 20.0  # a fit that runs into these says that the scores carry no order
SMALLEST = 1e-7  # a probability below it says no more

Floats = NDArray[np.float64]


def judged(raw: Floats, clips: NDArray[np.object_] | None, heat: float, task: str) -> Floats:
    """Return (N, C) probabilities: frames of a clip pooled (``clips`` (N,)), then one temperature.

    Of liveness the temperature moves the odds of bona fide; attack types keep their proportions,
    for nothing is accepted by them. Rows of NaN stay so.
    """
    values = _logits(raw)
    if clips is not None and task == schema.LIVENESS:
        values = np.where(np.isnan(values), np.nan, pooled(values, clips))
    if task != schema.LIVENESS:
        return np.asarray(softmax(values / heat, axis=1))
    odds = (values[:, 0] - logsumexp(values[:, 1:], axis=1)) / heat
    types = softmax(values[:, 1:], axis=1) * expit(-odds)[:, np.newaxis]
    return np.column_stack([expit(odds), types])


def heat(raw: Floats, known: pd.DataFrame, task: str) -> float:
    """Return the temperature for (N, C) probabilities of units with a class, one for each clip."""
    seen = np.flatnonzero(~np.isnan(raw).any(axis=1))
    values, about = _logits(raw[seen]), known.iloc[seen]
    if about.empty:
        return 1.0
    clips = (about["clip_id"] + about["part"]).to_numpy(object)
    if task == schema.LIVENESS:
        values = pooled(values, clips)
    first = np.unique(pd.factorize(clips)[0], return_index=True)[1]
    columns = list(schema.CLASSES_OF[task])
    true = about["class"].map(columns.index).to_numpy(np.int64)[first]
    return fit_temperature(*_two_sides(values[first], true) if task == schema.LIVENESS else
                           (values[first], true))  # fmt: skip


def sides(probabilities: Floats, task: str) -> Floats:
    """Return (..., S): of liveness P(bona fide) and P(attack), else the classes as they are."""
    if task != schema.LIVENESS:
        return probabilities
    bonafide = probabilities[..., 0]
    return np.stack([bonafide, 1 - bonafide], axis=-1)


def pooled(values: Floats, clips: NDArray[np.object_]) -> Floats:
    """Return (N, C) logits in which the frames of a clip (N,) all bear their mean.

    One presentation has one label, and its frames err for different reasons.
    """
    means = pd.DataFrame(values).groupby(pd.factorize(clips)[0]).transform("mean")
    return np.asarray(means.to_numpy())


def fit_temperature(values: Floats, classes: NDArray[np.int64]) -> float:
    """Return the temperature T > 0 that minimises the log loss of softmax(values / T).

    ``values`` (N, C) float are logits out of fold, ``classes`` (N,) int are the true columns. Guo
    et al., "On Calibration of Modern Neural Networks", ICML 2017; against targets smoothed as in
    Platt, "Probabilistic Outputs for Support Vector Machines", 1999: n right ones of a class prove
    no more than (n + 1) / (n + 2), or a perfect fold would make every label certain.
    """
    targets = _smoothed(classes, values.shape[1])

    def loss(log_t: float) -> float:
        return float(-(targets * log_softmax(values / np.exp(log_t), axis=1)).sum(axis=1).mean())

    found = minimize_scalar(loss, bounds=(np.log(COLDEST), np.log(HOTTEST)), method="bounded")
    return float(np.exp(found.x))


def reliability(
    confidence: Floats, right: NDArray[np.bool_], bins: int = 10
) -> list[tuple[float, float, int]]:
    """Return (mean confidence, share right, count) of bins of equal counts, least sure first."""
    if not len(confidence):
        return []
    order = np.argsort(confidence, kind="stable")
    parts = np.array_split(order, min(bins, len(order)))
    return [
        (float(confidence[part].mean()), float(right[part].mean()), len(part))
        for part in parts
        if len(part)
    ]


def _logits(probabilities: Floats) -> Floats:
    """Return (N, C) logits of probabilities: their logarithms, bounded."""
    return np.asarray(np.log(np.clip(probabilities, SMALLEST, 1)))


def _two_sides(values: Floats, true: NDArray[np.int64]) -> tuple[Floats, NDArray[np.int64]]:
    odds = values[:, 0] - logsumexp(values[:, 1:], axis=1)
    return np.column_stack([odds / 2, -odds / 2]), (true > 0).astype(np.int64)


def _smoothed(classes: NDArray[np.int64], count: int) -> Floats:
    """Return (N, C) targets: (n + 1) / (n + 2) on the true class of n members, the rest shared."""
    members = np.bincount(classes, minlength=count)
    sure = (members + 1) / (members + 2)
    targets = np.repeat(((1 - sure) / (count - 1))[classes][:, np.newaxis], count, axis=1)
    targets[np.arange(len(classes)), classes] = sure[classes]
    return np.asarray(targets)
