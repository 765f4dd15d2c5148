"""How many images are put upright, how many are wrong, and what it costs.

    python tests/benchmarks/bench_turn.py [--sets clean,dark] [--yunet FILE] [--most N] [folder ...]

Every image of the folders (taken for upright) is turned all four ways, in each set: "clean", as it
is; and spoiled ones: "blur" of sigma 6, "noise" of sigma 50, "dark" (times 0.12, noise of sigma 4),
"px32" (the face and its surroundings in 32 pixels), "tight" (nothing but the detector's box). The
tight ones and the 32 px ones need a face in the original; those without are left out and counted.
Without folders, pictures of drawn faces are tried. "touched": upright images that would be turned.
"passes": networks run on an image that came upright; the landmark network counts as one.
"""

import argparse
import time
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from curate import assets, faces
from curate.decode import REDUCED_SIDE, Unreadable, decode
from curate.faces import FaceDetector, windows
from curate.orient import TURNS, UNDECIDED, find_upright, turn_image
from curate.yunet import YuNetDetector

SETS = ("clean", "blur", "noise", "dark", "px32", "tight")
FILES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


@dataclass
class Score:
    """What became of one set."""

    counts: Counter = field(default_factory=Counter)
    passes: list = field(default_factory=list)
    upright_seconds: float = 0.0
    wall_seconds: float = 0.0
    faceless: int = 0

    def line(self, name):
        planted = sum(self.counts[what] for what in ("right", "wrong", "undecided"))
        upright = max(len(self.passes), 1)
        shares = [100 * self.counts[what] / max(planted, 1) for what in ("right", "wrong")]
        undecided, touched = (
            (100 * self.counts["undecided"] / max(planted, 1)),
            self.counts["touched"],
        )
        return (
            f"| {name} | {upright} | {shares[0]:.2f} | {shares[1]:.2f} | {undecided:.2f} "
            f"| {100 * touched / upright:.2f} | {np.mean(self.passes or [0]):.2f} "
            f"| {upright / max(self.wall_seconds, 1e-9):.0f} "
            f"| {upright / max(self.upright_seconds, 1e-9):.0f} | {self.faceless} |"
        )


class Counted:
    """A detector that counts how often its networks run."""

    def __init__(self, detector):
        self.detector = detector
        self.passes = 0

    def __call__(self, rgb, looks: Sequence[faces.Look], /):
        height, width = rgb.shape[:2]
        shown = [
            look for look in looks if look != "mesh" or isinstance(self.detector, FaceDetector)
        ]
        self.passes += sum(len(windows(width, height, look)) for look in shown)
        return self.detector.detect(rgb, looks)


def spoil(name, rgb, detector):
    """Return ``rgb`` as a member of the set ``name``; None where that needs a face and none is."""
    assert name in SETS, f"{name} is none of {SETS}"
    rng = np.random.default_rng(zlib.crc32(rgb.tobytes()))
    if name == "blur":
        return cv2.GaussianBlur(rgb, (0, 0), 6)
    if name in ("noise", "dark"):
        scale, sigma = (1, 50) if name == "noise" else (0.12, 4)
        return np.clip(rgb * scale + rng.normal(0, sigma, rgb.shape), 0, 255).astype(np.uint8)
    if name in ("px32", "tight"):
        found = detector.detect(rgb, ("frame", "border"))
        if not found or found[0].score < faces.MIN_SCORE:
            return None
        crop = cut(rgb, found[0].box, 1.0 if name == "tight" else 1.5)
        return crop if name == "tight" else cv2.resize(crop, (32, 32), interpolation=cv2.INTER_AREA)
    return rgb


def cut(rgb, box, scale):
    """Return the part of the frame within ``scale`` times the box, about its middle."""
    x, y, width, height = box
    low = np.maximum([x + width / 2 - scale * width / 2, y + height / 2 - scale * height / 2], 0)
    right, bottom = (low + [scale * width, scale * height]).astype(int)
    left, top = low.astype(int)
    return np.ascontiguousarray(rgb[top : max(bottom, top + 1), left : max(right, left + 1)])


def judge(image, detector, score):
    """Plant all four turns into ``image`` and count what becomes of them."""
    for planted in TURNS:
        detect = Counted(detector)
        turned = turn_image(image, planted)
        wall, cpu = time.perf_counter(), time.process_time()
        turn = find_upright(turned, detect).turn
        if planted == 0:
            score.wall_seconds += time.perf_counter() - wall
            score.upright_seconds += time.process_time() - cpu
            score.passes.append(detect.passes)
            score.counts["touched"] += turn not in (0, UNDECIDED)
        needed = (360 - planted) % 360
        outcome = "undecided" if turn == UNDECIDED else "right" if turn == needed else "wrong"
        score.counts[outcome] += 1


def bench(title, images, sets, detector, cropper):
    print(f"\n### {title}\n")
    print(
        "| set | images | right % | wrong % | undecided % | touched % | passes | images/s ", end=""
    )
    print("| images per CPU-s | left out |\n|---|---|---|---|---|---|---|---|---|---|")
    for name in sets:
        score = Score()
        for rgb in images:
            image = spoil(name, rgb, cropper)
            if image is None:
                score.faceless += 1
            else:
                judge(image, detector, score)
        print(score.line(name), flush=True)


def read(folder, most):
    """Return up to ``most`` images of a folder, evenly picked, as ingest sees them."""
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in FILES)
    images = []
    for file in files[:: max(1, -(-len(files) // most))]:
        try:
            images.append(decode(file.read_bytes(), min_side=REDUCED_SIDE).pixels)
        except Unreadable as fault:
            print(f"{file}: {fault}")
    return images


def drawn(count):
    """Return pictures of nobody: the portraits of the tests."""
    import sys

    sys.path.insert(0, str(Path(__file__).parents[1]))
    from conftest import portrait

    return [portrait(seed) for seed in range(count)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--sets", default=",".join(SETS), help="separated by commas")
    parser.add_argument("--yunet", type=Path, help="a YuNet .onnx file to try as well")
    parser.add_argument("--most", type=int, default=100, help="images taken of a folder")
    given = parser.parse_args()
    blazeface = FaceDetector(assets.path("face_landmarker"))
    detectors = {"BlazeFace": blazeface}
    if given.yunet:
        detectors["YuNet"] = YuNetDetector(given.yunet)
    for folder in given.folders or [None]:
        images = read(folder, given.most) if folder else drawn(min(given.most, 40))
        for name, detector in detectors.items():
            where = folder.name if folder else "drawn faces"
            bench(f"{where}, {name}", images, given.sets.split(","), detector, blazeface)


if __name__ == "__main__":
    main()
