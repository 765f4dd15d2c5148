"""How many frames mirrored at random are found, in bursts and among unrelated photos of a person.

    python tests/benchmarks/bench_mirror.py FOLDER [FOLDER ...]

A burst is what lies in one folder under one name but for the last number (clip_3_017.jpg). In each,
5 % of the frames are mirrored at random, by several seeds; bursts of fewer than LEAST frames are
counted apart, for in those a second mirrored one often makes it a draw. `found` is the share of
mirrored frames called so, `false` that of the others called mirrored. Folders of unrelated photos
of one person are read as bursts too: there all should be ambiguous, and nothing false. Halves are
by the name of the folder that holds the frames, so that no person is in both.
"""

import re
import sys
import time
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np

from curate import assets
from curate.decode import decode
from curate.faces import FaceDetector
from curate.mirror import decide, mirrored_columns, views

SHARE = 0.05
SEEDS = 20
LEAST = 4
DETECTED, COMPARED = 480, 128  # pixels of the shorter side, to find the face and to compare


def both_views(detector, file):
    """Return the views of the image and of its mirror image, or None without a face."""
    data = file.read_bytes()
    large, small = (decode(data, min_side=side).rgb for side in (DETECTED, COMPARED))
    faces = [face for face in detector.detect(large) if face.score >= 0.5]
    if not faces:
        return None
    gray = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    factor = max(COMPARED / min(gray.shape), 0)
    gray = cv2.resize(gray, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    points = max(faces, key=lambda face: face.box[2]).keypoints * (gray.shape[1] / large.shape[1])
    _, flipped = mirrored_columns(np.zeros(4), points.ravel(), gray.shape[1])
    mirrored = np.ascontiguousarray(gray[:, ::-1])
    return np.stack([views(gray, points), views(mirrored, flipped.reshape(-1, 2))])


def bursts_below(folder, detector):
    found, without = defaultdict(list), 0
    for file in sorted(folder.rglob("*")):
        if file.suffix.lower() in (".jpg", ".jpeg", ".png", ".bmp"):
            both = both_views(detector, file)
            if both is None:
                without += 1
            else:
                found[file.parent, re.sub(r"\d+$", "", file.stem)].append(both)
    return {key: np.stack(frames) for key, frames in found.items()}, without


def trial(frames, rng):
    mirrored = rng.random(len(frames)) < SHARE
    return mirrored, decide(frames[np.arange(len(frames)), mirrored.astype(int)])


def report(name, bursts):
    results = [
        trial(frames, np.random.default_rng([seed, n]))
        for seed in range(SEEDS)
        for n, frames in enumerate(bursts)
    ]
    if not results:
        return
    mirrored, answers = (np.concatenate(column) for column in zip(*results, strict=True))
    counts = f"{len(mirrored) // SEEDS} frames, {len(bursts)} bursts, {mirrored.sum()} mirrored"
    print(
        f"{name}: {counts} in {SEEDS} seeds: found {np.mean(answers[mirrored] == 'yes'):.1%}, "
        f"false {np.mean(answers[~mirrored] == 'yes'):.2%}, "
        f"ambiguous {np.mean(answers == 'ambiguous'):.1%}",
        flush=True,
    )


def run(folder, detector):
    bursts, without = bursts_below(folder, detector)
    print(f"{folder}: {without} images without a face left out")
    holders = sorted({holder for holder, _ in bursts})
    long = {key: frames for key, frames in bursts.items() if len(frames) >= LEAST}
    report(f"  bursts of {LEAST} or more", list(long.values()))
    for half in (0, 1):
        mine = [frames for (holder, _), frames in long.items() if holders.index(holder) % 2 == half]
        report(f"    half {half + 1} of the persons", mine)
    short = [frames for frames in bursts.values() if 2 <= len(frames) < LEAST]
    report(f"  bursts of 2 to {LEAST - 1}", short)
    largest = max(bursts.values(), key=len)
    start = time.process_time()
    decide(largest[:, 0])
    spent = (time.process_time() - start) / len(largest)
    print(f"  deciding a burst of {len(largest)}: {spent * 1e6:.0f} CPU-us a frame")


if __name__ == "__main__":
    network = FaceDetector(assets.path("face_landmarker"))
    for path in sys.argv[1:]:
        run(Path(path), network)
