"""The fitted teacher: linear heads on frozen features of crops, learnt from trusted labels.

Liveness looks at the face at several scales; eyes at each eye; occlusion at the whole face, with a
head for each region.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate import schema
from curate.workspace import Workspace
from labeling import head
from labeling.features import Track, features, views
from labeling.head import SCORES, Head, Known

DECIDED = 20.0  # at most so much more a person's decision counts than a label that came with data

Floats = NDArray[np.float64]
Scores = Callable[[pd.DataFrame], NDArray[np.float32]]  # units -> (N, K) of trained networks


@dataclass(frozen=True)
class Fitted:
    """A head for each kind of part."""

    name: str
    task: str
    heads: dict[str, Head]
    sources: Callable[[pd.DataFrame], head.Sources]

    def probabilities(self, units: pd.DataFrame) -> Floats:
        """Return (N, C) over schema.CLASSES_OF, out of fold for whom it learnt from."""
        found = np.full((len(units), len(schema.CLASSES_OF[self.task])), np.nan)
        kinds = units["part"].map(lambda part: kind_of(self.task, part)).to_numpy(object)
        for kind, fitted in self.heads.items():
            rows = np.flatnonzero(kinds == kind)
            if len(rows):
                mine = units.iloc[rows]
                groups = mine["group"].to_numpy(object)
                logits = fitted.logits(self.sources(mine), groups)
                found[rows] = spread(logits, fitted.classes, self.task)
        return found

    def about(self) -> dict[str, object]:
        """Return what was chosen, for people."""
        said: dict[str, object] = {}
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

    Raises:
        DataError: one class only, a class of one group of people only, or a feature is NaN.
        SourceError: an original is gone.
        AssetError: the backbone's weights are not here.
    """
    settings = here.config.softlabel

    def sources(units: pd.DataFrame) -> head.Sources:
        found = dict(_seen(here, task, units, track))
        return found | ({SCORES: scores(units)} if scores else {})

    heads = {}
    kinds = learn["part"].map(lambda part: kind_of(task, part))
    for kind, units in learn.groupby(kinds, sort=False):
        known = Known(
            units["class"].to_numpy(object),
            units["group"].to_numpy(object),
            units["clip_id"].to_numpy(object),
            weights(units, task),
        )
        heads[str(kind)] = head.fit(
            sources(units), known, folds=settings.folds, seed=here.config.seed
        )
    return Fitted(name, task, heads, sources)


def kind_of(task: str, part: str) -> str:
    """Return what shares a head: both eyes do, regions of the face do not."""
    return "eye" if task == "eyes" else part


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


def _seen(here: Workspace, task: str, units: pd.DataFrame, track: Track) -> head.Sources:
    """Return the features offered: of a part the middle layers alone, side by side.

    Of parts no other choice measured better, with bench_parts.py.
    """
    seen = views(here.config.softlabel, task)
    if task == "liveness":
        return features(here, units, seen, track)
    middle = features(here, units, seen, track, layers=("middle",))
    return {"middle of the part": np.hstack(list(middle.values()))}


def spread(logits: Floats, classes: tuple[str, ...], task: str) -> Floats:
    """Return (N, C) probabilities over all classes of the task; 0 for those nothing is known of."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    found = np.zeros((len(logits), len(schema.CLASSES_OF[task])))
    columns = [schema.CLASSES_OF[task].index(word) for word in classes]
    found[:, columns] = shifted / shifted.sum(axis=1, keepdims=True)
    return found
