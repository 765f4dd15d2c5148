"""The guard against unseen attacks: most new people of the known look pass, another look does not.

Looks are Gaussians in a few directions of many, as features of faces of one camera are.
"""

import numpy as np
import pytest

from labeling import typical
from labeling.typical import Guard

WIDE, DEEP = 60, 6  # features; directions that a look varies in


def looks(seed: int, people: int, per: int, *, turned: int = 0) -> np.ndarray:
    """(people * per, WIDE) faces of one look; ``turned`` chooses another one."""
    basis = np.linalg.qr(np.random.default_rng(1000 + turned).normal(size=(WIDE, DEEP)))[0].T
    rng = np.random.default_rng(seed)
    person = np.repeat(rng.normal(size=(people, DEEP)), per, axis=0)
    values = (person + 0.3 * rng.normal(size=person.shape)) @ basis * 4
    return values + 0.2 * rng.normal(size=values.shape)


def names(prefix: str, people: int, per: int) -> np.ndarray:
    return np.repeat(np.array([f"{prefix}{n}" for n in range(people)], object), per)


def one_each(count: int) -> np.ndarray:
    return np.array([f"clip{n}" for n in range(count)], object)


def odd_of(
    sources: dict[str, np.ndarray],
    known: np.ndarray,
    groups: np.ndarray,
    clips: np.ndarray,
    seed: int = 0,
) -> np.ndarray:
    """What is odd of all, learnt from those known; nothing where these are too few."""
    learnt = {name: values[known] for name, values in sources.items()}
    guard = Guard.of(learnt, groups[known], seed=seed)
    if guard is None:
        return np.zeros(len(groups), bool)
    return typical.odd(guard.left(sources, groups), known, clips)


def judged(*sets: tuple[np.ndarray, np.ndarray], known: int, seed: int = 0) -> np.ndarray:
    """What is odd of faces stacked below each other, the first ``known`` rows being known."""
    values = np.vstack([faces for faces, _ in sets])
    groups = np.concatenate([who for _, who in sets])
    mask = np.arange(len(values)) < known
    return odd_of({"a": values}, mask, groups, one_each(len(values)), seed=seed)


@pytest.mark.parametrize("seed", range(4))
def test_new_people_of_the_look_pass_and_another_look_is_odd(seed: int) -> None:
    odd = judged(
        (looks(seed, 60, 3), names("k", 60, 3)),
        (looks(50 + seed, 100, 1), names("n", 100, 1)),
        (looks(90 + seed, 100, 1, turned=1), names("a", 100, 1)),
        known=180,
    )
    assert 0.65 < 1 - odd[180:280].mean() < 0.97
    assert odd[280:].mean() > 0.95


@pytest.mark.parametrize("seed", range(3))
def test_four_of_five_known_presentations_pass(seed: int) -> None:
    odd = judged((looks(seed, 50, 4), names("k", 50, 4)), known=200)
    assert 1 - odd.mean() == pytest.approx(typical.PASSING, abs=0.005)


def test_known_ones_are_judged_by_other_people_alone() -> None:
    """One person of a look of their own is odd, though known; with nine of them known, no more."""
    people, per = 20, 4
    groups = names("k", people, per)
    found = []
    for strangers in (1, 10):
        values = looks(0, people, per)
        values[: strangers * per] = looks(7, strangers, per, turned=3)
        found.append(judged((values, groups), known=len(values)))
    assert found[0][:per].all()
    assert found[1][: 10 * per].mean() < 0.5


def test_members_of_a_known_group_that_are_not_known_are_judged_without_it_too() -> None:
    people, per = 20, 4
    values = looks(0, people, per)
    values[:per] = looks(7, 1, per, turned=3)
    groups = names("k", people, per)
    known = np.arange(len(values)) >= 1
    odd = odd_of({"a": values}, known, groups, one_each(len(values)), seed=0)
    assert odd[0]


@pytest.mark.parametrize(("people", "says"), [(typical.LEAST_GROUPS - 1, False),
                                              (typical.LEAST_GROUPS, True)])  # fmt: skip
def test_too_few_people_say_nothing(people: int, says: bool) -> None:
    odd = judged(
        (looks(0, people, 8), names("k", people, 8)),
        (looks(1, 30, 1, turned=1), names("a", 30, 1)),
        known=people * 8,
    )
    assert odd.any() == says
    if says:
        assert odd[people * 8 :].mean() > 2 * (1 - typical.PASSING)


