"""What the frames of one clip say of each other: which are mirrored, and which are left out."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate import assets, bursts, crops, engine, mirror
from curate.bursts import Policy
from curate.errors import SourceError
from curate.eyes import blinks, closed
from curate.landmarks import LandmarkReader

MIRROR_SIDE = 128  # pixels of the shorter side at which frames are compared
EYES_SIDE = 480  # and at which eyes are looked at

Row = dict[Any, Any]


def told_apart(images: pd.DataFrame, burst: Policy, *, threads: int) -> pd.DataFrame:
    """Return rows of `images` with `mirror` decided by their clips, and `burst` carried out.

    The face and landmarks of a mirrored frame are given as they lie once it is flipped back.
    """
    images = _unmirrored(images, threads)

    def blinking(clip: pd.DataFrame) -> NDArray[np.bool_]:
        return blinks(_closed(clip, threads))

    left_out = images["image_id"].isin(list(bursts.put_aside(images, burst, blinking)))
    return images.assign(
        status=images["status"].mask(left_out, "quarantined"),
        reason=images["reason"].mask(left_out, "thinned"),
    )


def _unmirrored(images: pd.DataFrame, threads: int) -> pd.DataFrame:
    shown = images["landmarks"].notna() & images["clip"].notna() & (images["status"] == "kept")
    if not shown.any():
        return images
    answers = images["mirror"].copy()
    for _, clip in images[shown].groupby("clip"):
        clip = bursts.in_order(clip)
        seen = _seen(clip, _views, threads)
        there = [n for n, view in enumerate(seen) if view is not None]
        if len(there) < 2:
            continue
        answers[clip.index[there]] = mirror.decide(np.stack([seen[n] for n in there]))
    images = images.assign(mirror=answers)
    back = _flipped(images[answers == "yes"])
    for name in back:
        images[name] = back[name].reindex(images.index).where(answers == "yes", images[name])
    return images


def _flipped(clip: pd.DataFrame) -> pd.DataFrame:
    """Return face and landmarks of mirrored frames as they lie once these are flipped back."""
    width = clip["width"].mask(clip["turn"].isin([90, 270]), clip["height"])
    columns = zip(clip["face"], clip["landmarks"], width, strict=True)
    found = [mirror.mirrored_columns(*row) for row in columns]
    return pd.DataFrame({"face": [box for box, _ in found], "landmarks": [p for _, p in found]},
                        index=clip.index)  # fmt: skip


def _seen(clip: pd.DataFrame, look: Callable[[Row], Any], threads: int) -> list[Any]:
    return list(engine.mapped(look, clip.to_dict("records"), threads=threads))


def _views(row: Row) -> NDArray[np.float32] | None:
    """Return what `mirror.decide` compares of an image; None where its original is gone."""
    try:
        rgb, scale = crops.read_upright(row, min_side=MIRROR_SIDE)
    except SourceError:
        return None
    gray = crops.gray(rgb, MIRROR_SIDE)
    points = np.asarray(row["landmarks"], np.float32).reshape(-1, 2)
    return mirror.views(gray, points * (scale * gray.shape[1] / rgb.shape[1]))


def _closed(clip: pd.DataFrame, threads: int) -> NDArray[np.float64]:
    """Return how far the more closed eye of each frame is closed; NaN where no face is read."""
    reader = LandmarkReader(assets.path("face_landmarker"))

    def look(row: Row) -> float:
        if not crops.given(row["landmarks"]):
            return float("nan")
        try:
            rgb, scale = crops.read_upright(row, min_side=EYES_SIDE)
        except SourceError:
            return float("nan")
        found = reader.read(rgb, crops.face_of(row, scale))
        return float(closed(found).max()) if found else float("nan")

    return np.array(_seen(clip, look, threads))
