import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.gate import judge
from training.metrics import evaluate

BONAFIDE = np.array([True] * 4 + [False] * 6)
TYPES = [""] * 4 + ["print"] * 3 + ["cutout"] * 3

accepted = st.lists(st.booleans(), min_size=10, max_size=10)


def report(decisions, threshold=0.5):
    scores = np.where(decisions, threshold + 0.2, threshold - 0.2)
    return evaluate(scores, BONAFIDE, TYPES, threshold)


GOOD = [True] * 4 + [False] * 6


def but(*wrong):
    return [decision != (at in wrong) for at, decision in enumerate(GOOD)]


def test_the_first_model_is_promoted():
    verdict = judge(None, report(but(0, 1, 2, 3, 4, 5, 6, 7, 8, 9)))
    assert verdict.promoted
    assert verdict.rows == ()


@pytest.mark.parametrize("wrong", [0, 4, 7], ids=["BPCER", "print", "cutout"])
def test_one_more_error_of_any_kind_is_refused_the_same_number_is_not(wrong):
    assert judge(report(but(wrong)), report(but(wrong))).promoted
    verdict = judge(report(GOOD), report(but(wrong)))
    assert not verdict.promoted
    assert [row.what for row in verdict.rows if row.rises] == [
        {0: "BPCER", 4: "print", 7: "cutout"}[wrong]
    ]
    assert "rose from 0 to 1" in verdict.reasons[0]


def test_a_better_average_does_not_hide_a_new_hole():
    before, after = report(but(0, 1, 2, 4, 5, 6)), report(but(7))
    assert after.accuracy > before.accuracy
    verdict = judge(before, after)
    assert not verdict.promoted
    assert verdict.reasons == ("APCER of cutout rose from 0 to 1 of 3",)


def test_another_threshold_is_no_matter():
    assert judge(report(GOOD, 0.3), report(GOOD, 0.7)).promoted


@given(accepted, accepted)
def test_promoted_means_no_rate_rose(before, after):
    old, new = report(before), report(after)
    verdict = judge(old, new)
    rose = [new.apcer[kind].value > old.apcer[kind].value for kind in new.apcer]
    assert verdict.promoted == (not (any(rose) or new.bpcer.value > old.bpcer.value))
    assert len(verdict.rows) == 3


def test_reports_of_other_images_are_our_mistake():
    fewer = evaluate(np.full(9, 0.1), BONAFIDE[:9], TYPES[:9], 0.5)
    with pytest.raises(ValueError, match="different images"):
        judge(fewer, report(GOOD))
