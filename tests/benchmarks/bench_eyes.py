"""Which pairs of pictures of one face pass as one state: copies must, blinks and covers must not.

    python tests/benchmarks/bench_eyes.py FOLDER ... [--closed FILE.csv] [--sample 100]

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
"""

import argparse
import time
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd
import simplejpeg

from curate import assets
from curate.eyes import aspect, compare
from curate.faces import Face, FaceDetector, square_crop
from curate.hashes import pose_hashes
from curate.landmarks import LandmarkReader
from curate.sameshot import Portrait, portrait, same_shot

RADIUS, NAIVE, FACE_ALIKE = 8, 0.98, 0.95
SIDE = 64
DARK, LIGHT, CLOTH = (22, 20, 20), (225, 230, 235), (60, 110, 170)
RIGHT_EYE, LEFT_EYE = (33, 133), (362, 263)
CHIN = [454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150, 136, 172, 58]
CHIN += [132, 93, 234]

DETECTOR = FaceDetector(assets.path("face_landmarker"))
READER = LandmarkReader(assets.path("face_landmarker"))


class Picture(NamedTuple):
    file: Path
    rgb: np.ndarray  # the surroundings of the face
    points: np.ndarray
    aspect: object
    portrait: Portrait
    hashes: np.ndarray  # of the frame and of the face
    small: np.ndarray


def see(rgb):
    """Return the aspect and the portrait of the best face, None where there is none."""
    rgb = np.ascontiguousarray(rgb)
    faces = DETECTOR.detect(rgb)
    return (aspect(rgb, faces[0], READER), portrait(rgb, faces[0], READER)) if faces else None


def one_state(picture, other, mirrored=False):
    """Answer as ingest does: first by the state of each, then as two copies of one shot."""
    if other is None:
        return None
    same = compare(picture.aspect, other[0], mirrored=mirrored)
    return same or same_shot(picture.portrait, other[1], mirrored=mirrored) or same


def encoded(rgb, quality=85):
    return simplejpeg.decode_jpeg(simplejpeg.encode_jpeg(np.ascontiguousarray(rgb), quality))


def tones(rgb, curve):
    return np.clip(curve(np.arange(256.0)), 0, 255).astype(np.uint8)[rgb]


def rotated(rgb, degrees):
    height, width = rgb.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.06)
    return cv2.warpAffine(rgb, matrix, (width, height), borderMode=cv2.BORDER_REFLECT)


