"""The stage `softlabel`: a teacher, what it is worth, and the labels that are accepted of it."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate import labels, runs, schema, show
from curate.runs import Run
from curate.workspace import Workspace
from labeling import accept, calibrate, certify, features, remedy, shift, teachers, typical, units
from labeling.certify import Bound, Certificate, Presentations
from labeling.features import Track
from labeling.shift import Shift
from labeling.units import Units

LEAST_GROUPS = 8  # people of a batch from which it gets a shift alarm of its own
_KEPT = ("task", "trusted", "pool", "accepted", "review", "teacher", "threshold", "bounds",
         "refused", "notes", "audit")  # fmt: skip
CURVE = 40  # thresholds of the risk-coverage curve

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Wish:
    """What was asked for: a threshold, or the largest share of wrong labels.

    Attributes:
        teacher: its name, "" for the default.
        threshold: None where ``max_error`` is asked for.
        max_error: likewise.
        confidence: of every bound.
        directions: whether each direction and attack type must keep ``max_error`` too.
    """

    task: str
    teacher: str = ""
    threshold: float | None = None
    max_error: float | None = None
    confidence: float = 0.95
    directions: bool = False
    dry_run: bool = False


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
        DataError: no trusted labels for a teacher that learns, one class only, nothing to label.
        ConfigError: an unknown teacher.
        AssetError: a model file is missing.
    """
    inputs: dict[str, Any] = {"task": wish.task, "threshold": wish.threshold}
    inputs |= {"max_error": wish.max_error, "confidence": wish.confidence}
    with runs.start(here, "softlabel", inputs) as run:
        name = wish.teacher or teachers.default(here, wish.task)
        found = units.gather(here, wish.task, learning=name in teachers.LEARNING)
        inputs |= {"teacher": name, "fingerprint": _mark(here, wish, name, found)}
        if earlier := runs.repeats(here, "softlabel", str(inputs["fingerprint"]), task=wish.task):
            run.recorded = False
            return _again(here, earlier)
        return _labelled(here, wish, _Exam.of(here, name, found, track), run)


def _labelled(here: Workspace, wish: Wish, exam: "_Exam", run: Run) -> Labelled:
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


