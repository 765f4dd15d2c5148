"""Scores of the backbone itself, fine-tuned on the trusted labels: `curate softlabel --fine-tune`.

One network is tuned per fold of people; whoever it learnt from is scored by the network that did
not. The scores join the frozen features in the teacher's head, which takes them for what they are
worth. A network takes minutes on two cores; a kill costs one fold.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from sklearn.model_selection import StratifiedGroupKFold
from torch import Tensor, nn

from curate import backbones, engine, runs
from curate.engine import Track
from curate.workspace import Workspace
from labeling.features import Crop, View, views
from labeling.head import few

FOLDS = 3
SIDE = 128  # pixels
EPOCHS = 4
BATCH = 32
RATE, DECAY = 3e-4, 0.05  # of AdamW; the rate follows a cosine to zero
SMOOTHING = 0.1
MOST = 4000  # crops held in memory, 49 kB each


class FineTuned:
    """The networks of one task, one for each fold."""

    def __init__(
        self, here: Workspace, task: str, learn: pd.DataFrame, weights: NDArray[np.floating],
        track: Track,
    ) -> None:  # fmt: skip
        """Tune on ``learn``, units with a class, or read what an earlier call tuned on the same.

        Raises:
            SourceError: an original is gone.
            AssetError: the backbone's weights are not here.
        """
        self._here, self._track = here, track
        self._view = views(here.config.softlabel, task)[0]
        self._classes = sorted(set(learn["class"]))
        people = learn["group"].groupby(learn["class"]).nunique()
        folds = max(2, min(FOLDS, int(people.min())))
        targets = learn["class"].map(self._classes.index).to_numpy()
        splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=here.config.seed)
        fold = np.empty(len(learn), int)
        for k, (_, left_out) in enumerate(splitter.split(targets, targets, learn["group"])):
            fold[left_out] = k
        self._fold_of = dict(zip(learn["group"], fold.tolist(), strict=True))
        folder = here.root / "runs" / f"finetune-{self._mark(learn)}"
        self._files = [folder / f"{k}.safetensors" for k in range(folds)]
        clips = (learn["clip_id"] + learn["part"]).to_numpy(object)
        drawn = few(clips, here.config.seed, MOST)
        for k, file in enumerate(self._files):
            if not file.is_file():
                rows = np.flatnonzero((fold != k) & drawn)
                self._tune(learn.iloc[rows], targets[rows], weights[rows], file, k)

    def scores(self, units: pd.DataFrame) -> NDArray[np.float32]:
        """Return (N, C) logits; out of fold for whom a network learnt from, else the mean."""
        fold = units["group"].map(self._fold_of).to_numpy(float)
        strangers = np.isnan(fold)
        found = np.zeros((len(units), len(self._classes)), np.float32)
        for k, file in enumerate(self._files):
            rows = np.flatnonzero(strangers | (fold == k))
            if len(rows):
                found[rows] += self._score(file, units.iloc[rows])
        found[strangers] /= len(self._files)
        return found

    def _mark(self, learn: pd.DataFrame) -> str:
        settings = self._here.config.softlabel
        rows = [*map(str, learn.index)], [*learn["class"]], [*learn["group"]]
        return runs.fingerprint(settings.backbone, self._view.name, self._here.config.seed, rows)

    def _tune(
        self, rows: pd.DataFrame, targets: NDArray[np.int64], weights: NDArray[np.floating],
        file: Path, fold: int,
    ) -> None:  # fmt: skip
        torch.manual_seed(self._here.config.seed + fold)
        net = self._net(pretrained=True)
        crops = self._crops(rows, f"reading fold {fold + 1}")
        held = torch.from_numpy(np.stack(list(crops)))
        true, worth = torch.from_numpy(targets), torch.from_numpy(np.asarray(weights, np.float32))
        steps = EPOCHS * math.ceil(len(held) / BATCH)
        optimizer = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=DECAY)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        orders: Any = (torch.randperm(len(held)) for _ in range(EPOCHS))
        batches = (part for order in orders for part in order.split(BATCH))
        for part in self._track(batches, steps, f"tuning fold {fold + 1}"):
            optimizer.zero_grad()
            found = net(_jittered(held[part].to(backbones.device())))
            loss: Any = nn.functional.cross_entropy(
                found, true[part].to(found.device), reduction="none", label_smoothing=SMOOTHING
            )
            (loss * worth[part].to(found.device)).mean().backward()
            optimizer.step()
            schedule.step()
        file.parent.mkdir(parents=True, exist_ok=True)
        save_file({n: v.contiguous().cpu() for n, v in net.state_dict().items()}, f"{file}.part")
        Path(f"{file}.part").replace(file)

    def _score(self, file: Path, units: pd.DataFrame) -> NDArray[np.float32]:
        net = self._net(pretrained=False)
        net.load_state_dict(load_file(file))
        net.eval()
        crops, found = self._crops(units, f"fine-tuned {file.stem}"), []
        with torch.inference_mode():
            for batch in engine.batched(crops, BATCH):
                pixels = torch.from_numpy(np.stack(batch)).to(backbones.device())
                found.append(net(pixels).float().cpu().numpy())
        return np.concatenate(found)

    def _crops(self, units: pd.DataFrame, what: str) -> Iterator[Crop]:
        threads = engine.threads(self._here.config.threads)
        rows: list[Any] = units.to_dict("records")
        crops = engine.mapped(lambda row: _small(self._view, row), rows, threads=threads)
        return iter(self._track(crops, len(units), what))

    def _net(self, *, pretrained: bool) -> nn.Module:
        backbone = self._here.config.softlabel.backbone
        net: Any = backbones.create(backbone, num_classes=len(self._classes), pretrained=pretrained)
        tuned: nn.Module = _Tuned(net.to(memory_format=torch.channels_last))
        return tuned.to(backbones.device())


class _Tuned(nn.Module):
    """(B, S, S, 3) uint8 crops in, logits out; batch statistics stay those of pre-training."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net
        config = net.pretrained_cfg
        for name in ("mean", "std"):
            self.register_buffer(name, torch.tensor(config[name]).view(1, 3, 1, 1) * 255)

    def forward(self, crops: Tensor) -> Tensor:
        pixels = crops.permute(0, 3, 1, 2).float()
        values = (pixels - self.get_buffer("mean")) / self.get_buffer("std")
        found: Tensor = self.net(values)
        return found

    def train(self, mode: bool = True) -> "_Tuned":
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self


def _small(view: View, row: Any) -> Crop:
    square: Crop = cv2.resize(view.crop(row), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return square


def _jittered(crops: Tensor) -> Tensor:
    """Return crops a little brighter or darker, of more or less contrast."""
    share = torch.empty(2, len(crops), 1, 1, 1, device=crops.device).uniform_(-0.2, 0.2)
    bright = (crops.float() - 128) * (1 + share[0]) + 128 + 128 * share[1]
    return bright.clamp(0, 255)
