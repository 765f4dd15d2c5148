"""The stage `softlabel`: a teacher, what it is worth, and the labels that are accepted of it."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate import labels, runs, schema
from curate.engine import Track
from curate.errors import DataError
from curate.runs import Run
from curate.workspace import Workspace
from labeling import remedy, teachers, units
from labeling.exam import Exam, Verdict, Wish
from labeling.units import Units

_KEPT = ("task", "trusted", "pool", "accepted", "review", "teacher", "threshold", "bounds",
         "refused", "notes", "audit")  # fmt: skip

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Labelled:
    """What one run did, or would do."""

    task: str
    run_id: str
    trusted: int
    pool: int
    accepted: dict[str, int]  # label -> units
    review: dict[str, int]  # reason -> units
    teacher: dict[str, object]
    threshold: float | None = None
    bounds: list[dict[str, object]] = field(default_factory=list)
    refused: str = ""  # why nothing was accepted, "" otherwise
    notes: list[str] = field(default_factory=list)
    audit: int = 0  # units put into the audit queue as the remedy for a shift


def softlabel(here: Workspace, wish: Wish, track: Track) -> Labelled:
    """Fit the teacher, label the pool, and record the rows as one run.

    Raises:
        DataError: no image at all, no trusted labels for a teacher that learns, one class only.
        ConfigError: an unknown teacher.
        AssetError: a model file is missing.
    """
    inputs: dict[str, Any] = {"task": wish.task, "threshold": wish.threshold}
    inputs |= {"max_error": wish.max_error, "confidence": wish.confidence}
    with runs.start(here, "softlabel", inputs) as run:
        name = wish.teacher or teachers.default(here, wish.task)
        found = units.gather(here, wish.task, learning=name in teachers.LEARNING)
        if found.every.empty:
            raise DataError(
                f"no image shows what {wish.task} is about.\nNext: curate ingest FOLDER"
            )
        inputs |= {"teacher": name, "fingerprint": _mark(here, wish, name, found)}
        if earlier := runs.repeats(here, "softlabel", str(inputs["fingerprint"]), task=wish.task):
            run.recorded = False
            return _again(here, earlier)
        return _labelled(here, wish, Exam.of(here, name, found, track), run)


def _labelled(here: Workspace, wish: Wish, exam: Exam, run: Run) -> Labelled:
    run.recorded = not wish.dry_run
    verdict = exam.verdict(wish)
    every = exam.rows(verdict)
    rows = _new(here, wish.task, every)
    audit = remedy.wanted(exam.found.pool, exam.shifts, here.config.seed)
    done = _counted(run.run_id if run.recorded else "", exam, rows, verdict, audit)
    if stand := len(every) - len(rows):
        done.notes.append(f"{stand:,} of which it has no opinion keep what an earlier run said")
    run.counts = {name: getattr(done, name) for name in _KEPT} | {
        "curve": exam.curve(wish.confidence),
        "reliability": exam.reliability,
        "alarm": exam.alarms(),
    }
    if run.recorded:
        run.state = "refused" if verdict.refused else "done"
        run.append("audits", audit.assign(task=wish.task, audited=run.run_id))
        if not verdict.refused:
            run.append("soft_labels", rows)
    return done


def _new(here: Workspace, task: str, rows: pd.DataFrame) -> pd.DataFrame:
    """Return ``rows`` without the units of no opinion that an earlier run has labelled.

    The champion has none on all that it learnt from: its run must not take these labels back.
    """
    blind = rows["reason"] == schema.BLIND
    if not blind.any():
        return rows
    earlier = labels.soft_units(here.catalogue, task).index
    return rows[~(blind & (rows["image_id"] + rows["part"]).isin(earlier))]


def _mark(here: Workspace, wish: Wish, name: str, found: Units) -> str:
    columns = ["group", "clip_id", "class", "basis"]
    asked = [wish.threshold, wish.max_error, wish.confidence, wish.directions]
    made = teachers.made_of(here, name, wish.task)
    return runs.fingerprint(
        [here.config.softlabel.model_dump(), here.config.seed, name, made, wish.task, asked],
        [_digest(rows[columns]) for rows in (found.learn, found.certify, found.pool)],
        _digest(found.given.to_frame()),
    )


def _digest(rows: pd.DataFrame) -> str:
    """Return a hash of rows and their index, whatever order they are in."""
    each = pd.util.hash_pandas_object(rows.astype("str"), categorize=True).to_numpy()
    return hashlib.sha256(np.sort(each).tobytes()).hexdigest()


def _again(here: Workspace, earlier: str) -> Labelled:
    """Return what the run ``earlier`` found: this one would find the same."""
    run = next(row for row in runs.of_verb(here, "softlabel") if row["run_id"] == earlier)
    kept = {name: run["counts"][name] for name in _KEPT if name in run["counts"]}
    return Labelled(run_id="", **(kept | {"teacher": kept["teacher"] | {"repeats": earlier}}))


def _counted(
    run_id: str, exam: Exam, rows: pd.DataFrame, verdict: Verdict, audit: pd.DataFrame
) -> Labelled:
    accepted, review = _split(rows)
    if verdict.refused:
        accepted, review = {}, {"no certificate": len(exam.found.pool)}
    return Labelled(
        exam.found.task, run_id, len(exam.found.learn), len(exam.found.pool), accepted, review,
        exam.teacher, verdict.threshold,
        [{"of": one.name, "accepted": one.accepted, "wrong": one.wrong,
          "at_most": None if verdict.bound is None or not one.accepted else round(one.upper, 4)}
         for one in verdict.bounds],
        verdict.refused, list(verdict.notes), len(audit),
    )  # fmt: skip


def _split(rows: pd.DataFrame) -> tuple[dict[str, int], dict[str, int]]:
    accepted = pd.Series(labels.words(rows[rows["status"] == "accepted"]), dtype=object)
    reasons = rows.loc[rows["status"] == "review", "reason"]
    counted = [{str(k): int(v) for k, v in s.value_counts().items()} for s in (accepted, reasons)]
    return counted[0], counted[1]
