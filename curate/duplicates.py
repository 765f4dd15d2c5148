"""Which near pairs are copies of one picture, which are recaptures, and which copy is kept.

An attack made by printing or replaying a selfie is itself a near duplicate of that selfie, so a
label that differs always stands between two images, and so does a pixel that does not agree.
"""

from collections.abc import Iterable

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate.groups import SAME_PICTURE
from curate.hashes import Pose, apply_pose
from curate.labels import differs

SIDE = 64  # pixels to which both images are reduced before they are compared
FLAT = 0.5  # grey levels: less standard deviation than this is an image without a pattern
SAME_LEVEL = 2.0  # grey levels by which two flat images may differ and still agree
LEAST_OVERLAP = 0.7  # share of the square: an alignment that leaves less is not a small one
STEPS = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 50, 1e-4)
SMOOTHING = 5  # pixels of the Gaussian that the alignment uses
EQUAL, DIFFERENT, UNKNOWN = 1, 0, -1

Gray = NDArray[np.uint8]
Small = NDArray[np.float32]


def similarity(a: Gray, b: Gray, pose: Pose) -> float:
    """Return how far grey image ``a``, turned by ``pose``, agrees with ``b``: in [-1, 1].

    Both (H, W), of any size, are reduced to 64 x 64 and a small affine that brings a onto b is
    sought (ECC: Evangelidis and Psarakis, PAMI 30(10), 2008); the answer is the normalised
    correlation where they overlap, or of the unaligned squares where no small affine is found.
    Two flat images agree (1) where their grey levels do, else not (0); a flat one agrees with no
    other (0).
    """
    moving, fixed = _reduce(apply_pose(a, pose)), _reduce(b)
    flat = [bool(image.std() < FLAT) for image in (moving, fixed)]
    if any(flat):
        return float(all(flat) and abs(moving.mean() - fixed.mean()) <= SAME_LEVEL)
    return _aligned_correlation(moving, fixed)


def _reduce(gray: Gray) -> Small:
    small: Small = cv2.resize(gray, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    return small


def _aligned_correlation(moving: Small, fixed: Small) -> float:
    plain = _correlation(moving, fixed)
    try:
        _, warp = cv2.findTransformECC(
            fixed, moving, np.eye(2, 3, dtype=np.float32), cv2.MOTION_AFFINE, STEPS, None, SMOOTHING
        )
    except cv2.error:  # it did not converge
        return plain
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    overlap = cv2.warpAffine(np.ones_like(moving), warp, (SIDE, SIDE), flags=how) > 0.999
    if overlap.mean() < LEAST_OVERLAP:
        return plain
    aligned = cv2.warpAffine(moving, warp, (SIDE, SIDE), flags=how)
    return _correlation(aligned[overlap], fixed[overlap])


def _correlation(x: Small, y: Small) -> float:
    x, y = x - x.mean(), y - y.mean()
    norm = float(np.linalg.norm(x) * np.linalg.norm(y))
    return float(np.clip((x * y).sum() / norm, -1, 1)) if norm else 0.0


def judge(
    pairs: pd.DataFrame, images: pd.DataFrame, *, min_similarity: float = SAME_PICTURE
) -> pd.DataFrame:
    """Return ``pairs`` (a, b, similarity, ...) with a column `kind`, less those within one clip.

    ``images``, indexed by image_id, has subject, clip and label_key ("bonafide", "attack/print";
    null where unknown). Two known and different subjects: candidate. Else contradicting labels:
    recapture, never merged. Else duplicate where similarity reaches ``min_similarity``, else
    candidate. Frames of one clip stay apart: the clip says already that they belong together.
    """
    facts = images[["subject", "clip", "label_key"]]
    a, b = (facts.reindex(pairs[side]).reset_index(drop=True) for side in ("a", "b"))
    contradict = np.fromiter(map(differs, a["label_key"], b["label_key"]), bool, len(pairs))
    agree = pairs["similarity"].to_numpy(float) >= min_similarity
    kind = np.select(
        [_compare(a, b, "subject") == DIFFERENT, contradict, agree],
        ["candidate", "recapture", "duplicate"],
        "candidate",
    )
    apart = _compare(a, b, "clip") != EQUAL
    judged: pd.DataFrame = pairs.assign(kind=kind.astype(object)).loc[apart]
    return judged


def _compare(a: pd.DataFrame, b: pd.DataFrame, column: str) -> NDArray[np.int8]:
    """Return EQUAL or DIFFERENT where both values are known, else UNKNOWN."""
    known = (a[column].notna() & b[column].notna()).to_numpy(bool)
    equal = a[column].to_numpy(object) == b[column].to_numpy(object)
    return np.where(known, np.where(equal, EQUAL, DIFFERENT), UNKNOWN).astype(np.int8)


def keep_best(images: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """Return image_id and cluster: the image kept in its place, itself where it is kept.

    ``images``, indexed by image_id, has known (kept or merged by an earlier run), turn, mirror,
    face_area, sharpness, order (place in the ingest) and label_key, and may have cluster (of the
    known ones, null: itself). Of ``pairs`` only kind `duplicate` counts.

    Known images keep their cluster. The others come in the order of `keep_order`, and each joins
    the first kept image with which it forms a duplicate pair itself, never through a third, unless
    its label contradicts one that is already there; else it is kept.
    """
    ranked = images.loc[keep_order(images)]
    place = {image: n for n, image in enumerate(ranked.index)}
    copies = _copies(pairs[pairs.kind == "duplicate"])
    earlier = ranked["cluster"] if "cluster" in ranked else pd.Series(index=ranked.index, dtype=str)
    home: dict[str, str] = {}
    labels: dict[str, list[str | None]] = {}
    for image, known, cluster, label in zip(
        ranked.index, ranked.known, earlier, ranked.label_key, strict=True
    ):
        if known:
            home[image] = image if pd.isna(cluster) else cluster
        else:
            stars = (c for c in copies.get(image, ()) if home.get(c) == c)
            near = sorted(stars, key=lambda c: place[c])
            home[image] = _first_without_conflict(near, label, labels) or image
        labels.setdefault(home[image], []).append(label)
    return pd.DataFrame({"image_id": list(home), "cluster": list(home.values())}, dtype=object)


def keep_order(images: pd.DataFrame) -> "pd.Index[str]":
    """Return the image_ids, best copy first.

    Known before new; upright before turned or mirrored before undecided; larger face; sharper;
    earlier; and the smaller image_id at last.
    """
    repaired = (images.turn != 0) | (images.mirror == "yes")
    lie = np.where(images.turn == -1, 2, repaired.astype(int))
    keys = pd.DataFrame(
        {
            "known": ~images.known.astype(bool),
            "lie": lie,
            "face": -images.face_area.fillna(0),
            "sharpness": -images.sharpness.fillna(0),
            "order": images.order,
            "name": images.index,
        },
        index=images.index,
    )
    return keys.sort_values(list(keys.columns)).index


def _copies(duplicates: pd.DataFrame) -> dict[str, list[str]]:
    copies: dict[str, list[str]] = {}
    for a, b in zip(duplicates.a, duplicates.b, strict=True):
        copies.setdefault(a, []).append(b)
        copies.setdefault(b, []).append(a)
    return copies


def _first_without_conflict(
    stars: Iterable[str], label: str | None, labels: dict[str, list[str | None]]
) -> str | None:
    for star in stars:
        if not any(differs(label, other) for other in labels[star]):
            return star
    return None
