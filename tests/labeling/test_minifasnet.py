"""The network read out of a state dict computes what its tensors say, one operation at a time."""

import pytest
import torch
from torch.nn import functional

from labeling import minifasnet

BLOCKS = {"conv_3": 2, "conv_4": 1, "conv_5": 1}
EXCITED = ("conv_3.model.1",)


@pytest.fixture
def state():
    """A narrow variant: 6 channels, 5 inside a block, 8 at the end, 3 classes."""
    made = {}
    generator = torch.Generator().manual_seed(0)

    def tensor(name, *shape, spread=0.4):
        made[f"module.{name}"] = torch.randn(*shape, generator=generator) * spread

    def norm(name, width):
        tensor(f"{name}.weight", width)
        tensor(f"{name}.bias", width)
        tensor(f"{name}.running_mean", width)
        made[f"module.{name}.running_var"] = torch.rand(width, generator=generator) + 0.5
        made[f"module.{name}.num_batches_tracked"] = torch.tensor(1)

    def layer(name, *shape, active=True):
        tensor(f"{name}.conv.weight", *shape)
        norm(f"{name}.bn", shape[0])
        if active:
            tensor(f"{name}.prelu.weight", shape[0])

    def block(name):
        layer(f"{name}.conv", 5, 6, 1, 1)
        layer(f"{name}.conv_dw", 5, 1, 3, 3)
        layer(f"{name}.project", 6, 5, 1, 1, active=False)
        if name in EXCITED:
            for part, shape in (("1", (2, 6, 1, 1)), ("2", (6, 2, 1, 1))):
                tensor(f"{name}.se_module.fc{part}.weight", *shape)
                norm(f"{name}.se_module.bn{part}", shape[0])

    layer("conv1", 6, 3, 3, 3)
    layer("conv2_dw", 6, 1, 3, 3)
    for name in ("conv_23", "conv_34", "conv_45"):
        block(name)
    for name, count in BLOCKS.items():
        for place in range(count):
            block(f"{name}.model.{place}")
    layer("conv_6_sep", 8, 6, 1, 1)
    layer("conv_6_dw", 8, 1, 5, 5, active=False)
    tensor("linear.weight", 4, 8)
    norm("bn", 4)
    tensor("prob.weight", 3, 4)
    return made


def by_hand(state, values):
    """Return the logits by the published sequence of operations."""
    weights = {name.removeprefix("module."): tensor for name, tensor in state.items()}

    def norm(values, name):
        told = [weights[f"{name}.{key}"] for key in ("running_mean", "running_var")]
        return functional.batch_norm(
            values, *told, weights[f"{name}.weight"], weights[f"{name}.bias"]
        )

    def layer(values, name, stride=1, padding=0, groups=1):
        kernel = weights[f"{name}.conv.weight"]
        values = functional.conv2d(values, kernel, None, stride, padding, 1, groups)
        values = norm(values, f"{name}.bn")
        slope = weights.get(f"{name}.prelu.weight")
        return values if slope is None else functional.prelu(values, slope)

    def block(values, name, stride):
        found = layer(values, f"{name}.conv")
        found = layer(found, f"{name}.conv_dw", stride, 1, 5)
        found = layer(found, f"{name}.project")
        if name in EXCITED:
            mean = functional.adaptive_avg_pool2d(found, 1)
            mean = functional.conv2d(mean, weights[f"{name}.se_module.fc1.weight"])
            mean = functional.relu(norm(mean, f"{name}.se_module.bn1"))
            mean = functional.conv2d(mean, weights[f"{name}.se_module.fc2.weight"])
            found = found * torch.sigmoid(norm(mean, f"{name}.se_module.bn2"))
        return found if stride == 2 else values + found

    values = layer(values, "conv1", 2, 1)
    values = layer(values, "conv2_dw", 1, 1, 6)
    for down, stage in (("conv_23", "conv_3"), ("conv_34", "conv_4"), ("conv_45", "conv_5")):
        values = block(values, down, 2)
        for place in range(BLOCKS[stage]):
            values = block(values, f"{stage}.model.{place}", 1)
    values = layer(layer(values, "conv_6_sep"), "conv_6_dw", 1, 0, 8).flatten(1)
    values = norm(functional.linear(values, weights["linear.weight"]), "bn")
    return functional.linear(values, weights["prob.weight"])


def test_it_computes_what_the_published_network_does(state):
    values = torch.randn(2, 3, 80, 80, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        found = minifasnet.load(state)(values)
        assert found.shape == (2, 3)
        assert torch.allclose(found, by_hand(state, values), atol=1e-4)
        assert found.std() > 1e-3


@pytest.mark.parametrize(
    "gone", ["conv1.conv.weight", "prob.weight", "conv_4.model.0.conv.bn.bias"]
)
def test_a_missing_tensor_is_an_error(state, gone):
    del state[f"module.{gone}"]
    with pytest.raises((KeyError, RuntimeError), match=gone.replace(".", r"\.")):
        minifasnet.load(state)


def test_a_tensor_of_another_network_is_an_error(state):
    with pytest.raises(RuntimeError, match="FTGenerator"):
        minifasnet.load(state | {"module.FTGenerator.ft.0.weight": torch.zeros(1)})
