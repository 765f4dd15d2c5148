"""Which pairs of pictures of one face pass as one state: copies must, blinks and covers must not.

    python tests/benchmarks/bench_eyes.py FOLDER ... [--closed FILE.csv] [--sample 100]
    python tests/benchmarks/bench_eyes.py FOLDER ... --ingest [--donors FOLDER ...]

A picture's own folder is its burst. In one run, for all pictures below the folders:
- pairs within a burst whose pHashes lie within 8 bits, of frame or face: open with open, open with
  closed; beside it the share that plain correlation of the frames (.98 at 64 px) lets pass, and all
  again of the pairs whose aligned faces correlate to .95: the others are no copies to begin with;
- copies of a sample: passed, by what was done to them;
- the same pictures with closed eyes put in from others, and with drawn covers: passed.
Eyes are labelled by eyeBlink (both above .5: closed; both below .2: open; else left out), or by a
CSV with the columns `file` (the end of its path) and `closed` (1 or 0); files that it does not name
are left out. With labels from eyeBlink the pairs of bursts are partly circular, as eyeBlink is also
what is compared; the closed eyes put in are not.

With `--ingest` instead: what a real `curate ingest` merges, all labels hidden. Each picture of the
sample lies in one folder with itself altered, by unrelated names: one eye closed or both (eyes from
others, of FOLDER and of `--donors`, all of which are closed), a hand, a finger, dark glasses, a
mask; and as a control itself again. One run for each form in which they arrive. Printed: how many
share a cluster with the unaltered picture; "one eye opened" is one eye closed against both.
"""

import argparse
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd
import simplejpeg
from bench_duplicates import joined
from click.testing import CliRunner
from states import COPIES, LEFT_EYE, RIGHT_EYE, covers, encoded, tones, with_eyes_of

from curate import assets
from curate.cli import main as curate
from curate.eyes import aspect, compare
from curate.faces import MIN_SCORE, Face, FaceDetector, square_crop
from curate.hashes import pose_hashes
from curate.landmarks import LandmarkReader
from curate.sameshot import Portrait, portrait, same_shot

RADIUS, NAIVE, FACE_ALIKE = 8, 0.98, 0.95
SIDE = 64
FORMS = {"as is": (1.0, 95), "quality 75": (1.0, 75), "brightness x 1.1": (1.1, 90)}
SHOWS = 20, 0.03  # grey levels of a pixel; of these pixels, of the eyes' distance squared
COVERS = ("hand on chin", "a finger", "dark glasses", "mask")

DETECTOR = FaceDetector(assets.path("face_landmarker"))
READER = LandmarkReader(assets.path("face_landmarker"))


class Picture(NamedTuple):
    file: Path
    rgb: np.ndarray  # the surroundings of the face
    points: np.ndarray
    corner: tuple[int, int]  # of the surroundings in the picture
    aspect: object
    portrait: Portrait
    hashes: np.ndarray  # of the frame and of the face
    small: np.ndarray


def largest_face(rgb):
    """Return the face that ingest takes, None where there is none."""
    faces = [face for face in DETECTOR.detect(rgb) if face.score >= MIN_SCORE]
    return max(faces, key=lambda face: face.box[2] * face.box[3], default=None)


def see(rgb):
    """Return the aspect and the portrait of the face, None where there is none."""
    rgb = np.ascontiguousarray(rgb)
    face = largest_face(rgb)
    return (aspect(rgb, face, READER), portrait(rgb, face, READER)) if face else None


def one_state(picture, other, mirrored=False):
    """Answer as ingest does: first by the state of each, then as two copies of one shot."""
    if other is None:
        return None
    same = compare(picture.aspect, other[0], mirrored=mirrored)
    return same or same_shot(picture.portrait, other[1], mirrored=mirrored) or same


