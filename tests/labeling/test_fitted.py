"""The fitted teacher reads what its head chose, block by block, and out of fold all the same."""

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from curate import workspace
from labeling import fitted, head
from labeling.features import Block

COUNT = 80


@pytest.fixture
def known() -> head.Known:
    names = np.array([f"i{n}" for n in range(COUNT)], object)
    words = np.tile(np.array(["bonafide", "print"], object), COUNT // 2)
    people = np.repeat(np.array([f"g{n}" for n in range(COUNT // 4)], object), 4)
    return head.Known(words, people, names, np.ones(COUNT))


@pytest.mark.parametrize("size", [1, 7, COUNT])
def test_only_the_source_chosen_is_read_and_blocks_change_nothing(
    known: head.Known, size: int
) -> None:
    rng = np.random.default_rng(0)
    knows = rng.normal(0, 1, (COUNT, 5)).astype(np.float32)
    knows[:, 0] += np.where(known.classes == "bonafide", 0.8, -0.8)
    every = {"knows": knows, "guesses": rng.normal(0, 1, (COUNT, 30)).astype(np.float32)}
    one = head.fit(every, known, folds=4, seed=0)
    assert one.chosen == "knows"
    asked = []

    def blocks(units: pd.DataFrame, wanted: Collection[str]) -> Iterator[Block]:
        asked.append(list(wanted))
        order = rng.permutation(len(units))
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            yield rows, {name: every[name][rows] for name in wanted}

    units = pd.DataFrame({"part": "", "group": known.groups})
    found = fitted.Fitted("fitted", "liveness", {"": one}, blocks).probabilities(units)
    assert asked == [["knows"]]
    straight = fitted.spread(one.logits(every, known.groups), one.classes, "liveness")
    np.testing.assert_allclose(found, straight, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("attacks", "learnt"),
    [
        pytest.param("print/a print/b mask_3d/c", "bonafide print", id="left out"),
        pytest.param("print/a print/b mask_3d/c digital/d", "bonafide print unknown", id="joined"),
        pytest.param("print/a mask_3d/c", "bonafide unknown", id="none of two"),
        pytest.param("print/a print/a", "bonafide print", id="nothing else"),
    ],
)
def test_an_attack_type_of_one_person_stops_nobody(attacks: str, learnt: str) -> None:
    pairs = [word.split("/") for word in ["bonafide/a", "bonafide/b", *attacks.split()]]
    units = pd.DataFrame(pairs, columns=["class", "group"])
    assert sorted(fitted.learnable(units, "liveness")["class"].unique()) == learnt.split()


@pytest.mark.parametrize("who", ["stranger", "g0"])
def test_a_head_never_judges_whom_it_knows_left_out_or_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, who: str
) -> None:
    """An attack type of one person, who is else a stranger, or has other images learnt from."""
    clips = np.arange(42)
    word = np.where(clips % 2, "print", "bonafide").astype(object)
    group = np.array([f"g{n // 4}" for n in clips], object)
    word[-2:], group[-2:] = "mask_3d", who
    columns = {"class": word, "group": group, "clip_id": clips.astype(str)}
    units = pd.DataFrame(columns | {"part": "", "basis": "given"})
    values = np.random.default_rng(2).normal(0, 1, (len(clips), 6)).astype(np.float32)

    def seen(_here: Any, _task: Any, some: pd.DataFrame, *_: Any) -> Iterator[Block]:
        yield np.arange(len(some)), {"x": values[some.index]}

    monkeypatch.setattr(fitted, "_seen", seen)
    teacher = fitted.fit(workspace.create(tmp_path / "ws"), "liveness", units, _quiet)
    assert teacher.about()["not learnt, of one person alone"] == "mask_3d"
    (one,) = teacher.heads.values()
    assert set(one.fold_of) == set(group[:-2])  # who is not there is judged by the mean of all
    found = teacher.probabilities(units)[-1]
    alike = teacher.probabilities(units.assign(group="nobody"))[-1]
    assert np.allclose(found, alike) == (who == "stranger")


def _regions(nose: list[str], chin: list[str]) -> pd.DataFrame:
    rows = [(word, "nose", f"{n}") for n, word in enumerate(nose)]
    rows += [(word, "chin", f"{n}") for n, word in enumerate(chin)]
    units = pd.DataFrame(rows, columns=["class", "part", "group"])
    return units.assign(clip_id=units["group"], basis="given")


def _drawn(units: pd.DataFrame) -> np.ndarray:
    rng = np.random.default_rng(1)
    shift = (units["class"] == "blocked").to_numpy(float)[:, None]
    return (rng.normal(0, 0.3, (len(units), 6)) + 2 * shift).astype(np.float32)


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    def seen(_here: Any, _task: Any, units: pd.DataFrame, *_: Any) -> Iterator[Block]:
        yield np.arange(len(units)), {"middle of the part": _drawn(units)}

    monkeypatch.setattr(fitted, "_seen", seen)


def test_a_region_of_one_class_is_left_to_a_person(planted: None, tmp_path: Path) -> None:
    here = workspace.create(tmp_path / "ws")
    units = _regions(["clear", "blocked"] * 6, ["clear"] * 12)
    teacher = fitted.fit(here, "occlusion", units, _quiet)
    found = teacher.probabilities(units)
    nose = (units["part"] == "nose").to_numpy()
    assert np.isnan(found[~nose]).all()
    assert ((found[nose, 0] > 0.5) == (units["class"][nose] == "clear")).mean() > 0.8


def test_regions_of_one_class_each_are_refused(planted: None, tmp_path: Path) -> None:
    here = workspace.create(tmp_path / "ws")
    with pytest.raises(head.OneSided, match="one class only: clear"):
        fitted.fit(here, "occlusion", _regions(["clear"] * 6, ["clear"] * 6), _quiet)


def _quiet(items: Iterable[Any], *_: Any) -> Iterator[Any]:
    yield from items
