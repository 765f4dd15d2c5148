"""Score image files exactly as training saw them: the same decode, turn, face box and crop."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate import engine, schema
from curate.champions import Model
from curate.crops import face_crop
from curate.errors import SourceError
from curate.examine import examine
from curate.faces import FaceDetector
from curate.places import uri_of
from curate.workspace import Workspace
from training import data, model, registry
from training.model import Contract
from training.registry import Saved

Line = dict[str, Any]


def predict(
    saved: Saved, detector: FaceDetector, images: Sequence[Path], *, threads: int
) -> Iterator[Line]:
    """Yield one line per image, in order: image, score, label, threshold, turn; or image, error."""

    def prepare(image: Path) -> tuple[Line, np.ndarray | None]:
        return _prepared(image, detector, saved.net.contract)

    prepared = engine.mapped(prepare, images, threads=threads)
    for batch in engine.batched(prepared, model.BATCH):
        found = model.score(saved.net, [crop for _, crop in batch if crop is not None])
        scores = iter(found.tolist())
        for line, crop in batch:
            yield line if crop is None else _judged(line, next(scores), saved.threshold)


def scorer(
    workspace: Workspace, found: Model, track: Callable[..., Any]
) -> Callable[[pd.DataFrame], NDArray[np.float64]]:
    """Return a function from rows of `images`, each with a face, to (N,) P(bona fide).

    Raises:
        AssetError: the model's files are missing or damaged.
    """
    net = registry.load(found).net

    def score(rows: pd.DataFrame) -> NDArray[np.float64]:
        crops = data.stream(
            rows.reset_index(drop=True),
            scale=net.contract.crop_scale,
            size=net.contract.image_size,
            threads=engine.threads(workspace.config.threads),
        )
        return model.score(net, track(crops, len(rows), f"model {found.number}"))

    return score


def _prepared(image: Path, detector: FaceDetector, wanted: Contract) -> tuple[Line, Any]:
    line: Line = {"image": str(image)}
    try:
        row = examine(image.read_bytes(), detector.detect) | {"uri": uri_of(image)}
        if row["status"] != "kept":
            return line | {"error": schema.REASONS.get(row["reason"], row["reason"])}, None
        crop = face_crop(row, scale=wanted.crop_scale, size=wanted.image_size)
    except OSError as error:
        return line | {"error": error.strerror or str(error)}, None
    except SourceError as error:
        return line | {"error": str(error).splitlines()[0]}, None
    return line | {"turn": int(row["turn"])}, crop


def _judged(line: Line, score: float, threshold: float) -> Line:
    label = schema.BONAFIDE if score >= threshold else schema.ATTACK
    image, turn = line["image"], line["turn"]
    return {"image": image, "score": score, "label": label, "threshold": threshold, "turn": turn}
