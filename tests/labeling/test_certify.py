"""Certificates: exact bounds, a sequence that keeps its promise, and what would do."""

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from labeling import certify
from labeling.certify import Presentations


@pytest.mark.parametrize(
    ("wrong", "max_error", "confidence", "count"),
    [  # the table of curation notes, computed independently by summing the binomial
        (0, 0.05, 0.95, 59), (1, 0.05, 0.95, 93), (0, 0.02, 0.95, 149), (1, 0.02, 0.95, 236),
        (0, 0.01, 0.95, 299), (5, 0.01, 0.95, 1049), (0, 0.01, 0.99, 459), (10, 0.001, 0.95, 16959),
    ],
)  # fmt: skip
def test_how_many_it_takes(wrong: int, max_error: float, confidence: float, count: int) -> None:
    assert certify.needed(wrong, max_error, confidence) == count
    assert certify.upper_bound(wrong, count, confidence) <= max_error
    assert certify.upper_bound(wrong, count - 1, confidence) > max_error


@given(st.integers(0, 40), st.integers(0, 400), st.floats(0.5, 0.999))
def test_the_bound_is_the_error_rate_at_which_so_few_errors_become_too_unlikely(
    wrong: int, right: int, confidence: float
) -> None:
    bound = certify.upper_bound(wrong, wrong + right, confidence)
    if right == 0:
        assert bound == 1
    else:
        assert binom.cdf(wrong, wrong + right, bound) == pytest.approx(1 - confidence, rel=1e-6)


def drawn(seed: int, n: int, steep: float) -> tuple[Presentations, np.ndarray]:
    """A teacher whose labels err the more the less sure it is; ``steep`` says how much."""
    rng = np.random.default_rng(seed)
    confidence = 0.5 + rng.beta(4, 1, n) / 2
    chance = np.clip(steep * (1 - confidence) ** 2, 0, 0.5)
    return Presentations(confidence, rng.random(n) < chance), chance


@functools.cache
def risks(steep: float) -> tuple[np.ndarray, np.ndarray]:
    """Rising confidences of very many, and the share wrong from each one up."""
    many, chance = drawn(10**6, 400_000, steep)
    order = np.argsort(-many.confidence)
    above = np.cumsum(chance[order]) / np.arange(1, len(order) + 1)
    return many.confidence[order][::-1], above[::-1]


def risk(threshold: float, steep: float) -> float:
    """The share wrong above ``threshold``, of very many."""
    confidence, above = risks(steep)
    return float(above[np.searchsorted(confidence, threshold)])


def test_of_a_thousand_certificates_no_more_break_than_promised() -> None:
    """The teacher errs in 5 % of all and in 2 % of the surer ones: the hard place to stop."""
    issued = broken = 0
    for seed in range(1000):
        seen, _ = drawn(seed, 400, 3.0)
        found = certify.certify(seen, 0.02, 0.95)
        if found.threshold is not None:
            issued += 1
            broken += risk(found.threshold, 3.0) > 0.02
    assert issued > 200
    assert broken <= 50 + 2 * np.sqrt(1000 * 0.05 * 0.95)


def test_bounds_that_are_no_promise_break_far_more_often() -> None:
    """The test above can fail: taking the loosest threshold whose plain error rate fits does."""
    broken = 0
    for seed in range(200):
        seen, _ = drawn(seed, 400, 3.0)
        order = np.argsort(-seen.confidence)
        rate = np.cumsum(seen.wrong[order]) / np.arange(1, 401)
        last = np.flatnonzero((rate <= 0.02) & (np.arange(400) > 50))
        if len(last):
            broken += risk(seen.confidence[order][last[-1]], 3.0) > 0.02
    assert broken > 0.2 * 200


def seen(n: int, wrong: int = 0, **strata: np.ndarray) -> Presentations:
    """n presentations of falling confidence, the least sure ``wrong`` of them wrong."""
    flags = np.zeros(n, bool)
    flags[n - wrong :] = True
    return Presentations(np.linspace(1, 0.5, n), flags, strata)


def test_149_right_ones_certify_two_percent_and_148_do_not() -> None:
    assert certify.certify(seen(149), 0.02, 0.95).threshold == 0.5
    short = certify.certify(seen(148), 0.02, 0.95)
    assert short.threshold is None
    assert short.missing == {certify.OVERALL: 1}


def test_it_says_how_many_more_would_do_when_some_were_wrong() -> None:
    short = certify.certify(seen(100, wrong=1), 0.02, 0.95)
    assert short.missing == {certify.OVERALL: 236 - 100}
    assert short.bounds[0].wrong == 1


def test_the_threshold_stops_before_errors_pile_up() -> None:
    found = certify.certify(seen(400, wrong=100), 0.02, 0.95)
    assert found.threshold is not None
    assert 0.7 < found.coverage <= 0.8
    assert found.bounds[0].upper <= 0.02


def test_the_grid_never_looks_at_labels() -> None:
    confidence = np.random.default_rng(0).uniform(0.5, 1, 300)
    steps = certify.grid(confidence, 149)
    assert steps == sorted(steps, reverse=True)
    assert (confidence >= steps[0]).sum() == 149
    assert (confidence >= steps[-1]).sum() == 300
    assert len(steps) <= certify.STEPS
    assert certify.grid(confidence, 301) == []


def test_directions_must_hold_each_for_itself() -> None:
    rare = np.zeros(400, bool)
    rare[::20] = True  # 20 presentations: too few to say 2 % of anything
    both = Presentations(np.linspace(1, 0.5, 400), np.zeros(400, bool), {"rare": rare})
    assert certify.certify(both, 0.02, 0.95).threshold is not None
    strict = certify.certify(both, 0.02, 0.95, strata=["rare"])
    assert strict.threshold is None
    assert strict.missing["rare"] > 149 - 20
    assert next(one for one in strict.bounds if one.name == "rare").accepted == 20


@pytest.mark.parametrize(
    ("p_values", "rejects"),
    [
        ([0.05], True),
        ([0.0501], False),
        ([0.025, 0.05], True),
        ([0.026, 0.05], False),
        ([0.05 / 3, 0.025, 0.05], True),
        ([0.05 / 3, 0.026, 0.026], False),
    ],
)
def test_holm(p_values: list[float], rejects: bool) -> None:
    assert certify.holm(p_values, 0.05) is rejects


@settings(max_examples=50)
@given(st.integers(0, 10**6), st.integers(1, 500), st.floats(0.005, 0.3))
def test_a_certificate_always_keeps_its_own_bound(seed: int, n: int, max_error: float) -> None:
    found = certify.certify(drawn(seed, n, 1.0)[0], max_error, 0.95)
    if found.threshold is not None:
        assert found.bounds[0].upper <= max_error
        assert not found.missing
    else:
        assert found.missing or n >= certify.needed(0, max_error, 0.95)


def test_nothing_to_certify_on_is_said_not_raised() -> None:
    none = certify.certify(Presentations(np.empty(0), np.empty(0, bool)), 0.02, 0.95)
    assert none.threshold is None
    assert none.missing == {certify.OVERALL: 149}
    assert none.coverage == 0
