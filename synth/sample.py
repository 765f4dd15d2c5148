"""The demo set: looks like production, shows no real person, and its truth is known.

Two roots in the layout of the take-home set, `trusted/{train,test}/{normal,spoof}` and
`mined/train/{normal,spoof}`, files `<subject>_<shot>.jpg`. Attacks are simulated re-captures of the
person's own selfies; bona fide shots go through the same camera. What is planted (plants.py), and
each file's true label, stands in `truth.csv`.
"""

import csv
from collections import Counter
from itertools import chain
from pathlib import Path

import numpy as np

from curate import assets, engine
from curate.errors import ConfigError
from curate.faces import FaceDetector
from curate.orient import find_upright
from curate.schema import ATTACK, BONAFIDE
from synth import generator as faces
from synth import plants
from synth.attacks import simulate
from synth.camera import Image
from synth.generator import FaceGenerator, Faces, TurnOf
from synth.plants import Shot, portion

TYPES = {  # two of the mined ones are new
    "trusted/train": ("print", "replay_phone"),
    "mined/train": ("print", "replay_phone", "replay_tablet", "replay_monitor"),
}
SHOTS = 4  # of a subject
TRAIN = 0.7  # of the trusted subjects
MINED_FROM = 101  # first subject number of the mined set
BOTH = 0.04  # of the trusted subjects, with shots in train and test
OFF_DISK = 0.3  # of the attacks: made from a selfie that is not in the set
TURNED, TAGGED, LYING = 0.08, 0.05, 0.005  # of the shots
COPIES = {  # (from, to): share of the shots at "from"
    ("trusted/train", "trusted/train"): 0.05,
    ("trusted/train", "trusted/test"): 0.03,
    ("trusted/train", "mined/train"): 0.04,
    ("trusted/test", "mined/train"): 0.04,
    ("mined/train", "mined/train"): 0.06,
}
WRONG = {"trusted/train": 0.03, "mined/train": 0.06}  # of the shots


def make_sample(
    folder: Path,
    *,
    seed: int = 0,
    generator: Faces | None = None,
    turn_of: TurnOf | None = None,
    trusted_subjects: int = 60,
    mined_subjects: int = 50,
) -> dict[str, int]:
    """Write the demo set and its `truth.csv` into ``folder``; the same bytes for the same seed.

    Columns of `truth.csv`, one row a file: path (below ``folder``), set (trusted or mined), subject
    (the person, whatever number the file bears), label and attack_type (true ones; "" where there
    is no face), given_label (the folder it lies in), turn, exif_orientation, mirror (how the image
    lies; EXIF first, then turning clockwise by `turn`, then flipping if mirror is "yes" brings it
    upright), copy_of (path), relation (exact, reencoded, halved, brightened, recapture), fault
    (truncated, html, empty, text, no_face) and note.

    Args:
        folder: new or empty.
        seed: the only source of chance.
        generator: draws the faces; the GAN of the model files where None.
        turn_of: names the clockwise turn that brings an image upright, people it does not see
            upright are passed over; curate's own detector where None.
        trusted_subjects: people in the trusted set, four shots each.
        mined_subjects: other people in the mined set, four shots each.

    Returns:
        How many files, people, and of each planted thing.

    Raises:
        ConfigError: ``folder`` holds something already.
        DataError: the generated faces are not seen upright.
        AssetError: a model file is missing.
    """
    generator = generator or FaceGenerator(assets.path("face_generator"))
    turn_of = turn_of or _turn_of()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(
            f"{folder} is not an empty folder; the sample set would mix with what is there.\n"
            "Next: name a new folder"
        )
    rng = np.random.default_rng(seed)
    count = trusted_subjects + mined_subjects
    people = faces.people(count, seed, generator=generator, turn_of=turn_of)
    rngs = rng.spawn(count)
    latents = [faces.shots(person, SHOTS, own) for person, own in zip(people, rngs, strict=True)]
    drawn = generator.faces(np.concatenate(latents)).reshape(count, SHOTS, *faces.FACE)

    def draw(i: int) -> list[Shot]:
        selfies = [faces.selfie(face, rngs[i]) for face in drawn[i]]
        if i >= trusted_subjects:
            return _subject(selfies, "mined/train", MINED_FROM + i - trusted_subjects, rngs[i])
        shots = _subject(selfies, "trusted/train", i + 1, rngs[i])
        return _assign_split(shots, i, trusted_subjects)

    subjects = engine.mapped(draw, range(count), threads=engine.threads(0))
    return _write(folder, _plant(list(chain.from_iterable(subjects)), rng))


