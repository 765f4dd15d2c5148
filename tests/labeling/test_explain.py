"""The label history of an image: everything said, in order, and what of it counts."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from curate import runs, workspace
from curate.errors import DataError
from curate.workspace import Workspace
from labeling.explain import history

Row = dict[str, Any]
A = "aaaa" + "0" * 60
LOOKS = {"task": "liveness", "part": ""}


@pytest.fixture
def here(tmp_path: Path) -> Workspace:
    made = workspace.create(tmp_path / "ws")
    places = {A: "/in/train/1.jpg", "aaab" + "0" * 60: "/in/dev/1.jpg", "c" * 64: "/in/11.jpg"}
    rows = [
        {"image_id": name, "uri": uri, "source": "t", "origin": "mined", "status": "kept",
         "face": [0.0, 0, 9, 9]} for name, uri in places.items()
    ]  # fmt: skip
    write(made, "ingest", images=rows, splits=[{"image_id": A, "split": "train"}])
    return made


def write(here: Workspace, verb: str, **tables: list[Row]) -> str:
    with runs.start(here, verb, {}) as run:
        for table, rows in tables.items():
            run.append(table, pd.DataFrame(rows))
    return run.run_id


def given(**more: Any) -> Row:
    return {"image_id": A, **LOOKS, "label": "bonafide", "attack_type": "", "source": "folder",
            "trusted": False} | more  # fmt: skip


def soft(**more: Any) -> Row:
    return {"image_id": A, **LOOKS, "label": "bonafide", "attack_type": "", "confidence": 0.97,
            "probs": [0.97, *[0.03 / 9] * 9], "status": "accepted", "reason": "",
            "teacher": "stack", "threshold": 0.9, "bound": 0.013} | more  # fmt: skip


def decision(**more: Any) -> Row:
    return {"image_id": A, **LOOKS, "action": "relabel", "label": "attack", "attack_type": "print",
            "reviewer": "kim", "at": "2"} | more  # fmt: skip


def doubt(**more: Any) -> Row:
    return {"image_id": A, **LOOKS, "label": "bonafide", "attack_type": "", "quality": 0.12,
            "issue": True, "suggested": "attack/print", "rank": 0} | more  # fmt: skip


def test_events_come_in_the_order_of_their_runs_whatever_table_they_stand_in(
    here: Workspace,
) -> None:
    write(here, "review", decisions=[decision()])
    write(here, "softlabel", soft_labels=[soft()])
    write(here, "import", labels=[given()])
    write(here, "issues", issues=[doubt()])
    write(here, "audit", audits=[
        {"image_id": A, **LOOKS, "audited": "x", "label": "bonafide", "attack_type": ""}
    ])  # fmt: skip
    found = history(here, A)
    assert [event["who"] for event in found["events"]] == [
        "kim", "teacher stack", "given by folder", "label check", "audit",
    ]  # fmt: skip
    whens = [event["when"] for event in found["events"]]
    assert whens == sorted(whens)
    assert found["now"] == {"liveness": "attack/print (decision)"}


def test_each_event_says_what_it_said_and_how_sure_it_was(here: Workspace) -> None:
    write(here, "import", labels=[given(trusted=True)])
    write(here, "softlabel", soft_labels=[soft(label="attack", attack_type="mask_3d", bound=None,
                                               status="review", reason="unsure")])  # fmt: skip
    write(here, "softlabel", soft_labels=[soft()])
    write(
        here,
        "issues",
        issues=[
            doubt(),
        ],
    )
    write(here, "review", decisions=[decision()])
    told = [(e["said"], e["sure"], e["counts"]) for e in history(here, A)["events"]]
    assert told == [
        ("bonafide", "", "trusted"),
        ("attack/mask_3d", "0.970 of 0.9", "review unsure, superseded"),
        ("bonafide", "0.970 of 0.9, at most 1.3% such wrong", "accepted"),
        ("bonafide", "quality 0.12", "suggests attack/print"),
        ("attack/print", "", "relabel"),
    ]


def test_runs_that_were_taken_back_are_told_and_say_so(here: Workspace) -> None:
    first = write(here, "softlabel", soft_labels=[soft()])
    write(here, "softlabel", soft_labels=[soft(label="attack", attack_type="print")])
    runs.undo(here, first)
    found = history(here, A)
    assert [event["counts"] for event in found["events"]] == ["taken back", "accepted"]
    assert found["now"] == {"liveness": "attack/print (soft)"}
    undo = here.catalogue.runs_standing()["run_id"].iloc[-1]
    runs.undo(here, undo)
    assert [event["counts"] for event in history(here, A)["events"]] == [
        "accepted, superseded",
        "accepted",
    ]


def test_rows_of_a_run_that_died_were_never_said(here: Workspace) -> None:
    here.catalogue.append("soft_labels", pd.DataFrame([soft(run_id="died")]))
    assert history(here, A)["events"] == []


def test_what_is_said_of_other_images_is_left_out(here: Workspace) -> None:
    write(here, "import", labels=[given(image_id="c" * 64), given()])
    assert len(history(here, A)["events"]) == 1


def test_every_task_and_part_is_told(here: Workspace) -> None:
    write(here, "import", labels=[
        given(trusted=True), given(task="eyes", part="left_eye", label="open", trusted=True),
        given(task="occlusion", part="nose", label="blocked"),
    ])  # fmt: skip
    found = history(here, A)
    assert found["now"] == {
        "liveness": "bonafide (given)", "eyes left_eye": "open (given)",
        "occlusion nose": "no label in use",
    }  # fmt: skip
    assert {event["said"] for event in found["events"]} == {
        "bonafide", "left_eye open", "nose blocked",
    }  # fmt: skip


def test_cells_that_hold_nothing_say_nothing(here: Workspace) -> None:
    """Null parts and types are those of liveness and of bona fide: so tables allow."""
    write(here, "import", labels=[
        {"image_id": A, "task": "liveness", "label": "bonafide", "source": "t", "trusted": True}
    ])  # fmt: skip
    (event,) = history(here, A)["events"]
    assert (event["part"], event["said"]) == ("", "bonafide")
    write(here, "review", decisions=[decision(action="reject", label=None, attack_type=None)])
    assert history(here, A)["events"][1]["said"] == ""


def test_an_image_of_which_nothing_was_said_has_no_history(here: Workspace) -> None:
    found = history(here, "11.jpg")
    assert (found["events"], found["now"]) == ([], {})


@pytest.mark.parametrize("name", ["/in/train/1.jpg", "train/1.jpg", A, A[:12], "aaaa"])
def test_an_image_goes_by_its_path_the_end_of_it_or_its_id(here: Workspace, name: str) -> None:
    assert history(here, name)["image_id"] == A


@pytest.mark.parametrize("name", ["1.jpg", "aaa" + "?", "aaa", "nobody.jpg", ""])
def test_a_name_of_several_or_of_none_is_an_error(here: Workspace, name: str) -> None:
    with pytest.raises(DataError, match=r"(?s)(is 2 images|is no image on record).*Next:"):
        history(here, name)


def test_an_ambiguous_name_says_which_images_bear_it(here: Workspace) -> None:
    with pytest.raises(DataError, match=r"'1.jpg' is 2 images, among them"):
        history(here, "1.jpg")
    write(here, "ingest", images=[
        {"image_id": "aaaa" + "1" * 60, "uri": "/in/other.jpg", "source": "t", "origin": "mined",
         "status": "kept"}
    ])  # fmt: skip
    with pytest.raises(DataError, match=r"'aaaa' is 2 images"):
        history(here, "aaaa")


def test_a_copy_is_found_at_any_place_its_bytes_lie(here: Workspace) -> None:
    place = {"image_id": A, "uri": "/elsewhere/copy.jpg", "source": "t"}
    write(here, "ingest", places=[place])
    assert history(here, "/elsewhere/copy.jpg")["image_id"] == A
