"""Audits: a random sample of accepted labels, decided by people, keeps a run or takes it back."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from curate import labels, runs, workspace
from curate.errors import DataError
from curate.review import queue
from curate.workspace import Workspace
from labeling.audit import Audited, Terms, audit
from labeling.certify import upper_bound

Row = dict[str, Any]
Decide = Callable[..., None]
ATTACK = ("attack", "print")


@pytest.fixture
def here(tmp_path: Path) -> Workspace:
    return workspace.create(tmp_path / "ws")


def labelled(here: Workspace, accepted: int, waiting: int = 0, *, label: str = "bonafide",
             task: str = "liveness", part: str = "", first: int = 0) -> str:  # fmt: skip
    """Write a softlabel run of so many accepted and waiting labels; return its id."""
    names = [f"i{n:04}" for n in range(first, first + accepted + waiting)]
    there = set(here.catalogue.read("images", ["image_id"])["image_id"])
    new = [name for name in names if name not in there]
    with runs.start(here, "softlabel", {"task": task}) as run:
        if new:
            run.append("images", pd.DataFrame([
                {"image_id": name, "uri": f"/{name}.jpg", "source": "t", "origin": "mined",
                 "status": "kept", "width": 9, "height": 9, "turn": 0, "face": [0.0, 0, 9, 9]}
                for name in new
            ]))  # fmt: skip
        kind = "print" if label == "attack" else ""
        run.append("soft_labels", pd.DataFrame([
            {"image_id": name, "task": task, "part": part, "label": label, "attack_type": kind,
             "confidence": 0.9, "probs": [0.9, *np.full(9, 0.1 / 9)], "threshold": 0.9,
             "status": "accepted" if n < accepted else "review", "teacher": "t",
             "reason": "" if n < accepted else "unsure"} for n, name in enumerate(names)
        ]))  # fmt: skip
    return run.run_id


def decide(here: Workspace, names: list[str], action: str, label: str = "", kind: str = "",
           *, task: str = "liveness", part: str = "") -> None:  # fmt: skip
    if not names:
        return
    with runs.start(here, "review", {}) as run:
        run.append("decisions", pd.DataFrame([
            {"image_id": name, "task": task, "part": part, "action": action, "label": label,
             "attack_type": kind, "reviewer": "r", "at": run.run_id} for name in names
        ]))  # fmt: skip


def call(here: Workspace, n: int = 300, max_error: float = 0.02, confidence: float = 0.95,
         *, task: str = "liveness", dry_run: bool = False) -> Audited:  # fmt: skip
    return audit(here, task, Terms(n, max_error, confidence), dry_run=dry_run)


def sampled(here: Workspace) -> list[str]:
    return sorted(here.catalogue.read("audits")["image_id"])


def judged(here: Workspace, n: int, wrong: int, max_error: float, accepted: int = 400) -> Audited:
    """Draw ``n`` of ``accepted``, decide all, ``wrong`` of them for the other side, and judge."""
    labelled(here, accepted)
    call(here, n, max_error)
    names = sampled(here)
    decide(here, names[wrong:], "accept", "bonafide")
    decide(here, names[:wrong], "relabel", *ATTACK)
    return call(here, n, max_error)


def test_a_sample_is_drawn_of_accepted_labels_alone_and_without_repetition(
    here: Workspace,
) -> None:
    of = labelled(here, accepted=50, waiting=30)
    done = call(here, 20)
    assert (done.state, done.of, done.accepted, done.sample) == ("drawn", of, 50, 20)
    names = sampled(here)
    assert len(set(names)) == 20
    assert max(names) < "i0050"
    rows = here.catalogue.read("audits")
    assert set(rows["audited"]) == {of}
    assert set(rows["label"]) == {"bonafide"}


def test_the_review_shows_what_was_drawn_until_it_is_decided(here: Workspace) -> None:
    labelled(here, 30)
    call(here, 10)
    names = sampled(here)
    shown = queue.build(here.catalogue, only="audit").units
    assert set(shown["image_id"]) == set(names)
    decide(here, names[:4], "accept", "bonafide")
    shown = queue.build(here.catalogue, only="audit").units
    assert set(shown["image_id"]) == set(names[4:])


def test_it_waits_until_the_last_one_is_decided_and_writes_nothing_meanwhile(
    here: Workspace,
) -> None:
    labelled(here, 400)
    call(here, 150)
    names, before = sampled(here), len(here.catalogue.read("runs"))
    assert call(here).state == "waiting"
    decide(here, names[:-1], "accept", "bonafide")
    done = call(here)
    assert (done.state, done.decided, done.sample, done.bound) == ("waiting", 149, 150, None)
    assert len(here.catalogue.read("runs")) == before + 1  # the decisions alone
    decide(here, names[-1:], "accept", "bonafide")
    assert call(here).state == "certified"


def test_to_keep_an_image_decides_nothing_about_its_label(here: Workspace) -> None:
    labelled(here, 5)
    call(here)
    decide(here, sampled(here), "keep")
    assert (call(here).state, call(here).decided) == ("waiting", 0)


@pytest.mark.parametrize(
    ("n", "wrong", "state"),
    [(149, 0, "certified"), (148, 0, "withdrawn"), (236, 1, "certified"), (235, 1, "withdrawn")],
)
def test_the_bound_decides_just_below_and_just_above(
    here: Workspace, n: int, wrong: int, state: str
) -> None:
    done = judged(here, n, wrong, 0.02)
    assert (done.state, done.wrong, done.decided) == (state, wrong, n)
    assert done.bound == pytest.approx(upper_bound(wrong, n, 0.95))
    assert (done.bound <= 0.02) == (state == "certified")


@pytest.mark.parametrize(("wrong", "state"), [(2, "certified"), (3, "withdrawn")])
def test_where_every_label_is_decided_the_share_is_exact(
    here: Workspace, wrong: int, state: str
) -> None:
    done = judged(here, n=300, wrong=wrong, max_error=0.02, accepted=100)
    assert done.sample == done.accepted == 100
    assert (done.state, done.bound) == (state, wrong / 100)


def test_a_rejected_image_counts_as_wrong(here: Workspace) -> None:
    labelled(here, 10)
    call(here, max_error=0.2)
    names = sampled(here)
    decide(here, names[:3], "reject")
    decide(here, names[3:], "accept", "bonafide")
    done = call(here)
    assert (done.state, done.wrong, done.bound) == ("withdrawn", 3, 0.3)


def test_another_type_of_attack_is_no_wrong_label(here: Workspace) -> None:
    labelled(here, 10, label="attack")
    call(here)
    decide(here, sampled(here), "relabel", "attack", "replay_phone")
    done = call(here)
    assert (done.state, done.wrong, done.bound) == ("certified", 0, 0.0)


def test_the_last_decision_counts(here: Workspace) -> None:
    labelled(here, 10)
    call(here)
    decide(here, sampled(here), "relabel", *ATTACK)
    decide(here, sampled(here), "accept", "bonafide")
    assert call(here).state == "certified"


def test_a_decision_taken_back_is_none(here: Workspace) -> None:
    labelled(here, 10)
    call(here)
    decide(here, sampled(here), "accept", "bonafide")
    runs.undo(here, here.catalogue.runs_standing()["run_id"].iloc[-1])
    assert call(here).state == "waiting"


def test_eyes_are_decided_each_for_itself(here: Workspace) -> None:
    labelled(here, 4, label="open", task="eyes", part="left_eye")
    assert call(here, task="eyes").sample == 4
    decide(here, sampled(here), "relabel", "closed", task="eyes", part="right_eye")
    assert call(here, task="eyes").decided == 0
    decide(here, sampled(here), "relabel", "closed", task="eyes", part="left_eye")
    done = call(here, task="eyes")
    assert (done.state, done.wrong) == ("withdrawn", 4)


@pytest.mark.parametrize(("task", "part", "label"), [("eyes", "left_eye", "open"),
                                                     ("occlusion", "chin", "clear")])  # fmt: skip
def test_parts_of_a_face_are_drawn_shown_decided_and_certified(
    curate: Callable, here: Workspace, task: str, part: str, label: str
) -> None:
    labelled(here, 200, label=label, task=task, part=part)
    done = curate("audit", "--task", task, "--n", "149")
    assert f"curate review --task {task} --queue audit" in done.out
    assert queue.build(here.catalogue, only="audit").units.empty
    shown = queue.build(here.catalogue, task, only="audit").units
    assert sorted(shown["image_id"]) == sampled(here)
    assert set(shown["part"]) == {part}
    decide(here, sampled(here), "accept", label, task=task, part=part)
    assert queue.build(here.catalogue, task, only="audit").units.empty
    done = curate("audit", "--task", task, "--json").json
    assert (done["state"], done["decided"], done["wrong"]) == ("certified", 149, 0)


def test_terms_are_those_of_the_draw_whatever_is_asked_for_later(here: Workspace) -> None:
    labelled(here, 50)
    call(here, 20, 0.02, 0.95)
    decide(here, sampled(here), "accept", "bonafide")
    done = call(here, 5, 0.5, 0.6)
    assert (done.sample, done.max_error, done.confidence) == (20, 0.02, 0.95)
    assert done.state == "withdrawn"  # 20 right ones prove 14 %


def test_withdrawn_labels_are_used_no_more_and_decisions_stay(here: Workspace) -> None:
    done = judged(here, n=20, wrong=20, max_error=0.02, accepted=30)
    assert done.state == "withdrawn"
    assert here.catalogue.read("soft_labels").empty
    resolved = labels.resolved(here.catalogue)
    assert set(resolved["basis"]) == {"decision"}
    assert len(resolved) == 20
    last = here.catalogue.read("runs").sort_values("started").iloc[-1]
    assert (last["verb"], last["state"], last["undoes"]) == ("audit", "refused", done.of)


def test_certified_labels_stay_in_use(here: Workspace) -> None:
    done = judged(here, n=300, wrong=0, max_error=0.02, accepted=100)
    assert done.state == "certified"
    assert len(here.catalogue.read("soft_labels")) == 100


def test_a_run_is_audited_once(here: Workspace) -> None:
    judged(here, n=300, wrong=0, max_error=0.02, accepted=60)
    with pytest.raises(DataError, match=r"(?s)is audited: certified.*curate softlabel"):
        call(here)


def test_after_a_withdrawal_there_is_nothing_left_to_audit(here: Workspace) -> None:
    judged(here, n=20, wrong=20, max_error=0.02, accepted=30)
    with pytest.raises(DataError, match="no softlabel run of liveness stands"):
        call(here)


def test_a_withdrawal_can_be_taken_back_and_is_judged_anew(here: Workspace) -> None:
    done = judged(here, n=20, wrong=20, max_error=0.02, accepted=30)
    runs.undo(here, done.run_id)
    assert len(here.catalogue.read("soft_labels")) == 30
    assert call(here).state == "withdrawn"


def test_a_run_that_was_undone_is_not_audited(here: Workspace) -> None:
    earlier = labelled(here, 20)
    runs.undo(here, labelled(here, 20, first=5))
    assert call(here).of == earlier
    runs.undo(here, earlier)
    with pytest.raises(DataError, match="no softlabel run of liveness stands"):
        call(here)


def test_the_last_run_of_that_task_is_audited(here: Workspace) -> None:
    labelled(here, 20)
    mine = labelled(here, 20, first=30)
    labelled(here, 20, label="open", task="eyes", part="left_eye")
    assert call(here).of == mine


def test_a_run_without_accepted_labels_says_so(here: Workspace) -> None:
    labelled(here, 0, waiting=5)
    with pytest.raises(DataError, match=r"(?s)accepted no label.*Next:"):
        call(here)


def test_a_dry_run_draws_judges_and_writes_nothing(here: Workspace) -> None:
    labelled(here, 30)
    before = len(here.catalogue.read("runs"))
    done = call(here, 10, dry_run=True)
    assert (done.state, done.sample, done.run_id) == ("drawn", 10, "")
    assert here.catalogue.read("audits").empty
    assert len(here.catalogue.read("runs")) == before
    call(here, 10)
    decide(here, sampled(here), "relabel", *ATTACK)
    before = len(here.catalogue.read("runs"))
    assert call(here, dry_run=True).state == "withdrawn"
    assert len(here.catalogue.read("soft_labels")) == 30
    assert len(here.catalogue.read("runs")) == before
    assert call(here).state == "withdrawn"


def test_to_draw_again_after_an_undo_is_to_draw_the_same(here: Workspace) -> None:
    """Nobody may draw until the sample pleases."""
    labelled(here, 50)
    done = call(here, 10)
    names = sampled(here)
    runs.undo(here, done.run_id)
    assert sampled(here) == []
    call(here, 10)
    assert sampled(here) == names


def test_the_command_ends_with_3_when_it_withdraws(curate: Callable, here: Workspace) -> None:
    labelled(here, 30)
    assert curate("audit", "--n", "10").code == 0
    assert "0 of 10 are decided" in curate("audit").out
    decide(here, sampled(here), "relabel", *ATTACK)
    assert curate("audit", "--dry-run", "--json").code == 3
    done = curate("audit")
    assert done.code == 3
    assert "10 of 10 audited labels are wrong" in done.err
    assert "Next:" in done.err
    assert here.catalogue.read("soft_labels").empty
    assert curate("audit").code == 1


def test_the_command_certifies(curate: Callable, here: Workspace) -> None:
    labelled(here, 200)
    curate("audit", "--n", "149")
    decide(here, sampled(here), "accept", "bonafide")
    done = curate("audit", "--json")
    assert done.code == 0
    assert done.json["state"] == "certified"
    assert done.json["bound"] == pytest.approx(upper_bound(0, 149, 0.95))


@pytest.mark.parametrize("option", [("--max-error", "0"), ("--max-error", "1"),
                                    ("--confidence", "1.5")])  # fmt: skip
def test_shares_that_mean_nothing_are_refused(
    curate: Callable, here: Workspace, option: tuple[str, str]
) -> None:
    labelled(here, 5)
    done = curate("audit", *option)
    assert done.code == 1
    assert "must lie between 0 and 1" in done.err
    assert curate("audit", "--n", "0").code == 2


def test_about_as_many_false_certificates_as_were_allowed(here: Workspace) -> None:
    """Of samples of 149 from labels of which 3 % are wrong, few have none wrong."""
    rng = np.random.default_rng(0)
    wrong = rng.hypergeometric(60, 1940, 149, 4000)
    passed = np.mean([upper_bound(int(w), 149, 0.95) <= 0.02 for w in wrong])
    assert passed <= 0.05
