"""Copies found, and what must not be merged, by the real road: `curate ingest`, labels hidden.

    python tests/benchmarks/bench_duplicates.py [FOLDER ...] [--most N] [--half tune|report]
    python tests/benchmarks/bench_duplicates.py --generated 5000 --bare

Takes images of FOLDER (a person is a folder, a class the folder above: live, spoof_print), or
generated faces. Of each it plants a copy of every kind, in one of the 8 poses, and one recapture of
each bona fide one (synth's print and replay, framed as the camera sees it). Then it ingests all of
them and prints the recall by kind and pose, the precision, merges of two people, of two classes and
of recaptures; beside it the pHash of imagehash within 8 bits. `--bare` plants nothing: how often
are different people merged? People are halved by name: tune on one half, report the other.
"""

import argparse
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import simplejpeg
from click.testing import CliRunner

from curate import hashes
from curate.cli import main as curate
from curate.decode import Unreadable, decode
from curate.hashes import POSES, apply_pose
from curate.workspace import open_at
from synth.attacks import ATTACKS, simulate

Image = np.ndarray
Edit = Callable[[Image, np.random.Generator], Image]
RADIUS = 8  # bits, of the baseline
ATTACK_CLASSES = ("spoof", "attack", "print", "replay", "mask", "fake")  # in the name of a class
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


def crop(share: float) -> Edit:
    """Cut away 2 x share of each side: evenly, or as chance has it."""

    def cut(rgb: Image, rng: np.random.Generator) -> Image:
        height, width = rgb.shape[:2]
        top, left = (share, share) if rng.random() < 0.5 else rng.uniform(0, 2 * share, 2)
        y, x = int(height * top), int(width * left)
        return rgb[y : y + int(height * (1 - 2 * share)), x : x + int(width * (1 - 2 * share))]

    return cut


def rotated(rgb: Image, rng: np.random.Generator) -> Image:
    height, width = rgb.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), 3 * rng.choice([-1, 1]), 1)
    border = int(rng.choice([cv2.BORDER_REPLICATE, cv2.BORDER_CONSTANT]))
    return cv2.warpAffine(rgb, matrix, (width, height), borderMode=border)


def power(exponent: float) -> Edit:
    curve = np.round(255 * (np.arange(256) / 255) ** exponent).astype(np.uint8)
    return lambda rgb, _: curve[rgb]


KINDS: dict[str, Edit] = {
    "re-encoded": lambda rgb, _: rgb,
    "half size": lambda rgb, _: cv2.resize(rgb, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "blurred": lambda rgb, _: cv2.GaussianBlur(rgb, (0, 0), 2),
    "3 % crop": crop(0.03),
    "8 % crop": crop(0.08),
    "3 degrees": rotated,
    "brighter": lambda rgb, _: np.clip(rgb * 1.2 + 8, 0, 255).astype(np.uint8),
    "gamma .6": power(0.6),
}


@dataclass(frozen=True)
class Shot:
    """One file, and what it is: the picture it was made from, by what, and in which pose."""

    file: Path
    person: str
    kind: str  # of KINDS, "original" or "recapture"
    label: str  # name of the class folder
    picture: int
    pose: int = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="*")
    parser.add_argument("--most", type=int, default=100, help="pictures, spread evenly")
    parser.add_argument(
        "--generated", type=int, default=100, help="faces, where no folder is given"
    )
    parser.add_argument("--half", choices=("tune", "report", "both"), default="both")
    parser.add_argument("--bare", action="store_true", help="plant nothing")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        shots = list(planted(chosen, root / "in"))
        start = time.process_time()
        words = ["--workspace", str(root / "ws"), "ingest", str(root / "in"), "--trust", "none"]
        result = CliRunner().invoke(curate, words, catch_exceptions=False)
        assert result.exit_code in (0, 1), result.output
        seconds = time.process_time() - start
        table = joined(shots, root / "ws")
    print(f"{len(shots)} files, {seconds:.0f} CPU-s, {table.status.value_counts().to_dict()}")
    report(table, chosen.bare)


def planted(chosen: argparse.Namespace, into: Path) -> Iterator[Shot]:
    into.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number, (rgb, person, label) in enumerate(pictures(chosen)):
        made = [(rgb, "original", 0, 95)]
        for kind, edit in {} if chosen.bare else KINDS.items():
            pose = int(rng.integers(8))
            quality = 30 if kind == "re-encoded" else int(rng.integers(50, 90))
            made.append((apply_pose(edit(rgb, rng), POSES[pose]), kind, pose, quality))
        if not chosen.bare and not is_attack(label):
            attack = str(rng.choice(list(ATTACKS)))
            again, _ = simulate(np.ascontiguousarray(rgb), attack, int(rng.integers(1 << 30)))
            made.append((again, "recapture", 0, 88))
        for n, (image, kind, pose, quality) in enumerate(made):
            file = into / f"{number:06d}_{n}.jpg"
            file.write_bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality))
            yield Shot(file, person, kind, label, number, pose)


