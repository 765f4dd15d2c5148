"""Teachers by name: each says how likely every class is, for images it has not learnt from.

Calibration, thresholds and what is accepted come later and are the same for all of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate import champions, engine, groups, labels, schema
from curate.engine import Track
from curate.errors import AssetError, ConfigError
from curate.workspace import Workspace
from labeling import calibrate, card_teacher, cards, fitted, zero_shot
from labeling.units import Units

Floats = NDArray[np.float64]


class Teacher(Protocol):
    """Whatever can say how likely the classes of a task are."""

    @property
    def name(self) -> str:
        """What the rows of `soft_labels` call it."""
        ...

    def probabilities(self, units: pd.DataFrame) -> Floats:
        """Return (N, C) over schema.CLASSES_OF[task], rows sum to 1.

        A row is NaN where the teacher has no opinion, or learnt from the person and cannot leave
        that out. ``units`` are as labeling.units describes them.
        """
        ...


Build = Callable[[Workspace, Units, Track], Teacher]
LEARNING = ("fitted", "stack", "fine-tuned", "agreement")  # the others need no trusted labels


def names(here: Workspace, task: str) -> list[str]:
    """Return the teachers of ``task`` that could be built here, the default one first."""
    own = [one.name for one in cards.of_workspace(here).available(task)]
    usable = {"fitted": True, "stack": bool(own), "geometry": task != schema.LIVENESS}
    usable |= {"champion": champions.champion(here, task) is not None}
    usable |= {"fine-tuned": True, "agreement": bool(own) or usable["geometry"]}
    found = sorted((name for name in TEACHERS if usable[name]), key=lambda name: name != "stack")
    return [*found, *own]


def build(here: Workspace, name: str, units: Units, track: Track) -> Teacher:
    """Return teacher ``name``, fitted on ``units.learn`` where it learns at all.

    Raises:
        ConfigError: no teacher has that name.
        DataError: the trusted labels are too few, see `head.fit`.
        AssetError: a model file is missing, altered or fails its self-test.
    """
    if name in TEACHERS:
        return TEACHERS[name](here, units, track)
    if name in cards.of_workspace(here).cards:
        return _card(here, name, track)
    known = ", ".join([*TEACHERS, *cards.of_workspace(here).cards])
    raise ConfigError(f"no teacher is called {name!r}; known: {known}.\nNext: curate teachers list")


def default(here: Workspace, task: str) -> str:
    """Return the teacher used where none is named: `stack` where weights of a card are here."""
    return names(here, task)[0]


def made_of(here: Workspace, name: str, task: str) -> list[str]:
    """Return the cards and digests of the models behind ``name``: with others it teaches anew.

    Raises:
        AssetError: weights are altered or gone.
    """
    if name == "champion":
        model = champions.champion(here, task)
        return [model.run_id] if model else []
    shelf = cards.of_workspace(here)
    own = shelf.available(task) if name in ("stack", "agreement") else []
    used = [shelf.cards[name]] if name in shelf.cards else own
    nets = {net.name: net for card in used for net in shelf.nets(card)}
    return [net.model_dump_json() + cards.digest(shelf.weights(net)) for net in nets.values()]


@dataclass(frozen=True)
class Agreement:
    """Independent teachers, each calibrated: the least sure of them speaks, if all agree.

    Where they differ every class is as likely as any other, so that a person decides.
    """

    members: Sequence[tuple[Teacher, float]]  # with their temperatures
    task: str
    name: str = "agreement"
    calibrated: bool = True  # another temperature would only make the least sure one unsurer

    def probabilities(self, units: pd.DataFrame) -> Floats:
        """Return (N, C); NaN where a member has no opinion."""
        clips = (units["clip_id"] + units["part"]).to_numpy(object)
        every = np.stack(
            [
                calibrate.judged(member.probabilities(units), clips, heat, self.task)
                for member, heat in self.members
            ]
        )
        sides = calibrate.sides(every, self.task)  # (members, N, S)
        votes, sure = sides.argmax(axis=2), sides.max(axis=2)
        speaker = np.where(np.isnan(sure).any(axis=0), 0, np.nan_to_num(sure, nan=2).argmin(axis=0))
        found = every[speaker, np.arange(len(units))]
        found[(votes != votes[0]).any(axis=0)] = _even(self.task)
        found[np.isnan(every).any(axis=(0, 2))] = np.nan
        return np.asarray(found)


@dataclass(frozen=True)
class Champion:
    """The promoted model; it has no opinion about people that it learnt from."""

    score: Callable[[pd.DataFrame], Floats]
    learnt: frozenset[str]  # images its weights or its threshold come from
    name: str = "champion"

    def probabilities(self, units: pd.DataFrame) -> Floats:
        """Return (N, 10): bonafide, or an attack of a type that it cannot tell."""
        found = np.full((len(units), len(schema.LIVENESS_CLASSES)), np.nan)
        seen = units["image_id"].isin(self.learnt)
        groups = set(units.loc[seen, "group"])
        fresh = np.flatnonzero(~units["group"].isin(groups).to_numpy())
        if len(fresh):
            score = self.score(units.iloc[fresh])
            found[fresh] = 0
            found[fresh, 0] = score
            found[fresh, schema.LIVENESS_CLASSES.index("unknown")] = 1 - score
        return found


def _fitted(here: Workspace, units: Units, track: Track) -> Teacher:
    return fitted.fit(here, units.task, units.learn, track)


def _tuned(here: Workspace, units: Units, track: Track) -> Teacher:
    from labeling.finetune import FineTuned

    learn = fitted.learnable(units.learn, units.task)
    net = FineTuned(here, units.task, learn, fitted.weights(learn, units.task), track)
    return fitted.fit(here, units.task, units.learn, track, scores=net.scores, name="fine-tuned")


def _stack(here: Workspace, units: Units, track: Track) -> Teacher:
    scores = scores_of_cards(here, units.task, track)
    if scores is None:
        raise AssetError(
            f"teacher stack needs the weights of a card for {units.task}, and none are here.\n"
            "Next: curate teachers list says where to put them; or --teacher fitted"
        )
    return fitted.fit(here, units.task, units.learn, track, scores=scores, name="stack")


def scores_of_cards(here: Workspace, task: str, track: Track) -> fitted.Scores | None:
    """Return what gives (N, K) scores of all single models whose weights are here, None without.

    An ensemble adds nothing to a head over its members. An image is read once for all models.

    Raises:
        AssetError: weights are altered, do not load or fail the self-test.
    """
    shelf, threads = cards.of_workspace(here), engine.threads(here.config.threads)
    nets = [one for one in shelf.available(task) if isinstance(one, cards.Net)]
    models = [zero_shot.Model(net, shelf.weights(net)) for net in nets]

    def scores(rows: pd.DataFrame) -> NDArray[np.float32]:
        each = card_teacher.logits(models, rows, here.root / "crops", threads=threads, track=track)
        return np.nan_to_num(np.hstack(each))

    return scores if models else None


def _geometry(here: Workspace, units: Units, track: Track) -> Teacher:
    from labeling.geometry import Geometry

    return Geometry(here, units.task, track)


def _champion(here: Workspace, units: Units, track: Track) -> Teacher:
    model = champions.require_champion(here, units.task)
    group = groups.of_catalogue(here.catalogue, labels.best_keys(here.catalogue))
    theirs = group[group.index.isin(champions.learnt_from(model))]
    learnt = frozenset(group.index[group.isin(theirs)])  # what it saw need not be a unit any more
    return Champion(champions.scorer(here, model, track), learnt)


def _agreement(here: Workspace, units: Units, track: Track) -> Teacher:
    """Return the fitted teacher beside the best one that learnt nothing here: a card, or geometry.

    Two heads on one backbone would err together; and a third, weaker teacher would only be unsure.
    """
    own = [one.name for one in cards.of_workspace(here).available(units.task)]
    names = own or (["geometry"] if units.task != schema.LIVENESS else [])
    if not names:
        raise AssetError(
            f"teacher agreement needs a second {units.task} teacher, and none is here.\n"
            "Next: curate teachers list says where to put a card's weights; or --teacher fitted"
        )
    learnt = _calibrated(_fitted(here, units, track), units)
    others = [_calibrated(build(here, name, units, track), units) for name in names]
    best = min(others, key=lambda member: _log_loss(member[0], member[1], units))
    return Agreement([learnt, best], units.task)


def _calibrated(teacher: Teacher, units: Units) -> tuple[Teacher, float]:
    raw = teacher.probabilities(units.learn)
    return teacher, calibrate.heat(raw, units.learn, units.task)


def _log_loss(teacher: Teacher, heat: float, units: Units) -> float:
    """Return the mean log loss on the units learnt from; of a teacher that learnt nothing."""
    raw = teacher.probabilities(units.learn)
    side = calibrate.sides(calibrate.judged(raw, None, heat, units.task), units.task)
    columns = list(schema.CLASSES_OF[units.task])
    true = np.minimum(units.learn["class"].map(columns.index).to_numpy(int), side.shape[1] - 1)
    return float(np.nanmean(-np.log(np.maximum(side[np.arange(len(true)), true], 1e-9))))


def _card(here: Workspace, name: str, track: Track) -> Teacher:
    threads = engine.threads(here.config.threads)
    return card_teacher.load(
        cards.of_workspace(here), name, here.root / "crops", threads=threads, track=track
    )


def _even(task: str) -> Floats:
    """Return (C,) probabilities that favour no side."""
    count = len(schema.CLASSES_OF[task])
    if task != schema.LIVENESS:
        return np.full(count, 1 / count)
    return np.array([0.5, *np.full(count - 1, 0.5 / (count - 1))])


TEACHERS: dict[str, Build] = {
    "fitted": _fitted,
    "stack": _stack,
    "fine-tuned": _tuned,
    "geometry": _geometry,
    "champion": _champion,
    "agreement": _agreement,
}
