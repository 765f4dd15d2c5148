"""Frozen backbone features of face crops, computed once per image and kept on disk."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import torch

from curate import backbones, engine
from curate.config import Softlabel
from curate.crops import face_crop
from curate.embeddings import Cache
from curate.workspace import Workspace

BATCH = 16  # crops in one forward pass; larger ones gained nothing on a CPU
PART = 256  # images whose features a kill may cost

Item = TypeVar("Item")
Track = Callable[[Iterable[Any], int, str], Iterator[Any]]


def features(
    workspace: Workspace, images: pd.DataFrame, settings: Softlabel, track: Track
) -> np.ndarray:
    """Return (len(images), D) float32 pooled features of face crops, in the order of ``images``.

    ``images`` are rows of the catalogue's `images` indexed by image_id, each with a face.

    Raises:
        SourceError: an original is gone.
        AssetError: the backbone's weights are not here.
    """
    cache = Cache(workspace.root / "crops" / f"features-{_name(settings)}")
    have = cache.load()
    missing = images[~images.index.isin(list(have))]
    if len(missing):
        model = _Extractor(settings)
        rows = missing.to_dict("records")
        crops = engine.mapped(
            lambda row: face_crop(row, scale=settings.crop_scale, size=settings.image_size),
            rows,
            threads=engine.threads(workspace.config.threads),
        )
        found = zip(missing.index, model.stream(crops), strict=True)
        for part in _chunks(track(found, len(missing), "features"), PART):
            cache.add(dict(part))
            have |= dict(part)
    return np.stack([have[image_id] for image_id in images.index])


class _Extractor:
    """A frozen backbone that turns crops into pooled features."""

    def __init__(self, settings: Softlabel) -> None:
        self._device = backbones.device()
        self._model = backbones.create(settings.backbone).eval().to(self._device)
        config: Any = self._model.pretrained_cfg
        self._mean = torch.tensor(config["mean"], device=self._device).view(1, 3, 1, 1) * 255
        self._std = torch.tensor(config["std"], device=self._device).view(1, 3, 1, 1) * 255

    def stream(self, crops: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield a (D,) float32 vector for each (S, S, 3) uint8 RGB crop."""
        for batch in _chunks(crops, BATCH):
            pixels = torch.from_numpy(np.stack(batch)).to(self._device)  # (B, S, S, 3) uint8
            with torch.inference_mode():
                values = (pixels.permute(0, 3, 1, 2).float() - self._mean) / self._std
                yield from self._model(values).float().cpu().numpy()


def _name(settings: Softlabel) -> str:
    return f"{settings.backbone}-{settings.crop_scale:g}-{settings.image_size}".replace("/", "_")


def _chunks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    chunk: list[Item] = []
    for item in items:
        chunk.append(item)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
