"""The linear head: out of fold by group, calibrated, never sure of what it cannot know."""

import numpy as np
import pandas as pd
import pytest

from curate.errors import DataError
from labeling import calibrate, head
from labeling.head import Known


def clusters(groups: int, per_group: int, gap: float, seed: int = 0) -> tuple[np.ndarray, Known]:
    """Two Gaussian classes ``gap`` apart; each group has members of both."""
    rng = np.random.default_rng(seed)
    labels = np.tile(np.array(["bonafide", "print"], object), groups * per_group // 2)
    group = np.repeat(np.array([f"g{n}" for n in range(groups)], object), per_group)
    features = rng.normal(0, 1, (len(labels), 8))
    features[:, 0] += np.where(labels == "bonafide", gap, -gap)
    clips = np.array([f"c{n}" for n in range(len(labels))], object)
    return features, Known(labels, group, clips, np.ones(len(labels)))


def bonafide(fitted: head.Head, sources: head.Sources, groups: np.ndarray) -> np.ndarray:
    logits = fitted.logits(sources, groups)
    return 1 / (1 + np.exp(logits[:, 1] - logits[:, 0]))


def test_separable_classes_are_learnt_and_the_classes_are_named() -> None:
    features, known = clusters(10, 8, 3.0)
    fitted = head.fit({"a": features}, known, folds=5, seed=0)
    p = bonafide(fitted, {"a": features}, known.groups)
    assert fitted.classes == ("bonafide", "print")
    assert ((p >= 0.5) == (known.classes == "bonafide")).mean() > 0.98


def test_a_group_is_only_labelled_by_the_fold_that_left_it_out() -> None:
    """Give one group features that betray its labels: a teacher that saw them would be right."""
    features, known = clusters(8, 6, 0.0)
    sign = np.where(known.classes == "bonafide", 9.0, -9.0)
    told = np.hstack([features, ((known.groups == "g0") * sign)[:, None]])
    fitted = head.fit({"a": told}, known, folds=4, seed=0)
    mine = known.groups == "g0"
    chance = bonafide(fitted, {"a": told[mine]}, known.groups[mine])
    seen = bonafide(fitted, {"a": told[mine]}, np.full(mine.sum(), "somebody else", object))
    right = known.classes[mine] == "bonafide"
    assert ((seen >= 0.5) == right).all()
    assert np.abs(chance - 0.5).mean() < np.abs(seen - 0.5).mean()


def test_the_source_that_knows_is_chosen_over_one_that_guesses() -> None:
    features, known = clusters(12, 8, 0.7)
    noise = np.random.default_rng(1).normal(0, 1, (len(features), 40))
    fitted = head.fit({"knows": features, "guesses": noise}, known, folds=4, seed=0)
    assert fitted.chosen == "knows"
    assert fitted.needs == ["knows"]
    assert fitted.losses["knows"] < fitted.losses[head.EVERY] < fitted.losses["guesses"]


def test_equal_sources_are_averaged() -> None:
    features, known = clusters(12, 8, 1.0)
    other, _ = clusters(12, 8, 1.0, seed=7)
    fitted = head.fit({"a": features, "b": other}, known, folds=4, seed=0)
    assert fitted.chosen == head.EVERY
    assert set(fitted.needs) == {"a", "b"}


def test_scores_of_trained_networks_are_heard_among_a_thousand_features() -> None:
    _, known = clusters(10, 8, 0.0)
    noise = np.random.default_rng(1).normal(0, 1, (len(known.classes), 1000))
    score = np.where(known.classes == "bonafide", 1.0, -1.0)[:, None]
    score = score + np.random.default_rng(2).normal(0, 0.3, score.shape)
    sources = {"noise": noise, head.SCORES: score}
    fitted = head.fit(sources, known, folds=5, seed=0)
    p = bonafide(fitted, sources, known.groups)
    assert ((p >= 0.5) == (known.classes == "bonafide")).mean() > 0.9


def test_frames_of_one_clip_count_as_one_presentation() -> None:
    """A clip of a thousand wrong frames weighs no more than FRAMES of them."""
    features, known = clusters(8, 10, 2.0)
    wrong = np.repeat(features[:1] * -1, 1000, axis=0)
    more = Known(
        np.concatenate([known.classes, np.full(1000, known.classes[0], object)]),
        np.concatenate([known.groups, np.full(1000, "g9", object)]),
        np.concatenate([known.clips, np.full(1000, "burst", object)]),
        np.ones(len(known.classes) + 1000),
    )
    fitted = head.fit({"a": np.vstack([features, wrong])}, more, folds=3, seed=0)
    p = bonafide(fitted, {"a": features}, known.groups)
    assert ((p >= 0.5) == (known.classes == "bonafide")).mean() > 0.9


@pytest.mark.parametrize(
    ("keep", "says"),
    [
        pytest.param(lambda known: known.classes == "print", "one class only: print", id="class"),
        pytest.param(
            lambda known: (known.classes == "print") | (known.groups == "g0"),
            "one subject",
            id="one group of a class",
        ),
    ],
)
def test_too_little_to_learn_from_says_what_is_missing(keep, says: str) -> None:  # type: ignore[no-untyped-def]
    features, known = clusters(6, 4, 1.0)
    chosen = keep(known)
    few = Known(*(getattr(known, n)[chosen] for n in ("classes", "groups", "clips", "weights")))
    with pytest.raises(DataError, match=says):
        head.fit({"a": features[chosen]}, few, folds=5, seed=0)


def test_features_that_are_no_numbers_are_an_error_that_names_the_remedy() -> None:
    features, known = clusters(6, 4, 1.0)
    features[3, 2] = np.nan
    with pytest.raises(DataError, match=r"(?s)1 rows of 'a' are not finite.*delete"):
        head.fit({"a": features}, known, folds=3, seed=0)


def test_fewer_groups_than_folds_means_fewer_folds() -> None:
    features, known = clusters(2, 10, 2.0)
    assert head.fit({"a": features}, known, folds=5, seed=0).folds == 2


def test_the_same_seed_gives_the_same_head() -> None:
    features, known = clusters(6, 6, 1.0)
    first, second = (
        bonafide(head.fit({"a": features}, known, folds=3, seed=1), {"a": features}, known.groups)
        for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)


def liveness(p: np.ndarray) -> np.ndarray:
    found = np.zeros((len(p), 10))
    found[:, 0], found[:, 1] = p, 1 - p
    return found


@pytest.mark.parametrize("scale", [0.2, 1.0, 5.0])
def test_temperature_finds_the_scale_that_was_put_on_calibrated_odds(scale: float) -> None:
    rng = np.random.default_rng(0)
    odds = rng.normal(0, 2, 20_000)
    live = rng.random(len(odds)) < 1 / (1 + np.exp(-odds))
    known = pd.DataFrame({"class": np.where(live, "bonafide", "print"), "part": ""})
    known["clip_id"] = [f"c{n}" for n in range(len(known))]
    raw = liveness(1 / (1 + np.exp(-odds * scale)))
    assert calibrate.heat(raw, known, "liveness") == pytest.approx(scale, rel=0.1)


def test_a_perfect_fold_does_not_make_a_certain_teacher() -> None:
    p = np.repeat([1 - 1e-9, 1e-9], 20)
    known = pd.DataFrame({"class": np.repeat(["bonafide", "print"], 20), "part": ""})
    known["clip_id"] = [f"c{n}" for n in range(40)]
    heat = calibrate.heat(liveness(p), known, "liveness")
    assert calibrate.judged(liveness(p), None, heat, "liveness")[:, 0].max() < 0.99


def test_frames_of_a_clip_bear_one_probability_and_types_keep_their_proportions() -> None:
    raw = np.zeros((3, 10))
    raw[:, 0] = [0.9, 0.4, 0.2]
    raw[:, 1], raw[:, 3] = [0.06, 0.36, 0.48], [0.04, 0.24, 0.32]
    clips = np.array(["a", "a", "b"], object)
    found = calibrate.judged(raw, clips, 2.0, "liveness")
    assert found[0, 0] == pytest.approx(found[1, 0], abs=1e-4)
    np.testing.assert_allclose(found[:, 1] / found[:, 3], 1.5, rtol=1e-4)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    np.testing.assert_allclose(found[2, 0], 1 / (1 + 2.0), atol=1e-4)  # odds 1/4, halved in logs


def test_frames_of_a_blink_keep_their_own() -> None:
    raw = np.array([[0.9, 0.05, 0.05], [0.1, 0.8, 0.1]])
    found = calibrate.judged(raw, np.array(["a", "a"], object), 1.0, "eyes")
    np.testing.assert_allclose(found, raw, atol=1e-6)


def test_rows_without_an_opinion_stay_so() -> None:
    raw = np.vstack([liveness(np.array([0.7])), np.full((1, 10), np.nan)])
    found = calibrate.judged(raw, np.array(["a", "b"], object), 1.0, "liveness")
    assert np.isnan(found[1]).all()
    assert not np.isnan(found[0]).any()


def test_reliability_has_no_error_where_confidence_is_the_share_right() -> None:
    rng = np.random.default_rng(0)
    sure = rng.uniform(0.5, 1, 20_000)
    honest = calibrate.reliability(sure, rng.random(len(sure)) < sure)
    boastful = calibrate.reliability(sure, rng.random(len(sure)) < sure - 0.2)
    gaps = [[sure - right for sure, right, _ in points] for points in (honest, boastful)]
    assert np.abs(gaps[0]).max() < 0.04
    assert gaps[1] == pytest.approx([0.2] * len(boastful), abs=0.04)
    assert sum(count for _, _, count in honest) == len(sure)
