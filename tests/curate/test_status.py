"""What `curate status` counts, and what a redraw changes."""

from pathlib import Path

import pandas as pd
import pytest

from curate import runs, workspace
from curate.labels import Said
from curate.resplit import redraw
from curate.snapshot import Snapshot
from curate.status import BATCHES, overview
from curate.usable import usable_images
from curate.workspace import Workspace


@pytest.fixture
def here(tmp_path: Path) -> Workspace:
    return workspace.create(tmp_path / "ws")


def image(name: str, **columns: object) -> dict[str, object]:
    base = {
        "status": "kept", "reason": "", "turn": 0, "mirror": "no", "origin": "mined",
        "source": "folder", "face": [0.0, 0, 9, 9],
    }  # fmt: skip
    return {"image_id": name, "uri": f"/{name}", **base, **columns}


def label(name: str, word: str, *, trusted: bool = True) -> dict[str, object]:
    kind, _, attack_type = word.partition("/")
    row = {"image_id": name, "label": kind, "attack_type": attack_type, "trusted": trusted}
    return {"task": "liveness", "part": "", **row}


def write(
    here: Workspace,
    verb: str = "ingest",
    *,
    inputs: dict[str, object] | None = None,
    **tables: list[dict[str, object]],
) -> str:
    with runs.start(here, verb, inputs or {}) as run:
        for table, rows in tables.items():
            run.append(table, pd.DataFrame(rows))
    return run.run_id


def deal(here: Workspace, **splits: str) -> None:
    rows = [{"image_id": name, "split": split} for name, split in splits.items()]
    write(here, "ingest", splits=rows)


def test_an_empty_workspace(here: Workspace) -> None:
    view = overview(here)
    counts = {"images": 0, "kept": 0, "duplicate": 0, "quarantined": 0, "synthetic": 0}
    assert view.images == counts
    assert not view.labels
    assert not any(view.queues.values())
    assert view.batches == view.runs == []
    assert view.redrawn == ""
    assert view.next_steps == ["curate ingest FOLDER_OF_IMAGES"]


def test_counts_by_label_and_split_and_what_waits(here: Workspace) -> None:
    write(
        here,
        images=[
            image("a"), image("b"), image("c", turn=-1), image("d", turn=-1), image("f", face=None),
            image("e", status="quarantined", reason="no_face"), image("s", origin="synthetic"),
        ],
        labels=[
            label("a", "bonafide"), label("b", "attack/print"), label("f", "bonafide"),
            label("c", "bonafide"), label("c", "attack/print"),
        ],
    )  # fmt: skip
    deal(here, a="test", b="train", c="train", f="train")
    soft = {
        "image_id": "d", "task": "liveness", "part": "", "label": "attack", "attack_type": "print",
        "probs": [0.3, 0.7, *[0.0] * 8], "confidence": 0.7, "status": "review", "reason": "",
    }  # fmt: skip
    write(here, "softlabel", soft_labels=[soft])
    view = overview(here)
    assert view.images == {
        "images": 7, "kept": 6, "duplicate": 0, "quarantined": 1, "synthetic": 1,
    }  # fmt: skip
    assert view.labels == {"attack/print": (1, 0, 0), "bonafide": (0, 0, 1)}
    assert view.queues == {
        "soft labels to review": 1, "contradictory given labels": 1, "turn undecided": 2,
    }  # fmt: skip
    decision = {"task": "liveness", "part": "", "at": "1", "label": "", "attack_type": ""}
    write(here, "review", decisions=[{**decision, "image_id": "d", "action": "reject"}])
    assert overview(here).queues == {
        "soft labels to review": 0, "contradictory given labels": 1, "turn undecided": 1,
    }  # fmt: skip


