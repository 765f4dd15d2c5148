"""What an image's label is: decision over trusted given label over accepted soft label."""

import numpy as np
import pandas as pd

from curate import schema
from curate.catalogue import Catalogue

CONFLICT = "conflict"


def key(label: str, attack_type: str) -> str:
    """Return a label as one word: `bonafide`, `attack/print`."""
    return f"{label}/{attack_type}" if attack_type else label


def keys(given: pd.DataFrame) -> pd.Series:
    """Return image_id -> key over rows with `label`, `attack_type`; several keys become `conflict`.

    `attack/unknown` beside a known attack type is no conflict: the known one says more.
    """
    if given.empty:
        return pd.Series(dtype="object")
    words = [key(*row) for row in zip(given["label"], given["attack_type"], strict=True)]
    sets: dict[str, set[str]] = {}
    for image_id, word in zip(given["image_id"], words, strict=True):
        sets.setdefault(image_id, set()).add(word)
    return pd.Series(
        {image_id: _one_key(words) for image_id, words in sets.items()}, dtype="object"
    )


def decided(catalogue: Catalogue, task: str) -> pd.DataFrame:
    """Return the latest decision of each image: image_id, action, label, attack_type."""
    decisions = catalogue.read("decisions")
    decisions = decisions[decisions["task"] == task].sort_values("at", kind="stable")
    columns = ["image_id", "action", "label", "attack_type"]
    return decisions.drop_duplicates("image_id", keep="last")[columns]


def given_keys(
    catalogue: Catalogue, task: str = "liveness", extra: pd.DataFrame | None = None
) -> pd.Series:
    """Return image_id -> label key from every given label, trusted or not; decisions outrank them.

    Only a barrier to merging: an untrusted label says that two images differ, not what they are.
    """
    given = catalogue.read("labels")
    given = pd.concat(
        [given[given["task"] == task], schema.empty("labels") if extra is None else extra]
    )
    relabelled = decided(catalogue, task).query("label != ''")
    given = given[~given["image_id"].isin(relabelled["image_id"])]
    return keys(pd.concat([given, relabelled])[["image_id", "label", "attack_type"]])


def resolved(catalogue: Catalogue, task: str = "liveness") -> pd.DataFrame:
    """Return the label of every image that has one, indexed by image_id.

    Columns: label, attack_type, basis (decision | given | soft), p_bonafide in [0, 1]. Images a
    person rejected, and images whose trusted labels contradict each other, have none.
    """
    decisions = decided(catalogue, task).set_index("image_id")
    given = catalogue.read("labels")
    trusted = keys(given[(given["task"] == task) & given["trusted"]])
    soft = latest_soft(catalogue, task).set_index("image_id")
    accepted_by_person = decisions.index[decisions["action"] == "accept"]
    soft = soft[(soft["status"] == "accepted") | soft.index.isin(accepted_by_person)]
    relabelled = decisions[decisions["label"] != ""]
    by_decision = _rows(
        relabelled["label"] + "/" + relabelled["attack_type"].fillna(""), "decision"
    )
    by_given = _rows(trusted[trusted != CONFLICT], "given")
    by_soft = _rows(soft["label"] + "/" + soft["attack_type"].fillna(""), "soft")
    by_soft["p_bonafide"] = [float(probs[0]) for probs in soft["probs"]]
    blocked = trusted.index[trusted == CONFLICT].difference(relabelled.index)
    every = pd.concat([by_decision, by_given, by_soft])
    every = every[~every.index.duplicated()].drop(blocked, errors="ignore")
    rejected = decisions.index[decisions["action"] == "reject"]
    return every.drop(rejected, errors="ignore")


def latest_soft(catalogue: Catalogue, task: str) -> pd.DataFrame:
    """Return the soft label that the latest standing run gave each image."""
    soft = catalogue.read("soft_labels")
    soft = soft[soft["task"] == task].sort_values("run_id", kind="stable")
    return soft.drop_duplicates("image_id", keep="last")


def usable(catalogue: Catalogue) -> pd.DataFrame:
    """Return the rows of `images` that may be labelled and trained on, indexed by image_id.

    Those kept; those a person put back (action keep); and duplicates whose label, learnt later,
    differs from that of the copy kept (promise 2: the pair is reopened).
    """
    images = catalogue.read("images").set_index("image_id", drop=False)
    decisions = decided(catalogue, "liveness")
    back = decisions.loc[decisions["action"] == "keep", "image_id"]
    chosen = (
        (images["status"] == "kept") | images["image_id"].isin(back) | _reopened(catalogue, images)
    )
    return images[chosen & images["face"].notna()]


def _reopened(catalogue: Catalogue, images: pd.DataFrame) -> np.ndarray:
    """Return a (len(images),) bool array: duplicates that a label now separates from their copy."""
    pairs = catalogue.read("pairs", ["a", "b", "kind", "cluster"])
    pairs = pairs[pairs["kind"] == "duplicate"]
    duplicate = pd.concat([pairs["a"], pairs["b"]]).to_numpy()
    cluster = pd.concat([pairs["cluster"], pairs["cluster"]]).to_numpy()
    kept_copy = pd.Series(cluster, index=duplicate)
    kept_copy = kept_copy[~kept_copy.index.duplicated()]
    words = given_keys(catalogue)
    soft = resolved(catalogue)
    words = words.reindex(words.index.union(soft.index))
    words = words.fillna((soft["label"] + "/" + soft["attack_type"]).str.rstrip("/"))
    mine = words.reindex(images.index)
    others = words.reindex(kept_copy.reindex(images.index).to_numpy())
    apart = mine.notna().to_numpy() & others.notna().to_numpy()
    differ = np.array([differs(a, b) for a, b in zip(mine, others, strict=True)], dtype=bool)
    return np.asarray(apart & differ & (images["status"] == "duplicate").to_numpy())


def differs(a: object, b: object) -> bool:
    """Return whether two label keys say different things; a missing one says nothing."""
    if not isinstance(a, str) or not isinstance(b, str) or a == b:
        return False
    unknown = key(schema.ATTACK, "unknown")
    both_attacks = a.startswith(schema.ATTACK) and b.startswith(schema.ATTACK)
    return not (both_attacks and unknown in (a, b))


def _one_key(words: set[str]) -> str:
    known = words - {key(schema.ATTACK, "unknown")} if len(words) > 1 else words
    consistent = len(known) == 1 and not (len(words) > 1 and schema.BONAFIDE in words)
    return next(iter(known)) if consistent else CONFLICT


def _rows(words: pd.Series, basis: str) -> pd.DataFrame:
    parts = words.astype("object").str.partition("/")
    frame = pd.DataFrame(index=words.index)
    frame["label"] = parts[0] if len(words) else pd.Series(dtype="object")
    frame["attack_type"] = parts[2] if len(words) else pd.Series(dtype="object")
    frame["basis"] = basis
    frame["p_bonafide"] = (frame["label"] == schema.BONAFIDE).astype(float)
    return frame