@dataclass(frozen=True)
class _Verdict:
    threshold: float | None
    bound: float | None
    bounds: tuple[Bound, ...]
    refused: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Exam:
    """A teacher after its exam on dev: probabilities of every unit, and what is known of them."""

    found: Units
    teacher: dict[str, object]
    name: str
    probabilities: Floats  # (learn + certify + pool, C)
    odd: NDArray[np.bool_]
    seen: Presentations
    shifts: dict[str, Shift]  # what was compared -> the alarm
    deaf: str  # why the alarm could not listen, "" where it did
    reliability: dict[str, list[tuple[float, float, int]]]

    @classmethod
    def of(cls, here: Workspace, name: str, found: Units, track: Track) -> "_Exam":
        """Build teacher ``name``, let it judge every unit, and look at how it did on dev."""
        teacher = teachers.build(here, name, found, track)
        every, learnt = found.every, len(found.learn)
        raw = teacher.probabilities(every)
        done = getattr(teacher, "calibrated", False)
        heat = 1.0 if done else calibrate.heat(raw[:learnt], found.learn, found.task)
        clips = (every["clip_id"] + every["part"]).to_numpy(object)
        probabilities = calibrate.judged(raw, clips, heat, found.task)
        odd = _odd(here, found, _asked(probabilities, clips, found.task), clips, track)
        drawn = units.one_per_clip(found.certify, here.config.seed)
        rows = learnt + found.certify.index.get_indexer(drawn.index)
        seen = accept.presentations(drawn, probabilities[rows], odd[rows], found.task)
        before = calibrate.judged(raw, None, 1.0, found.task)
        about = {"name": name, "temperature": round(heat, 3)} | getattr(teacher, "about", dict)()
        reliability = {"before": _points(found, before), "after": _points(found, probabilities)}
        alarms = _shifts(here, found, track)
        shifts = {what: alarm for what, alarm in alarms.items() if alarm is not None}
        deaf = _deaf(found) if alarms and not shifts else ""
        return cls(found, about, name, probabilities, odd, seen, shifts, deaf, reliability)

    def verdict(self, wish: Wish) -> _Verdict:
        """Return the threshold and what it is worth."""
        ringing = [name for name, one in self.shifts.items() if one.rings]
        if wish.max_error is None:
            assert wish.threshold is not None
            bounds = certify.bounds_at(self.seen, wish.threshold, wish.confidence)
            void = bool(ringing) or bool(self.deaf) or bounds[0].accepted == 0
            notes = (self.deaf or _void(ringing, self.seen, self.found.task),) if void else ()
            return _Verdict(wish.threshold, None if void else bounds[0].upper, bounds, "", notes)
        strata = tuple(self.seen.strata) if wish.directions else ()
        found = certify.certify(self.seen, wish.max_error, wish.confidence, strata=strata)
        if ringing:
            return _Verdict(None, None, found.bounds, _void(ringing, self.seen, self.found.task))
        if self.deaf or found.threshold is None:
            why = self.deaf if found.threshold is not None else _short(found, self.seen)
            return _Verdict(None, None, found.bounds, why)
        return _Verdict(found.threshold, found.bounds[0].upper, found.bounds)

    def rows(self, verdict: _Verdict) -> pd.DataFrame:
        """Return the rows of `soft_labels`; all of them wait where nothing is certified."""
        learnt, tested = len(self.found.learn), len(self.found.certify)
        keep = np.r_[0:learnt, learnt + tested : len(self.probabilities)]
        rule = accept.Rule(
            1.0 if verdict.threshold is None else verdict.threshold, verdict.bound, self.name
        )
        every = pd.concat([self.found.learn, self.found.pool])
        return accept.decide(
            every, self.probabilities[keep], self.found.given, rule,
            task=self.found.task, odd=self.odd[keep],
        )  # fmt: skip

    def curve(self, confidence: float) -> list[tuple[float, float, float]]:
        """Return (share accepted, share wrong, bound) of dev at falling thresholds."""
        if not len(self.seen.confidence):
            return []
        steps = np.quantile(self.seen.confidence, np.linspace(1, 0, CURVE))
        points = []
        for threshold in np.unique(steps)[::-1]:
            one = certify.bounds_at(self.seen, float(threshold), confidence)[0]
            share = one.accepted / len(self.seen.confidence)
            points.append(
                (round(share, 4), round(one.wrong / one.accepted, 4), round(one.upper, 4))
            )
        return points

    def alarms(self) -> dict[str, dict[str, object]]:
        """Return what the alarm said, for the runs row."""
        return {
            name: {"rings": one.rings, "auc": round(one.auc, 3), "p": round(one.p_value, 4)}
            for name, one in self.shifts.items()
        }


def _mark(here: Workspace, wish: Wish, name: str, found: Units) -> str:
    columns = found.every[["group", "clip_id", "class", "basis"]]
    asked = [wish.threshold, wish.max_error, wish.confidence, wish.directions]
    made = teachers.made_of(here, name, wish.task)
    return runs.fingerprint(
        [here.config.softlabel.model_dump(), here.config.seed, name, made, wish.task, asked],
        [len(found.learn), len(found.certify)],
        _digest(columns),
        _digest(found.given.to_frame()),
    )


def _digest(rows: pd.DataFrame) -> str:
    """Return a hash of rows and their index, whatever order they are in."""
    each = pd.util.hash_pandas_object(rows.astype("str"), categorize=True).to_numpy()
    return hashlib.sha256(np.sort(each).tobytes()).hexdigest()


def _asked(probabilities: Floats, clips: NDArray[np.object_], task: str) -> NDArray[np.bool_]:
    """Return which units may be odd: of liveness what is called bona fide, or a clip of it."""
    if task != "liveness":
        return np.zeros(len(probabilities), bool)
    said = pd.Series(calibrate.sides(probabilities, task)[:, 0] >= 0.5)
    return said.groupby(pd.factorize(clips)[0]).transform("max").to_numpy(bool)


def _odd(
    here: Workspace,
    found: Units,
    asked: NDArray[np.bool_],
    clips: NDArray[np.object_],
    track: Track,
) -> NDArray[np.bool_]:
    """Return which of the units ``asked`` about are unlike the bona fide ones learnt from."""
    every, bonafide = found.every, (found.learn["class"] == schema.BONAFIDE).to_numpy()
    known = np.zeros(len(every), bool)
    known[: len(bonafide)] = bonafide
    if not asked.any() or not known.any():
        return np.zeros(len(every), bool)
    views = features.views(here.config.softlabel, found.task)
    middle = features.names(views, ["middle"])
    groups = every["group"].to_numpy(object)
    learnt = features.features(here, every[known], views, track, wanted=middle)
    guard = typical.Guard.of(learnt, groups[known], seed=here.config.seed)
    if guard is None:
        return np.zeros(len(every), bool)
    left = np.full((len(middle), len(every)), -np.inf)
    rows = np.flatnonzero(asked | known)
    for at, block in features.blocks(here, every.iloc[rows], views, track, wanted=middle):
        left[:, rows[at]] = guard.left(block, groups[rows[at]])
    return typical.odd(left, known, clips)


