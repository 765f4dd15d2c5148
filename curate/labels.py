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
    rows = pd.DataFrame({"image_id": given["image_id"].to_numpy(object), "word": words(given)})
    rows = rows.drop_duplicates()
    several = rows["image_id"].duplicated(keep=False)
    single = rows[~several].set_index("image_id")["word"]
    sets: dict[str, set[str]] = {}
    for image_id, word in zip(rows["image_id"][several], rows["word"][several], strict=True):
        sets.setdefault(image_id, set()).add(word)
    folded = pd.Series({image: _one_key(said) for image, said in sets.items()}, dtype="object")
    both: pd.Series = pd.concat([single.astype("object"), folded])
    return both


def words(frame: pd.DataFrame) -> np.ndarray:
    """Return (N,) object: `key` of each row's `label` and `attack_type`."""
    label = frame["label"].to_numpy(object)
    attack_type = frame["attack_type"].fillna("").to_numpy(object)
    return np.where(attack_type == "", label, label + "/" + attack_type)


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
    by_decision = _rows(pd.Series(words(relabelled), relabelled.index), "decision")
    by_given = _rows(trusted[trusted != CONFLICT], "given")
    by_soft = _rows(pd.Series(words(soft), soft.index), "soft")
    by_soft["p_bonafide"] = [float(probs[0]) for probs in soft["probs"]]
    blocked = trusted.index[trusted == CONFLICT].difference(relabelled.index)
    every = pd.concat([by_decision, by_given, by_soft])
    every = every[~every.index.duplicated()].drop(blocked, errors="ignore")
    rejected = decisions.index[decisions["action"] == "reject"]
    return every.drop(rejected, errors="ignore")


def latest_soft(catalogue: Catalogue, task: str) -> pd.DataFrame:
    """Return the soft label that the latest standing run gave each visible image.

    A doubt about a trusted label counts only while the last run still has it.
    """
    soft = catalogue.read("soft_labels")
    if soft.empty:
        return soft
    soft = soft[(soft["task"] == task) & soft["image_id"].isin(_visible(catalogue))]
    stale = (soft["reason"] == schema.DOUBTED) & (soft["run_id"] != soft["run_id"].max())
    latest: pd.DataFrame = soft[~stale].drop_duplicates("image_id", keep="last")
    return latest


def best_keys(catalogue: Catalogue, task: str = "liveness") -> pd.Series:
    """Return image_id -> label key: given (trusted or not) or decided, else the soft label in use.

    Images that a person rejected have none.
    """
    given = given_keys(catalogue, task)
    soft = resolved(catalogue, task)
    rejected = decided(catalogue, task).query("action == 'reject'")["image_id"]
    in_use = pd.Series(words(soft), soft.index, dtype="object")
    every = pd.concat([given, in_use[~in_use.index.isin(given.index)]])
    believed: pd.Series = every[~every.index.isin(rejected)]
    return believed


def _visible(catalogue: Catalogue) -> pd.Series:
    return catalogue.read("images", ["image_id"])["image_id"]


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


def _rows(keys_of: pd.Series, basis: str) -> pd.DataFrame:
    parts = [str(word).partition("/") for word in keys_of]
    frame = pd.DataFrame(index=keys_of.index)
    frame["label"] = pd.Series([part[0] for part in parts], keys_of.index, dtype="object")
    frame["attack_type"] = pd.Series([part[2] for part in parts], keys_of.index, dtype="object")
    frame["basis"] = basis
    frame["p_bonafide"] = (frame["label"] == schema.BONAFIDE).astype(float)
    return frame
