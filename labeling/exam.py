"""The exam of a teacher: every unit judged, what dev says of that, and whether dev may speak."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate import schema, show
from curate.engine import Track
from curate.workspace import Workspace
from labeling import accept, calibrate, certify, features, shift, teachers, typical, units
from labeling.certify import Bound, Certificate, Presentations
from labeling.shift import Shift
from labeling.units import Units

LEAST_GROUPS = 8  # people of a batch from which it gets a shift alarm of its own
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
class Verdict:
    """The threshold and what it is worth.

    Attributes:
        threshold: from which confidence on labels are accepted, None: refused.
        bound: the share of accepted labels that may be wrong, None: nobody knows.
        bounds: of dev, overall and by direction and attack type.
        refused: why nothing is accepted, "" otherwise.
        notes: what a person should know of it.
    """

    threshold: float | None
    bound: float | None
    bounds: tuple[Bound, ...]
    refused: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Exam:
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
    def of(cls, here: Workspace, name: str, found: Units, track: Track) -> "Exam":
        """Build teacher ``name``, let it judge every unit, and look at how it did on dev."""
        teacher = teachers.build(here, name, found, track)
        every, learnt = found.every, len(found.learn)
        raw = teacher.probabilities(every)
        done = getattr(teacher, "calibrated", False)
        heat = 1.0 if done else calibrate.heat(raw[:learnt], found.learn, found.task)
        clips = (every["clip_id"] + every["part"]).to_numpy(object)
        probabilities = calibrate.judged(raw, clips, heat, found.task)
        odd = _odd(here, found, _said_bonafide(probabilities, found.task), track)
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

    def verdict(self, wish: Wish) -> Verdict:
        """Return the threshold and what it is worth."""
        ringing = [name for name, one in self.shifts.items() if one.rings]
        if wish.max_error is None:
            assert wish.threshold is not None
            bounds = certify.bounds_at(self.seen, wish.threshold, wish.confidence)
            void = bool(ringing) or bool(self.deaf) or bounds[0].accepted == 0
            notes = (self.deaf or _void(ringing, self.seen, self.found.task),) if void else ()
            return Verdict(wish.threshold, None if void else bounds[0].upper, bounds, "", notes)
        strata = tuple(self.seen.strata) if wish.directions else ()
        found = certify.certify(self.seen, wish.max_error, wish.confidence, strata=strata)
        if ringing:
            return Verdict(None, None, found.bounds, _void(ringing, self.seen, self.found.task))
        if self.deaf or found.threshold is None:
            why = self.deaf if found.threshold is not None else _short(found, self.seen)
            return Verdict(None, None, found.bounds, why)
        return Verdict(found.threshold, found.bounds[0].upper, found.bounds)

    def rows(self, verdict: Verdict) -> pd.DataFrame:
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


def _said_bonafide(probabilities: Floats, task: str) -> NDArray[np.bool_]:
    """Return which units are called bona fide; none of another task than liveness."""
    said: NDArray[np.bool_] = calibrate.sides(probabilities, task)[:, 0] >= 0.5
    return said & (task == schema.LIVENESS)


def _odd(
    here: Workspace, found: Units, asked: NDArray[np.bool_], track: Track
) -> NDArray[np.bool_]:
    """Return which of the units ``asked`` about are unlike the bona fide ones learnt from."""
    every, bonafide = found.every, (found.learn["class"] == schema.BONAFIDE).to_numpy()
    known = np.zeros(len(every), bool)
    known[: len(bonafide)] = bonafide
    if not asked.any() or not known.any():
        return np.zeros(len(every), bool)
    views = features.views(here.config.softlabel, found.task)
    middle = features.names(views, ["middle"])
    groups, clips = every["group"].to_numpy(object), every["clip_id"].to_numpy(object)
    learnt = features.features(here, every[known], views, track, wanted=middle)
    guard = typical.Guard.of(learnt, groups[known], seed=here.config.seed)
    if guard is None:
        return np.zeros(len(every), bool)
    left = np.full((len(middle), len(every)), -np.inf)
    whole = pd.Series(asked | known).groupby(pd.factorize(clips)[0]).transform("max")
    rows = np.flatnonzero(whole)  # the frames of a clip are judged together
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
