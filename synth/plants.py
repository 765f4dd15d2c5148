"""What goes wrong in mined data, planted on purpose and written down."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
import simplejpeg
from PIL import Image as Pillow

from curate.schema import ATTACK, BONAFIDE
from synth.camera import Image, to_uint8
from synth.generator import backdrop
from synth.surface import to_floats

FOLDERS = {BONAFIDE: "normal", ATTACK: "spoof"}
ORIENTATION = 0x0112  # the EXIF tag; CIPA DC-008
UPRIGHTS = {90: 6, 180: 3, 270: 8}  # the tag that turns clockwise by so many degrees

Edit = Callable[[Image], Image]
EDITS: dict[str, Edit] = {
    "reencoded": lambda rgb: rgb,
    "halved": lambda rgb: cv2.resize(rgb, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "brightened": lambda rgb: to_uint8(to_floats(rgb) * np.float32(1.06) + np.float32(0.02)),
}
POSED = 0.6  # of the copies that are not exact: turned, mirrored or both
HTML = b"<!DOCTYPE html>\n<html><body><h1>403 Forbidden</h1></body></html>\n"
TEXT = b"second batch, ask for the consent forms\n"


@dataclass(eq=False)
class Shot:
    """A file of the sample set and all that is true of it."""

    place: str  # "<set>/<split>"
    number: int  # of the subject, in the file name
    index: int  # of the shot, in the file name
    subject: str
    label: str
    attack_type: str
    data: bytes = field(repr=False)
    given: str = ""  # "": as the true label
    turn: int = 0
    exif: int = 1
    mirror: str = "no"
    copy_of: "Shot | None" = None
    relation: str = ""
    fault: str = ""
    note: str = ""
    suffix: str = ".jpg"

    @property
    def given_label(self) -> str:
        """The label that the folder claims."""
        return self.given or self.label

    @property
    def path(self) -> str:
        """Where the file lies below the sample folder."""
        return f"{self.place}/{FOLDERS[self.given_label]}/{self.number}_{self.index}{self.suffix}"

    def truth(self) -> dict[str, str | int]:
        """Return the row of `truth.csv`."""
        return {
            "path": self.path,
            "set": self.place.split("/")[0],
            "subject": self.subject,
            "label": self.label,
            "attack_type": self.attack_type,
            "given_label": self.given_label,
            "turn": self.turn,
            "exif_orientation": self.exif,
            "mirror": self.mirror,
            "copy_of": self.copy_of.path if self.copy_of else "",
            "relation": self.relation,
            "fault": self.fault,
            "note": self.note,
        }

    def marks(self) -> list[str]:
        """Return what to count this file as."""
        marks = [self.place.split("/")[0], self.attack_type or self.label, self.relation]
        marks += ["turned"] * (self.turn != 0) + ["exif"] * (self.exif != 1)
        marks += ["mirrored"] * (self.mirror == "yes") + ["fault"] * bool(self.fault)
        marks += ["wrong_label"] * (bool(self.label) and self.given_label != self.label)
        return [mark for mark in marks if mark]


def encode(rgb: Image, quality: int) -> bytes:
    """Return ``rgb`` as JPEG with 4:2:0 colour."""
    data: bytes = simplejpeg.encode_jpeg(
        np.ascontiguousarray(rgb), quality, "RGB", colorsubsampling="420"
    )
    return data


def decode(data: bytes) -> Image:
    """Return the pixels of a JPEG as they are stored: EXIF is not applied."""
    rgb: Image = simplejpeg.decode_jpeg(data, "RGB", strict=True)
    return rgb


def with_orientation(jpeg: bytes, orientation: int) -> bytes:
    """Return ``jpeg`` with an EXIF orientation tag put in, its pixels untouched."""
    exif = Pillow.Exif()
    exif[ORIENTATION] = orientation
    payload = exif.tobytes()
    return jpeg[:2] + b"\xff\xe1" + (len(payload) + 2).to_bytes(2, "big") + payload + jpeg[2:]


def portion(share: float, shots: list[Shot]) -> int:
    """Return how many are ``share`` of ``shots``, at least one."""
    return max(1, round(share * len(shots)))


def copies(
    shots: list[Shot], sources: list[Shot], target: str, n: int, rng: np.random.Generator
) -> list[Shot]:
    """Return copies of ``n`` of ``sources`` at ``target``: exact, edited, turned, mirrored.

    Within a place a copy bears its subject's number; elsewhere every other one comes under a new
    number, as when the same pictures are collected twice.
    """
    made: list[Shot] = []
    kinds = ["exact", *EDITS]
    before = sum(shot.relation in kinds for shot in shots)
    for i, source in enumerate(_some(sources, n, rng)):
        copy = replace(
            source, place=target, copy_of=source, note="", relation=kinds[(before + i) % 4]
        )
        if copy.relation != "exact":
            _edit(copy, rng)
        if target != source.place and i % 2:
            copy.number, copy.note = _new_number(shots + made, target), "subject renumbered"
        copy.index = _next_index(shots + made, target, copy.number)
        made.append(copy)
    return made


def _edit(copy: Shot, rng: np.random.Generator) -> None:
    rgb = EDITS[copy.relation](decode(copy.data))
    if rng.random() < POSED:
        quarters = int(rng.integers(4))
        copy.mirror = "yes" if quarters == 0 or rng.random() < 0.5 else "no"
        copy.turn = 90 * quarters
        rgb = np.rot90(rgb[:, ::-1] if copy.mirror == "yes" else rgb, quarters)
    copy.data = encode(rgb, int(rng.integers(70, 91)))


def conflict(shots: list[Shot], sources: list[Shot], rng: np.random.Generator) -> Shot:
    """Return an exact copy of one of ``sources`` that lies under the other label."""
    source = sources[rng.integers(len(sources))]
    copy = replace(source, copy_of=source, relation="exact", note="same bytes under two labels")
    copy.given = _other(source.label)
    copy.index = _next_index(shots, copy.place, copy.number)
    return copy


def uncopied(shots: list[Shot], among: list[Shot]) -> list[Shot]:
    """Return those of ``among`` that may still change: no copy in ``shots`` was made of them."""
    copied = {id(shot.copy_of) for shot in shots if shot.relation != "recapture"}
    return [shot for shot in among if id(shot) not in copied]


def turn(shots: list[Shot], n: int, rng: np.random.Generator) -> None:
    """Turn the pixels of ``n`` shots by a quarter, a half or three quarters, without a tag."""
    for shot in _upright(shots, n, rng):
        quarters = int(rng.integers(1, 4))
        shot.data = encode(np.rot90(decode(shot.data), quarters), 95)
        shot.turn = 90 * quarters


def tag(shots: list[Shot], n: int, rng: np.random.Generator, *, lying: bool) -> None:
    """Give ``n`` shots an EXIF orientation: true of turned pixels, or a lie about upright ones."""
    for shot in _upright(shots, n, rng):
        quarters = int(rng.integers(1, 4))
        shot.exif = UPRIGHTS[90 * quarters]
        if lying:
            shot.turn, shot.note = 360 - 90 * quarters, "EXIF orientation is wrong"
        else:
            shot.data = encode(np.rot90(decode(shot.data), quarters), 95)
        shot.data = with_orientation(shot.data, shot.exif)


def mislabel(shots: list[Shot], n: int, rng: np.random.Generator) -> None:
    """Put ``n`` shots under the wrong label."""
    for shot in _some(shots, n, rng):
        shot.given = _other(shot.label)


def _upright(shots: list[Shot], n: int, rng: np.random.Generator) -> list[Shot]:
    return _some([shot for shot in shots if shot.turn == 0 and shot.exif == 1], n, rng)


def _some(shots: list[Shot], n: int, rng: np.random.Generator) -> list[Shot]:
    return [shots[i] for i in rng.choice(len(shots), min(n, len(shots)), replace=False)]


def faults(shots: list[Shot], rng: np.random.Generator) -> list[Shot]:
    """Return files that are no usable picture of a face."""
    jpeg = shots[rng.integers(len(shots))].data
    empty_room = [encode(backdrop(rng), 88) for _ in range(2)]
    planted = [
        ("trusted/train", "truncated", jpeg[: int(0.6 * len(jpeg))], ".jpg"),
        ("mined/train", "truncated", jpeg[: int(0.95 * len(jpeg))], ".jpg"),
        ("mined/train", "truncated", jpeg[:-2], ".jpg"),
        ("mined/train", "html", HTML, ".jpg"),
        ("mined/train", "empty", b"", ".jpg"),
        ("mined/train", "text", TEXT, ".txt"),
        *(("mined/train", "no_face", data, ".jpg") for data in empty_room),
    ]
    made: list[Shot] = []
    for place, fault, data, suffix in planted:
        made.append(
            Shot(
                place=place,
                number=_new_number(shots + made, place),
                index=1,
                subject="",
                label="",
                attack_type="",
                given=str(rng.choice([BONAFIDE, ATTACK])),
                data=data,
                fault=fault,
                suffix=suffix,
            )
        )
    return made


def _other(label: str) -> str:
    return ATTACK if label == BONAFIDE else BONAFIDE


def _new_number(shots: list[Shot], place: str) -> int:
    root = place.split("/")[0]
    return 1 + max(shot.number for shot in shots if shot.place.split("/")[0] == root)


def _next_index(shots: list[Shot], place: str, number: int) -> int:
    root = place.split("/")[0]
    taken = [s.index for s in shots if s.place.split("/")[0] == root and s.number == number]
    return 1 + max(taken, default=0)
