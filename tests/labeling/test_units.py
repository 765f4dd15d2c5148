"""Units: which image and part gets a label, from whom it is learnt, and what nobody may touch."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from curate import runs, schema, workspace
from curate.errors import DataError
from curate.workspace import Workspace
from labeling import units

Row = dict[str, Any]
POINTS = [30.0, 40.0, 70.0, 40.0, 50.0, 60.0, 50.0, 80.0, 20.0, 50.0, 80.0, 50.0]


@pytest.fixture
def here(tmp_path: Path) -> Workspace:
    return workspace.create(tmp_path / "ws")


def write(here: Workspace, **tables: list[Row]) -> None:
    with runs.start(here, "test", {}) as run:
        for table, rows in tables.items():
            run.append(table, pd.DataFrame(rows))


def image(name: str, **more: Any) -> Row:
    return {
        "image_id": name, "uri": f"/{name}.jpg", "source": "t", "origin": "mined", "shows": "face",
        "status": "kept", "face": [10.0, 20.0, 80.0, 90.0], "landmarks": POINTS,
    } | more  # fmt: skip


def said(name: str, label: str, kind: str = "", **more: Any) -> Row:
    return {
        "image_id": name, "task": "liveness", "part": "", "label": label, "attack_type": kind,
        "source": "t", "trusted": True,
    } | more  # fmt: skip


def decided(name: str, action: str, label: str = "", kind: str = "", **more: Any) -> Row:
    return {
        "image_id": name, "task": "liveness", "part": "", "action": action, "label": label,
        "attack_type": kind, "reviewer": "r", "at": "1",
    } | more  # fmt: skip


def placed(**split_of: str) -> list[Row]:
    return [
        {"image_id": name, "split": split} for split, names in split_of.items() for name in names
    ]


def eye(name: str, part: str, label: str, **more: Any) -> Row:
    return said(name, label, task="eyes", part=part, **more)


def test_what_is_trusted_is_learnt_from_or_certified_on_and_the_rest_of_train_is_the_pool(
    here: Workspace,
) -> None:
    write(
        here,
        images=[image(name) for name in "abcdefgh"],
        splits=placed(train="abcd", dev="ef", test="gh"),
        labels=[said("a", "bonafide"), said("b", "attack", "print"), said("c", "attack"),
                said("e", "bonafide"), said("g", "bonafide")],
    )  # fmt: skip
    found = units.gather(here, "liveness")
    assert found.learn["class"].to_dict() == {"a": "bonafide", "b": "print", "c": "unknown"}
    assert found.certify["class"].to_dict() == {"e": "bonafide"}
    assert list(found.pool.index) == ["d"]
    assert not {"g", "h", "f"} & set(found.every.index)
    assert list(found.every.index) == ["a", "b", "c", "e", "d"]


def test_nothing_synthetic_is_learnt_from_certified_on_or_labelled(here: Workspace) -> None:
    write(
        here,
        images=[image("a"), image("b"), image("made", origin="synthetic", parent_id="a")],
        splits=placed(train=["a", "b", "made"]),
        labels=[said("a", "bonafide"), said("made", "attack", "print")],
    )
    assert set(units.gather(here, "liveness").every.index) == {"a", "b"}


def test_a_synthetic_child_gives_its_mined_kin_no_name_of_its_own(here: Workspace) -> None:
    write(
        here,
        images=[image("m"), image("n", subject="t/x"), image("o", subject="t/x"),
                image("a-child", origin="synthetic", parent_id="m")],
        splits=placed(train=["m", "n", "o", "a-child"]),
        labels=[said("m", "bonafide"), said("a-child", "attack", "print")],
    )  # fmt: skip
    group = units.gather(here, "liveness").every["group"]
    assert group.to_dict() == {"m": "m", "n": "n", "o": "n"}


def test_one_person_clip_or_copy_is_one_group_and_a_frame_belongs_to_its_clip(
    here: Workspace,
) -> None:
    pair = {"kind": "recapture", "relation": "same", "distance": 0, "similarity": 0.99}
    write(
        here,
        images=[image("a", subject="t/x"), image("b", subject="t/x"), image("c", clip="t/k"),
                image("d", clip="t/k"), image("e"), image("f"), image("g")],
        splits=placed(train="abcdefg"),
        labels=[said("a", "bonafide")],
        pairs=[{"a": "e", "b": "f", "cluster": "", "worst": 0.99} | pair],
    )  # fmt: skip
    every = units.gather(here, "liveness").every
    together = every.groupby("group").groups.values()
    assert sorted("".join(sorted(names)) for names in together) == ["ab", "cd", "ef", "g"]
    assert every["clip_id"].to_dict() == {
        "a": "a", "b": "b", "c": "t/k", "d": "t/k", "e": "e", "f": "f", "g": "g",
    }  # fmt: skip


def test_whom_a_person_decided_or_rejected_is_not_labelled_again_and_keep_decides_nothing(
    here: Workspace,
) -> None:
    write(
        here,
        images=[image(name) for name in "abcdef"],
        splits=placed(train="abcdef"),
        labels=[said("a", "bonafide")],
        decisions=[decided("b", "relabel", "attack", "print"), decided("c", "reject"),
                   decided("d", "keep"), decided("e", "accept", "bonafide")],
    )  # fmt: skip
    found = units.gather(here, "liveness")
    assert found.learn["basis"].to_dict() == {"a": "given", "b": "decision", "e": "decision"}
    assert set(found.pool.index) == {"d", "f"}


def test_a_rejected_trusted_image_is_learnt_from_no_more(here: Workspace) -> None:
    write(
        here,
        images=[image(name) for name in "abc"],
        splits=placed(train="ab", dev="c"),
        labels=[said(name, "bonafide") for name in "abc"],
        decisions=[decided("b", "reject"), decided("c", "reject")],
    )
    found = units.gather(here, "liveness")
    assert list(found.every.index) == ["a"]


def test_labels_that_contradict_each_other_wait_in_the_pool(here: Workspace) -> None:
    write(
        here,
        images=[image("a"), image("b")],
        splits=placed(train="ab"),
        labels=[said("a", "bonafide"), said("b", "bonafide"), said("b", "attack", "print")],
    )
    found = units.gather(here, "liveness")
    assert list(found.pool.index) == ["b"]
    assert found.given["b"] == "conflict"


def test_given_labels_are_known_of_all_units_trusted_or_not(here: Workspace) -> None:
    write(
        here,
        images=[image(name) for name in "abct"],
        splits=placed(train="abc", test="t"),
        labels=[said("a", "bonafide"), said("b", "attack", "print", trusted=False),
                said("t", "bonafide")],
    )  # fmt: skip
    found = units.gather(here, "liveness")
    assert found.given.to_dict() == {"a": "bonafide", "b": "attack/print"}
    assert set(found.pool.index) == {"b", "c"}


def test_a_face_has_two_eyes_and_a_patch_what_its_label_names(here: Workspace) -> None:
    write(
        here,
        images=[image("face"), image("blind", landmarks=None)]
        + [image(name, shows="eye", face=None, landmarks=None) for name in ("l", "r", "e", "x")],
        splits=placed(train=["face", "blind", "l", "r", "e", "x"]),
        labels=[eye("l", "left_eye", "open"), eye("r", "right_eye", "closed", trusted=False),
                eye("e", "eye", "closed"), eye("face", "left_eye", "closed")],
    )  # fmt: skip
    found = units.gather(here, "eyes")
    shown = {(row.image_id, row.part) for row in found.every.itertuples()}
    assert shown == {("face", "left_eye"), ("face", "right_eye"), ("l", "left_eye"),
                     ("r", "right_eye"), ("e", "eye"), ("x", "eye")}  # fmt: skip
    assert found.every.index.is_unique
    assert set(found.learn.index) == {"faceleft_eye", "lleft_eye", "eeye"}
    assert found.given["rright_eye"] == "closed"


def test_one_eye_decided_leaves_the_other_to_be_labelled(here: Workspace) -> None:
    write(
        here,
        images=[image("a"), image("b")],
        splits=placed(train="ab"),
        labels=[eye("a", "left_eye", "open"), eye("a", "right_eye", "closed")],
        decisions=[decided("b", "relabel", "open", task="eyes", part="left_eye")],
    )
    found = units.gather(here, "eyes")
    assert list(found.pool.index) == ["bright_eye"]
    assert found.learn.loc["bleft_eye", "basis"] == "decision"


def test_patches_are_no_unit_of_liveness_or_occlusion(here: Workspace) -> None:
    write(
        here,
        images=[image("a"), image("p", shows="eye", face=None, landmarks=None)],
        splits=placed(train="ap"),
        labels=[said("a", "bonafide"), said("a", "clear", task="occlusion", part="nose")],
    )
    assert set(units.gather(here, "liveness").every["image_id"]) == {"a"}
    occlusion = units.gather(here, "occlusion").every
    assert set(occlusion["image_id"]) == {"a"}
    assert set(occlusion["part"]) == {"nose"}  # of other regions nothing is known to learn from


def test_a_face_whose_regions_cannot_be_found_is_no_unit_of_occlusion(here: Workspace) -> None:
    write(
        here,
        images=[image("a"), image("blind", landmarks=None)],
        splits=placed(train=["a", "blind"]),
        labels=[said("a", "clear", task="occlusion", part="nose")],
    )
    assert set(units.gather(here, "occlusion").every["image_id"]) == {"a"}


def test_labels_of_dev_and_test_alone_teach_nobody(here: Workspace) -> None:
    write(
        here,
        images=[image("a"), image("b"), image("c")],
        splits=placed(train="c", dev="a", test="b"),
        labels=[said("a", "bonafide"), said("b", "bonafide")],
    )
    with pytest.raises(DataError, match=r"(?s)no training image has a trusted liveness.*Next:"):
        units.gather(here, "liveness")
    found = units.gather(here, "liveness", learning=False)
    assert (list(found.certify["image_id"]), list(found.pool["image_id"])) == (["a"], ["c"])


def test_who_learns_nothing_labels_parts_of_which_nothing_is_known(here: Workspace) -> None:
    write(
        here,
        images=[image("a"), image("b")],
        splits=placed(train="ab"),
        labels=[said("a", "clear", task="occlusion", part="chin")],
    )
    assert list(units.gather(here, "occlusion").pool.index) == ["bchin"]
    pool = units.gather(here, "occlusion", learning=False).pool
    assert len(pool) == 2 * len(schema.PARTS_OF["occlusion"]) - 1


@pytest.mark.parametrize("seed", range(5))
def test_one_unit_of_each_clip_is_drawn(seed: int) -> None:
    rows = pd.DataFrame(
        {
            "clip_id": ["k"] * 8 + ["m"] * 2 + ["n"],
            "part": ["left_eye", "right_eye"] * 5 + ["left_eye"],
        },
        index=[f"u{n:02}" for n in range(11)],
    )
    drawn = units.one_per_clip(rows, seed)
    assert len(drawn) == 3
    assert not drawn.duplicated(["clip_id", "part"]).any()
    pd.testing.assert_frame_equal(drawn, rows.loc[drawn.index])
    pd.testing.assert_frame_equal(drawn, units.one_per_clip(rows, seed))


def test_any_frame_of_a_clip_may_be_the_one_drawn() -> None:
    rows = pd.DataFrame({"clip_id": "k", "part": ""}, index=[f"u{n}" for n in range(6)])
    drawn = {units.one_per_clip(rows, seed).index[0] for seed in range(60)}
    assert drawn == set(rows.index)
