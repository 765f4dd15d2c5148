"""Several annotators: majorities win, ties go to a person, and who errs is seen."""

import numpy as np
import pandas as pd

from labeling.consensus import reconcile


def probabilities(classes: list[int], sure: float = 0.8, count: int = 3) -> pd.DataFrame:
    values = np.full((len(classes), count), (1 - sure) / (count - 1))
    values[np.arange(len(classes)), classes] = sure
    return pd.DataFrame(values, [f"u{n}" for n in range(len(classes))])


def votes(*rows: tuple[str, str, int]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["unit", "annotator", "class"])


def test_a_majority_is_no_tie_and_the_model_breaks_one() -> None:
    found = reconcile(
        votes(
            ("u0", "ann", 0), ("u0", "bob", 0), ("u0", "eve", 1),
            ("u1", "ann", 1), ("u1", "bob", 2),
            ("u2", "ann", 2), ("u2", "bob", 2),
        ),
        probabilities([0, 2, 2]),
    )  # fmt: skip
    assert found is not None
    units = found.units
    assert units["class"].to_dict() == {"u0": 0, "u1": 2, "u2": 2}
    assert units["disputed"].to_dict() == {"u0": True, "u1": True, "u2": False}
    assert units["tie"].to_dict() == {"u0": False, "u1": True, "u2": False}
    assert units.loc["u2", "quality"] > units.loc["u1", "quality"]
    assert units["quality"].between(0, 1).all()


def test_who_is_alone_with_his_votes_has_the_least_quality() -> None:
    true = [n % 3 for n in range(30)]
    rows = [(f"u{n}", who, true[n]) for n in range(30) for who in ("ann", "bob")]
    rows += [(f"u{n}", "eve", (true[n] + n % 2) % 3) for n in range(30)]
    found = reconcile(votes(*rows), probabilities(true))
    assert found is not None
    assert found.annotators.index[0] == "eve"
    assert found.units["class"].to_dict() == {f"u{n}": true[n] for n in range(30)}


def test_single_votes_and_units_nobody_scored_are_left_out() -> None:
    told = probabilities([0, 1])
    assert reconcile(votes(("u0", "ann", 0), ("u1", "bob", 1)), told) is None
    assert reconcile(votes(("x", "ann", 0), ("x", "bob", 1)), told) is None
    assert reconcile(votes(), told) is None


def test_annotators_who_never_agree_make_ties_and_no_warning() -> None:
    found = reconcile(votes(("u0", "ann", 0), ("u0", "bob", 1)), probabilities([0]))
    assert found is not None
    assert found.units["tie"].all()