def _turn_of() -> TurnOf:
    detect = FaceDetector(assets.path("face_landmarker")).detect
    return lambda rgb: find_upright(rgb, detect).turn


def _subject(selfies: list[Image], place: str, number: int, rng: np.random.Generator) -> list[Shot]:
    """Return the shots of one person: one to three bona fide ones, the rest attacks on them."""
    n_live = int(rng.choice([1, 2, 3], p=[0.2, 0.6, 0.2]))
    shots: list[Shot] = []
    for i in range(SHOTS):
        live = i < n_live
        attack_type = "" if live else str(rng.choice(TYPES[place]))
        rgb, parent = selfies[i], None
        if not live and rng.random() >= OFF_DISK:
            parent = shots[rng.integers(n_live)]
            rgb = plants.decode(parent.data)
        rgb, _ = simulate(rgb, attack_type or BONAFIDE, int(rng.integers(2**31)))
        shots.append(
            Shot(
                place=place,
                number=number,
                index=i + 1,
                subject=f"person{number}",
                label=BONAFIDE if live else ATTACK,
                attack_type=attack_type,
                data=plants.encode(rgb, int(rng.integers(80, 96))),
                copy_of=parent,
                relation="recapture" if parent else "",
            )
        )
    return shots


def _assign_split(shots: list[Shot], i: int, subjects: int) -> list[Shot]:
    """Move test subjects to the test split, and half of the shots of the last few train ones."""
    first_test = round(TRAIN * subjects)
    both = max(1, round(BOTH * subjects))
    if i >= first_test:
        moved = shots
    elif i >= first_test - both:
        moved = shots[::2]
    else:
        moved = []
    for shot in moved:
        shot.place = "trusted/test"
    if 0 < len(moved) < len(shots):
        for shot in shots:
            shot.note = "subject in train and test"
    return shots


def _plant(shots: list[Shot], rng: np.random.Generator) -> list[Shot]:
    """Add copies and faults; turn and mislabel some of what was not copied."""
    originals = list(shots)
    for (origin, target), share in COPIES.items():
        sources = [shot for shot in originals if shot.place == origin]
        shots = shots + plants.copies(shots, sources, target, portion(share, sources), rng)
    shots = shots + [plants.conflict(shots, [s for s in originals if s.place in WRONG], rng)]
    alone = plants.uncopied(shots, originals)
    plants.turn(alone, portion(TURNED, originals), rng)
    plants.tag(alone, portion(TAGGED, originals), rng, lying=False)
    plants.tag(alone, portion(LYING, originals), rng, lying=True)
    for place, share in WRONG.items():
        at_place = [shot for shot in alone if shot.place == place]
        plants.mislabel(at_place, portion(share, at_place), rng)
    return shots + plants.faults(shots, rng)


def _write(folder: Path, shots: list[Shot]) -> dict[str, int]:
    """Write files and `truth.csv`; return the counts."""
    for shot in shots:
        file = folder / shot.path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(shot.data)
    rows = [shot.truth() for shot in sorted(shots, key=lambda shot: shot.path)]
    with (folder / "truth.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    counts: Counter[str] = Counter(files=len(shots))
    counts["people"] = len({shot.subject for shot in shots} - {""})
    for shot in shots:
        counts.update(shot.marks())
    return dict(counts)
