"""MiniFASNet, from the shapes of its published weights.

Source: minivision-ai's Silent-Face-Anti-Spoofing (Apache-2.0), `MiniFASNet.py`: MobileFaceNet's
residual blocks, pruned. Its variants differ in widths, numbers of blocks and the squeeze-and-
excitation of some last blocks, all of which the tensors tell: V1, V2, V1SE and V2SE load alike.
"""

from collections import OrderedDict
from collections.abc import Mapping

import torch
from torch import nn

State = Mapping[str, torch.Tensor]


def load(state: State) -> nn.Module:
    """Return the network of a state dict, in evaluation mode: (N, 3, 80, 80) to (N, K) logits.

    Raises:
        KeyError: a tensor that every variant has is missing.
        ValueError, RuntimeError: a tensor has another shape, or is not of this network.
    """
    state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    layers: dict[str, nn.Module] = {
        "conv1": _convolution(state, "conv1", stride=2),
        "conv2_dw": _convolution(state, "conv2_dw"),
        "conv_23": _Block(state, "conv_23", stride=2),
        "conv_3": _residual(state, "conv_3"),
        "conv_34": _Block(state, "conv_34", stride=2),
        "conv_4": _residual(state, "conv_4"),
        "conv_45": _Block(state, "conv_45", stride=2),
        "conv_5": _residual(state, "conv_5"),
        "conv_6_sep": _convolution(state, "conv_6_sep"),
        "conv_6_dw": _convolution(state, "conv_6_dw"),
        "flat": nn.Flatten(),
        "linear": _linear(state, "linear"),
        "bn": nn.BatchNorm1d(len(state["bn.weight"])),
        "prob": _linear(state, "prob"),
    }
    network = nn.Sequential(OrderedDict(layers))
    network.load_state_dict(state, strict=True)
    return network.eval()


class _Block(nn.Module):
    """Widen, filter each channel, narrow; a residual block adds its input."""

    def __init__(self, state: State, name: str, *, stride: int = 1) -> None:
        super().__init__()
        self.conv = _convolution(state, f"{name}.conv")
        self.conv_dw = _convolution(state, f"{name}.conv_dw", stride=stride)
        self.project = _convolution(state, f"{name}.project")
        excited = f"{name}.se_module.fc1.weight" in state
        self.se_module = _Excitation(state, f"{name}.se_module") if excited else nn.Identity()
        self.residual = stride == 1

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.se_module(self.project(self.conv_dw(self.conv(values))))
        return values + found if self.residual else found


class _Excitation(nn.Module):
    """Weigh each channel by what all of them hold on average (arXiv 1709.01507)."""

    def __init__(self, state: State, name: str) -> None:
        super().__init__()
        narrow, wide = state[f"{name}.fc1.weight"].shape[:2]
        self.fc1 = nn.Conv2d(wide, narrow, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(narrow)
        self.fc2 = nn.Conv2d(narrow, wide, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(wide)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        mean = values.mean(dim=(2, 3), keepdim=True)
        weight = torch.sigmoid(self.bn2(self.fc2(torch.relu(self.bn1(self.fc1(mean))))))
        return values * weight


def _residual(state: State, name: str) -> nn.Module:
    count = len({key.split(".")[2] for key in state if key.startswith(f"{name}.model.")})
    blocks = [_Block(state, f"{name}.model.{number}") for number in range(count)]
    return nn.Sequential(OrderedDict(model=nn.Sequential(*blocks)))


def _convolution(state: State, name: str, *, stride: int = 1) -> nn.Module:
    """Return convolution, normalisation and, where it has one, activation.

    Kernels of 3 keep the size, the last one of 5 takes all that is left; a single input channel per
    filter means that each channel is filtered alone.
    """
    filters, inputs, side, _ = state[f"{name}.conv.weight"].shape
    groups = filters if inputs == 1 else 1
    padding = 1 if side == 3 else 0
    layers: dict[str, nn.Module] = {
        "conv": nn.Conv2d(
            inputs * groups, filters, side, stride, padding, groups=groups, bias=False
        ),
        "bn": nn.BatchNorm2d(filters),
    }
    if f"{name}.prelu.weight" in state:
        layers["prelu"] = nn.PReLU(filters)
    return nn.Sequential(OrderedDict(layers))


def _linear(state: State, name: str) -> nn.Module:
    outputs, inputs = state[f"{name}.weight"].shape
    return nn.Linear(inputs, outputs, bias=False)
