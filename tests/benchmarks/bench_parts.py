"""How well eyes and covered regions are told, by frozen features of crops and by geometry.

    python tests/benchmarks/bench_parts.py --cew FOLDER --masks FOLDER [--faces FOLDER ...]

CEW is a folder {train,val}/{open,closed}/*_{L,R}.jpg, masks one {with_mask,without_mask}/*, faces
are folders of faces that nothing covers. In one run it prints

- eyes: heads fitted on CEW train, without the faces that val has the other eye of, on val; by crop
  size, layer and strength; the same heads on crops .75 and 1.15 as wide; and what a head fitted on
  all of CEW says of the eyes of faces whose eyeBlink is above .55 (closed) or below .35 (open);
- regions: masks, and drawn covers over the clear faces, out of two folds by file; the mask label
  counts for nose, mouth and chin. A region is covered from half its area, clear up to .15;
- geometry: the same pictures by the shipped constants, which were fitted on such pictures, and with
  constants fitted on the other fold.
"""

import argparse
import hashlib
import time
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from curate import assets
from curate.crops import face_of, read_upright
from curate.examine import examine
from curate.faces import FaceDetector
from curate.landmarks import LandmarkReader
from curate.schema import PARTS_OF
from labeling import geometry, parts
from labeling.features import LAYERS, Extractor

REGIONS = PARTS_OF["occlusion"]
MASKED = ("nose", "mouth", "chin")
LARGEST = 130  # pixels between the eyes of the pictures that covers are drawn on
DETECTOR = FaceDetector(assets.path("face_landmarker"))
READER = LandmarkReader(assets.path("face_landmarker"))


class Shown(NamedTuple):
    """A picture of a face, with the share of each region that is covered; NaN where unknown."""

    file: str
    kind: str  # clear, drawn, mask
    rgb: np.ndarray
    face: object
    covered: np.ndarray


def head(strength):
    clip = FunctionTransformer(np.clip, kw_args={"a_min": -6, "a_max": 6})
    linear = LogisticRegression(C=strength, class_weight="balanced", max_iter=1000)
    return make_pipeline(StandardScaler(), clip, linear)


def features(crops):
    """Return layer -> (N, D), and the CPU milliseconds of one crop."""
    start = time.process_time()
    found = list(EXTRACTOR.stream(iter(crops)))
    spent = (time.process_time() - start) / max(len(found), 1) * 1e3
    return {layer: np.stack([one[i] for one in found]) for i, layer in enumerate(LAYERS)}, spent


def said(scores, truth):
    return f"{((scores > 0) == truth).mean():.4f} / {roc_auc_score(truth, scores):.4f}"


def files(folder):
    return sorted(
        file for file in Path(folder).rglob("*") if file.suffix.lower() in (".jpg", ".png")
    )


def row_of(file, detect=None):
    row = examine(file.read_bytes(), detect, judge=False) | {"uri": file.absolute().as_uri()}
    return row | {"shows": "face" if detect else "eye"}


# Eyes


def patches(folder):
    """Return rows, parts, closed (N,) and the face that each patch comes from (N,)."""
    found = files(folder)
    closed = np.array([file.parent.name == "closed" for file in found])
    part = ["left_eye" if file.stem.endswith("_L") else "right_eye" for file in found]
    return [row_of(file) for file in found], part, closed, np.array([f.stem[:-2] for f in found])


def eye_features(rows, part, size, wide=1.0):
    kept = parts.PATCH_SHARE, parts.EYE_SIDE
    parts.PATCH_SHARE, parts.EYE_SIDE = kept[0] * wide, kept[1] * wide
    crops = [parts.eye_crop(row, name, size=size) for row, name in zip(rows, part, strict=True)]
    parts.PATCH_SHARE, parts.EYE_SIDE = kept
    return features(crops)


