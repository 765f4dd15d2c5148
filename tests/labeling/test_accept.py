"""Acceptance: at the threshold and just below, and never against a label that was given."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given as hypothesis_given
from hypothesis import strategies as st

from curate import schema
from labeling import accept


def probs(*p_bonafide: float) -> np.ndarray:
    """Return (N, 10): bona fide, or a print."""
    found = np.zeros((len(p_bonafide), len(schema.LIVENESS_CLASSES)))
    found[:, 0] = p_bonafide
    found[:, 1] = 1 - found[:, 0]
    return found


def decide(
    p: np.ndarray,
    given: dict[str, str] | None = None,
    trusted: tuple[str, ...] = (),
    threshold: float = 0.9,
    task: str = "liveness",
    odd: tuple[str, ...] = (),
) -> pd.DataFrame:
    ids = [f"i{n}" for n in range(len(p))]
    units = pd.DataFrame({"image_id": ids, "part": ""}, index=ids)
    units["class"] = ["?" if one in trusted else None for one in ids]
    words = pd.Series(given or {}, dtype="object")
    rule = accept.Rule(threshold, None, "fitted")
    strange = np.isin(ids, odd)
    return accept.decide(units, p, words, rule, strange, task=task).set_index("image_id")


@pytest.mark.parametrize(
    ("p", "label", "status"),
    [
        pytest.param(0.9, "bonafide", "accepted", id="at the threshold"),
        pytest.param(0.8999, "bonafide", "review", id="just below"),
        pytest.param(0.1, "attack", "accepted", id="as sure of an attack"),
        pytest.param(0.1001, "attack", "review", id="just less sure of an attack"),
    ],
)
def test_the_threshold(p: float, label: str, status: str) -> None:
    row = decide(probs(p)).loc["i0"]
    assert (row["label"], row["status"]) == (label, status)
    assert row["attack_type"] == ("print" if label == "attack" else "")


def test_a_sure_label_against_a_given_one_goes_to_review() -> None:
    rows = decide(
        probs(0.99, 0.99, 0.01), {"i0": "attack/print", "i1": "bonafide", "i2": "attack/unknown"}
    )
    assert list(rows["status"]) == ["review", "accepted", "accepted"]
    assert rows.loc["i0", "reason"] == schema.CONTRADICTS


def test_bytes_under_two_labels_are_never_accepted() -> None:
    assert decide(probs(0.99), {"i0": "conflict"}).loc["i0", "status"] == "review"


def test_trusted_images_appear_only_where_the_teacher_is_sure_that_they_are_wrong() -> None:
    given = {"i0": "bonafide", "i1": "bonafide", "i2": "bonafide"}
    rows = decide(probs(0.99, 0.01, 0.3), given, trusted=("i0", "i1", "i2"))
    assert list(rows.index) == ["i1"]
    assert tuple(rows.loc["i1", ["status", "reason"]]) == ("review", schema.DOUBTED)


def test_a_teacher_without_an_opinion_accepts_nothing() -> None:
    p = probs(0.99, 0.99)
    p[0] = np.nan
    rows = decide(p)
    assert tuple(rows.loc["i0", ["status", "reason", "confidence"]]) == ("review", schema.BLIND, 0)
    assert sum(rows.loc["i0", "probs"]) == pytest.approx(1, abs=1e-6)
    assert rows.loc["i1", "status"] == "accepted"


def test_what_looks_like_nothing_known_is_never_accepted_as_bona_fide() -> None:
    rows = decide(probs(0.99, 0.01), odd=("i0", "i1"))
    assert list(rows["status"]) == ["review", "accepted"]
    assert rows.loc["i0", "reason"] == schema.STRANGE
    units = pd.DataFrame({"class": ["bonafide", "print"]})
    seen = accept.presentations(units, probs(0.99, 0.01), np.ones(2, bool), "liveness")
    assert list(seen.confidence) == [0.0, 0.99]


def test_other_tasks_take_the_likeliest_class_and_its_own_threshold() -> None:
    rows = decide(np.array([[0.45, 0.35, 0.2], [0.02, 0.96, 0.02]]), task="eyes", threshold=0.4)
    assert list(rows["label"]) == ["open", "closed"]
    assert list(rows["status"]) == ["accepted", "accepted"]
    assert list(rows["attack_type"]) == ["", ""]
    assert list(decide(np.array([[0.45, 0.35, 0.2]]), task="eyes")["status"]) == ["review"]


def test_presentations_count_a_wrong_side_as_wrong_and_a_wrong_type_as_right() -> None:
    units = pd.DataFrame({"class": ["bonafide", "print", "replay_phone", "print"]})
    fine = np.zeros(4, bool)
    seen = accept.presentations(units, probs(0.95, 0.9, 0.2, 0.1), fine, "liveness")
    np.testing.assert_array_equal(seen.wrong, [False, True, False, False])
    np.testing.assert_allclose(seen.confidence, [0.95, 0.9, 0.8, 0.9])
    assert {name: int(member.sum()) for name, member in seen.strata.items()} == {
        "accepted as attack": 2,
        "accepted as bonafide": 2,
        "attack/print": 2,
        "attack/replay_phone": 1,
    }


@hypothesis_given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.floats(0.51, 0.99))
def test_soft_labels_stay_on_the_simplex_and_acceptance_only_shrinks(
    p: list[float], threshold: float
) -> None:
    rows = decide(probs(*p), threshold=threshold)
    stricter = decide(probs(*p), threshold=(1 + threshold) / 2)
    full = np.stack(rows["probs"])
    assert (full >= 0).all()
    np.testing.assert_allclose(full.sum(axis=1), 1, atol=1e-5)
    assert set(stricter.query("status == 'accepted'").index) <= set(
        rows.query("status == 'accepted'").index
    )
