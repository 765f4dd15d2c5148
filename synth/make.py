"""Wishes to files and rows: read the parent, simulate, write, examine like any other image."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import simplejpeg

from curate import assets, engine, schema
from curate.crops import Row, read_upright
from curate.examine import examine
from curate.faces import FaceDetector
from curate.orient import Detect
from curate.show import track
from curate.workspace import Workspace
from synth.attacks import simulate
from synth.plan import Wish

QUALITY = 95  # of the stored JPEG; the simulated camera has already compressed harder


def make(workspace: Workspace, wanted: list[Wish], parents: pd.DataFrame) -> pd.DataFrame:
    """Return rows of `images`, with `kind`, for ``wanted``; files land in synthetic/.

    An image in which no face is found any more is a row too: quarantined, so that it is not made
    again and again.

    Raises:
        AssetError: the face detector's file is missing.
        SourceError: the original of a parent is gone.
    """
    detect = FaceDetector(assets.path("face_landmarker")).detect
    folder = workspace.root / "synthetic"
    rows_of = {row["image_id"]: row for row in parents.to_dict("records")}

    def work(wish: Wish) -> dict[str, Any]:
        return _made(wish, rows_of[wish.parent_id], folder, detect)

    threads = engine.threads(workspace.config.threads)
    results = engine.mapped(work, wanted, threads=threads)
    rows = pd.DataFrame(list(track(results, len(wanted), "simulating")))
    return rows.drop_duplicates("image_id").reset_index(drop=True)


def _made(wish: Wish, parent: Row, folder: Path, detect: Detect) -> dict[str, Any]:
    upright, _ = read_upright(parent)
    rgb, parameters = simulate(upright, wish.kind, wish.seed)
    data = simplejpeg.encode_jpeg(np.ascontiguousarray(rgb), QUALITY)
    file = folder / wish.kind / wish.parent_id[:2] / wish.name
    _write(file, data)
    return examine(data, detect) | {
        "uri": str(file),
        "also_at": [],
        "mtime_ns": file.stat().st_mtime_ns,
        "source": "synth",
        "subject": parent["subject"],
        "clip": parent["clip"],
        "origin": "synthetic",
        "parent_id": wish.parent_id,
        "seed": wish.seed,
        "parameters": json.dumps(parameters),
        "kind": wish.kind,
    }


def label_rows(made: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `labels` of images made: what they are is known, so it is trusted."""
    bonafide = made["kind"] == schema.BONAFIDE
    return pd.DataFrame(
        {
            "image_id": made["image_id"],
            "task": schema.LIVENESS,
            "part": "",
            "label": np.where(bonafide, schema.BONAFIDE, schema.ATTACK),
            "attack_type": made["kind"].mask(bonafide, ""),
            "source": "synth",
            "trusted": True,
        }
    )


def _write(file: Path, data: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    scratch = file.with_suffix(".tmp")
    scratch.write_bytes(data)
    scratch.replace(file)
