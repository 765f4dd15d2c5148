"""Cards for tests, over a linear model in an ONNX file that is written field by field."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SIDE = 8  # pixels of the square that the model sees

Tree = dict[str, Any]


@pytest.fixture(scope="session")
def striped() -> Callable[[np.ndarray], np.ndarray]:
    """An "attack" that a frozen backbone can see: dark lines across the face."""

    def lined(rgb: np.ndarray) -> np.ndarray:
        out = rgb.copy()
        out[::6] = out[::6] // 3
        return out

    return lined


@pytest.fixture
def card_tree() -> Callable[..., Tree]:
    """A card that validates; keywords replace its tables, None takes one away."""

    def tree(**changes: Any) -> Tree:
        card: Tree = {
            "name": "tiny",
            "task": "liveness",
            "licence": "MIT",
            "obtain": "ask its author for tiny.onnx",
            "weights": {"file": "tiny.onnx", "format": "onnx"},
            "input": {"crop": "shift", "scale": 1.8, "size": SIDE, "colours": "BGR", "white": 1},
            "output": {"values": "logits", "classes": ["attack", "bonafide", "print"]},
            "selftest": [{"seed": 3, "expected": {"bonafide": 0.5}}],
        }
        return {key: value for key, value in (card | changes).items() if value is not None}

    return tree


@pytest.fixture
def write_card() -> Callable[[Path, Tree], Path]:
    """Write a card as TOML, its tables inline."""

    def write(folder: Path, card: Tree) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{card['name']}.toml"
        file.write_text("\n".join(f"{key} = {_inline(value)}" for key, value in card.items()))
        return file

    return write


@pytest.fixture
def linear() -> np.ndarray:
    """(192, 3) weights over pixels in [0, 1]: it sees place and colour, and is never sure."""
    weights = np.random.default_rng(5).normal(0, 0.2, (3 * SIDE * SIDE, 3))
    return (weights - weights.mean(axis=0)).astype(np.float32)


@pytest.fixture
def write_onnx() -> Callable[[Path, np.ndarray], Path]:
    """Write a model that multiplies flattened (1, 3, SIDE, SIDE) pixels by a matrix."""

    def write(file: Path, weights: np.ndarray) -> Path:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(_linear_onnx(weights))
        return file

    return write


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_inline(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def _linear_onnx(weights: np.ndarray) -> bytes:
    def value(name: str, *shape: int) -> bytes:
        dims = b"".join(_nested(1, _number(1, size)) for size in shape)
        return _nested(1, name) + _nested(2, _nested(1, _number(1, 1) + _nested(2, dims)))

    def node(kind: str, inputs: list[str], output: str) -> bytes:
        return _nested(1, *inputs) + _nested(2, output) + _nested(4, kind)

    tensor = b"".join(_number(1, size) for size in weights.shape) + _number(2, 1)
    tensor += _nested(8, "w") + _nested(9, weights.astype("<f4").tobytes())
    nodes = node("Flatten", ["pixels"], "flat"), node("MatMul", ["flat", "w"], "scores")
    graph = _nested(1, *nodes) + _nested(2, "linear") + _nested(5, tensor)
    graph += _nested(11, value("pixels", 1, 3, SIDE, SIDE))
    graph += _nested(12, value("scores", 1, weights.shape[1]))
    return _number(1, 8) + _nested(7, graph) + _nested(8, _number(2, 13))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _nested(field: int, *values: str | bytes) -> bytes:
    """Return length-delimited protobuf fields: strings, bytes and messages."""
    encoded = [value.encode() if isinstance(value, str) else value for value in values]
    return b"".join(_varint(field << 3 | 2) + _varint(len(one)) + one for one in encoded)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])
