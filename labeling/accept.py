"""Which soft labels to accept: probabilities and given labels in, `soft_labels` out. Pure."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate import labels, schema
from labeling.calibrate import sides
from labeling.certify import SAID, Presentations

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Rule:
    """From which confidence on a label is accepted.

    Attributes:
        threshold: accepted when confidence >= threshold, in (1 / sides, 1).
        bound: the share of wrong labels among accepted ones that this allows; None: none is known.
        teacher: its name.
    """

    threshold: float
    bound: float | None
    teacher: str


def decide(
    units: pd.DataFrame,
    probabilities: Floats,
    given: "pd.Series[str]",
    rule: Rule,
    odd: NDArray[np.bool_],
    *,
    task: str,
) -> pd.DataFrame:
    """Return a row of `soft_labels` for each unit; those with a class only where it is doubted.

    ``probabilities`` (N, C) over schema.CLASSES_OF[task]; ``given`` unit -> label key of any given
    label; ``odd`` (N,): units that look like nothing bona fide seen before.
    """
    frame = named(probabilities, task).assign(
        image_id=units["image_id"].to_numpy(),
        task=task,
        part=units["part"].to_numpy(),
        teacher=rule.teacher,
        threshold=rule.threshold,
        bound=rule.bound,
    )
    blind = np.isnan(probabilities).any(axis=1)
    sure = frame["confidence"].to_numpy(np.float32) >= np.float32(rule.threshold)
    against = _contradicted(frame, given.reindex(units.index))
    strange = odd & (frame["label"] == schema.BONAFIDE).to_numpy()
    trusted = units["class"].notna().to_numpy()
    frame["reason"] = np.select(
        [blind, trusted, ~sure, against, strange],
        [schema.BLIND, schema.DOUBTED, schema.UNSURE, schema.CONTRADICTS, schema.STRANGE],
        "",
    )
    frame["status"] = np.where(frame["reason"] == "", "accepted", "review")
    shown = np.where(trusted, sure & against & ~blind, True)
    return frame[shown].reset_index(drop=True)


def named(probabilities: Floats, task: str) -> pd.DataFrame:
    """Return label, attack_type, confidence and probs of (N, C) probabilities.

    Of liveness the likelier side, and the likeliest type of an attack; a row of NaN gets the first
    class, confidence 0 and even probabilities.
    """
    classes = np.array(schema.CLASSES_OF[task], object)
    blind: NDArray[np.bool_] = np.asarray(np.isnan(probabilities).any(axis=1))
    probs: Floats = np.where(blind[:, np.newaxis], 1 / len(classes), probabilities)
    side = sides(probs, task)
    label = classes[probs.argmax(axis=1)]
    kind: NDArray[np.object_] = np.full(len(probs), "", object)
    if task == schema.LIVENESS:
        bonafide: NDArray[np.bool_] = np.greater_equal(side[:, 0], 0.5)
        label = np.where(bonafide, schema.BONAFIDE, schema.ATTACK)
        kind = np.where(bonafide, "", classes[1:][probs[:, 1:].argmax(axis=1)])
    confidence = np.where(blind, 0.0, side.max(axis=1))
    columns = {"label": label, "attack_type": kind, "confidence": confidence}
    return pd.DataFrame(columns | {"probs": list(probs.astype(np.float32))})


def presentations(
    units: pd.DataFrame, probabilities: Floats, odd: NDArray[np.bool_], task: str
) -> Presentations:
    """Return what a teacher makes of ``units`` whose class is known, one row per presentation.

    What would not be accepted at any threshold has confidence 0. A label is wrong when it names
    another side than the class does: the type of an attack is no part of what is certified.
    """
    seen = named(probabilities, task)
    said, true = seen["label"].to_numpy(object), units["class"].to_numpy(object)
    label = true
    if task == schema.LIVENESS:
        label = np.where(true == schema.BONAFIDE, schema.BONAFIDE, schema.ATTACK)
    strata = {f"{SAID}{word}": said == word for word in sorted(set(label) | set(said))}
    if task == schema.LIVENESS:
        kinds = sorted(set(true) - {schema.BONAFIDE})
        strata |= {labels.key(schema.ATTACK, kind): true == kind for kind in kinds}
    confidence = seen["confidence"].where(~(odd & (said == schema.BONAFIDE)), 0.0)
    return Presentations(confidence.to_numpy(float), said != label, strata)


def _contradicted(frame: pd.DataFrame, words: "pd.Series[str]") -> NDArray[np.bool_]:
    """Return (N,) bool: the given label is of the other side, or contradicts itself."""
    code, known = pd.factorize(words.to_numpy(object))
    side = np.array([*(word.partition("/")[0] for word in known), None], object)[code]
    clash = np.array([*(word == labels.CONFLICT for word in known), False])[code]
    other: NDArray[np.bool_] = (code >= 0) & (clash | (side != frame["label"].to_numpy(object)))
    return other
