"""Probabilities that mean what they say: one temperature, fitted out of fold. Pure."""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

COLDEST, HOTTEST = 0.05, 20.0  # a fit that runs into these says that the scores carry no order


def fit_temperature(logits: np.ndarray, classes: np.ndarray) -> float:
    """Return the temperature T > 0 that minimises the log loss of softmax(logits / T).

    ``logits`` (N, C) float are out-of-fold, ``classes`` (N,) int are the true columns. Guo et al.,
    "On Calibration of Modern Neural Networks", ICML 2017; against targets smoothed as in Platt,
    "Probabilistic Outputs for Support Vector Machines", 1999: n right ones of a class prove no more
    than (n + 1) / (n + 2), or a perfect fold would make every label certain.
    """
    targets = _smoothed(classes, logits.shape[1])

    def loss(log_t: float) -> float:
        return float(-(targets * log_softmax(logits / np.exp(log_t), axis=1)).sum(axis=1).mean())

    found = minimize_scalar(loss, bounds=(np.log(COLDEST), np.log(HOTTEST)), method="bounded")
    return float(np.exp(found.x))


def _smoothed(classes: np.ndarray, count: int) -> np.ndarray:
    """Return (N, C) targets: (n + 1) / (n + 2) on the true class of n members, the rest shared."""
    members = np.bincount(classes, minlength=count)
    sure = (members + 1) / (members + 2)
    targets = np.repeat(((1 - sure) / (count - 1))[classes][:, np.newaxis], count, axis=1)
    targets[np.arange(len(classes)), classes] = sure[classes]
    return targets


def probabilities(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Return softmax(logits / T): (N, C) float64, rows sum to 1."""
    return np.asarray(softmax(logits / temperature, axis=1))
