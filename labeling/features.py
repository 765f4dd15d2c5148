"""Frozen backbone features of crops, computed once per image and kept on disk.

Two layers of every crop are kept. `final` is what the backbone pools at its end; `middle` is the
mean and the deviation of each channel of its stages, which see moire, paper grain and print dots
that the end has learnt to ignore: among attacks of one camera it erred a tenth as often, while
`final` of a wide crop travelled better to another camera.
"""

import ctypes
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from curate import backbones, engine, schema
from curate.config import Softlabel
from curate.crops import face_crop
from curate.embeddings import Cache
from curate.engine import Track
from curate.parts import eye_crop, region_crop, whole_crop
from curate.workspace import Workspace

Crop = NDArray[np.uint8]
Features = NDArray[np.float32]
Block = tuple[NDArray[np.int64], dict[str, Features]]  # rows (b,), name -> (b, D)

LAYERS = ("final", "middle")
BATCH = 16  # crops in one forward pass; larger ones gained nothing on a CPU
PART = 256  # images whose features a kill may cost
BLOCK = 2048  # units whose features are in memory at once: of a pool as large as one likes


@dataclass(frozen=True)
class View:
    """What of a unit the backbone sees.

    Attributes:
        name: of the cache's folder: says all that the features depend on.
        crop: a row of units -> (size, size, 3) uint8 RGB.
        by_part: whether it shows one part, so that an image has several.
    """

    name: str
    crop: Callable[[Any], Crop]
    by_part: bool


def views(settings: Softlabel, task: str) -> list[View]:
    """Return what is looked at for ``task``.

    Of liveness the face at each scale; of eyes each eye; of occlusion the region and, for how far a
    cover reaches, the whole face. Sizes of the last two: measured with bench_parts.py.
    """
    if task == schema.LIVENESS:
        return [_face(settings, scale) for scale in settings.crop_scales]
    if task == "eyes":
        return [_part(settings, "eye", eye_crop, 96)]
    whole = View(f"{settings.backbone}-whole-128", lambda row: whole_crop(row, size=128), False)
    return [whole, _part(settings, "region", region_crop, 64)]


def _face(settings: Softlabel, scale: float) -> View:
    name = f"{settings.backbone}-{scale:g}-{settings.image_size}"
    return View(name, lambda row: face_crop(row, scale=scale, size=settings.image_size), False)


def _part(settings: Softlabel, what: str, cut: Callable[..., Crop], size: int) -> View:
    name = f"{settings.backbone}-{what}-{size}"
    return View(name, lambda row: cut(row, row["part"], size=size), True)


def names(seen: list[View], layers: Iterable[str] = LAYERS) -> list[str]:
    """Return what `features` calls ``layers`` of views: "<layer> of <view>"."""
    return [f"{layer} of {view.name}" for view in seen for layer in layers]


def features(
    workspace: Workspace,
    units: pd.DataFrame,
    seen: list[View],
    track: Track,
    *,
    wanted: Collection[str] | None = None,
) -> dict[str, Features]:
    """Return each of ``wanted``, by default all `names` -> (len(units), D) float32.

    Raises:
        SourceError: an original is gone.
        AssetError: the backbone's weights are not here.
    """
    return stacked(blocks(workspace, units, seen, track, wanted=wanted), len(units))


def stacked(every: Iterable[Block], count: int) -> dict[str, Features]:
    """Return the features of all ``count`` rows that ``every`` block is a part of."""
    found: dict[str, Features] = {}
    for rows, block in every:
        for name, values in block.items():
            if name not in found:
                found[name] = np.empty((count, values.shape[1]), np.float32)
            found[name][rows] = values
    return found


def blocks(
    workspace: Workspace,
    units: pd.DataFrame,
    seen: list[View],
    track: Track,
    *,
    wanted: Collection[str] | None = None,
) -> Iterator[Block]:
    """Yield `features` of at most BLOCK units at a time, and which rows of ``units`` they are.

    In the order in which they lie on disk, so that memory does not grow with ``units``. Of what is
    not wanted nothing is read, but what was never computed is, for all layers of ``seen``.
    """
    read = names(seen) if wanted is None else wanted
    for part, mine in units.groupby("part").indices.items():
        mine = np.asarray(mine)
        rows, ids = units.iloc[mine], units["image_id"].iloc[mine].tolist()
        caches: dict[str, Cache] = {}
        for view in seen:
            both = [_cache(workspace, view, at, str(part) * view.by_part) for at in LAYERS]
            _compute(workspace, rows, view, both, track)
            caches |= dict(zip(names([view]), both, strict=True))
        places = {name: caches[name].places(ids) for name in caches if name in read}
        order = np.argsort(next(iter(places.values()), mine), kind="stable")
        for start in range(0, len(order), BLOCK):
            at = order[start : start + BLOCK]
            yield mine[at], {n: _plain(caches[n].rows(where[at])) for n, where in places.items()}