def test_eyes_that_wait_are_counted_by_themselves(here: Workspace) -> None:
    write(here, images=[image("a"), image("b")], labels=[label("a", "bonafide")])
    deal(here, a="train", b="train")
    rows = [open_eye(name, part) for name in "ab" for part in ("left_eye", "right_eye")]
    run = write(here, "softlabel", soft_labels=rows, inputs={"task": "eyes"})
    view = overview(here)
    assert view.queues["soft labels to review, eyes"] == 4
    assert view.queues["soft labels to review"] == 0
    assert "curate review --task eyes" in view.next_steps
    assert "curate review" not in view.next_steps
    decision = {"task": "eyes", "part": "left_eye", "at": "1", "label": "closed", "attack_type": ""}
    write(here, "review", decisions=[{**decision, "image_id": "a", "action": "relabel"}])
    assert overview(here).queues["soft labels to review, eyes"] == 3
    runs.undo(here, run)
    assert "soft labels to review, eyes" not in overview(here).queues


def open_eye(name: str, part: str) -> dict[str, object]:
    soft = {
        "task": "eyes", "label": "open", "attack_type": "", "probs": [0.6, 0.3, 0.1],
        "confidence": 0.6, "status": "review", "reason": "",
    }  # fmt: skip
    return {**soft, "image_id": name, "part": part}


def test_eyes_that_wait_are_a_step_where_no_liveness_label_is_in_use(here: Workspace) -> None:
    hint = "curate ingest LABELLED_FOLDER --trust given   of more people than dev and test took"
    write(here, images=[image("a")], labels=[label("a", "open") | {"task": "eyes", "part": "eye"}])
    assert overview(here).next_steps == ["curate softlabel --threshold 0.9", hint]
    soft_labels = [open_eye("a", "left_eye")]
    write(here, "softlabel", soft_labels=soft_labels, inputs={"task": "eyes"})
    assert overview(here).next_steps == ["curate review --task eyes", hint]
    write(here, images=[image("b", turn=-1)])
    assert overview(here).next_steps == ["curate review", "curate review --task eyes", hint]


def test_before_any_teacher_ran_it_is_the_first_step_and_what_waits_the_next(
    here: Workspace,
) -> None:
    write(here, images=[image("a"), image("b", turn=-1)], labels=[label("a", "bonafide")])
    deal(here, a="train", b="train")
    assert overview(here).next_steps == ["curate softlabel --threshold 0.9", "curate review"]


def test_contradictory_labels_of_parts_are_counted_part_by_part(here: Workspace) -> None:
    said = [("left_eye", "open"), ("left_eye", "closed"), ("right_eye", "open"), ("eye", "open"),
            ("eye", "blocked")]  # fmt: skip
    rows = [label("a", word) | {"task": "eyes", "part": part} for part, word in said]
    gone = [row | {"image_id": "undone"} for row in rows]
    write(here, images=[image("a")], labels=[*rows, *gone, label("a", "bonafide")])
    deal(here, a="train")
    view = overview(here)
    assert view.queues == {
        "soft labels to review": 0, "contradictory given labels": 0, "turn undecided": 0,
        "soft labels to review, eyes": 0, "contradictory given labels, eyes": 2,
    }  # fmt: skip
    assert "curate review --task eyes" in view.next_steps
    decision = {"task": "eyes", "part": "left_eye", "at": "1", "label": "open", "attack_type": ""}
    write(here, "review", decisions=[{**decision, "image_id": "a", "action": "relabel"}])
    assert overview(here).queues["contradictory given labels, eyes"] == 1


