"""Audit: a random sample of accepted labels, decided by people, bounds the errors of all.

The sample is drawn from the very labels it speaks of, so nothing need be assumed about where they
come from: this is the one bound that holds under shift.
"""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from curate import labels, runs, schema, show
from curate.errors import DataError
from curate.runs import Run
from curate.workspace import Workspace
from labeling.certify import upper_bound

KEY = ["image_id", "part"]


@dataclass(frozen=True)
class Audited:
    """Where an audit stands.

    Attributes:
        state: `drawn`, `waiting` for decisions, `certified` or `withdrawn`.
        drawn: the run that drew the sample.
        of: the softlabel run whose labels are audited.
        bound: at most this share of its accepted labels is wrong; None before all are decided.
    """

    state: str
    run_id: str
    of: str
    task: str
    accepted: int
    sample: int
    decided: int
    wrong: int
    max_error: float
    confidence: float
    bound: float | None
    drawn: str = ""


@dataclass(frozen=True)
class Terms:
    """What an audit promises: fixed when its sample is drawn, before anything is decided."""

    n: int
    max_error: float
    confidence: float


def audit(here: Workspace, task: str, terms: Terms, *, dry_run: bool) -> Audited:
    """Draw a sample of the accepted labels of the last softlabel run, or judge the one drawn.

    Until every label of the sample is decided the audit waits. Then the share of wrong labels is
    bounded (Clopper-Pearson): above ``max_error`` the run is withdrawn, as `curate undo` would. A
    decision for another side, and a rejection, count as wrong. The terms of a sample drawn before
    are those it was drawn under.

    Raises:
        DataError: no softlabel run of the task stands, it accepted nothing, or it was audited.
    """
    inputs: dict[str, Any] = {"task": task}
    again = show.for_task(task)
    with runs.start(here, "audit", inputs) as run:
        run.recorded = False
        softlabelled = _last(here, task)
        mine = _audits(here, softlabelled)
        if "judged" in mine:
            raise DataError(
                f"{softlabelled} is audited: {mine['judged']['state']}.\n"
                f"Next: curate softlabel{again}, then curate audit{again}"
            )
        if "drawn" in mine:
            return _judge(here, run, softlabelled, mine["drawn"], dry_run)
        return _draw(here, run, softlabelled, task, terms, dry_run)


def _draw(
    here: Workspace, run: Run, softlabelled: str, task: str, terms: Terms, dry_run: bool
) -> Audited:
    accepted = _accepted(here, softlabelled)
    if accepted.empty:
        raise DataError(
            f"{softlabelled} accepted no label.\n"
            f"Next: curate softlabel{show.for_task(task)} --threshold 0.9"
        )
    sample = accepted.sample(min(terms.n, len(accepted)), random_state=here.config.seed)
    run.recorded = not dry_run
    done = Audited(
        "drawn", run.run_id if run.recorded else "", softlabelled, task, len(accepted),
        len(sample), 0, 0, terms.max_error, terms.confidence, None,
        run.run_id if run.recorded else "",
    )  # fmt: skip
    run.counts = vars(done) | {"run_id": run.run_id}
    if run.recorded:
        columns = [*KEY, "task", "label", "attack_type"]
        run.append("audits", sample[columns].assign(audited=softlabelled))
    return done


def _judge(
    here: Workspace, run: Run, softlabelled: str, drawn: dict[str, Any], dry_run: bool
) -> Audited:
    sample = here.catalogue.read("audits").query("run_id == @drawn['run_id']")
    decided, wrong = _decided(here, sample, str(drawn["task"]))
    complete = decided == len(sample)
    bound = upper_bound(wrong, len(sample), drawn["confidence"]) if complete else None
    state = "waiting"
    if bound is not None:
        whole = len(sample) == drawn["accepted"]  # then nothing is estimated
        bound = wrong / len(sample) if whole else bound
        state = "certified" if bound <= drawn["max_error"] else "withdrawn"
    run.recorded = state != "waiting" and not dry_run
    if state == "withdrawn":
        run.state, run.undoes = "refused", softlabelled
    done = Audited(
        state, run.run_id if run.recorded else "", softlabelled, str(drawn["task"]),
        int(drawn["accepted"]), len(sample), decided, wrong, float(drawn["max_error"]),
        float(drawn["confidence"]), bound, str(drawn["run_id"]),
    )  # fmt: skip
    run.counts = vars(done) | {"run_id": run.run_id}
    return done


def _decided(here: Workspace, sample: pd.DataFrame, task: str) -> tuple[int, int]:
    """Return how many of ``sample`` a person decided, and how many of those were wrong."""
    decided = wrong = 0
    for part, rows in sample.groupby(sample["part"].fillna("")):
        decisions = labels.decided(here.catalogue, task, str(part)).set_index("image_id")
        mine = rows.set_index("image_id").join(decisions.add_suffix("_decided"), how="inner")
        final = mine[mine.index.isin(decisions.index[labels.final(decisions)])]
        other = (final["label_decided"] != "") & (final["label_decided"] != final["label"])
        decided += len(final)
        wrong += int((other | (final["action_decided"] == "reject")).sum())
    return decided, wrong


def _accepted(here: Workspace, softlabelled: str) -> pd.DataFrame:
    soft = here.catalogue.read("soft_labels")
    return soft[(soft["run_id"] == softlabelled) & (soft["status"] == "accepted")]


def _last(here: Workspace, task: str) -> str:
    for row in runs.of_verb(here, "softlabel")[::-1]:
        if row["inputs"].get("task", schema.LIVENESS) == task and row["state"] == "done":
            return str(row["run_id"])
    raise DataError(
        f"no softlabel run of {task} stands.\n"
        f"Next: curate softlabel{show.for_task(task)} --threshold 0.9"
    )


def _audits(here: Workspace, softlabelled: str) -> dict[str, dict[str, Any]]:
    """Return `drawn` and `judged`: the counts of the audit runs of that softlabel run."""
    found = {}
    for row in runs.of_verb(here, "audit"):
        if row["counts"].get("of") == softlabelled:
            found["drawn" if row["counts"]["state"] == "drawn" else "judged"] = row["counts"]
    return found