def _plain(values: NDArray[np.floating]) -> Features:
    """Return float32; torch converts half precision ten times as fast as numpy."""
    plain: Features = torch.from_numpy(values).float().numpy()
    return plain


def _compute(
    workspace: Workspace, units: pd.DataFrame, view: View, caches: list[Cache], track: Track
) -> None:
    ids = units["image_id"].tolist()
    lacking = np.any([cache.places(ids) < 0 for cache in caches], axis=0)
    if not lacking.any():
        return
    missing = units[lacking].drop_duplicates("image_id")
    model = Extractor(workspace.config.softlabel.backbone)
    threads = engine.threads(workspace.config.threads)
    crops = engine.mapped(view.crop, missing.to_dict("records"), threads=threads)
    found = zip(missing["image_id"], model.stream(crops), strict=True)
    for part in engine.batched(track(found, len(missing), f"features {view.name}"), PART):
        for layer, cache in enumerate(caches):
            cache.add({image_id: layers[layer] for image_id, layers in part})


class Extractor:
    """A frozen backbone that turns crops into the features of both layers."""

    def __init__(self, backbone: str) -> None:
        """Load timm's ``backbone``; see `backbones.create` for what may go wrong."""
        _keep_memory()
        self._device = backbones.device()
        model: Any = backbones.folded(backbones.create(backbone).eval()).to(self._device)
        self._model = model.to(memory_format=torch.channels_last)
        config = model.pretrained_cfg
        self._mean = torch.tensor(config["mean"], device=self._device).view(1, 3, 1, 1) * 255
        self._std = torch.tensor(config["std"], device=self._device).view(1, 3, 1, 1) * 255

    def stream(self, crops: Iterable[Crop]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield (final, middle), (D,) float32 each, for every (S, S, 3) uint8 RGB crop."""
        for batch in engine.batched(crops, BATCH):
            pixels = torch.from_numpy(np.stack(batch)).to(self._device)  # (B, S, S, 3) uint8
            with torch.inference_mode():
                values = (pixels.permute(0, 3, 1, 2).float() - self._mean) / self._std
                final, middle = (part.float().cpu().numpy() for part in self._layers(values))
            yield from zip(final, middle, strict=True)

    def _layers(self, values: Tensor) -> tuple[Tensor, Tensor]:
        last, stages = self._model.forward_intermediates(values)
        final = self._model.forward_head(last, pre_logits=True)
        moments = [part for stage in stages for part in _moments(stage)]
        return final, torch.cat(moments, dim=1)


def _moments(stage: Tensor) -> tuple[Tensor, Tensor]:
    """Return (B, C) mean and deviation of each channel of (B, C, H, W).

    From sums of squares, in half the time of torch.std_mean. On photographs of faces it is within
    1.4e-4 of that, a quarter of the step at which features are kept.
    """
    pixels = stage.permute(0, 2, 3, 1).flatten(1, 2)
    mean = pixels.mean(dim=1)
    square = torch.einsum("bpc,bpc->bc", pixels, pixels) / pixels.shape[1]
    return mean, (square - mean**2).clamp_min(0).sqrt()


def _keep_memory() -> None:
    """Let glibc keep what a forward pass frees: a third of the time goes into giving it back.

    M_TRIM_THRESHOLD is -1 and M_MMAP_THRESHOLD -3 in mallopt(3); other libraries have no mallopt.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(-1, 1 << 30)
        mallopt(-3, 1 << 30)


def _cache(workspace: Workspace, view: View, layer: str, part: str) -> Cache:
    name = "-".join(filter(None, ["features", layer, view.name, part])).replace("/", "_")
    cache: Cache = workspace.memory.setdefault(name, Cache(workspace.root / "crops" / name))
    return cache
