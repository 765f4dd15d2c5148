"""What an image's label is: decision over trusted given label over accepted soft label."""

import numpy as np
import pandas as pd

from curate import groups, schema
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
    differs from that of the copy kept (promise 2: the pair is reopened). A synthetic image counts
    only while its parent is here and still believed bona fide, and no train image counts whose
    group turns out to reach into dev or test (promise 4).
    """
    images = catalogue.read("images").set_index("image_id", drop=False)
    decisions = decided(catalogue, "liveness")
    back = decisions.loc[decisions["action"] == "keep", "image_id"]
    words = _best_known_keys(catalogue)
    chosen = (images["status"] == "kept") | images["image_id"].isin(back)
    chosen |= _reopened(catalogue, images, words)
    bonafide = words.index[words == schema.BONAFIDE].intersection(images.index)
    orphaned = (images["origin"] == "synthetic") & ~images["parent_id"].isin(bonafide)
    leaking = images["image_id"].isin(groups.leaking(catalogue))
    return images[chosen & ~orphaned & ~leaking & images["face"].notna()]


def _best_known_keys(catalogue: Catalogue) -> pd.Series:
    """Return image_id -> label key: given or decided, else the accepted soft label."""
    given = given_keys(catalogue)
    soft = resolved(catalogue)
    rejected = decided(catalogue, "liveness").query("action == 'reject'")["image_id"]
    words = (soft["label"] + "/" + soft["attack_type"]).str.rstrip("/").astype("object")
    every = pd.concat([given, words[~words.index.isin(given.index)]])
    believed: pd.Series = every[~every.index.isin(rejected)]
    return believed


def _reopened(catalogue: Catalogue, images: pd.DataFrame, words: pd.Series) -> np.ndarray:
    """Return a (len(images),) bool array: duplicates that a label now separates from their copy."""
    pairs = catalogue.read("pairs", ["a", "b", "kind", "cluster"]).query("cluster != ''")
    clusters = pd.concat([pairs.set_index(side)["cluster"] for side in ("a", "b")])
    clusters = clusters[~clusters.index.duplicated()]
    mine = images.index.map(words.get)
    others = images.index.map(clusters.get).map(words.get)
    differ = np.fromiter(map(differs, mine, others), bool, len(images))
    return differ & (images["status"] == "duplicate").to_numpy()


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
