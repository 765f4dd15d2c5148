"""How wrong accepted labels may be: exact binomial bounds, and the threshold they allow. Pure.

A *presentation* is one clip seen through one of its frames, drawn at random: frames of a clip err
together, and counting them as independent broke 9 to 13 % of certificates in the trial. What a
certificate says holds when the images to be labelled are drawn as those it was certified on were;
`shift` watches that, and an audit does without it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, binom

STEPS = 15  # thresholds tried at most, from the strictest on
OVERALL = "all accepted"
SAID = "accepted as "  # begins the names of strata that the teacher's answer makes

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Presentations:
    """What a teacher says of presentations whose label is known and that it never learnt from.

    Attributes:
        confidence: (n,) in [0, 1]; 0 where no threshold may accept.
        wrong: (n,) whether the label it would give is wrong.
        strata: name -> (n,) who belongs: `accepted as bonafide`, `attack/print`, ...
    """

    confidence: Floats
    wrong: Flags
    strata: dict[str, Flags] = field(default_factory=dict)


@dataclass(frozen=True)
class Bound:
    """Among ``accepted`` presentations ``wrong`` were wrong: at most ``upper`` of all such are."""

    name: str
    accepted: int
    wrong: int
    upper: float  # 1 where nothing was accepted


@dataclass(frozen=True)
class Certificate:
    """The threshold that keeps the share of wrong labels below ``max_error``, if one does.

    Attributes:
        threshold: None where no threshold could be certified.
        bounds: at the threshold, else at the loosest one tried: overall first, then the strata.
        missing: name of a bound -> further presentations of that kind, none of them wrong, that
            would have to be accepted for the loosest threshold tried; empty when certified.
        coverage: share of the presentations that are accepted there.
    """

    max_error: float
    confidence: float
    threshold: float | None
    bounds: tuple[Bound, ...]
    missing: dict[str, int]
    coverage: float


def upper_bound(wrong: int, accepted: int, confidence: float) -> float:
    """Return the Clopper-Pearson upper bound on an error rate: ``wrong`` of ``accepted`` erred.

    Exact, one-sided, at ``confidence``: BetaInv(confidence; wrong + 1, accepted - wrong). Clopper
    and Pearson, "The use of confidence or fiducial limits", Biometrika 26, 1934.
    """
    if accepted <= wrong:
        return 1.0
    return float(beta.ppf(confidence, wrong + 1, accepted - wrong))


def needed(wrong: int, max_error: float, confidence: float) -> int:
    """Return the least number accepted at which ``wrong`` errors still certify ``max_error``."""
    low, high = wrong, 64
    while upper_bound(wrong, high, confidence) > max_error:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        enough = upper_bound(wrong, middle, confidence) <= max_error
        low, high = (low, middle) if enough else (middle, high)
    return high


def bounds_at(seen: Presentations, threshold: float, confidence: float) -> tuple[Bound, ...]:
    """Return the bounds on what ``threshold`` accepts: overall, then each stratum."""
    accepted = seen.confidence >= threshold
    groups = {OVERALL: np.ones(len(accepted), bool), **seen.strata}
    return tuple(
        _bound(name, seen.wrong[accepted & member], confidence) for name, member in groups.items()
    )


def certify(
    seen: Presentations, max_error: float, confidence: float, *, strata: Sequence[str] = ()
) -> Certificate:
    """Return the loosest threshold under which at most ``max_error`` of accepted labels are wrong.

    Fixed-sequence testing: the thresholds are declared before any label is looked at (`grid`), and
    tried from the strictest on, each with the whole of 1 - ``confidence``; the first failure ends
    it (Angelopoulos et al., "Learn then Test", arXiv 2110.01052). Where ``strata`` are named, all
    of them must hold as well, with Holm's correction (Scand. J. Statistics 6, 1979).
    """
    level = 1 - (1 - confidence) / (1 + len(strata))  # Holm's, of the hardest
    said = [seen.strata[name] for name in strata if name.startswith(SAID)]
    tried = grid(seen.confidence, needed(0, max_error, level), said)
    passed = None
    for threshold in tried:
        if not _holds(seen, threshold, max_error, confidence, strata):
            break
        passed = threshold
    at = passed if passed is not None else (tried[-1] if tried else _least(seen))
    found = bounds_at(seen, at, confidence)
    wanted = [one for one in found if one.name == OVERALL or one.name in strata]
    missing = {} if passed is not None else _missing(wanted, max_error, confidence)
    coverage = float((seen.confidence >= at).mean()) if len(seen.confidence) else 0.0
    return Certificate(max_error, confidence, passed, found, missing, coverage)


def grid(confidence: Floats, least: int, said: Sequence[Flags] = ()) -> list[float]:
    """Return the thresholds to try, strictest first; looks at confidences only, never at labels.

    The first one accepts ``least`` presentations, and as many of each that was ``said``, below
    which no threshold can be certified; the last one accepts all that may be; STEPS at most, evenly
    spaced in how many they accept.
    """
    ordered = np.sort(confidence[confidence > 0])[::-1]
    each = [np.sort(confidence[member & (confidence > 0)])[::-1] for member in said]
    if min(map(len, [ordered, *each])) < least:
        return []
    strictest = min([ordered[least - 1], *(one[least - 1] for one in each)])
    least = int((ordered >= strictest).sum())
    ranks = np.unique(np.linspace(least, len(ordered), STEPS).round().astype(int))
    thresholds = [float(ordered[rank - 1]) for rank in ranks]
    return thresholds[:1] + [b for a, b in pairwise(thresholds) if b < a]


def holm(p_values: Sequence[float], level: float) -> bool:
    """Return whether Holm's procedure rejects every hypothesis at family-wise ``level``."""
    ordered = sorted(p_values)
    return all(p <= level / (len(ordered) - place) for place, p in enumerate(ordered))


def _holds(
    seen: Presentations,
    threshold: float,
    max_error: float,
    confidence: float,
    strata: Sequence[str],
) -> bool:
    accepted = seen.confidence >= threshold
    members = [accepted, *(accepted & seen.strata[name] for name in strata)]
    p_values = [
        float(binom.cdf(seen.wrong[member].sum(), member.sum(), max_error)) for member in members
    ]
    return holm(p_values, 1 - confidence)


def _bound(name: str, wrong: Flags, confidence: float) -> Bound:
    errors, accepted = int(wrong.sum()), len(wrong)
    return Bound(name, accepted, errors, upper_bound(errors, accepted, confidence))


def _least(seen: Presentations) -> float:
    return float(seen.confidence[seen.confidence > 0].min(initial=1.0))


def _missing(bounds: Sequence[Bound], max_error: float, confidence: float) -> dict[str, int]:
    level = 1 - (1 - confidence) / len(bounds)  # what Holm asks of the best of them
    short = {one.name: needed(one.wrong, max_error, level) - one.accepted for one in bounds}
    return {name: count for name, count in short.items() if count > 0}
