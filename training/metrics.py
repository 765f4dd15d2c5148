"""Presentation attack detection metrics, per ISO/IEC 30107-3:2023. Pure arrays in, numbers out.

A score lies in [0, 1] and 1 means bona fide. A presentation is accepted as bona fide when its score
is at or above the threshold. Where something was never measured (n = 0) the answer is None: no
attacks tried is not "0 % of attacks passed".

For accuracy, precision, recall and F1 the *positive class is bona fide*: precision is the share of
accepted presentations that are bona fide, recall is 1 - BPCER. ROC-AUC is the same either way.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, rankdata

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

LEVEL = 0.95  # of every confidence interval


@dataclass(frozen=True)
class Rate:
    """An error rate: ``errors`` of ``n`` presentations."""

    errors: int
    n: int

    @property
    def value(self) -> float | None:
        """The rate in [0, 1]; None where nothing was tried."""
        return self.errors / self.n if self.n else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The exact two-sided 95 % interval; None where nothing was tried."""
        return clopper_pearson(self.errors, self.n) if self.n else None

    def to_dict(self) -> dict[str, Any]:
        """Return value, errors, n, low and high, ready for JSON."""
        low, high = self.interval or (None, None)
        return {
            "value": self.value,
            "errors": self.errors,
            "n": self.n,
            "low": low,
            "high": high,
        }


@dataclass(frozen=True)
class Report:
    """What a model does to one set of images at one threshold.

    Attributes:
        threshold: scores at or above it are accepted as bona fide.
        apcer: attack type -> share of its presentations accepted (APCER per PAI species).
        bpcer: share of bona fide presentations rejected.
        eer: equal error rate over all attack types pooled, at this set's own threshold.
        roc_auc: probability that a bona fide image scores above an attack, ties half.
    """

    threshold: float
    apcer: dict[str, Rate]
    bpcer: Rate
    eer: float | None
    accuracy: float | None
    precision: float | None
    recall: float | None
    f1: float | None
    roc_auc: float | None

    @property
    def worst(self) -> str | None:
        """The attack type with the highest APCER (of equals, the one tried most often)."""
        tried = [(rate.value, rate.n, kind) for kind, rate in self.apcer.items() if rate.n]
        return max(tried)[2] if tried else None

    @property
    def apcer_max(self) -> float | None:
        """The highest APCER of any attack type: the APCER_AP of ISO/IEC 30107-3."""
        return self.apcer[self.worst].value if self.worst else None

    @property
    def acer(self) -> float | None:
        """The mean of APCER_AP and BPCER. Reported because papers do; never decides alone."""
        if self.apcer_max is None or self.bpcer.value is None:
            return None
        return (self.apcer_max + self.bpcer.value) / 2

    def to_dict(self) -> dict[str, Any]:
        """Return every figure, ready for JSON; what was not measured is null."""
        return {
            "threshold": self.threshold,
            "apcer": {kind: rate.to_dict() for kind, rate in self.apcer.items()},
            "apcer_max": self.apcer_max,
            "bpcer": self.bpcer.to_dict(),
            "acer": self.acer,
            "eer": self.eer,
            "accuracy": self.accuracy,
            "precision": self.precision,
            "recall": self.recall,
            "f1": self.f1,
            "roc_auc": self.roc_auc,
        }


def evaluate(
    scores: Floats, bonafide: Bools, attack_types: Sequence[str], threshold: float
) -> Report:
    """Return the report of (n,) ``scores`` against (n,) truth.

    ``attack_types`` (n,) names the species of each attack; it is ignored at bona fide images.

    Raises:
        ValueError: lengths differ, or a score is not in [0, 1].
    """
    scores, bonafide, types = _checked(scores, bonafide, attack_types)
    accepted = scores >= threshold
    passed, live = int((accepted & ~bonafide).sum()), int((accepted & bonafide).sum())
    rejected = int((~accepted & bonafide).sum())
    return Report(
        threshold=float(threshold),
        apcer={
            kind: Rate(int(accepted[at].sum()), int(at.sum()))
            for kind in sorted(set(types[~bonafide]))
            if (at := ~bonafide & (types == kind)).any()
        },
        bpcer=Rate(rejected, int(bonafide.sum())),
        eer=eer(scores, bonafide)[0],
        accuracy=_share(int((accepted == bonafide).sum()), len(scores)),
        precision=_share(live, live + passed),
        recall=_share(live, live + rejected),
        f1=_share(2 * live, 2 * live + passed + rejected),
        roc_auc=roc_auc(scores, bonafide),
    )


def clopper_pearson(errors: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Return the exact two-sided interval of a binomial rate, n >= 1.

    Clopper and Pearson, "The use of confidence or fiducial limits illustrated in the case of the
    binomial", Biometrika 26 (1934), in its beta-quantile form. It takes the trials as independent.
    """
    tail = (1 - level) / 2
    low = 0.0 if errors == 0 else float(beta.ppf(tail, errors, n - errors + 1))
    high = 1.0 if errors == n else float(beta.ppf(1 - tail, errors + 1, n - errors))
    return low, high


def eer(scores: Floats, bonafide: Bools) -> tuple[float | None, float | None]:
    """Return the equal error rate, all attack types pooled, and the threshold it is met at.

    The threshold is that of the midpoints between neighbouring scores (and the lowest score) where
    the two error rates differ least, then where their sum is smallest; the rate is their mean.
    Both None without images of each class.
    """
    live, attacks = np.sort(scores[bonafide]), np.sort(scores[~bonafide])
    if not len(live) or not len(attacks):
        return None, None
    thresholds = _between(np.unique(scores))
    rejected = np.searchsorted(live, thresholds, side="left") / len(live)
    passed = 1 - np.searchsorted(attacks, thresholds, side="left") / len(attacks)
    gap = np.round(np.abs(rejected - passed), 12)  # equal gaps must tie in spite of rounding
    best = np.lexsort((rejected + passed, gap))[0]
    return float(rejected[best] + passed[best]) / 2, float(thresholds[best])


def roc_auc(scores: Floats, bonafide: Bools) -> float | None:
    """Return P(bona fide score > attack score) + P(equal) / 2; None without both classes.

    Through rank sums: Hanley and McNeil, Radiology 143 (1982).
    """
    live = int(bonafide.sum())
    attacks = len(scores) - live
    if not live or not attacks:
        return None
    ranks = float(rankdata(scores)[bonafide].sum())
    return (ranks - live * (live + 1) / 2) / (live * attacks)


def _between(values: Floats) -> Floats:
    """Return the lowest of the sorted, distinct ``values`` and the midpoints between neighbours.

    Where two are so close that no number lies between them, the upper one: it parts them as well.
    """
    middle = values[:-1] + (values[1:] - values[:-1]) / 2
    middle = np.where(middle > values[:-1], middle, values[1:])
    return np.concatenate([values[:1], middle])


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _checked(
    scores: Floats, bonafide: Bools, attack_types: Sequence[str]
) -> tuple[Floats, Bools, NDArray[np.object_]]:
    scores, bonafide = np.asarray(scores, float), np.asarray(bonafide, bool)
    types = np.asarray(attack_types, object)
    if not (scores.shape == bonafide.shape == types.shape == (len(scores),)):
        raise ValueError(f"shapes differ: {scores.shape}, {bonafide.shape}, {types.shape}")
    if not np.all((scores >= 0) & (scores <= 1)):
        raise ValueError("scores must lie in [0, 1]")
    return scores, bonafide, types
