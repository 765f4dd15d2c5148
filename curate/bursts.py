"""Which frames of a burst are kept: all, the best, or some spread over it. Pure.

Frames of one clip are no duplicates of each other, and by default they all stay; `curate ingest
--burst` is the user's wish to have fewer. Frames in and around a blink are never thinned away.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate.duplicates import keep_order

NUMBERS = re.compile(r"(\d+)")
# Says which of a burst's frames (rows of `images`, in order) belong to a blink: (N,) bool.
Blinks = Callable[[pd.DataFrame], NDArray[np.bool_]]


@dataclass(frozen=True)
class Policy:
    """What `--burst` asks for: "keep", "best", or "thin" to ``frames`` a clip."""

    name: str = "keep"
    frames: int = 0


def parse(text: str) -> Policy:
    """Read `keep`, `best` or `thin:N`.

    Raises:
        ValueError: anything else, or N below 1.
    """
    name, _, number = text.partition(":")
    if text in ("keep", "best"):
        return Policy(name)
    if name == "thin" and number.isdecimal() and int(number) >= 1:
        return Policy("thin", int(number))
    raise ValueError(f"{text!r} is not keep, best or thin:N with N of 1 or more")


def put_aside(images: pd.DataFrame, policy: Policy, blinks: Blinks) -> set[str]:
    """Return the image_ids of kept frames that ``policy`` leaves out.

    ``images`` are rows of `images`; those not kept, or of no clip, are nobody's concern. The best
    frame is the first by `duplicates.keep_order`. Thinning keeps the first, the last and evenly
    spaced ones between, in the order of the numbers in their names, and every frame of ``blinks``.
    """
    framed = images[(images["status"] == "kept") & images["clip"].notna()]
    if policy.name == "keep" or framed.empty:
        return set()
    left_out: set[str] = set()
    for _, clip in framed.groupby("clip"):
        chosen = _best(clip) if policy.name == "best" else _spread(clip, policy.frames, blinks)
        left_out |= set(clip["image_id"]) - chosen
    return left_out


def in_order(clip: pd.DataFrame) -> pd.DataFrame:
    """Return the frames of a clip in the order they were taken, as far as their names tell."""
    order = sorted(range(len(clip)), key=lambda row: _natural(clip["uri"].iloc[row]))
    return clip.iloc[order]


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort 9 before 10: words as words, numbers as numbers."""
    parts = NUMBERS.split(name)
    return [(int(part), "") if n % 2 else (0, part) for n, part in enumerate(parts)]


def _best(clip: pd.DataFrame) -> set[str]:
    frame = clip.set_index("image_id")
    area = frame["face"].map(lambda box: float(box[2] * box[3]) if box is not None else 0.0)
    order = np.arange(len(frame))
    ranked = keep_order(frame.assign(known=False, face_area=area, order=order))
    return {str(ranked[0])}


def _spread(clip: pd.DataFrame, frames: int, blinks: Blinks) -> set[str]:
    if len(clip) <= frames:
        return set(clip["image_id"])
    clip = in_order(clip)
    kept = blinks(clip).copy()
    kept[np.unique(np.linspace(0, len(clip) - 1, frames).round().astype(int))] = True
    return set(clip["image_id"][kept])
