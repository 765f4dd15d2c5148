"""Which soft labels to accept: probabilities and given labels in, `soft_labels` out. Pure."""

import numpy as np
import pandas as pd

from curate import labels, schema

NAME = "fitted"


def as_liveness(probs: np.ndarray, classes: tuple[str, ...]) -> np.ndarray:
    """Return (N, C) probabilities over ``classes`` as (N, 10) over schema.LIVENESS_CLASSES."""
    full = np.zeros((len(probs), len(schema.LIVENESS_CLASSES)), dtype=np.float32)
    full[:, [schema.LIVENESS_CLASSES.index(name) for name in classes]] = probs
    return full


def decide(
    image_ids: pd.Index, probs: np.ndarray, given: pd.Series, trusted: pd.Index, threshold: float
) -> pd.DataFrame:
    """Return a row of `soft_labels` for each image; trusted ones appear only where doubted.

    ``probs`` (N, 10) over LIVENESS_CLASSES; ``given`` image_id -> label key of any given label;
    ``threshold`` in (0.5, 1): accepted when confidence >= threshold and nothing given contradicts.
    """
    p_bonafide = probs[:, 0]
    is_bonafide = p_bonafide >= 0.5
    likeliest = [schema.ATTACK_TYPES[column] for column in probs[:, 1:].argmax(axis=1)]
    frame = pd.DataFrame(
        {
            "image_id": image_ids,
            "task": "liveness",
            "part": "",
            "label": np.where(is_bonafide, schema.BONAFIDE, schema.ATTACK),
            "attack_type": np.where(is_bonafide, "", likeliest),
            "confidence": np.clip(np.maximum(p_bonafide, 1 - p_bonafide), 0.5, 1.0),
            "probs": list(probs),
            "teacher": NAME,
            "threshold": threshold,
        }
    )
    sure = frame["confidence"].astype(np.float32) >= np.float32(threshold)
    against = _contradicted(frame, given)
    is_trusted = frame["image_id"].isin(trusted)
    frame["reason"] = np.select(
        [is_trusted, ~sure, against], [schema.DOUBTED, schema.UNSURE, schema.CONTRADICTS], ""
    )
    frame["status"] = np.where(frame["reason"] == "", "accepted", "review")
    return frame[~is_trusted | (sure & against)].reset_index(drop=True)


def _contradicted(frame: pd.DataFrame, given: pd.Series) -> np.ndarray:
    """Return (N,) bool: the given label is of the other side, or contradicts itself."""
    words = frame["image_id"].map(given).astype("object")
    other_side = words.str.partition("/")[0] != frame["label"] if len(words) else words.notna()
    return np.asarray(words.notna() & (other_side | (words == labels.CONFLICT)))
