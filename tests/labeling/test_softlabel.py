"""Acceptance: at the threshold and just below, and never against a label that was given."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given as hypothesis_given
from hypothesis import strategies as st

from curate import schema
from labeling import softlabel


def probs(*p_bonafide: float) -> np.ndarray:
    p = np.array(p_bonafide)
    return softlabel.as_liveness(np.stack([p, 1 - p], axis=1), ("bonafide", "print"))


def decide(
    p: np.ndarray,
    given: dict[str, str] | None = None,
    trusted: tuple[str, ...] = (),
    threshold: float = 0.9,
) -> pd.DataFrame:
    ids = pd.Index([f"i{n}" for n in range(len(p))])
    words = pd.Series(given or {}, dtype="object")
    return softlabel.decide(ids, p, words, pd.Index(trusted), threshold).set_index("image_id")


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
