"""Whose word counts: decision over trusted given label over accepted soft label."""

from pathlib import Path

import pandas as pd
import pytest

from curate import labels, runs, workspace
from curate.usable import usable_images
from curate.workspace import Workspace


@pytest.fixture
def here(tmp_path: Path) -> Workspace:
    made = workspace.create(tmp_path / "ws")
    write(made, images=[image(name) for name in "abc"])
    return made


def write(here: Workspace, **tables: list[dict[str, object]]) -> None:
    common = {"task": "liveness", "part": ""}
    with runs.start(here, "test", {}) as run:
        for table, rows in tables.items():
            frame = pd.DataFrame([{**({} if table == "images" else common), **row} for row in rows])
            run.append(table, frame)


def given(
    image: str, label: str, attack_type: str = "", *, trusted: bool = True
) -> dict[str, object]:
    return {"image_id": image, "label": label, "attack_type": attack_type, "trusted": trusted}


def soft(image: str, p_bonafide: float, status: str = "accepted") -> dict[str, object]:
    probs = [p_bonafide, 1 - p_bonafide, *[0.0] * 8]
    bonafide = p_bonafide >= 0.5
    return {
        "image_id": image,
        "label": "bonafide" if bonafide else "attack",
        "attack_type": "" if bonafide else "print",
        "probs": probs,
        "confidence": max(p_bonafide, 1 - p_bonafide),
        "status": status,
    }


def decision(
    image: str, action: str, label: str = "", attack_type: str = "", at: str = "1"
) -> dict[str, object]:
    return {
        "image_id": image,
        "action": action,
        "label": label,
        "attack_type": attack_type,
        "at": at,
    }


def label_of(here: Workspace, image: str) -> tuple[str, str, str] | None:
    resolved = labels.resolved(here.catalogue)
    if image not in resolved.index:
        return None
    row = resolved.loc[image]
    return row["label"], row["attack_type"], row["basis"]


def test_precedence(here: Workspace) -> None:
    write(
        here,
        labels=[given("a", "bonafide"), given("b", "bonafide")],
        soft_labels=[soft("b", 0.01), soft("c", 0.97)],
    )
    write(here, decisions=[decision("a", "relabel", "attack", "print")])
    assert label_of(here, "a") == ("attack", "print", "decision")
    assert label_of(here, "b") == ("bonafide", "", "given")
    assert label_of(here, "c") == ("bonafide", "", "soft")
    assert labels.resolved(here.catalogue).loc["c", "p_bonafide"] == pytest.approx(0.97)


def test_untrusted_labels_and_labels_in_review_decide_nothing(here: Workspace) -> None:
    write(
        here,
        labels=[given("a", "attack", "print", trusted=False)],
        soft_labels=[soft("b", 0.7, "review")],
    )
    assert labels.resolved(here.catalogue).empty
    assert labels.given_keys(here.catalogue)["a"] == "attack/print"


def test_a_person_accepts_a_soft_label_or_rejects_an_image(here: Workspace) -> None:
    write(here, labels=[given("b", "bonafide")], soft_labels=[soft("a", 0.7, "review")])
    write(here, decisions=[decision("a", "accept"), decision("b", "reject")])
    assert label_of(here, "a") == ("bonafide", "", "soft")
    assert label_of(here, "b") is None


def test_the_last_decision_counts(here: Workspace) -> None:
    write(here, decisions=[decision("a", "relabel", "attack", "print", at="2026-01-02")])
    write(here, decisions=[decision("a", "relabel", "bonafide", at="2026-01-03")])
    write(here, decisions=[decision("a", "reject", at="2026-01-01")])
    assert label_of(here, "a") == ("bonafide", "", "decision")


def test_contradicting_trusted_labels_are_withheld_until_a_person_decides(here: Workspace) -> None:
    write(
        here,
        labels=[given("a", "bonafide"), given("a", "attack", "print")],
        soft_labels=[soft("a", 0.99)],
    )
    assert label_of(here, "a") is None
    write(here, decisions=[decision("a", "relabel", "bonafide")])
    assert label_of(here, "a") == ("bonafide", "", "decision")


@pytest.mark.parametrize("dtype", [object, "category"])
def test_which_decisions_are_final(dtype: str) -> None:
    rows = [
        ("accept", "", True), ("accept", "bonafide", True), ("relabel", "bonafide", True),
        ("reject", "", True), ("reject", None, True), ("keep", "attack", True),
        ("keep", "", False), ("keep", None, False),
    ]  # fmt: skip
    decisions = pd.DataFrame(rows, columns=["action", "label", "final"])
    columns = decisions[["action", "label"]].astype(dtype)
    assert labels.final(columns).tolist() == decisions["final"].tolist()
    assert labels.final(columns[:0]).tolist() == []


@pytest.mark.parametrize(
    ("one", "other", "differ"),
    [
        ("bonafide", "attack/print", True),
        ("bonafide", "attack/unknown", True),
        ("attack/print", "attack/replay_phone", True),
        ("attack/print", "attack/unknown", False),
        ("bonafide", "bonafide", False),
        ("bonafide", None, False),
        ("conflict", "bonafide", True),
    ],
)
def test_when_two_labels_differ(one: str | None, other: str | None, differ: bool) -> None:
    assert labels.differs(one, other) == differ
    assert labels.differs(other, one) == differ


def image(name: str, **columns: object) -> dict[str, object]:
    base = {
        "status": "kept",
        "reason": "",
        "turn": 0,
        "mirror": "no",
        "origin": "mined",
        "face": [0.0, 0, 9, 9],
    }
    return {"image_id": name, "uri": f"/{name}", **base, **columns}


def test_a_synthetic_attack_counts_only_while_its_parent_is_believed_bonafide(
    here: Workspace,
) -> None:
    write(
        here,
        images=[image("p"), image("s", origin="synthetic", parent_id="p")],
        labels=[given("p", "bonafide"), given("s", "attack", "print")],
    )
    assert {"p", "s"} <= set(usable_images(here.catalogue).index)
    write(here, decisions=[decision("p", "relabel", "attack", "print")])
    assert set(usable_images(here.catalogue).index) & {"p", "s"} == {"p"}


def test_a_person_puts_an_image_back(here: Workspace) -> None:
    write(
        here, images=[image("d", status="quarantined"), image("e", status="quarantined", face=None)]
    )
    assert not {"d", "e"} & set(usable_images(here.catalogue).index)
    write(here, decisions=[decision("d", "keep"), decision("e", "keep")])
    assert {"d", "e"} & set(usable_images(here.catalogue).index) == {"d"}  # e has no face to crop