def cropped(rgb, share):
    height, width = rgb.shape[:2]
    down, right = round(height * share), round(width * share)
    return rgb[down : height - down // 2, right // 2 : width - right]


def scaled(rgb, factor):
    return cv2.resize(rgb, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)


def gamma(rgb, power):
    return tones(rgb, lambda tone: 255 * (tone / 255) ** power)


COPIES = {
    "quality 30": lambda rgb: encoded(rgb, 30),
    "half size": lambda rgb: encoded(scaled(rgb, 0.5)),
    "blur": lambda rgb: encoded(cv2.GaussianBlur(rgb, (0, 0), max(rgb.shape) / 320)),
    "brightness x 1.2 + 8": lambda rgb: encoded(tones(rgb, lambda tone: 1.2 * tone + 8)),
    "gamma .6": lambda rgb: encoded(gamma(rgb, 0.6)),
    "gamma 1.6": lambda rgb: encoded(gamma(rgb, 1.6)),
    "mirror": lambda rgb: encoded(rgb[:, ::-1]),
    "3 degrees": lambda rgb: encoded(rotated(rgb, 3)),
    "3 % crop": lambda rgb: encoded(cropped(rgb, 0.03)),
    "8 % crop": lambda rgb: encoded(cropped(rgb, 0.08)),
    "gamma, -3 degrees, x .6, mirror, quality 40": lambda rgb: encoded(
        scaled(rotated(gamma(rgb, 0.6), -3), 0.6)[:, ::-1], 40
    ),
}


def covers(picture, rng):
    """Yield name and picture: drawn covers, in units of the distance between the eyes."""
    points = picture.points
    right, left = (points[list(eye)].mean(axis=0) for eye in (RIGHT_EYE, LEFT_EYE))
    unit = np.linalg.norm(left - right)
    x = (left - right) / unit
    axes = np.array([x, [-x[1], x[0]]])
    skin = np.median([pixel(picture.rgb, points[one]) for one in (50, 280, 205, 425)], axis=0)

    def place(across, down):
        return (left + right) / 2 + unit * (np.array([across, down]) @ axes)

    def oval(centre, radii, angle=0.0):
        turn = np.linspace(0, 2 * np.pi, 40)
        edge = np.stack([radii[0] * np.cos(turn), radii[1] * np.sin(turn)], axis=1) * unit
        cos, sin = np.cos(angle), np.sin(angle)
        return centre + edge @ np.array([[cos, sin], [-sin, cos]]) @ axes

    def hand(centre):
        angle, rgb = rng.uniform(0, np.pi), picture.rgb
        aside = np.array([-np.sin(angle), np.cos(angle)]) @ axes
        for finger in range(-2, 2):
            middle = centre + (finger + 0.5) * 0.17 * unit * aside
            for radii, shade in (((0.55, 0.1), 0.7), ((0.52, 0.08), 1.0)):
                rgb = painted(rgb, oval(middle, radii, angle), skin * shade, unit, rng)
        return rgb

    nose = [place(-1.05, 0.45), place(0, 0.28), place(1.05, 0.45)]
    mask = np.array([*nose, *points[CHIN]])
    yield "mask", painted(picture.rgb, mask, (DARK, LIGHT, CLOTH)[rng.integers(3)], unit, rng)
    glasses = painted(picture.rgb, oval(right, (0.36, 0.26)), DARK, unit, rng)
    yield "eye patch", glasses
    yield "dark glasses", painted(glasses, oval(left, (0.36, 0.26)), DARK, unit, rng)
    yield "hand on an eye", hand(right if rng.random() < 0.5 else left)
    for name, spot in {"brow": -0.5, "nose": 0.55, "mouth": 1.05, "chin": 1.5}.items():
        yield f"hand on {name}", hand(place(0, spot))
    yield "hand on a cheek", hand(place(0.7 * rng.choice([-1, 1]), 0.8))
    anywhere = place(rng.uniform(-0.5, 0.5), rng.uniform(-0.5, 1.4))
    finger = oval(anywhere, (0.6, 0.11), rng.uniform(0, np.pi))
    yield "a finger", painted(picture.rgb, finger, skin * 0.85, unit, rng)


def pixel(rgb, point):
    x, y = np.clip(np.round(point).astype(int), 0, np.array(rgb.shape[1::-1]) - 1)
    return rgb[y, x]


def painted(rgb, outline, colour, unit, rng):
    mask = np.zeros(rgb.shape[:2], np.float32)
    cv2.fillPoly(mask, [np.round(outline).astype(np.int32)], 1.0)
    mask = cv2.GaussianBlur(mask, (0, 0), max(0.6, unit * 0.02))[..., None]
    cells = rng.normal(0, 6, (rgb.shape[0] // 8 + 2, rgb.shape[1] // 8 + 2, 1)).astype(np.float32)
    cloth = cv2.resize(cells, rgb.shape[1::-1], interpolation=cv2.INTER_CUBIC)[..., None]
    noise = rng.normal(0, 4, rgb.shape)
    return np.clip(rgb * (1 - mask) + mask * (colour + cloth + noise), 0, 255).astype(np.uint8)


def with_eyes_of(picture, donor, sides):
    """Return ``picture`` with the eyes of ``donor`` (0: the right, 1: the left), or None."""
    rgb = picture.rgb
    for corners in [(RIGHT_EYE, LEFT_EYE)[side] for side in sides]:
        (from_0, from_1), (to_0, to_1) = donor.points[list(corners)], picture.points[list(corners)]
        turn = complex(*(to_1 - to_0)) / complex(*(from_1 - from_0))
        matrix = np.array([[turn.real, -turn.imag, 0], [turn.imag, turn.real, 0]])
        matrix[:, 2] = to_0 - matrix[:, :2] @ from_0
        size = rgb.shape[1::-1]
        moved = cv2.warpAffine(donor.rgb, matrix, size, borderMode=cv2.BORDER_REFLECT)
        width, angle = np.linalg.norm(to_1 - to_0), np.degrees(np.arctan2(*(to_1 - to_0)[::-1]))
        mask = np.zeros(rgb.shape[:2], np.uint8)
        middle, axes = (to_0 + to_1) / 2, (0.72 * width, 0.42 * width)
        centre, axes = tuple(map(int, middle.round())), tuple(map(int, np.round(axes)))
        cv2.ellipse(mask, centre, axes, angle, 0, 360, 255, -1)
        y, x = np.nonzero(mask)
        if min(x.min(), y.min()) < 2 or x.max() > size[0] - 3 or y.max() > size[1] - 3:
            return None
        centre = (int(x.min() + x.max()) // 2, int(y.min() + y.max()) // 2)
        rgb = cv2.seamlessClone(moved, rgb, mask, centre, cv2.NORMAL_CLONE)
    return rgb


def load(file):
    """Return the `Picture` of a file and the CPU seconds of its parts, None where no face shows."""
    bgr = cv2.imread(str(file))
    if bgr is None:
        return None
    rgb = np.ascontiguousarray(bgr[..., ::-1])
    start = time.process_time()
    faces = DETECTOR.detect(rgb)
    detected = time.process_time()
    found = READER.read(rgb, faces[0]) if faces else None
    read = time.process_time()
    if found is None:
        return None
    state = aspect(rgb, faces[0], READER)
    whole = time.process_time()
    seconds = (detected - start, read - detected, whole - read)
    grays = [
        cv2.cvtColor(one, cv2.COLOR_RGB2GRAY)
        for one in (rgb, square_crop(rgb, faces[0].box, 1.3, 64))
    ]
    thumbs = np.stack([cv2.resize(one, (32, 32), interpolation=cv2.INTER_AREA) for one in grays])
    small = cv2.resize(grays[0], (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    x, y, width, height = faces[0].box
    left, top = (max(0, int(start - 0.6 * width)) for start in (x, y))
    near = rgb[top : int(y + height + 0.6 * width), left : int(x + 1.6 * width)].copy()
    points = found.points[:, :2] - (left, top)
    face = Face(
        (x - left, y - top, width, height), 1.0, faces[0].keypoints - np.float32((left, top))
    )
    shown = Portrait(cv2.cvtColor(near, cv2.COLOR_RGB2GRAY), face, points)
    return Picture(file, near, points, state, shown, pose_hashes(thumbs)[:, 0], small), seconds


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


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--closed", type=Path)
    parser.add_argument("--sample", type=int, default=100)
    given = parser.parse_args()
    files = sorted(file for folder in given.folders for file in folder.rglob("*") if file.is_file())
    loaded = [one for file in files if (one := load(file)) is not None]
    pictures = [picture for picture, _ in loaded]
    detect, read, whole = 1000 * np.mean([seconds for _, seconds in loaded], axis=0)
    print(
        f"{len(pictures)} of {len(files)} files show a face; CPU-ms each: detector {detect:.1f}, "
        f"landmarks {read:.1f}, aligned patches {whole - read:.1f}"
    )
    labels = labelled(pictures, given.closed)
    print(f"{(labels == 0).sum()} open, {(labels == 1).sum()} closed; pairs of one burst:")
    bursts(pictures, labels)
    rng = np.random.default_rng(0)
    sample = rng.permutation(len(pictures))[: given.sample]
    donors = [pictures[row] for row in np.flatnonzero(labels == 1)]
    planted([pictures[row] for row in sample], donors, rng)


if __name__ == "__main__":
    main()
