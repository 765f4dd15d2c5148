"""Planted wrong labels are found, right ones are left alone, and the worst come first."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given as hypothesis_given
from hypothesis import settings
from hypothesis import strategies as st

from curate.errors import DataError
from labeling import issues

NAMES = np.array(["bonafide", "print", "replay_phone"], object)


def made(clips: int = 90, frames: int = 2, seed: int = 0) -> dict[str, np.ndarray]:
    """Features of three classes that a line tells apart, some overlap; 15 people."""
    rng = np.random.default_rng(seed)
    word = np.arange(clips) % 3
    clip = np.repeat(np.arange(clips), frames)
    centres = np.eye(3, 8) * 4
    return {
        "features": centres[word[clip]] + rng.normal(size=(len(clip), 8)),
        "classes": NAMES[word[clip]],
        "clips": clip.astype(object),
        "groups": np.array([f"p{n // 6}" for n in clip], object),
    }


def find(data: dict[str, np.ndarray], classes: np.ndarray, **options: object) -> issues.Doubts:
    return issues.find({"x": data["features"]}, classes, data["clips"], data["groups"], **options)


def relabelled(data: dict[str, np.ndarray], clips: tuple[int, ...]) -> np.ndarray:
    classes = data["classes"].copy()
    for clip in clips:
        mine = data["clips"] == clip
        classes[mine] = NAMES[(list(NAMES).index(classes[mine][0]) + 1) % 3]
    return classes


def test_planted_errors_are_found_with_their_true_class_and_lead_the_queue() -> None:
    data, planted = made(), (3, 20, 41, 60)
    found = find(data, relabelled(data, planted)).units
    wrong = np.isin(data["clips"].astype(int), planted)
    assert found["issue"].to_numpy()[wrong].mean() >= 0.75
    assert found["issue"].to_numpy()[~wrong].mean() <= 0.02
    hit = wrong & found["issue"].to_numpy()
    assert (found["suggested"].to_numpy()[hit] == data["classes"][hit]).all()
    assert wrong[found["rank"].to_numpy() < 4].mean() >= 0.75


def test_right_labels_are_left_alone() -> None:
    data = made()
    found = find(data, data["classes"]).units
    assert not found["issue"].any()
    assert (found["suggested"] != data["classes"]).all()


def test_a_clip_under_two_labels_is_an_issue_of_its_frames() -> None:
    data = made()
    classes = data["classes"].copy()
    one, other = np.flatnonzero(data["clips"] == 7)
    classes[one] = "bonafide" if classes[other] != "bonafide" else "print"
    found = find(data, classes).units
    assert found["issue"][one]
    assert not found["issue"][other]
    assert found["quality"][[one, other]].sum() == pytest.approx(1, abs=0.05)


def test_classes_that_do_not_contradict_each_other_make_no_issue() -> None:
    data = made()
    classes = relabelled(data, (1, 4, 7, 10))  # prints called replay_phone
    attacks = {"print", "replay_phone"}
    alike = lambda one, other: one == other or {one, other} == attacks  # noqa: E731
    found = find(data, classes, alike=alike).units
    assert not found["issue"].any()
    assert set(found.loc[classes != "bonafide", "suggested"]) == {"bonafide"}


def test_units_without_a_label_get_probabilities_and_teach_nothing() -> None:
    data = made()
    classes = data["classes"].copy()
    unknown = np.flatnonzero(data["clips"].astype(int) < 3)
    classes[unknown] = ""
    found = find(data, classes)
    assert (found.units["quality"][unknown] == 0).all()
    told = np.array(found.names, object)[found.probabilities[unknown].argmax(axis=1)]
    assert (told == data["classes"][unknown]).mean() >= 0.8


def test_units_nobody_asks_about_are_no_issues_and_change_no_place() -> None:
    data, planted = made(), (3, 20, 41, 60)
    classes = relabelled(data, planted)
    unasked = np.arange(len(classes)) % 4 == 1
    found = find(data, np.where(unasked, "", classes), unasked=unasked).units
    assert not found["issue"].to_numpy()[unasked].any()
    assert found["rank"].to_numpy()[unasked].min() > found["rank"].to_numpy()[found["issue"]].max()
    doubted = {int(clip) for clip in data["clips"][found["issue"].to_numpy()]}
    assert doubted & set(planted)


def test_one_class_is_an_error() -> None:
    data = made()
    with pytest.raises(DataError, match="one class only"):
        find(data, np.full(len(data["classes"]), "print", object))


def test_a_class_is_never_set_aside_as_a_whole() -> None:
    told = np.eye(2)[[0] * 8 + [1] * 2]
    probabilities = np.tile([0.95, 0.05], (10, 1))
    groups = np.array(list("abcdefgh") + ["i", "j"], object)
    assert not issues.set_aside(probabilities, told, groups)[8:].any()


def test_estimated_noise_turns_sure_contradictions_into_errors_and_doubt_into_none() -> None:
    rng = np.random.default_rng(0)
    true = np.arange(200) % 2
    logits = np.where(np.eye(2)[true] > 0, 4.0, -4.0) + rng.normal(size=(200, 2))
    told = np.eye(2)[true]
    told[:10] = told[:10, ::-1]  # 5 % wrong
    logits[10] = 0
    right, model = issues.right_labels(logits, told)
    assert ((right * told).sum(axis=1)[:10] < 0.5).all()
    assert (right * told).sum(axis=1)[10] > 0.5
    np.testing.assert_allclose(right.sum(axis=1), 1)
    np.testing.assert_allclose(model.sum(axis=1), 1)


def test_a_gap_tells_errors_from_doubt_even_among_few_clips() -> None:
    errors, found, false = 0, 0, 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        true = np.repeat([0, 1], [11, 60])
        half = rng.normal(1.5, 0.5, 71) * np.where(true == 1, 1, -1)
        told = np.eye(2)[true]
        wrong = rng.choice(71, 6, replace=False)
        told[wrong] = told[wrong, ::-1]
        issue = (issues.right_labels(np.stack([-half, half], 1), told)[0] * told).sum(axis=1) < 0.5
        errors, found = errors + 6, found + issue[wrong].sum()
        false += issue.sum() - issue[wrong].sum()
    assert found / errors >= 0.85
    assert false <= 2


@pytest.mark.parametrize("classes", [2, 4])
def test_logits_that_tell_nothing_make_no_issue(classes: int) -> None:
    rng = np.random.default_rng(0)
    told = np.eye(classes)[rng.integers(0, classes, 200)]
    for logits in (rng.normal(size=(200, classes)), np.zeros((200, classes))):
        right, model = issues.right_labels(logits, told)
        assert ((right * told).sum(axis=1) > 0.5).all()
        assert np.isfinite(model).all()


@settings(deadline=None, max_examples=20)
@hypothesis_given(st.integers(0, 1000), st.permutations(range(3)))
def test_no_class_is_special_and_a_constant_beside_the_logits_says_nothing(
    seed: int, order: list[int]
) -> None:
    rng = np.random.default_rng(seed)
    told = np.eye(3)[rng.integers(0, 3, 60)]
    logits = 3 * told + rng.normal(size=(60, 3))
    right, _ = issues.right_labels(logits, told)
    shifted = logits[:, order] + 50 * rng.normal(size=(60, 1))
    turned, _ = issues.right_labels(shifted, told[:, order])
    np.testing.assert_allclose(turned, right[:, order], atol=1e-3)


@settings(deadline=None, max_examples=50)
@hypothesis_given(st.lists(st.tuples(st.integers(0, 9), st.floats(0, 1)), min_size=1, max_size=30))
def test_ranks_are_a_permutation_issues_first_and_no_clip_twice_before_all_once(
    rows: list[tuple[int, float]],
) -> None:
    clip = pd.factorize(np.array([c for c, _ in rows]))[0]
    quality = np.array([dict(rows)[c] for c, _ in rows])
    looks = np.random.default_rng(0).normal(size=(clip.max() + 1, 3))
    rank = issues.ranks(quality, quality, clip, looks)
    assert sorted(rank) == list(range(len(rows)))
    order = np.argsort(rank)
    assert (np.diff((quality >= 0.5)[order].astype(int)) >= 0).all()
    doubted = clip[order][(quality < 0.5)[order]]
    firsts = doubted[: len(set(doubted))]
    assert len(set(firsts)) == len(firsts)


def test_what_looks_alike_is_not_shown_in_a_row() -> None:
    looks = np.array([[0.0, 0], [0.01, 0], [5, 5], [0, 0.01]])
    quality = np.array([0.01, 0.02, 0.2, 0.03])
    rank = issues.ranks(quality, quality, np.arange(4), looks)
    assert list(np.argsort(rank)[:2]) == [0, 2]