def _shifts(here: Workspace, found: Units, track: Track) -> dict[str, Shift | None]:
    """Return the alarm over the whole pool, and over each batch of enough people.

    None where there are too few people to say anything; nothing where there is nothing to compare.
    """
    seed = here.config.seed
    pool, known = units.one_per_clip(found.pool, seed), units.one_per_clip(found.certify, seed)
    if pool.empty or known.empty:
        return {}
    batches = {str(name): rows for name, rows in pool.groupby("batch")}
    large = {n: rows for n, rows in batches.items() if rows["group"].nunique() >= LEAST_GROUPS}
    compared = {"all that is to be labelled": pool} | (large if len(batches) > 1 else {})

    def seen(rows: pd.DataFrame) -> tuple[NDArray[np.float32], NDArray[np.object_]]:
        views = features.views(here.config.softlabel, found.task)
        layers = features.features(here, rows, views, track).values()
        return np.hstack(list(layers)), rows["group"].to_numpy(object)

    dev, level = seen(shift.drawn(known, seed)), shift.LEVEL / len(compared)
    return {
        name: shift.alarm(*dev, *seen(shift.drawn(rows, seed)), seed=seed, level=level)
        for name, rows in compared.items()
    }


def _points(found: Units, probabilities: Floats) -> list[tuple[float, float, int]]:
    """Return the reliability of what was learnt from, out of fold: confidence against truth."""
    learnt = len(found.learn)
    fine = np.zeros(learnt, bool)
    seen = accept.presentations(found.learn, probabilities[:learnt], fine, found.task)
    known = ~np.isnan(probabilities[:learnt]).any(axis=1)
    return calibrate.reliability(seen.confidence[known], ~seen.wrong[known])


def _deaf(found: Units) -> str:
    dev, pool = (rows["group"].nunique() for rows in (found.certify, found.pool))
    return (
        "no bound: the shift alarm cannot listen; it needs two people in dev, where there are "
        f"{dev}, and in what is to be labelled, where there are {pool}"
    )


def _void(ringing: list[str], seen: Presentations, task: str) -> str:
    if not len(seen.confidence):
        return "no bound: dev holds no trusted image to measure the teacher on"
    if not ringing:
        return "no bound: the threshold accepts nothing of dev"
    return (
        f"the shift alarm rings for {', '.join(ringing)}: these images are not drawn as the dev "
        "images are, so no bound measured on dev holds for them. About 10 of them labelled by a "
        f"person are worth more than all others: curate review{show.for_task(task)} --queue audit "
        "shows which"
    )


def _short(found: Certificate, seen: Presentations) -> str:
    if not len(seen.confidence):
        return "dev holds no trusted image to certify on"
    share = max(found.coverage, 1 / len(seen.confidence))
    lacking = "; ".join(_lacking(name, count, share) for name, count in found.missing.items())
    first = found.bounds[0]
    return (
        f"at most {found.max_error:.1%} wrong at {found.confidence:.0%} cannot be certified: of "
        f"{len(seen.confidence)} presentations of dev {first.accepted} were accepted, "
        f"{first.wrong} wrongly. It takes {lacking or 'a stricter teacher'}"
    )


def _lacking(name: str, count: int, share: float) -> str:
    if name == certify.OVERALL:
        reviewed = int(np.ceil(count / share))
        return f"{count:,} more presentations accepted, none wrongly: about {reviewed:,} reviewed"
    if name.startswith(certify.SAID):
        return f"{count:,} more presentations {name}, none wrongly"
    return f"{count:,} more presentations of {name}, none accepted as bona fide"


def _again(here: Workspace, earlier: str) -> Labelled:
    """Return what the run ``earlier`` found: this one would find the same."""
    run = next(row for row in runs.of_verb(here, "softlabel") if row["run_id"] == earlier)
    kept = {name: run["counts"][name] for name in _KEPT if name in run["counts"]}
    return Labelled(run_id="", **(kept | {"teacher": kept["teacher"] | {"repeats": earlier}}))


def _counted(
    run_id: str, exam: _Exam, rows: pd.DataFrame, verdict: _Verdict, audit: pd.DataFrame
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