def pictures(chosen: argparse.Namespace) -> Iterator[tuple[Image, str, str]]:
    """Yield image, person, class."""
    if not chosen.folders:
        yield from generated(chosen.generated)
        return
    files = [file for folder in chosen.folders for file in sorted(folder.rglob("*"))]
    files = [file for file in files if file.suffix.lower() in SUFFIXES and in_half(file, chosen)]
    spread = np.unique(np.linspace(0, len(files) - 1, min(chosen.most, len(files))).astype(int))
    for file in (files[n] for n in spread):
        try:
            yield decode(file.read_bytes()).rgb, file.parent.name, file.parent.parent.name
        except Unreadable:
            continue


def in_half(file: Path, chosen: argparse.Namespace) -> bool:
    first = zlib.crc32(file.parent.name.encode()) % 2 == 0
    return chosen.half == "both" or first == (chosen.half == "tune")


def generated(count: int) -> Iterator[tuple[Image, str, str]]:
    from curate import assets
    from synth import generator

    draw = generator.FaceGenerator(assets.path("face_generator"))
    for first in range(0, count, generator.BATCH):
        rngs = [
            np.random.default_rng([1, n]) for n in range(first, min(first + generator.BATCH, count))
        ]
        latents = np.stack([rng.standard_normal(generator.LATENT, np.float32) for rng in rngs])
        for n, (face, rng) in enumerate(zip(draw.faces(latents * 0.7), rngs, strict=True)):
            yield generator.selfie(face, rng), f"person{first + n}", "live"


def is_attack(label: str) -> bool:
    return any(word in label.lower() for word in ATTACK_CLASSES)


def joined(shots: list[Shot], workspace: Path) -> pd.DataFrame:
    """Return a row for each file: what was planted, its status, the copy kept, its hash."""
    catalogue = open_at(workspace).catalogue
    images = catalogue.read("images").drop_duplicates("image_id")
    homes = catalogue.read("pairs").query("cluster != ''")
    kept = pd.concat([homes.set_index(side)["cluster"] for side in ("a", "b")])
    kept = kept[~kept.index.duplicated()]
    images["home"] = images["image_id"].map(kept).fillna(images["image_id"])
    by_name = images.assign(name=images["uri"].map(lambda uri: Path(uri).name)).set_index("name")
    table = pd.DataFrame(shots)
    table["name"] = table["file"].map(lambda file: file.name)
    table["phash"] = [plain_hash(file) for file in table["file"]]
    return table.join(by_name[["status", "reason", "home"]], on="name")


def plain_hash(file: Path) -> np.uint64:
    gray = cv2.cvtColor(decode(file.read_bytes(), min_side=256).rgb, cv2.COLOR_RGB2GRAY)
    return hashes.exact(gray).phash[0]


def report(table: pd.DataFrame, bare: bool) -> None:
    ours = table["home"].to_numpy()[:, None] == table["home"].to_numpy()[None]
    values = table["phash"].to_numpy(np.uint64)
    near = np.bitwise_count(values[:, None] ^ values[None]) <= RADIUS
    for name, merged in (("curate", ours), (f"imagehash, {RADIUS} bits", near)):
        print(f"\n{name}")
        if not bare:
            recall(table, merged)
        false_merges(table, np.triu(merged, 1))


def recall(table: pd.DataFrame, merged: np.ndarray) -> None:
    first = table[table["kind"] == "original"].reset_index().set_index("picture")["index"]
    copies = table[table["kind"].isin(KINDS)]
    found = merged[copies.index, first.reindex(copies["picture"]).to_numpy()]
    lies = copies["pose"].map(
        lambda pose: "upright" if pose == 0 else "mirrored" if POSES[pose].mirror else "turned"
    )
    shown = pd.crosstab(
        copies["kind"], lies, found.astype(float), aggfunc="mean", margins=True, margins_name="all"
    )
    print((100 * shown).reindex([*KINDS, "all"]).round(1).to_string())


def false_merges(table: pd.DataFrame, merged: np.ndarray) -> None:
    """Count pairs merged (i < j) that are not copies of one picture, by what they are."""
    i, j = np.nonzero(merged)
    person, picture, label = (table[name].to_numpy() for name in ("person", "picture", "label"))
    attack = (table["kind"] == "recapture").to_numpy() | table["label"].map(is_attack).to_numpy()
    same = (picture[i] == picture[j]) & (attack[i] == attack[j])
    strangers = person[i] != person[j]
    groups = table.groupby("person").size()
    pairs = (len(table) * (len(table) - 1) - (groups * (groups - 1)).sum()) / 2
    recaptures = int((table["kind"] == "recapture").sum())
    print(f"precision {same.mean() if len(same) else 1:.4f} of {len(same)} merged pairs")
    print(
        f"live with attack: {int((attack[i] != attack[j]).sum())} ({recaptures} recaptures planted)"
    )
    again = int((~same & ~strangers & (attack[i] == attack[j])).sum())
    print(f"two pictures of one person and label: {again}")
    million = 1e7 * strangers.sum() / max(pairs, 1)
    print(f"two people: {int(strangers.sum())} of {pairs:.3g} pairs, {million:.2f} in 10 million")


if __name__ == "__main__":
    main()
