"""Plant what mined data suffers from into any folder of faces, and write the truth beside it.

    python tests/benchmarks/plant.py FOLDER [FOLDER...] --into OUT [--recipe NAME] [--seed N]

Every image is written as it is; some frames are turned, some frames of clips mirrored, and some
images get copies: each kind of edit, in each of the 8 poses by turns. OUT/truth.csv says which, and
is a manifest: `curate ingest OUT/truth.csv` knows the clips, without which no frame is known to be
mirrored; `curate ingest OUT` knows nothing.
"""

import argparse
import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import simplejpeg

from curate import places, recipes, sources, workspace
from curate.decode import Unreadable, decode
from curate.hashes import POSES

Image = np.ndarray
TURNED, MIRRORED, COPIED = 0.1, 0.05, 0.15  # of the images


def crop(rgb: Image, share: float) -> Image:
    height, width = rgb.shape[:2]
    y, x = round(height * share / 2), round(width * share / 2)
    return rgb[y : height - y, x : width - x]


def rotated(rgb: Image, degrees: float) -> Image:
    height, width = rgb.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    return cv2.warpAffine(rgb, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)


def gamma(rgb: Image, power: float) -> Image:
    return np.round(255 * (rgb / 255.0) ** power).astype(np.uint8)


EDITS: dict[str, Callable[[Image], Image]] = {
    "reencoded": lambda rgb: rgb,
    "halved": lambda rgb: cv2.resize(rgb, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "blurred": lambda rgb: cv2.GaussianBlur(rgb, (0, 0), max(rgb.shape) / 400),
    "crop3": lambda rgb: crop(rgb, 0.03),
    "crop8": lambda rgb: crop(rgb, 0.08),
    "rotated3": lambda rgb: rotated(rgb, 3),
    "brighter": lambda rgb: np.clip(rgb * 1.2 + 8, 0, 255).astype(np.uint8),
    "gamma.6": lambda rgb: gamma(rgb, 0.6),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--into", type=Path, required=True)
    parser.add_argument("--recipe", help="reads subjects, clips and labels into the truth")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--most", type=int, default=10**9, help="images taken, at random")
    chosen = parser.parse_args()
    rng = np.random.default_rng(chosen.seed)
    rows = [row for row in planted(chosen, rng)]
    with (chosen.into / "truth.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    print(f"{len(rows)} files and truth.csv in {chosen.into}")


def planted(chosen: argparse.Namespace, rng: np.random.Generator) -> Any:
    known = recipes.load_recipes(workspace.Workspace(chosen.into))
    trees = sources.trees([str(folder) for folder in chosen.folders])
    items = list(sources.scan(trees, known[chosen.recipe] if chosen.recipe else None))
    order = rng.permutation(len(items))[: chosen.most]
    edits = 0
    for number, at in enumerate(sorted(order)):
        item = items[at]
        try:
            rgb = decode(places.read_bytes(item.uri)).rgb
        except Unreadable:
            continue
        row = described(item, number)
        copied = rng.random() < COPIED
        if not copied and rng.random() < TURNED:
            row["turn"] = int(rng.choice([90, 180, 270]))
        if not copied and row["clip"] and rng.random() < MIRRORED:
            row["mirror"] = "yes"
        yield written(chosen.into, row, lying(rgb, row["turn"], row["mirror"]), 95)
        if copied:
            relation, pose = list(EDITS)[edits % len(EDITS)], POSES[edits // len(EDITS) % 8]
            edits += 1
            copy = row | {
                "path": f"copy/{row['path'].removesuffix('.jpg')}_{relation}.jpg",
                "copy_of": row["path"],
                "relation": relation,
                "turn": pose.turn,
                "mirror": "yes" if pose.mirror else "no",
                "clip": "",
            }
            edited = lying(EDITS[relation](rgb), pose.turn, copy["mirror"])
            yield written(chosen.into, copy, edited, int(rng.integers(30, 90)))


def described(item: sources.Item, number: int) -> dict[str, Any]:
    clip = (item.clip or "").replace("/", "-")
    live = next((given for given in item.labels if given.task == "liveness"), None)
    return {
        "path": f"as_is/{clip or 'loose'}/{number:06d}.jpg",
        "set": "mined",
        "subject": item.subject or "",
        "clip": item.clip or "",
        "label": live.label if live else "",
        "attack_type": live.attack_type if live else "",
        "given_label": live.label if live else "",
        "turn": 0,
        "exif_orientation": 1,
        "mirror": "no",
        "copy_of": "",
        "relation": "",
        "fault": "",
    }


def lying(rgb: Image, turn: int, mirror: str) -> Image:
    """Return ``rgb`` so that turning clockwise by ``turn``, then mirroring, brings it back."""
    flipped = rgb[:, ::-1] if mirror == "yes" else rgb
    return np.rot90(flipped, turn // 90)


def written(into: Path, row: dict[str, Any], rgb: Image, quality: int) -> dict[str, Any]:
    file = into / row["path"]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(rgb), quality))
    return row


if __name__ == "__main__":
    main()
