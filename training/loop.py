"""The training loop. Killed at any moment, it goes on at the last whole epoch, to the same weights.

Everything random is drawn from (seed, epoch, position), never from a stream that a kill would cut.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import DataLoader, Dataset

from curate import backbones
from training import augment
from training.model import Network

CHECKPOINT = "checkpoint.pt"
WEIGHT_DECAY = 0.05
WARM_UP = 0.1  # share of all steps over which the learning rate rises to its peak
SMOOTHING = 0.1
MAX_NORM = 1.0  # of the gradient: one image may carry the weight of a whole attack type


@dataclass(frozen=True)
class Settings:
    """How long and how fast it learns."""

    epochs: int
    batch_size: int
    learning_rate: float
    seed: int


@dataclass(frozen=True)
class Examples:
    """Training crops (n, padded, padded, 3) uint8, targets P(bona fide) (n,), weights (n,)."""

    crops: NDArray[np.uint8]
    targets: NDArray[np.float32]
    weights: NDArray[np.float32]


class Epoch(Dataset[tuple[NDArray[np.uint8], np.float32, np.float32]]):
    """One augmented view of every example."""

    def __init__(self, examples: Examples, size: int, seed: tuple[int, int]) -> None:
        """View ``examples`` at ``size`` pixels; ``seed`` is (seed, epoch)."""
        self.examples, self.seed = examples, seed
        self.transform = augment.pipeline(size)

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.examples.targets)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], np.float32, np.float32]:
        """Return crop, target and weight of one example."""
        crop = augment.apply(self.transform, self.examples.crops[index], (*self.seed, index))
        return crop, self.examples.targets[index], self.examples.weights[index]


def train(
    net: Network,
    examples: Examples,
    settings: Settings,
    *,
    folder: Path,
    track: Callable[[Iterator[Any], int, str], Iterator[Any]],
) -> list[float]:
    """Train ``net`` in place, with a checkpoint in ``folder`` per epoch; return their losses.

    Soft-target binary cross-entropy, weighted; AdamW; one cosine from a short warm-up to zero.
    """
    fabric = Fabric(accelerator=backbones.device().type, devices=1)
    module, optimizer = fabric.setup(net, _optimizer(net, settings))
    losses = _resume(folder, net, optimizer)
    steps = math.ceil(len(examples.targets) / settings.batch_size)
    for epoch in range(len(losses), settings.epochs):
        torch.manual_seed(_word(settings.seed, epoch))
        module.train()
        total = 0.0
        batches = fabric.setup_dataloaders(_loader(net, examples, settings, epoch))
        for step, batch in enumerate(track(iter(batches), steps, f"epoch {epoch + 1}")):
            done = (epoch * steps + step) / (settings.epochs * steps)
            _set_rate(optimizer, settings.learning_rate * pace(done))
            loss = objective(module(batch[0]), batch[1], batch[2])
            optimizer.zero_grad()
            fabric.backward(loss)
            fabric.clip_gradients(module, optimizer, max_norm=MAX_NORM)
            optimizer.step()
            total += loss.item() * len(batch[0])
        losses.append(total / len(examples.targets))
        _save(folder, net, optimizer, losses)
    return losses


def objective(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted mean of the binary cross-entropy; all (n,), targets in [0, 1].

    Targets are drawn a little towards 1/2 (label smoothing, Szegedy et al., arXiv 1512.00567), or
    the logits of separable images grow without end and the threshold means nothing elsewhere.
    """
    smooth = targets * (1 - SMOOTHING) + SMOOTHING / 2
    return (binary_cross_entropy_with_logits(logits, smooth, reduction="none") * weights).mean()


def pace(done: float) -> float:
    """Return the share of the peak learning rate in [0, 1] when ``done`` in [0, 1] of it is over.

    Linear warm-up, then half a cosine: Loshchilov and Hutter, SGDR, arXiv 1608.03983.
    """
    if done < WARM_UP:
        return (done + 1e-3) / (WARM_UP + 1e-3)
    return 0.5 * (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP)))


def _optimizer(net: Network, settings: Settings) -> torch.optim.Optimizer:
    """AdamW; vectors (biases, norms) do not decay."""
    wanted = [p for p in net.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in wanted if p.ndim > 1], "weight_decay": WEIGHT_DECAY},
        {"params": [p for p in wanted if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate)


def _loader(net: Network, examples: Examples, settings: Settings, epoch: int) -> DataLoader[Any]:
    order = np.random.default_rng((settings.seed, epoch)).permutation(len(examples.targets))
    view = Epoch(examples, net.contract.image_size, (settings.seed, epoch))
    return DataLoader(view, batch_size=settings.batch_size, sampler=order.tolist())


def _set_rate(optimizer: Any, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def _word(*seed: int) -> int:
    return int(np.random.SeedSequence(seed).generate_state(1)[0])


def _save(folder: Path, net: Network, optimizer: Any, losses: list[float]) -> None:
    """Write the state after a whole epoch; the file appears whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {"net": net.state_dict(), "optimizer": optimizer.state_dict(), "losses": losses}
    torch.save(state, folder / f"{CHECKPOINT}.tmp")
    (folder / f"{CHECKPOINT}.tmp").replace(folder / CHECKPOINT)


def _resume(folder: Path, net: Network, optimizer: Any) -> list[float]:
    """Load the last whole epoch, where there is one; return the losses so far."""
    file = folder / CHECKPOINT
    if not file.is_file():
        return []
    state = torch.load(file, map_location=backbones.device(), weights_only=True)
    net.load_state_dict(state["net"])
    optimizer.load_state_dict(state["optimizer"])
    return [float(loss) for loss in state["losses"]]