def load(file):
    """Return the `Picture` of a file and the CPU seconds of its parts, None where no face shows."""
    bgr = cv2.imread(str(file))
    if bgr is None:
        return None
    rgb = np.ascontiguousarray(bgr[..., ::-1])
    start = time.process_time()
    face = largest_face(rgb)
    detected = time.process_time()
    found = READER.read(rgb, face) if face else None
    read = time.process_time()
    if found is None:
        return None
    state = aspect(rgb, face, READER)
    whole = time.process_time()
    seconds = (detected - start, read - detected, whole - read)
    grays = [
        cv2.cvtColor(one, cv2.COLOR_RGB2GRAY) for one in (rgb, square_crop(rgb, face.box, 1.3, 64))
    ]
    thumbs = np.stack([cv2.resize(one, (32, 32), interpolation=cv2.INTER_AREA) for one in grays])
    small = cv2.resize(grays[0], (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    x, y, width, height = face.box
    left, top = (max(0, int(start - 0.6 * width)) for start in (x, y))
    near = rgb[top : int(y + height + 0.6 * width), left : int(x + 1.6 * width)].copy()
    points = found.points[:, :2] - (left, top)
    moved = Face((x - left, y - top, width, height), 1.0, face.keypoints - np.float32((left, top)))
    shown = Portrait(cv2.cvtColor(near, cv2.COLOR_RGB2GRAY), moved, points)
    return Picture(
        file, near, points, (left, top), state, shown, pose_hashes(thumbs)[:, 0], small
    ), seconds


def shown(folders):
    """Return the `Picture` of each file below the folders that shows a face."""
    files = sorted(file for folder in folders for file in folder.rglob("*") if file.is_file())
    loaded = [one for file in files if (one := load(file)) is not None]
    detect, read, both = 1000 * np.mean([seconds for _, seconds in loaded], axis=0)
    print(
        f"{len(loaded)} of {len(files)} files show a face; CPU-ms each: detector {detect:.1f}, "
        f"landmarks {read:.1f}, aligned patches {both - read:.1f}"
    )
    return [picture for picture, _ in loaded]


def labelled(pictures, csv):
    """Return 1 closed, 0 open, -1 left out."""
    if csv is None:
        both = np.array([picture.aspect.closed for picture in pictures])
        return np.where(both.min(1) > 0.5, 1, np.where(both.max(1) < 0.2, 0, -1))
    given = pd.read_csv(csv, dtype={"file": str})
    ends = list(zip(given["file"], given["closed"], strict=True))
    names = [picture.file.as_posix() for picture in pictures]
    return np.array([next((one for end, one in ends if name.endswith(end)), -1) for name in names])


def correlation(a, b):
    return float(cv2.matchTemplate(a, b, cv2.TM_CCOEFF_NORMED).max())


def bursts(pictures, labels):
    rows = []
    for i, a in enumerate(pictures):
        for j in range(i):
            b = pictures[j]
            states = {labels[i], labels[j]}
            near = np.bitwise_count(a.hashes ^ b.hashes).min() <= RADIUS
            if a.file.parent == b.file.parent and states in ({0}, {0, 1}) and near:
                faces = [one.aspect.aligned.face for one in (a, b)]
                rows.append(
                    {
                        "pair": "open, closed" if len(states) == 2 else "open, open",
                        "alike": correlation(faces[0][4:-4, 4:-4], faces[1]) >= FACE_ALIKE,
                        "ours": one_state(a, (b.aspect, b.portrait)) is True,
                        "naive": correlation(a.small[2:-2, 2:-2], b.small) >= NAIVE,
                    }
                )
    frame = pd.DataFrame(rows)
    for name, part in {"all": frame, "faces alike": frame[frame["alike"]]}.items():
        for pair, group in part.groupby("pair"):
            ours, naive = 100 * group[["ours", "naive"]].mean()
            print(f"  {name:12}{pair:13} {len(group):6} pairs, passed: ours {ours:6.2f} %", end="")
            print(f", correlation of the frames {naive:6.2f} %")


def variants(picture, donors, rng):
    """Yield kind, name, mirrored and the picture of everything done to ``picture``."""
    for name, change in COPIES.items():
        yield "copies", name, "mirror" in name, change(picture.rgb)
    for name, covered in covers(picture, rng):
        yield "covered", name, False, encoded(covered)
    strangers = [donor for donor in donors if donor.file.parent != picture.file.parent]
    for name, sides in {"both": (0, 1), "one": (int(rng.integers(2)),)}.items():
        if not strangers or picture.aspect.closed.max() > 0.33:
            continue
        shut = with_eyes_of(picture, strangers[rng.integers(len(strangers))], sides)
        if shut is not None:
            yield "closed eyes put in", name, False, encoded(shut)


def planted(pictures, donors, rng):
    passed, unknown, seconds, compared = defaultdict(list), defaultdict(int), 0.0, 0
    for picture in pictures:
        for kind, name, mirrored, rgb in variants(picture, donors, rng):
            other = see(rgb)
            start = time.process_time()
            answer = one_state(picture, other, mirrored)
            seconds, compared = seconds + time.process_time() - start, compared + 1
            if answer is None:
                unknown[kind] += 1
            else:
                passed[kind, name].append(answer)
    for kind in dict.fromkeys(kind for kind, _ in passed):
        every = sum((answers for (one, _), answers in passed.items() if one == kind), [])
        print(
            f"  {kind}: {100 * np.mean(every):.2f} % of {len(every)} pass, {unknown[kind]} unknown"
        )
        for (one, name), answers in passed.items():
            if one == kind:
                print(f"      {name:45}{100 * np.mean(answers):7.2f} % of {len(answers)}")
    print(f"  a comparison takes {1000 * seconds / max(compared, 1):.1f} CPU-ms")


class Shot(NamedTuple):
    """One file for `curate ingest`: which picture, what was done to it."""

    file: Path
    picture: int
    kind: str


def whole(picture):
    """Return the picture with all of its pixels in the place of the surroundings of the face."""
    rgb = np.ascontiguousarray(cv2.imread(str(picture.file))[..., ::-1])
    return picture._replace(rgb=rgb, points=picture.points + picture.corner, corner=(0, 0))


def altered(picture, donors, rng):
    """Return name -> ``picture``, whole, in another state."""
    drawn = {name: rgb for name, rgb in covers(picture, rng) if name in COVERS}
    others = [donor for donor in donors if donor.file.name != picture.file.name]
    if others and picture.aspect.closed.max() <= 0.33:
        donor, side = others[rng.integers(len(others))], int(rng.integers(2))
        one = with_eyes_of(picture, donor, (side,))
        both = with_eyes_of(picture, donor, (0, 1))
        if one is not None and both is not None:
            drawn |= {"one eye closed": one, "both eyes closed": both}
    return {name: rgb for name, rgb in drawn.items() if seen(picture, rgb)}


def seen(picture, rgb):
    """Tell whether the change shows: a hand may lie beyond the border, an eye in the dark."""
    right, left = (picture.points[list(eye)].mean(axis=0) for eye in (RIGHT_EYE, LEFT_EYE))
    changed = np.abs(rgb.astype(int) - picture.rgb).max(axis=2) > SHOWS[0]
    return changed.sum() >= SHOWS[1] * np.square(left - right).sum()


def ingested(pictures, donors, form, root):
    """Return a row for each file: picture, kind, status and the copy kept."""
    rng, (factor, quality), shots = np.random.default_rng(0), FORMS[form], []
    (root / "in").mkdir(parents=True)

    def write(number, kind, data):
        file = root / "in" / f"{rng.integers(1 << 60):015x}.jpg"
        file.write_bytes(data)
        shots.append(Shot(file, number, kind))

    for number, picture in enumerate(map(whole, pictures)):
        write(number, "original", picture.file.read_bytes())
        for kind, rgb in {"again": picture.rgb, **altered(picture, donors, rng)}.items():
            brighter = tones(rgb, lambda tone: factor * tone)
            write(number, kind, simplejpeg.encode_jpeg(np.ascontiguousarray(brighter), quality))
    words = ["--workspace", str(root / "ws"), "ingest", str(root / "in"), "--trust", "none"]
    result = CliRunner().invoke(curate, words, catch_exceptions=False)
    assert result.exit_code in (0, 1), result.output
    return joined(shots, root / "ws")


def merged(table):
    """Return the pairs of an altered picture and what it was: kind, whether merged, or dropped."""
    homes = table.pivot(index="picture", columns="kind", values="home")
    dropped = ~table.pivot(index="picture", columns="kind", values="status").isin(
        ["kept", "duplicate"]
    )
    pairs = {kind: ("original", kind) for kind in homes.columns if kind != "original"}
    if {"one eye closed", "both eyes closed"} <= set(pairs):
        pairs["one eye opened"] = ("both eyes closed", "one eye closed")
    rows = []
    for kind, (before, after) in pairs.items():
        there = homes[before].notna() & homes[after].notna()
        together = (homes[before] == homes[after]) | (
            (homes["again"] == homes[after]) & (after != "again") & (before == "original")
        )
        lost = dropped[before] | dropped[after]
        rows.append(pd.DataFrame({"kind": kind, "merged": together, "dropped": lost})[there])
    return pd.concat(rows)


def end_to_end(pictures, donors, keep):
    """Print for each form and kind how many pairs were merged, and how many lost one to review."""
    for form in FORMS:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder) if keep is None else keep / form.replace(" ", "_")
            table = ingested(pictures, donors, form, root)
        print(form, flush=True)
        for kind, pairs in merged(table).groupby("kind"):
            share, dropped = 100 * pairs["merged"].mean(), pairs["dropped"].sum()
            print(
                f"  {kind:20}{share:6.1f} % of {len(pairs)} merged, {dropped} dropped", flush=True
            )
        if keep is not None:
            table.to_pickle(root / "table.pkl")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--closed", type=Path)
    parser.add_argument("--sample", type=int, default=100)
    parser.add_argument("--ingest", action="store_true")
    parser.add_argument("--donors", nargs="*", type=Path, help="pictures of closed eyes")
    parser.add_argument("--keep", type=Path, help="new folder for what --ingest makes")
    given = parser.parse_args()
    pictures = shown(given.folders)
    labels = labelled(pictures, given.closed)
    rng = np.random.default_rng(0)
    sample = [pictures[row] for row in rng.permutation(len(pictures))[: given.sample]]
    donors = [pictures[row] for row in np.flatnonzero(labels == 1)]
    donors += shown(given.donors) if given.donors else []
    if given.ingest:
        end_to_end(sample, donors, given.keep)
        return
    print(f"{(labels == 0).sum()} open, {(labels == 1).sum()} closed; pairs of one burst:")
    bursts(pictures, labels)
    planted(sample, donors, rng)


if __name__ == "__main__":
    main()
