"""The fitted teacher: linear heads on frozen features of crops, learnt from trusted labels.

Liveness looks at the face at several scales; eyes at each eye; occlusion at the whole face, with a
head for each region.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate import schema
from curate.engine import Track
from curate.workspace import Workspace
from labeling import head
from labeling.features import Block, blocks, names, stacked, views
from labeling.head import SCORES, Head, Known

DECIDED = 20.0  # at most so much more a person's decision counts than a label that came with data

Floats = NDArray[np.float64]
Scores = Callable[[pd.DataFrame], NDArray[np.float32]]  # units -> (N, K) of trained networks
Blocks = Callable[[pd.DataFrame, Collection[str]], Iterator[Block]]  # units, sources that are read


@dataclass(frozen=True)
class Fitted:
    """A head for each kind of part."""

    name: str
    task: str
    heads: dict[str, Head]
    blocks: Blocks
    alone: tuple[str, ...] = ()  # attack types that one group alone shows

    def probabilities(self, units: pd.DataFrame) -> Floats:
        """Return (N, C) over schema.CLASSES_OF, out of fold for whom it learnt from."""
        found = np.full((len(units), len(schema.CLASSES_OF[self.task])), np.nan)
        kinds = _kinds(units, self.task)
        for kind, fitted in self.heads.items():
            mine = np.flatnonzero(kinds == kind)
            groups = units["group"].to_numpy(object)[mine]
            for rows, sources in self.blocks(units.iloc[mine], fitted.needs):
                logits = fitted.logits(sources, groups[rows])
                found[mine[rows]] = spread(logits, fitted.classes, self.task)
        return found

    def about(self) -> dict[str, object]:
        """Return what was chosen, for people."""
        alone = {"not learnt, of one person alone": ", ".join(self.alone)}
        said: dict[str, object] = dict(alone if self.alone else {})
        for kind, fitted in self.heads.items():
            prefix = f"{kind}: " if kind else ""
            said[prefix + "classes"] = ", ".join(fitted.classes)
            said[prefix + "looks at"] = fitted.chosen
            said[prefix + "folds"] = fitted.folds
            said[prefix + "log loss out of fold"] = round(fitted.losses[fitted.chosen], 4)
        return said


def fit(
    here: Workspace,
    task: str,
    learn: pd.DataFrame,
    track: Track,
    *,
    scores: Scores | None = None,
    name: str = "fitted",
) -> Fitted:
    """Fit on ``learn``, units with a class, and ``scores`` of trained networks where there are any.

    A part of which nothing can be told apart has no head, as long as another one has.

    Raises:
        OneSided: one class only, or a class of one group of people only.
        DataError: a feature is NaN.
        SourceError: an original is gone.
        AssetError: the backbone's weights are not here.
    """
    settings = here.config.softlabel

    def offered(units: pd.DataFrame, wanted: Collection[str] | None = None) -> Iterator[Block]:
        told = scores(units) if scores and len(units) else None
        for rows, seen in _seen(here, task, units, track, wanted):
            yield rows, seen if told is None else seen | {SCORES: told[rows]}

    heads, faults, alone = {}, [], set[str]()
    for kind, every in learn.groupby(_kinds(learn, task), sort=False):
        units = learnable(every, task)
        alone |= set(every["class"]) - set(units["class"])
        known = Known(
            units["class"].to_numpy(object),
            units["group"].to_numpy(object),
            units["clip_id"].to_numpy(object),
            weights(units, task),
        )
        try:
            folds = head.possible_folds(known, settings.folds)
        except head.OneSided as fault:
            faults.append(fault)
            continue
        seen = stacked(offered(units), len(units))
        heads[str(kind)] = head.fit(seen, known, folds=folds, seed=here.config.seed)
    if not heads:
        raise faults[0]
    return Fitted(name, task, heads, offered, tuple(sorted(alone)))


def kind_of(task: str, part: str) -> str:
    """Return what shares a head: both eyes do, regions of the face do not."""
    return "eye" if task == "eyes" else part


def _kinds(units: pd.DataFrame, task: str) -> NDArray[np.object_]:
    """Return (N,) `kind_of`."""
    known = {part: kind_of(task, part) for part in units["part"].unique()}
    return units["part"].map(known).to_numpy(object)


def learnable(units: pd.DataFrame, task: str) -> pd.DataFrame:
    """Return ``units``, an attack type that one group alone shows among those of unknown type.

    No head could name the type of that group out of fold. Left out where that makes one group too.
    """
    if task != schema.LIVENESS:
        return units
    named = units.assign(**{"class": units["class"].where(_shared(units), "unknown")})
    rest = named[_shared(named)]
    return rest if rest["class"].nunique() > 1 else units


def _shared(units: pd.DataFrame) -> "pd.Series[bool]":
    """Tell of which units the class is bona fide, or shown by two groups or more."""
    groups: pd.Series[int] = units.groupby("class")["group"].transform("nunique")
    return (groups > 1) | (units["class"] == schema.BONAFIDE)


def weights(units: pd.DataFrame, task: str) -> Floats:
    """Return (N,) weights of mean 1.

    The first class (bona fide, open, clear) has half, the others share the rest; decisions of
    people count DECIDED times a given label, yet no more in all than those do: they are few, and
    often the only ones of a source that is new.
    """
    word = units["class"].to_numpy(object)
    names, index, counts = np.unique(word.astype(str), return_inverse=True, return_counts=True)
    first = names == schema.CLASSES_OF[task][0]
    others = max(len(names) - int(first.any()), 1)
    share = np.where(first, 0.5, 0.5 / others) if first.any() else np.full(len(names), 1 / others)
    each = (share / counts)[index]
    decided = (units["basis"] == "decision").to_numpy(bool)
    if decided.any() and not decided.all():
        each[decided] *= np.clip(each[~decided].sum() / each[decided].sum(), 1.0, DECIDED)
    return np.asarray(each / each.mean())


def _seen(
    here: Workspace, task: str, units: pd.DataFrame, track: Track, wanted: Collection[str] | None
) -> Iterator[Block]:
    """Yield those of the features offered that are wanted, by default all.

    Of a part the middle layers alone, side by side: no other choice measured better, with
    bench_parts.py.
    """
    seen = views(here.config.softlabel, task)
    if task == schema.LIVENESS:
        yield from blocks(here, units, seen, track, wanted=wanted)
        return
    for rows, middle in blocks(here, units, seen, track, wanted=names(seen, ["middle"])):
        yield rows, {"middle of the part": np.hstack(list(middle.values()))}


def spread(logits: Floats, classes: tuple[str, ...], task: str) -> Floats:
    """Return (N, C) probabilities over all classes of the task; 0 for those nothing is known of."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    found = np.zeros((len(logits), len(schema.CLASSES_OF[task])))
    columns = [schema.CLASSES_OF[task].index(word) for word in classes]
    found[:, columns] = shifted / shifted.sum(axis=1, keepdims=True)
    return found