def test_parts_of_which_nothing_is_said_cost_nothing(
    here: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[tuple[str, ...]] = []

    class Counted(Said):
        def __init__(self, snapshot: Snapshot, *of: str) -> None:
            built.append(of)
            super().__init__(snapshot, *of)

    monkeypatch.setattr("curate.status.Said", Counted)
    write(here, images=[image("a")], labels=[label("a", "open") | {"task": "eyes", "part": "eye"}])
    overview(here)
    assert built == [(), ("eyes", "eye")]


def test_each_batch_says_what_was_new_and_what_was_not(here: Workspace) -> None:
    first = write(here, images=[image("a"), image("b", status="duplicate", source="lcc-fasd")])
    write(here, "softlabel")
    place = {"image_id": "a", "uri": "/again"}
    second = write(here, images=[image("c", status="quarantined")], places=[place, place])
    third = write(here, places=[place])
    rows = overview(here).batches
    keys = ("run_id", "sources", "images", "kept", "duplicate", "quarantined", "again")
    assert [tuple(row[key] for key in keys) for row in rows] == [
        (first, ["folder", "lcc-fasd"], 2, 1, 1, 0, 0),
        (second, ["folder"], 1, 0, 0, 1, 2),
        (third, [], 0, 0, 0, 0, 1),
    ]
    assert all(row["started"] for row in rows)
    runs.undo(here, second)
    assert [row["run_id"] for row in overview(here).batches] == [first, third]


def test_only_the_last_batches_are_shown(here: Workspace) -> None:
    ids = [write(here, images=[image(f"{n}")]) for n in range(BATCHES + 1)]
    assert [row["run_id"] for row in overview(here).batches] == ids[1:]


def redrawn(here: Workspace, seed: int) -> str:
    drawn = redraw(here.catalogue, seed=seed)
    rows = drawn.loc[~drawn["contamination"], ["image_id", "split"]]
    with runs.start(here, "resplit", {"seed": seed}) as run:
        run.append("splits", rows)
    return run.run_id


def test_a_redraw_deals_everything_anew_and_says_so_until_it_is_undone(here: Workspace) -> None:
    people = [image(f"{n:02}{shot}", subject=f"s{n}") for n in range(30) for shot in "ab"]
    write(
        here,
        images=people,
        labels=[label(str(row["image_id"]), "bonafide") for row in people],
        splits=[{"image_id": row["image_id"], "split": "train"} for row in people],
    )
    before = here.catalogue.split_of()
    run = redrawn(here, seed=1)
    after = here.catalogue.split_of()
    assert overview(here).redrawn == run
    assert overview(here).labels == {"bonafide": (42, 6, 12)}
    assert (after.groupby(after.index.str[:2]).nunique() == 1).all()  # both shots of a person
    other = redraw(here.catalogue, seed=2).set_index("image_id")["split"]
    assert (other != after.reindex(other.index)).any()
    runs.undo(here, run)
    assert overview(here).redrawn == ""
    pd.testing.assert_series_equal(here.catalogue.split_of(), before)


def test_who_takes_part_in_a_redraw(here: Workspace) -> None:
    write(
        here,
        images=[
            image("official", official_split="test", subject="anna"),
            image("leak", official_split="train", subject="anna", status="quarantined",
                  reason="contamination"),
            image("child", origin="synthetic", parent_id="official"),
            image("blurred", status="quarantined", reason="truncated"),
            image("mined"), image("judged", official_split="test"),
            image("clash", official_split="test"),
        ],
        labels=[label("official", "bonafide"), label("leak", "bonafide"),
                label("clash", "bonafide"), label("clash", "attack/print"),
                label("child", "attack/print")],
    )  # fmt: skip
    decision = {
        "task": "liveness",
        "part": "",
        "at": "1",
        "label": "attack",
        "attack_type": "print",
    }
    write(here, "review", decisions=[{**decision, "image_id": "judged", "action": "relabel"}])
    drawn = redraw(here.catalogue).set_index("image_id")
    split = drawn["split"].where(~drawn["contamination"], "contamination").to_dict()
    assert split == {
        "official": "test", "leak": "contamination", "child": "contamination",
        "mined": "train", "judged": "test", "clash": "train",
    }  # fmt: skip


def test_what_was_contamination_counts_again_once_a_redraw_brought_it_to_its_group(
    here: Workspace,
) -> None:
    out = {"status": "quarantined", "reason": "contamination"}
    write(
        here,
        images=[image("old", subject="s"), image("late", subject="s", **out), image("copy", **out)],
        splits=[{"image_id": "old", "split": "test"}],
        pairs=[{"a": "copy", "b": "old", "kind": "contamination", "cluster": ""}],
    )
    assert list(usable_images(here.catalogue).index) == ["old"]
    redrawn(here, seed=0)  # nobody trusts their labels, so all are train
    assert list(usable_images(here.catalogue).index) == ["old", "late"]
    assert set(usable_images(here.catalogue, ["uri"]).columns) == {"image_id", "uri"}
