"""The network: a timm backbone with one logit, and the contract of what it wants to see."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from curate import backbones, engine

BATCH = 32  # crops scored at a time


@dataclass(frozen=True)
class Contract:
    """What a saved model wants: a square face crop, upright, RGB.

    Attributes:
        backbone: timm's name.
        crop_scale: side of the crop over the longer side of the face box.
        image_size: side in pixels.
        mean: per channel, of pixels divided by 255.
        std: likewise.
    """

    backbone: str
    crop_scale: float
    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, ready for JSON."""
        return asdict(self)


class Network(nn.Module):
    """uint8 crops in, one logit each out: log-odds that the crop is bona fide.

    Batch normalisation keeps the statistics of pre-training, also while training: those of a few
    hundred images, many of them frames of one burst, are worse, and change with the batch.
    """

    def __init__(self, backbone: nn.Module, contract: Contract) -> None:
        """Wrap ``backbone``, whose head has one output."""
        super().__init__()
        self.backbone = backbone
        self.contract = contract
        mean, std = (torch.tensor(v).view(3, 1, 1) * 255 for v in (contract.mean, contract.std))
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("std", std, persistent=False)

    def forward(self, crops: Tensor) -> Tensor:
        """Return the (n,) float logits of (n, size, size, 3) uint8 RGB ``crops``."""
        mean, std = self.get_buffer("mean"), self.get_buffer("std")
        pixels = (crops.permute(0, 3, 1, 2).to(mean.dtype) - mean) / std
        logits: Tensor = self.backbone(pixels)
        return logits[:, 0]

    def train(self, mode: bool = True) -> "Network":
        """Switch dropout and the like; batch normalisation stays as it is."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self


def create(
    backbone: str, *, crop_scale: float, image_size: int, pretrained: bool = True
) -> Network:
    """Return a network ready for training; ``pretrained=False`` where weights follow anyway.

    Raises:
        ConfigError: timm knows no such backbone.
        AssetError: its weights are not on this machine.
    """
    net: Any = backbones.create(backbone, num_classes=1, pretrained=pretrained)
    for parameter in net.get_classifier().parameters():
        nn.init.zeros_(parameter)  # every score starts at 1/2: a random head starts far off
    mean, std = tuple(net.pretrained_cfg["mean"]), tuple(net.pretrained_cfg["std"])
    # Channels last: convolutions on CPUs and tensor cores take half the time or less.
    net = net.to(memory_format=torch.channels_last)
    return Network(net, Contract(backbone, crop_scale, image_size, mean, std))


def score(net: Network, crops: Iterable[NDArray[np.uint8]]) -> NDArray[np.float64]:
    """Return P(bona fide) of each (size, size, 3) uint8 crop; holds one batch of them at a time."""
    net = net.eval().to(backbones.device())
    with torch.inference_mode():
        batches = (torch.from_numpy(np.stack(part)) for part in engine.batched(crops, BATCH))
        logits = [net(batch.to(backbones.device())) for batch in batches]
    joined = torch.cat(logits).double().cpu() if logits else torch.empty(0, dtype=torch.double)
    return torch.sigmoid(joined).numpy()
