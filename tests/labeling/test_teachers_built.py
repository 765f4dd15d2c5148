"""Teachers as they are built on a workspace: the firewall, whose word weighs, who speaks.

Features are planted in the cache, so no picture is decoded and no backbone is needed.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate import champions, runs, schema, workspace
from curate.config import Config, Softlabel
from curate.embeddings import Cache
from curate.errors import AssetError, ConfigError
from curate.workspace import Workspace
from labeling import cards, features, fitted, teachers, units, zero_shot

Row = dict[str, Any]
BONAFIDE, PRINT = ("bonafide", ""), ("attack", "print")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("CURATE_ASSETS", str(tmp_path / "none"))
    settings = Softlabel(crop_scales=(1.5,), image_size=64)
    return Workspace(workspace.create(tmp_path / "ws").root, Config(threads=1, softlabel=settings))


def quiet(items: Iterable[Any], total: int, what: str) -> Iterator[Any]:
    yield from items


def image(name: str, **more: Any) -> Row:
    return {
        "image_id": name, "uri": f"/{name}.jpg", "source": "t", "origin": "mined", "shows": "face",
        "status": "kept", "turn": 0, "mirror": "no", "face": [4.0, 4.0, 24.0, 24.0],
    } | more  # fmt: skip


def said(name: str, word: tuple[str, str]) -> Row:
    return {
        "image_id": name, "task": "liveness", "part": "", "label": word[0], "attack_type": word[1],
        "source": "t", "trusted": True,
    }  # fmt: skip


def write(here: Workspace, **tables: list[Row]) -> None:
    with runs.start(here, "test", {}) as run:
        for table, rows in tables.items():
            run.append(table, pd.DataFrame(rows))


def plant(here: Workspace, values: dict[str, np.ndarray]) -> None:
    """Write the features of both layers, as if they had been computed."""
    view = features.views(here.config.softlabel, "liveness")[0]
    for layer in features.LAYERS:
        features._cache(here, view, layer, "").add(values)


def people(here: Workspace, count: int = 12, per: int = 6, **more: list[Row]) -> list[str]:
    """Write ``count`` people of ``per`` trusted images, half of each an attack; return the ids."""
    names = [f"p{n:02}-{k}" for n in range(count) for k in range(per)]
    rows = [image(name, subject=f"t/{name[:3]}") for name in names]
    labels = [said(name, PRINT if int(name[-1]) % 2 else BONAFIDE) for name in names]
    split = [
        {"image_id": row["image_id"], "split": "train"} for row in rows + more.get("images", [])
    ]
    write(here, images=rows + more.get("images", []), labels=labels, splits=split,
          **({"pairs": more["pairs"]} if "pairs" in more else {}))  # fmt: skip
    return names


@pytest.mark.parametrize(
    ("same", "pairs"),
    [
        pytest.param({"subject": "t/p00"}, [], id="subject"),
        pytest.param({"subject": "t/p00-other-name"}, ["recapture"], id="recapture"),
        pytest.param({"clip": "t/k"}, ["contamination"], id="copy in a clip"),
    ],
)
def test_whoever_belongs_to_what_was_learnt_is_labelled_out_of_fold(
    here: Workspace, same: Row, pairs: list[str]
) -> None:
    """Person p00 bears a mark that betrays the labels: only a teacher that saw p00 can know it."""
    close = {"relation": "same", "distance": 0, "similarity": 1.0, "cluster": "", "worst": 1.0}
    new = [image("kin", **same), image("stranger")]
    linked = [{"a": "kin", "b": "p00-0", "kind": kind} | close for kind in pairs]
    names = people(here, images=new, **({"pairs": linked} if linked else {}))
    rng = np.random.default_rng(0)
    planted = {name: rng.normal(size=9) for name in [*names, "kin", "stranger"]}
    for name in names:
        planted[name][8] = (9 - 18 * (int(name[-1]) % 2)) * (name[:3] == "p00")
    for name in ("kin", "stranger"):
        planted[name][:] = planted["p00-0"]
    plant(here, planted)
    found = units.gather(here, "liveness")
    assert found.every.loc["kin", "group"] == found.every.loc["p00-0", "group"]
    teacher = teachers.build(here, "fitted", found, quiet)
    p = pd.Series(teacher.probabilities(found.every)[:, 0], found.every.index)
    assert p["kin"] == pytest.approx(p["p00-0"], abs=1e-9)
    assert p["stranger"] > p["kin"] + 0.05
    (mine,) = teacher.heads.values()  # type: ignore[attr-defined]
    fold = mine.fold_of[found.every.loc["kin", "group"]]
    # Of a feature that never moves in this fold, no more is learnt than a constant tells.
    assert all(abs(one.weights[fold, 8]).max() < 0.01 for one in mine.maps.values())


def test_a_stranger_is_labelled_by_all_folds(here: Workspace) -> None:
    names = people(here, images=[image("new")])
    rng = np.random.default_rng(1)
    planted = {
        name: rng.normal(size=6) + (2 if int(name[-1]) % 2 == 0 else -2) for name in names
    } | {"new": np.full(6, 2.0)}
    plant(here, planted)
    found = units.gather(here, "liveness")
    p = teachers.build(here, "fitted", found, quiet).probabilities(found.every)
    assert p[-1, 0] > 0.9
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert (p[:, 2:] == 0).all()  # nothing was learnt of other types


def frame(classes: list[str], decided: list[bool]) -> pd.DataFrame:
    basis = np.where(decided, "decision", "given")
    return pd.DataFrame({"class": classes, "basis": basis})


rows_of_units = st.lists(
    st.tuples(st.sampled_from(["bonafide", "print", "mask_3d"]), st.booleans()), min_size=1,
    max_size=80,
)  # fmt: skip


@settings(max_examples=40)
@given(rows_of_units)
def test_weights_are_above_zero_and_one_on_average(rows: list[tuple[str, bool]]) -> None:
    weights = fitted.weights(frame(*map(list, zip(*rows, strict=True))), "liveness")
    assert (weights > 0).all()
    assert weights.mean() == pytest.approx(1)


@settings(max_examples=40)
@given(rows_of_units)
def test_of_one_class_a_decision_weighs_no_less_and_at_most_so_much_more(
    rows: list[tuple[str, bool]],
) -> None:
    known = frame(*map(list, zip(*rows, strict=True)))
    weight = pd.Series(fitted.weights(known, "liveness"))
    for _, mine in known.groupby("class"):
        both = weight[mine.index].groupby(mine["basis"]).first()
        if len(both) == 2:
            more = both["decision"] / both["given"]
            assert 1 - 1e-9 <= more <= fitted.DECIDED + 1e-9


@settings(max_examples=40)
@given(rows_of_units)
def test_decisions_never_outweigh_all_given_labels_by_being_made_to_count_more(
    rows: list[tuple[str, bool]],
) -> None:
    """Where they are raised at all, all decisions together weigh no more than all given ones."""
    known = frame(*map(list, zip(*rows, strict=True)))
    decided = (known["basis"] == "decision").to_numpy()
    weight = fitted.weights(known, "liveness")
    plain = fitted.weights(known.assign(basis="given"), "liveness")
    if decided.any() and not decided.all():
        allowed = max(1.0, plain[decided].sum() / plain[~decided].sum())
        assert weight[decided].sum() <= weight[~decided].sum() * allowed * (1 + 1e-9)


def test_ten_decisions_among_a_thousand_given_labels_count_twenty_times() -> None:
    known = frame(["bonafide", "print"] * 505, [False] * 1000 + [True] * 10)
    weight = fitted.weights(known, "liveness")
    assert weight[-1] / weight[0] == pytest.approx(fitted.DECIDED)


def test_both_sides_weigh_alike_whatever_their_numbers() -> None:
    known = frame(["bonafide"] * 90 + ["print"] * 8 + ["mask_3d"] * 2, [False] * 100)
    weight = pd.Series(fitted.weights(known, "liveness")).groupby(known["class"]).sum()
    assert weight["bonafide"] == pytest.approx(50)
    assert weight["print"] == weight["mask_3d"] == pytest.approx(25)


def test_decisions_of_a_new_source_turn_the_head(here: Workspace) -> None:
    """A source in which the sign of the feature means the opposite, told by a few decisions."""
    extra = [image(f"x{n}", subject=f"t/x{n}") for n in range(8)]
    names = people(here, count=12, per=6, images=extra)
    rng = np.random.default_rng(2)
    planted = {}
    for name in names:
        side = 1 if int(name[-1]) % 2 == 0 else -1
        planted[name] = np.array([side, 0, 0, 0]) + 0.1 * rng.normal(size=4)
    for n in range(8):
        side = 1 if n % 2 == 0 else -1
        planted[f"x{n}"] = np.array([-side, 3, -3 * side, 0]) + 0.1 * rng.normal(size=4)
    plant(here, planted)
    with runs.start(here, "review", {}) as run:
        run.append("decisions", pd.DataFrame([
            {"image_id": f"x{n}", "task": "liveness", "part": "", "action": "relabel",
             "label": (BONAFIDE, PRINT)[n % 2][0], "attack_type": (BONAFIDE, PRINT)[n % 2][1],
             "reviewer": "r", "at": "1"} for n in range(6)
        ]))  # fmt: skip
    found = units.gather(here, "liveness")
    p = teachers.build(here, "fitted", found, quiet).probabilities(found.pool)[:, 0]
    assert p[0] > 0.5 > p[1]


@pytest.fixture
def lit(
    here: Workspace, tmp_path: Path, card_tree: Callable, write_card: Callable,
    write_onnx: Callable,
) -> Callable[[], None]:  # fmt: skip
    """Call it to put a card into the workspace that tells bright pictures from dark ones."""

    def put() -> None:
        weights = np.zeros((3 * 8 * 8, 3), np.float32)
        weights[:, 1], weights[:, 0] = 8 / len(weights), -8 / len(weights)
        write_onnx(here.root / "cards" / "tiny.onnx", weights)
        tree = card_tree(
            name="light", output={"values": "logits", "classes": ["print", "bonafide", "mask_3d"]}
        )
        rgb, box = zero_shot.picture(3)
        told = cards.Net(**tree).input
        square = zero_shot.place(rgb, box, told)
        score = np.exp(zero_shot.values(square[np.newaxis], told).ravel() @ weights)
        expected = {"bonafide": float(score[1] / score.sum())}
        write_card(here.root / "cards", tree | {"selftest": [{"seed": 3, "expected": expected}]})

    return put


@pytest.fixture
def lamps(here: Workspace, tmp_path: Path) -> units.Units:
    """Pictures whose light tells their class, in features that tell nothing."""
    names = people(here, count=8, per=4)
    rng = np.random.default_rng(3)
    plant(here, {name: rng.normal(size=6) for name in names})
    for name in names:
        level = 60 if int(name[-1]) % 2 else 190
        noisy = np.clip(rng.normal(level, 20, (32, 32, 3)), 0, 255).astype(np.uint8)
        assert cv2.imwrite(str(tmp_path / f"{name}.png"), noisy)
    found = units.gather(here, "liveness")
    place = [
        {"uri": str(file), "bytes": file.stat().st_size, "mtime_ns": file.stat().st_mtime_ns}
        for file in (tmp_path / f"{name}.png" for name in found.learn["image_id"])
    ]
    learn = found.learn.assign(**pd.DataFrame(place, found.learn.index))
    return units.Units("liveness", learn, found.certify, found.pool, found.given)


def right(teacher: teachers.Teacher, learn: pd.DataFrame) -> float:
    said_bonafide = teacher.probabilities(learn)[:, 0] >= 0.5
    return float((said_bonafide == (learn["class"] == "bonafide")).mean())


def test_the_stack_hears_the_cards(
    here: Workspace, lamps: units.Units, lit: Callable[[], None]
) -> None:
    assert right(teachers.build(here, "fitted", lamps, quiet), lamps.learn) < 0.8
    lit()
    stack = teachers.build(here, "stack", lamps, quiet)
    assert stack.name == "stack"
    assert right(stack, lamps.learn) == 1
    assert Cache(next((here.root / "crops").glob("scores-light-*"))).ids() == set(
        lamps.learn["image_id"]
    )


def test_the_stack_is_the_default_where_the_weights_of_a_card_are_here(
    here: Workspace, lit: Callable[[], None]
) -> None:
    assert teachers.default(here, "liveness") == "fitted"
    lit()
    assert teachers.default(here, "liveness") == "stack"
    assert teachers.default(here, "eyes") != "stack"
    assert "light" in teachers.names(here, "liveness")
    (here.root / "cards" / "tiny.onnx").unlink()
    assert teachers.default(here, "liveness") == "fitted"


@pytest.mark.parametrize("name", ["stack", "agreement"])
def test_what_needs_a_card_says_so_where_none_is(
    here: Workspace, lamps: units.Units, name: str
) -> None:
    with pytest.raises(AssetError, match=r"(?s)curate teachers list.*--teacher fitted"):
        teachers.build(here, name, lamps, quiet)


def test_an_unknown_teacher_is_told_who_is_known(here: Workspace, lamps: units.Units) -> None:
    with pytest.raises(ConfigError, match=r"(?s)'nobody'.*fitted.*minifasnet.*Next:"):
        teachers.build(here, "nobody", lamps, quiet)


class Says:
    """A teacher that answers from a list."""

    name = "says"

    def __init__(self, bonafide: list[float]) -> None:
        p = np.array(bonafide)
        self._answers = np.zeros((len(p), 10))
        self._answers[:, 0], self._answers[:, 1:3] = p, (1 - p)[:, np.newaxis] / 2

    def probabilities(self, units: pd.DataFrame) -> np.ndarray:
        return self._answers + 0 * np.where(np.isnan(self._answers[:, :1]), np.nan, 0)


def agreed(*answers: list[float], heats: tuple[float, ...] = (1.0, 1.0)) -> np.ndarray:
    members = [(Says(one), heat) for one, heat in zip(answers, heats, strict=True)]
    return teachers.Agreement(members, "liveness").probabilities(apart(len(answers[0])))


def apart(count: int) -> pd.DataFrame:
    """Units of a clip each."""
    return pd.DataFrame({"clip_id": [f"c{n}" for n in range(count)], "part": ""})


def test_where_all_agree_the_least_sure_speaks() -> None:
    p = agreed([0.9, 0.2, 0.6], [0.7, 0.1, 0.99])
    np.testing.assert_allclose(p[:, 0], [0.7, 0.2, 0.6], atol=1e-6)
    np.testing.assert_allclose(p.sum(axis=1), 1)


def test_where_they_differ_no_side_is_likelier() -> None:
    p = agreed([0.99, 0.01], [0.4, 0.6])
    np.testing.assert_allclose(p[:, 0], 0.5)
    np.testing.assert_allclose(p.sum(axis=1), 1)


def test_a_member_is_heard_at_its_own_temperature() -> None:
    hot = agreed([0.99], [0.9], heats=(4.0, 1.0))
    assert hot[0, 0] == pytest.approx(1 / (1 + (0.01 / 0.99) ** 0.25), abs=1e-4)


def test_one_member_without_an_opinion_leaves_none() -> None:
    p = agreed([0.9, np.nan, np.nan], [np.nan, 0.8, np.nan])
    assert np.isnan(p).all()


def test_a_frame_without_an_opinion_gets_none_from_its_clip() -> None:
    members = [(Says([0.9, np.nan]), 1.0), (Says([0.8, 0.8]), 1.0)]
    rows = pd.DataFrame({"clip_id": ["c", "c"], "part": ""})
    p = teachers.Agreement(members, "liveness").probabilities(rows)
    assert p[0, 0] == pytest.approx(0.8, abs=1e-6)
    assert np.isnan(p[1]).all()


def test_of_other_tasks_the_classes_must_agree() -> None:
    class Eyes:
        name = "eyes"

        def __init__(self, *rows: tuple[float, float, float]) -> None:
            self._rows = np.array(rows)

        def probabilities(self, units: pd.DataFrame) -> np.ndarray:
            return self._rows

    one = Eyes((0.7, 0.2, 0.1), (0.1, 0.8, 0.1))
    other = Eyes((0.6, 0.1, 0.3), (0.1, 0.1, 0.8))
    both = teachers.Agreement([(one, 1.0), (other, 1.0)], "eyes")
    p = both.probabilities(apart(2))
    np.testing.assert_allclose(p, [[0.6, 0.1, 0.3], [1 / 3] * 3], atol=1e-6)


def test_the_champion_has_no_opinion_of_people_it_learnt_from() -> None:
    rows = pd.DataFrame({"image_id": list("abcd"), "group": ["g", "g", "h", "k"]})
    asked: list[str] = []

    def score(units: pd.DataFrame) -> np.ndarray:
        asked.extend(units["image_id"])
        return np.array([0.9, 0.2])

    p = teachers.Champion(score, frozenset("a")).probabilities(rows)
    assert asked == ["c", "d"]
    assert np.isnan(p[:2]).all()
    unknown = schema.LIVENESS_CLASSES.index("unknown")
    np.testing.assert_allclose(p[2:, [0, unknown]], [[0.9, 0.1], [0.2, 0.8]])
    np.testing.assert_allclose(p[2:].sum(axis=1), 1)


def test_a_champion_that_learnt_from_all_scores_nobody() -> None:
    rows = pd.DataFrame({"image_id": ["a", "b"], "group": ["g", "g"]})

    def score(units: pd.DataFrame) -> np.ndarray:
        raise AssertionError("nobody is left to be scored")

    assert np.isnan(teachers.Champion(score, frozenset("a")).probabilities(rows)).all()


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param({"subject": "t/new"}, id="rejected since"),
        pytest.param({"origin": "synthetic", "parent_id": "kin"}, id="synthetic child"),
    ],
)
def test_the_champion_knows_people_by_images_that_are_labelled_no_more(
    here: Workspace, monkeypatch: pytest.MonkeyPatch, seen: Row
) -> None:
    """What it learnt from is no unit now; somebody else of that person still is."""
    people(here, count=2, per=2, images=[image("kin", subject="t/new"), image("seen", **seen)])
    reject = {"image_id": "seen", "task": "liveness", "part": "", "action": "reject", "label": "",
              "attack_type": "", "reviewer": "r", "at": "1"}  # fmt: skip
    write(here, decisions=[reject])
    monkeypatch.setattr(champions, "require_champion", lambda here, task: None)
    monkeypatch.setattr(champions, "learnt_from", lambda model: frozenset(["seen"]))
    monkeypatch.setattr(
        champions, "scorer", lambda here, model, track: lambda rows: np.full(len(rows), 0.99)
    )
    found = units.gather(here, "liveness")
    assert list(found.pool.index) == ["kin"]
    champion = teachers.build(here, "champion", found, quiet)
    assert np.isnan(champion.probabilities(found.pool)).all()
    assert not np.isnan(champion.probabilities(found.learn)).any()
