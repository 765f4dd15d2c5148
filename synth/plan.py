"""Which synthetic images are wanted: one per bona fide image, attack and repetition. Pure."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from curate import schema


@dataclass(frozen=True)
class Wish:
    """One image to make."""

    parent_id: str
    kind: str  # an attack type, or bonafide: the same camera chain over the parent alone
    number: int
    seed: int

    @property
    def name(self) -> str:
        """The file name; the same wish always has the same one."""
        return f"{self.parent_id[:16]}_{self.kind}_{self.number}_{self.seed}.jpg"


def wishes(parents: Sequence[str], attacks: Sequence[str], per_image: int, seed: int) -> list[Wish]:
    """Return the wishes over ``parents``, with as many bona fide copies as attacks of one type.

    Without those copies the camera chain alone would tell synthetic attacks from real bona fide.
    """
    return [
        Wish(parent, kind, number, draw(seed, parent, kind, number))
        for parent in sorted(parents)
        for kind in (schema.BONAFIDE, *attacks)
        for number in range(per_image)
    ]


def unmet(wanted: list[Wish], images: pd.DataFrame) -> list[Wish]:
    """Return the wishes that no synthetic row of ``images`` (uri) answers yet."""
    uris = images.loc[images["origin"] == "synthetic", "uri"]
    made = {str(uri).rpartition("/")[2] for uri in uris}
    return [wish for wish in wanted if wish.name not in made]


def draw(seed: int, parent: str, kind: str, number: int) -> int:
    """Return a seed in [0, 2^31) of its own for each image, whatever else is made."""
    text = f"{seed}:{parent}:{kind}:{number}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1