def eyes(cew, faces):
    rows, part, closed, names = patches(Path(cew) / "train")
    rows_v, part_v, closed_v, names_v = patches(Path(cew) / "val")
    fresh = ~np.isin(names, names_v)
    print(f"eyes: CEW train {fresh.sum()} (of {len(rows)}) -> val {len(rows_v)}: accuracy / AUC")
    print("size layer    C      as cut            x .75             x 1.15            ms")
    for size in (64, 96, 128):
        learn, spent = eye_features(rows, part, size)
        tests = [eye_features(rows_v, part_v, size, wide)[0] for wide in (1, 0.75, 1.15)]
        for layer in LAYERS:
            for strength in (0.001, 0.01, 0.1):
                fitted = head(strength).fit(learn[layer][fresh], closed[fresh])
                line = [said(fitted.decision_function(test[layer]), closed_v) for test in tests]
                print(f"{size:<4} {layer:<8} {strength:<6}", "   ".join(line), f"  {spent:.1f}")
        if size == 96:
            fitted = head(0.01).fit(learn["middle"], closed)
            travelled(fitted, faces, size)


def travelled(fitted, faces, size):
    """Print what the head says of eyes of faces that eyeBlink is sure of."""
    rows, part, closed = [], [], []
    for row, evidence in faces:
        for name, columns in geometry.EYES.items():
            blink = evidence[columns[0]]
            if blink > 0.55 or blink < 0.35:
                rows.append(row)
                part.append(name)
                closed.append(blink > 0.55)
    if not any(closed):
        return
    scores = fitted.decision_function(eye_features(rows, part, size)[0]["middle"])
    closed = np.array(closed)
    print(
        f"     the head (middle, 96, .01) on {len(rows)} eyes of faces, {closed.sum()} closed: AUC "
        f"{roc_auc_score(closed, scores):.3f}, closed found {(scores[closed] > 0).mean():.2f}, "
        f"open called closed {(scores[~closed] > 0).mean():.3f}"
    )


# Regions


def look(row):
    """Return the upright picture, no larger than needed, and the face in it."""
    rgb, scale = read_upright(row)
    face = face_of(row, scale)
    apart = float(np.hypot(*(face.keypoints[1] - face.keypoints[0])))
    if apart > LARGEST:
        shrink = LARGEST / apart
        rgb = cv2.resize(rgb, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
        face = face_of(row, scale * shrink)
    return rgb, face


def covered(rgb, face, rng, piece):
    """Return ``rgb`` with one or two ovals or bars over the face, and the shares they cover."""
    middle, across, down = parts.axes(face.keypoints)
    height, width = rgb.shape[:2]
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1) - middle
    place = grid @ np.linalg.inv(np.stack([across, down])).reshape(2, 2)
    mask = np.zeros((height, width), bool)
    for _ in range(rng.integers(1, 3)):
        centre = np.array(parts.REGIONS[REGIONS[rng.integers(6)]]) + rng.normal(0, 0.15, 2)
        angle = rng.uniform(0, np.pi)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        off = ((place - centre) @ turn) / rng.uniform(0.22, 0.75, 2)
        mask |= (off**2).sum(-1) < 1 if rng.random() < 0.5 else np.abs(off).max(-1) < 1
    fill = filling(rgb, rng, piece, np.hypot(*place.transpose(2, 0, 1)) < 1)
    alpha = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), max(0.8, np.hypot(*across) / 60))
    drawn = rgb * (1 - alpha[..., None]) + fill * alpha[..., None]
    return np.clip(drawn, 0, 255).astype(np.uint8), shares(mask, place)


