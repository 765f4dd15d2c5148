import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn import metrics as reference

from training.metrics import Rate, clopper_pearson, eer, evaluate, roc_auc

KINDS = ("print", "cutout", "replay_phone")


@st.composite
def presentations(draw, both=False):
    n = draw(st.integers(2, 40))
    grid = st.integers(0, 10).map(lambda step: step / 10)  # a coarse grid: ties are frequent
    scores = np.array(draw(st.lists(grid, min_size=n, max_size=n)))
    bonafide = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    if both:
        bonafide[:2] = [True, False]
    types = draw(st.lists(st.sampled_from(KINDS), min_size=n, max_size=n))
    return (
        scores,
        bonafide,
        ["" if live else kind for live, kind in zip(bonafide, types, strict=True)],
    )


@given(presentations(), st.integers(0, 11).map(lambda step: step / 10))
def test_rates_equal_counting_by_hand(shown, threshold):
    scores, bonafide, types = shown
    report = evaluate(scores, bonafide, types, threshold)
    for kind in set(types) - {""}:
        passed = [s >= threshold for s, t in zip(scores, types, strict=True) if t == kind]
        assert report.apcer[kind] == Rate(sum(passed), len(passed))
    rejected = [s < threshold for s, live in zip(scores, bonafide, strict=True) if live]
    assert report.bpcer == Rate(sum(rejected), len(rejected))
    assert set(report.apcer) == set(types) - {""}


@given(presentations(both=True), st.integers(0, 11).map(lambda step: step / 10))
def test_figures_equal_sklearn_with_bonafide_positive(shown, threshold):
    scores, bonafide, types = shown
    report = evaluate(scores, bonafide, types, threshold)
    predicted = scores >= threshold
    assert report.accuracy == pytest.approx(reference.accuracy_score(bonafide, predicted))
    assert report.recall == pytest.approx(reference.recall_score(bonafide, predicted))
    assert report.f1 == pytest.approx(reference.f1_score(bonafide, predicted))
    assert report.roc_auc == pytest.approx(reference.roc_auc_score(bonafide, scores))
    if predicted.any():
        assert report.precision == pytest.approx(reference.precision_score(bonafide, predicted))
    else:
        assert report.precision is None


@given(presentations(both=True))
def test_eer_is_the_best_of_all_thresholds(shown):
    scores, bonafide, _ = shown
    rate, threshold = eer(scores, bonafide)

    def rates(at):
        return np.mean(scores[bonafide] < at), np.mean(scores[~bonafide] >= at)

    frr, far = rates(threshold)
    assert rate == pytest.approx((frr + far) / 2)
    every = [rates(at) for at in np.linspace(0.001, 1.0, 2000)]
    assert abs(frr - far) <= min(abs(a - b) for a, b in every) + 1e-9


@given(presentations(both=True))
def test_scores_and_their_order_reversed_with_classes_swapped_give_the_same_auc(shown):
    scores, bonafide, _ = shown
    assert roc_auc(scores, bonafide) == pytest.approx(roc_auc(1 - scores, ~bonafide))


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_interval_is_that_of_scipy_and_holds_the_rate(errors_n):
    errors, n = errors_n
    low, high = clopper_pearson(errors, n)
    known = binomtest(errors, n).proportion_ci(0.95, method="exact")
    assert (low, high) == pytest.approx((known.low, known.high))
    assert low <= errors / n <= high


def test_interval_at_the_ends():
    assert clopper_pearson(0, 150) == (0.0, pytest.approx(1 - 0.025 ** (1 / 150)))
    assert clopper_pearson(150, 150) == (pytest.approx(0.025 ** (1 / 150)), 1.0)


@pytest.mark.parametrize(
    ("threshold", "accepted"),
    [(0.5, True), (math.nextafter(0.5, 1), False), (math.nextafter(0.5, 0), True)],
)
def test_a_score_at_the_threshold_is_accepted(threshold, accepted):
    report = evaluate(np.array([0.5, 0.5]), np.array([True, False]), ["", "print"], threshold)
    assert report.apcer["print"].errors == accepted
    assert report.bpcer.errors == (not accepted)


def test_the_worst_attack_type_counts_not_the_pool():
    scores = np.array([0.9] * 10 + [0.1] * 98 + [0.8] * 2 + [0.8])
    bonafide = np.array([True] * 10 + [False] * 101)
    types = [""] * 10 + ["print"] * 100 + ["cutout"]
    report = evaluate(scores, bonafide, types, 0.5)
    assert report.apcer["print"].value == pytest.approx(0.02)
    assert (report.worst, report.apcer_max, report.acer) == ("cutout", 1.0, 0.5)


def test_what_was_not_tried_is_none_not_zero():
    only_live = evaluate(np.array([0.9, 0.2]), np.array([True, True]), ["", ""], 0.5)
    assert (only_live.apcer, only_live.apcer_max, only_live.acer) == ({}, None, None)
    assert (only_live.eer, only_live.roc_auc) == (None, None)
    only_attacks = evaluate(np.array([0.9]), np.array([False]), ["print"], 0.5)
    assert (only_attacks.bpcer.value, only_attacks.bpcer.interval) == (None, None)
    assert (only_attacks.recall, only_attacks.precision) == (None, 0.0)
    nothing = evaluate(np.array([]), np.array([], bool), [], 0.5)
    assert (nothing.accuracy, nothing.f1) == (None, None)


def test_perfect_separation_puts_the_threshold_between():
    rate, threshold = eer(np.array([0.2, 0.6]), np.array([False, True]))
    assert (rate, threshold) == (0.0, pytest.approx(0.4))


def test_neighbouring_floats_are_still_parted():
    low = 0.5
    high = math.nextafter(low, 1)
    rate, threshold = eer(np.array([low, high]), np.array([False, True]))
    assert (rate, threshold) == (0.0, high)


def test_equal_scores_for_all_say_nothing():
    assert eer(np.full(4, 0.5), np.array([True, True, False, False]))[0] == 0.5


def test_a_model_the_wrong_way_round_has_eer_one():
    assert eer(np.array([0.9, 0.1]), np.array([False, True]))[0] == 1.0


@pytest.mark.parametrize("bad", [1.0001, -0.0001, np.nan])
def test_scores_outside_the_range_are_our_mistake(bad):
    with pytest.raises(ValueError, match="scores"):
        evaluate(np.array([bad]), np.array([True]), [""], 0.5)


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="shapes"):
        evaluate(np.array([0.5, 0.5]), np.array([True]), [""], 0.5)


def test_to_dict_survives_json():
    report = evaluate(np.array([0.9, 0.2]), np.array([True, False]), ["", "print"], 0.5)
    back = json.loads(json.dumps(report.to_dict()))
    assert back["apcer"]["print"] == {
        "value": 0.0, "errors": 0, "n": 1, "low": 0.0, "high": pytest.approx(0.975),
    }  # fmt: skip
