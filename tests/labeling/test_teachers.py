"""The teacher: out of fold by group, calibrated, never sure of what it cannot know."""

import numpy as np
import pytest

from curate.errors import DataError
from labeling import calibrate, teachers


def clusters(groups: int, per_group: int, gap: float, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Two Gaussian classes ``gap`` apart; each group has members of both."""
    rng = np.random.default_rng(seed)
    labels = np.tile(np.array(["bonafide", "print"], object), groups * per_group // 2)
    group = np.repeat(np.array([f"g{n}" for n in range(groups)], object), per_group)
    features = rng.normal(0, 1, (len(labels), 8))
    features[:, 0] += np.where(labels == "bonafide", gap, -gap)
    return features, labels, group


def test_separable_classes_are_learnt_and_the_classes_are_named() -> None:
    features, labels, groups = clusters(10, 8, 3.0)
    fitted = teachers.fit(features, labels, groups, folds=5, seed=0)
    probs = fitted.label(features, groups)
    assert fitted.classes == ("bonafide", "print")
    assert ((probs[:, 0] >= 0.5) == (labels == "bonafide")).mean() > 0.98
    np.testing.assert_allclose(probs.sum(axis=1), 1)


def test_a_group_is_only_labelled_by_the_fold_that_left_it_out() -> None:
    """Give one group features that betray its labels: a teacher that saw them would be right."""
    features, labels, groups = clusters(8, 6, 0.0)
    features = np.hstack(
        [features, (groups == "g0")[:, None] * np.where(labels == "bonafide", 9.0, -9.0)[:, None]]
    )
    fitted = teachers.fit(features, labels, groups, folds=4, seed=0)
    mine = groups == "g0"
    chance = fitted.label(features[mine], groups[mine])
    seen = fitted.label(features[mine], np.full(mine.sum(), "somebody else", object))
    sure = np.abs(seen[:, 0] - 0.5).mean()
    assert np.abs(chance[:, 0] - 0.5).mean() < sure


def test_a_perfect_fold_does_not_make_a_certain_teacher() -> None:
    features, labels, groups = clusters(4, 10, 50.0)
    fitted = teachers.fit(features, labels, groups, folds=4, seed=0)
    confidence = fitted.label(features, groups).max(axis=1)
    assert confidence.max() < 1 - 1e-4


@pytest.mark.parametrize(
    ("keep", "says"),
    [
        pytest.param(
            lambda labels, groups: labels == "print", "one class only: print", id="one class"
        ),
        pytest.param(
            lambda labels, groups: (labels == "print") | (groups == "g0"),
            "one subject",
            id="one group of a class",
        ),
    ],
)
def test_too_little_to_learn_from_says_what_is_missing(keep, says: str) -> None:  # type: ignore[no-untyped-def]
    features, labels, groups = clusters(6, 4, 1.0)
    chosen = keep(labels, groups)
    with pytest.raises(DataError, match=says):
        teachers.fit(features[chosen], labels[chosen], groups[chosen], folds=5, seed=0)


def test_fewer_groups_than_folds_means_fewer_folds() -> None:
    features, labels, groups = clusters(2, 10, 2.0)
    assert len(teachers.fit(features, labels, groups, folds=5, seed=0).heads) == 2


def test_the_same_seed_gives_the_same_teacher() -> None:
    features, labels, groups = clusters(6, 6, 1.0)
    first, second = (
        teachers.fit(features, labels, groups, folds=3, seed=1).label(features, groups)
        for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("scale", [0.2, 1.0, 5.0])
def test_temperature_finds_the_scale_that_was_put_on_calibrated_logits(scale: float) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (20_000, 1))
    logits = np.hstack([logits, -logits]) / 2
    p = calibrate.probabilities(logits, 1.0)[:, 0]
    classes = (rng.random(len(p)) > p).astype(int)
    assert calibrate.fit_temperature(logits * scale, classes) == pytest.approx(scale, rel=0.1)