def test_nobody_known_is_nobody_odd() -> None:
    assert not judged((looks(0, 5, 1), names("n", 5, 1)), known=0).any()


def test_frames_of_a_clip_are_judged_alike() -> None:
    values = np.vstack([looks(0, 30, 2), looks(1, 20, 3), looks(2, 20, 3, turned=1)])
    groups = np.concatenate([names("k", 30, 2), names("n", 40, 3)])
    clips = np.concatenate([one_each(60), names("c", 40, 3)])
    odd = odd_of({"a": values}, np.arange(180) < 60, groups, clips, seed=0)
    frames = odd[60:].reshape(40, 3)
    assert (frames == frames[:, :1]).all()
    assert frames[20:].all()


def test_a_long_clip_counts_as_one_known_presentation() -> None:
    """The share that passes is of presentations: a known clip of 300 frames does not move it."""
    values = np.vstack([looks(0, 40, 1), np.repeat(looks(3, 1, 1), 300, axis=0)])
    groups = np.concatenate([names("k", 40, 1), np.full(300, "burst", object)])
    clips = np.concatenate([one_each(40), np.full(300, "burst", object)])
    odd = odd_of({"a": values}, np.ones(340, bool), groups, clips, seed=0)
    presentations = np.append(odd[:40], odd[40])
    assert 1 - presentations.mean() == pytest.approx(typical.PASSING, abs=1 / 41)


def test_one_source_is_enough_to_find_a_face_odd() -> None:
    same = np.vstack([looks(0, 40, 2), looks(1, 40, 1)])
    differs = np.vstack([looks(2, 40, 2), looks(3, 40, 1, turned=1)])
    groups = np.concatenate([names("k", 40, 2), names("n", 40, 1)])
    known = np.arange(120) < 80
    odd = odd_of({"a": same, "b": differs}, known, groups, one_each(120), seed=0)
    assert odd[80:].mean() > 0.85


def test_units_are_judged_alike_in_any_blocks() -> None:
    """Each unit by itself is as far from the look as among all others."""
    values = np.vstack([looks(0, 12, 3), looks(1, 20, 1, turned=1)])
    groups = np.concatenate([names("k", 12, 3), names("n", 20, 1)])
    guard = Guard.of({"a": values[:36]}, groups[:36], seed=0)
    assert guard is not None
    whole = guard.left({"a": values}, groups)
    for start in range(0, len(values), 7):
        rows = slice(start, start + 7)
        np.testing.assert_allclose(
            guard.left({"a": values[rows]}, groups[rows]), whole[:, rows], rtol=1e-4
        )


def test_units_that_nobody_asks_about_change_nothing_for_the_others() -> None:
    values = np.vstack([looks(0, 12, 3), looks(1, 40, 1), looks(2, 40, 1, turned=1)])
    groups = np.concatenate([names("k", 12, 3), names("n", 80, 1)])
    known, clips = np.arange(len(values)) < 36, one_each(len(values))
    guard = Guard.of({"a": values[known]}, groups[known], seed=0)
    assert guard is not None
    left = guard.left({"a": values}, groups)
    asked = known | (np.random.default_rng(0).random(len(values)) < 0.5)
    every = typical.odd(left, known, clips)
    some = typical.odd(np.where(asked, left, -np.inf), known, clips)
    assert every[~asked].any()
    np.testing.assert_array_equal(some, every & asked)


def test_a_feature_that_is_no_number_is_odd() -> None:
    known = np.arange(60) < 50
    left = np.where(known, np.arange(60.0), np.nan)[np.newaxis]
    assert typical.odd(left, known, one_each(60))[50:].all()


def test_the_same_seed_finds_the_same_ones() -> None:
    faces = (looks(0, 12, 2), names("k", 12, 2)), (looks(1, 30, 1), names("n", 30, 1))
    first, second = (judged(*faces, known=24, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_features_that_never_vary_are_no_trouble() -> None:
    faces = looks(0, 10, 2)
    faces[:, :5] = 1.0
    odd = judged((faces, names("k", 10, 2)), (faces[:3], names("n", 3, 1)), known=20)
    assert np.isfinite(odd.astype(float)).all()
    assert not odd.all()
