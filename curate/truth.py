"""Found against planted: how a workspace stands beside a truth file.

A truth file is a CSV with one row a file: path (below the truth file's folder), set, subject,
label, attack_type, given_label, turn, exif_orientation, mirror, copy_of, relation, fault.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from curate import labels, schema
from curate.catalogue import Catalogue

NEAR = ("reencoded", "halved", "brightened")
DAMAGE = ("truncated", "html", "empty", "text")


@dataclass(frozen=True)
class Score:
    """One planted thing: how many there were, how many were found, and what was taken for it."""

    step: str
    what: str
    found: int
    planted: int
    false: int | None = None  # None where nothing could be mistaken for it


def scores(catalogue: Catalogue, truth_file: Path) -> list[Score]:
    """Return the scores of every step that has run."""
    truth = matched(catalogue, truth_file)
    rows = [
        _damage(truth),
        _turned(truth),
        _tagged(truth),
        _exact(truth),
        _near(catalogue, truth),
        _leaks(truth),
        *_labels(catalogue, truth),
    ]
    return [row for row in rows if row.planted or row.false]


def matched(catalogue: Catalogue, truth_file: Path) -> pd.DataFrame:
    """Return the truth with what each file was read as; `place` is first or other."""
    truth = pd.read_csv(truth_file, keep_default_na=False)
    root = truth_file.parent.resolve()
    truth["uri"] = [str(root / path) for path in truth["path"]]
    images = catalogue.read("images")
    first = images.assign(place="first")
    others = images.explode("also_at").dropna(subset=["also_at"])
    others = others.assign(uri=others["also_at"], place="other")
    columns = ["uri", "image_id", "status", "reason", "turn", "mirror", "exif_orientation", "place"]
    ours = {name: f"{name}_read" for name in ("turn", "mirror", "exif_orientation")}
    seen = pd.concat([first, others])[columns].rename(columns=ours)
    return truth.merge(seen, how="left", on="uri")


def _damage(truth: pd.DataFrame) -> Score:
    broken = truth["fault"].isin(DAMAGE)
    out = (truth["status"] == "quarantined") & ~truth["reason"].isin(["contamination", "no_face"])
    out |= (truth["fault"] == "text") & truth["image_id"].isna()  # not even taken for an image
    return Score(
        "ingest", "damaged and non-image files", *_found(broken, out), int((out & ~broken).sum())
    )


def _turned(truth: pd.DataFrame) -> Score:
    shown = (truth["fault"] == "") & truth["image_id"].notna()
    planted = shown & (truth["turn"] != 0)
    right = truth["turn_read"] == truth["turn"]
    touched = shown & (truth["turn"] == 0) & (truth["turn_read"] > 0)
    return Score("ingest", "turned images put upright", *_found(planted, right), int(touched.sum()))


def _tagged(truth: pd.DataFrame) -> Score:
    planted = (truth["exif_orientation"] != 1) & (truth["fault"] == "")
    right = truth["exif_orientation_read"] == truth["exif_orientation"]
    return Score("ingest", "EXIF tags applied", *_found(planted, right))


def _exact(truth: pd.DataFrame) -> Score:
    planted = truth["relation"] == "exact"
    original = truth["copy_of"].map(truth.set_index("path")["image_id"])
    same = truth["image_id"].notna() & (truth["image_id"] == original)
    return Score("ingest", "exact copies folded into one image", *_found(planted, same))


def _near(catalogue: Catalogue, truth: pd.DataFrame) -> Score:
    """Found: merged with its original, or kept out because the original sits across the split."""
    pairs = catalogue.read("pairs")
    merged = pairs[(pairs["cluster"] != "") | (pairs["kind"] == "contamination")]
    together = {frozenset(pair) for pair in zip(merged["a"], merged["b"], strict=True)}
    original = truth["copy_of"].map(truth.set_index("path")["image_id"])
    tied = [frozenset(pair) in together for pair in zip(truth["image_id"], original, strict=True)]
    held_back = truth["reason"] == "contamination"
    planted = truth["relation"].isin(NEAR) & (truth["fault"] == "")
    found = np.asarray(tied) | held_back.to_numpy()
    return Score(
        "ingest",
        "near copies found",
        *_found(planted, pd.Series(found)),
        _wrongly_merged(truth, together),
    )


def _wrongly_merged(truth: pd.DataFrame, together: set[frozenset[str]]) -> int:
    """Count merged pairs that come from different pictures."""
    picture = truth.set_index("path")["copy_of"].where(
        truth["relation"].to_numpy() != "recapture", ""
    )
    root_of = {path: _root(path, picture.to_dict()) for path in truth["path"]}
    roots: dict[str, set[str]] = {}
    for image_id, path in zip(truth["image_id"], truth["path"], strict=True):
        roots.setdefault(image_id, set()).add(root_of[path])
    known = [tuple(pair) for pair in together if all(one in roots for one in pair)]
    return sum(not roots[a] & roots[b] for a, b in known)


def _root(path: str, copy_of: Mapping[Any, str]) -> str:
    while copy_of.get(path):
        path = copy_of[path]
    return path


def _leaks(truth: pd.DataFrame) -> Score:
    """Found: trusted train files of a subject that is also in test, held back or never in train."""
    split = truth["path"].str.split("/").str[1]
    trusted = (truth["set"] == "trusted") & (truth["fault"] == "")
    tested = set(truth.loc[trusted & (split == "test"), "subject"])
    planted = trusted & (split == "train") & truth["subject"].isin(tested)
    held_back = truth["reason"].isin(["contamination", "duplicate"]) | (truth["place"] == "other")
    return Score("ingest", "train files of test subjects held back", *_found(planted, held_back))


def _labels(catalogue: Catalogue, truth: pd.DataFrame) -> list[Score]:
    soft = labels.latest_soft(catalogue, schema.LIVENESS).set_index("image_id")
    if soft.empty:
        return []
    status = truth["image_id"].map(soft["status"])
    label = truth["image_id"].map(soft["label"])
    judged = status.notna()
    wrong = judged & (truth["given_label"] != truth["label"]) & (truth["fault"] == "")
    accepted = judged & (status == "accepted")
    right = int((accepted & (label == truth["label"])).sum())
    known = set(truth.loc[truth["set"] == "trusted", "attack_type"])
    new_type = judged & ~truth["attack_type"].isin(known) & (truth["attack_type"] != "")
    not_fooled = (label != schema.BONAFIDE) | (status == "review")
    return [
        Score("softlabel", "wrong labels sent to review", *_found(wrong, status == "review")),
        Score("softlabel", "accepted soft labels that are right", right, int(accepted.sum())),
        Score(
            "softlabel",
            "never-seen attack types not accepted as bonafide",
            *_found(new_type, not_fooled),
        ),
    ]


def _found(planted: pd.Series, right: pd.Series) -> tuple[int, int]:
    return int((planted.to_numpy() & right.to_numpy()).sum()), int(planted.sum())