def filling(rgb, rng, piece, face):
    """Return one colour, a piece of another picture, or that in the tone of this face."""
    kind = rng.integers(3)
    if kind == 0:
        return np.broadcast_to(rng.integers(0, 256, 3), rgb.shape).astype(float)
    low = [rng.integers(0, max(side // 2, 1)) for side in piece.shape[:2]]
    cut = piece[low[0] :, low[1] :][: piece.shape[0] // 2 + 1, : piece.shape[1] // 2 + 1]
    fill = cv2.resize(cut, rgb.shape[1::-1]).astype(float)
    tone = np.median(rgb[face], axis=0) if kind == 2 and face.any() else fill.mean((0, 1))
    return fill + 0.7 * (tone - fill.mean((0, 1)))


def shares(mask, place):
    found = []
    for name in REGIONS:
        inside = (((place - parts.REGIONS[name]) / geometry.RADII[name]) ** 2).sum(-1) < 1
        found.append(mask[inside].mean() if inside.sum() > 4 else np.nan)
    return np.array(found)


def shown(masks, faces):
    rng = np.random.default_rng(0)
    clear = [row for row, _ in faces] + masks["without_mask"]
    pictures = [(row["uri"], *look(row)) for row in clear]
    known = {name: 1.0 for name in MASKED}
    found = [
        Shown(row["uri"], "mask", *look(row), np.array([known.get(n, np.nan) for n in REGIONS]))
        for row in masks["with_mask"]
    ]
    for uri, rgb, face in pictures:
        found.append(Shown(uri, "clear", rgb, face, np.zeros(6)))
        for _ in range(2):
            drawn, share = covered(rgb, face, rng, pictures[rng.integers(len(pictures))][1])
            found.append(Shown(uri, "drawn", drawn, face, share))
    return found


def region(one, name, size):
    middle, across, down = parts.axes(one.face.keypoints)
    place = middle + parts.REGIONS[name][0] * across + parts.REGIONS[name][1] * down
    return parts.cut(one.rgb, place, parts.REGION_SIDE * across, size)


def whole(one, size):
    middle, across, _ = parts.axes(one.face.keypoints)
    down = np.array([-across[1], across[0]])
    centre = middle + parts.WHOLE_DOWN * down
    return parts.cut(one.rgb, centre, parts.WHOLE_SIDE * across, size)


def regions(pictures):
    clean = sum(one.kind == "clear" for one in pictures)
    masked = sum(one.kind == "mask" for one in pictures)
    print(
        f"\nregions: {clean} clear faces, {masked} with masks, "
        f"{len(pictures) - clean - masked} drawn"
    )
    print("what                      AUC of drawn covers: mean, each of", *REGIONS)
    print("                          masks against the clear faces beside them: AUC of", *MASKED)
    wholes = {size: features([whole(one, size) for one in pictures]) for size in (96, 128)}
    each = {}
    spent = 0.0
    for name in REGIONS:
        each[name], ms = features([region(one, name, 64) for one in pictures])
        spent += ms
    for layer in LAYERS:
        for size, (found, ms) in wholes.items():
            judged(f"whole {size} {layer}", pictures, dict.fromkeys(REGIONS, found[layer]), ms)
        cropped = {name: each[name][layer] for name in REGIONS}
        judged(f"region 64 {layer}", pictures, cropped, spent)
        both = {name: np.hstack([wholes[128][0][layer], cropped[name]]) for name in REGIONS}
        judged(f"whole 128 + region {layer}", pictures, both, spent + wholes[128][1])


def judged(what, pictures, values, ms, fit=lambda: head(0.01)):
    out = {name: crossed(pictures, values[name], column, fit)
           for column, name in enumerate(REGIONS)}  # fmt: skip
    summary(f"{what:<26}", pictures, out, f"{ms:.1f} ms")


def crossed(pictures, values, column, fit):
    """Return (N,) scores of two folds by file."""
    share = np.array([one.covered[column] for one in pictures])
    fold = np.array([hashlib.sha256(one.file.encode()).digest()[0] % 2 for one in pictures])
    usable = (share >= 0.5) | (share <= 0.15)
    scores = np.zeros(len(pictures))
    for left_out in (0, 1):
        learn = usable & (fold != left_out)
        fitted = fit().fit(values[learn], share[learn] >= 0.5)
        scores[fold == left_out] = fitted.decision_function(values[fold == left_out])
    return scores


def summary(what, pictures, scores, note=""):
    kind = np.array([one.kind for one in pictures])
    web = np.array(["without_mask" in one.file for one in pictures])
    share = np.stack([one.covered for one in pictures], axis=1)
    drawn, masks = [], []
    for column, name in enumerate(REGIONS):
        usable = (kind != "mask") & ((share[column] >= 0.5) | (share[column] <= 0.15))
        drawn.append(roc_auc_score(share[column][usable] >= 0.5, scores[name][usable]))
        if name in MASKED:
            among = (kind == "mask") | ((kind == "clear") & web)
            masks.append(roc_auc_score(kind[among] == "mask", scores[name][among]))
    false = np.mean([scores[name][kind == "clear"] > 0 for name in REGIONS], axis=1)
    print(what, f"{np.mean(drawn):.3f}:", *(f"{v:.3f}" for v in drawn), "| masks",
          *(f"{v:.3f}" for v in masks), "| false on clear", *(f"{v:.3f}" for v in false),
          note)  # fmt: skip


def by_geometry(pictures):
    start = time.process_time()
    evidence = np.stack([
        geometry.evidence_of(one.rgb, one.face.keypoints, READER.read(one.rgb, one.face))
        for one in pictures
    ]).astype(float)  # fmt: skip
    ms = (time.process_time() - start) / len(pictures) * 1e3
    print("\ngeometry")
    shipped = {name: np.diff(np.log(geometry.judge_regions(evidence, [name] * len(pictures))))[:, 0]
               for name in REGIONS}  # fmt: skip
    summary(f"{'shipped constants':<26}", pictures, shipped, f"{ms:.1f} ms")
    values = {}
    for column, name in enumerate(REGIONS):
        first = geometry.STATS + geometry.COUNT * column
        values[name] = np.column_stack(
            [evidence[:, first : first + geometry.COUNT], evidence[:, 0]]
        )
    plain = LogisticRegression(C=0.1, class_weight="balanced", max_iter=500)
    judged(
        "fitted on the other fold",
        pictures,
        values,
        ms,
        lambda: make_pipeline(StandardScaler(), plain),
    )
    blocked = {kind: [] for kind in ("clear", "mask", "drawn")}
    for column, part in enumerate(REGIONS[:2]):
        probs = geometry.judge_eyes(evidence, [part] * len(pictures))[:, 2]
        for one, value in zip(pictures, probs, strict=True):
            if one.kind != "drawn" or one.covered[column] >= 0.5:
                blocked[one.kind].append(value > 0.5)
    print("eyes called blocked:", {kind: f"{np.mean(v):.3f}" for kind, v in blocked.items()},
          "(drawn: those covered)",
          f"no landmarks: {np.isnan(evidence[:, 1]).mean():.3f}")  # fmt: skip


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--cew", required=True)
    options.add_argument("--masks", required=True)
    options.add_argument("--faces", nargs="*", default=[])
    options.add_argument("--every", type=int, default=1, help="take every n-th file of --faces")
    given = options.parse_args()
    found = [file for folder in given.faces for file in files(folder)][:: given.every]
    faces = with_evidence([row_of(file, DETECTOR.detect) for file in found])
    masks = {name: [row for file in files(Path(given.masks) / name)
                    if (row := row_of(file, DETECTOR.detect)).get("landmarks") is not None]
             for name in ("with_mask", "without_mask")}  # fmt: skip
    eyes(given.cew, faces + with_evidence(masks["without_mask"]))
    pictures = shown(masks, faces)
    regions(pictures)
    by_geometry(pictures)


def with_evidence(rows):
    return [(row, geometry._read(row, READER)) for row in rows if row.get("landmarks") is not None]


if __name__ == "__main__":
    torch.set_num_threads(1)
    EXTRACTOR = Extractor("tf_efficientnet_lite0")
    main()
