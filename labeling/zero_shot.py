"""Run the model of a card exactly as its card says, after it has passed the card's self-test."""

import hashlib
import pickle
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as onnx_faults
from scipy.special import softmax

from curate import backbones, schema
from curate.errors import AssetError
from curate.faces import Box
from labeling import minifasnet
from labeling.cards import Input, Net, Selftest, Weights, digest

TOLERANCE = (
    0.02  # of a probability in a self-test; bench_cards.py: a wrong contract moves it by 0.2
)
LEAST = 1e-7  # a probability below it counts as this much

Image: TypeAlias = NDArray[np.uint8]
Floats: TypeAlias = NDArray[np.float32]
# All that onnxruntime raises on damaged files and wrong inputs; its errors share no base of theirs.
ONNX_FAULTS = tuple(
    getattr(onnx_faults, name)
    for name in ("EPFail", "Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoModel")
    + ("NoSuchFile", "NotImplemented", "RuntimeException")
)

Run: TypeAlias = Callable[[Floats], Floats]


class Model:
    """The model of one card, loaded and tested."""

    def __init__(self, card: Net, file: Path) -> None:
        """Load the weights in ``file`` and let them pass the card's self-test.

        Raises:
            AssetError: the file does not load, does not fit the card, or fails the self-test.
        """
        self.card = card
        self._file = file
        self._run = _loaded(card, file)
        known = schema.CLASSES_OF[card.task]
        columns = [known.index(_class(word)) for word in card.output.classes]
        self._adds_up = np.eye(len(known))[columns]  # (K, C)
        for test in card.selftest:
            self._check(test)

    @property
    def mark(self) -> str:
        """Return what the model's outputs depend on, as 12 hex digits."""
        contract = self.card.input.model_dump_json(), self.card.output.values
        return hashlib.sha256(":".join([*contract, digest(self._file)]).encode()).hexdigest()[:12]

    def crop(self, rgb: Image, box: Box) -> Image:
        """Return the (S, S, 3) uint8 RGB square that the model wants of an upright image."""
        return place(rgb, box, self.card.input)

    def logits(self, crops: Sequence[Image]) -> Floats:
        """Return (N, K) logits for (S, S, 3) crops; of a model of probabilities, their logarithm.

        Raises:
            AssetError: the model refuses such input, or its answer is not one value per class.
        """
        wanted = self.card.input
        try:
            found = self._run(values(np.stack(crops), wanted))
        except (RuntimeError, ValueError, *ONNX_FAULTS) as error:
            raise self._fault(f"refuses an input of {wanted.size} px: {_first(error)}") from error
        if found.shape != (len(crops), len(self.card.output.classes)):
            named = len(self.card.output.classes)
            raise self._fault(f"answers with shape {found.shape[1:]}, the card names {named}")
        if self.card.output.values == "probabilities":
            found = np.log(np.clip(found, LEAST, 1))
        return found

    def probabilities(self, logits: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return (N, C) over the classes of the task for (N, K) logits; a row of NaN stays one."""
        summed: NDArray[np.float64] = softmax(logits.astype(np.float64), axis=1) @ self._adds_up
        return summed

    def _check(self, test: Selftest) -> None:
        rgb, box = picture(test.seed)
        found = self.probabilities(self.logits([self.crop(rgb, box)]))[0]
        for word, expected in test.expected.items():
            got = found[schema.CLASSES_OF[self.card.task].index(_class(word))]
            if not abs(got - expected) <= TOLERANCE:
                raise self._fault(
                    f"gives P({word}) = {got:.3f} for the picture of seed {test.seed}, the card "
                    f"expects {expected:.3f}"
                )

    def _fault(self, what: str) -> AssetError:
        return AssetError(
            f"card {self.card.name} fails its self-test: {self._file} {what}.\nNext: check the "
            "card's input and output (crop, scale, size, colours, white, mean, std, classes) "
            "against the model's own code"
        )


def place(rgb: Image, box: Box, wanted: Input) -> Image:
    """Return the (S, S, 3) square about the face ``box``, x, y, w, h, that ``wanted`` describes.

    shift: minivision's `CropImage` (Silent-Face-Anti-Spoofing, `generate_patches.py`), which keeps
    the shape of the box and moves it into the frame. zero: hairymax's `increased_crop`
    (Face-AntiSpoofing, `video_predict.py`). Both shrink by OpenCV's linear rule, which skips
    pixels: the models learnt on what that leaves.
    """
    if wanted.crop == "shift":
        rgb = _shifted(rgb, box, wanted.scale or 1)
    elif wanted.crop == "zero":
        rgb = _padded(rgb, box, wanted.scale or 1)
    square: Image = cv2.resize(rgb, (wanted.size, wanted.size))
    return square


def _shifted(rgb: Image, box: Box, scale: float) -> Image:
    height, width = rgb.shape[:2]
    x, y, box_width, box_height = box
    scale = min((height - 1) / box_height, (width - 1) / box_width, scale)
    left, right = _within(x + box_width / 2, box_width * scale, width)
    top, bottom = _within(y + box_height / 2, box_height * scale, height)
    return rgb[top : bottom + 1, left : right + 1]


def _within(centre: float, length: float, limit: int) -> tuple[int, int]:
    """Return first and last pixel of a stretch, moved into [0, limit)."""
    low, high = centre - length / 2, centre + length / 2
    shift = max(-low, 0) - max(high - (limit - 1), 0)
    return int(low + shift), int(high + shift)


def _padded(rgb: Image, box: Box, scale: float) -> Image:
    height, width = rgb.shape[:2]
    x, y, box_width, box_height = box
    length = scale * max(box_width, box_height)
    side = max(1, int(length))
    left = int(x + box_width / 2 - length / 2)
    top = int(y + box_height / 2 - length / 2)
    square = np.zeros((side, side, 3), np.uint8)
    inside = rgb[max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)]
    down, across = max(-top, 0), max(-left, 0)
    square[down : down + inside.shape[0], across : across + inside.shape[1]] = inside
    return square


def values(crops: Image, wanted: Input) -> Floats:
    """Return (N, 3, S, S) float32 for (N, S, S, 3) uint8 RGB crops."""
    ordered = crops[..., ::-1] if wanted.colours == "BGR" else crops
    scaled = ordered.astype(np.float32) * np.float32(wanted.white / 255)
    mean, std = np.array([wanted.mean, wanted.std], np.float32)
    found: Floats = np.ascontiguousarray(((scaled - mean) / std).transpose(0, 3, 1, 2))
    return found


def picture(seed: int) -> tuple[Image, Box]:
    """Return a (480, 640, 3) uint8 RGB picture for self-tests and the box of a face in it.

    Squares of 160, 32 and 8 pixels in colours of their own, laid over one another: it looks
    different at every scale, place and order of channels. In whole numbers, and by the generator
    whose stream NumPy has frozen (NEP 19), so that it is the same on every machine.
    """
    rng = np.random.RandomState(seed % 2**32)
    total = np.zeros((480, 640, 3), np.int64)
    for side in (160, 32, 8):
        cells = rng.randint(0, 256, (480 // side, 640 // side, 3))
        total += cells.repeat(side, axis=0).repeat(side, axis=1)
    width, height = rng.randint(70, 111, 2)
    x, y = rng.randint(0, 640 - width), rng.randint(0, 480 - height)
    return (total // 3).astype(np.uint8), (float(x), float(y), float(width), float(height))


def _loaded(card: Net, file: Path) -> Run:
    load = {"onnx": _onnx, "torchscript": _torchscript, "state_dict": _state_dict}
    try:
        return load[card.weights.format](file)
    except (
        *(RuntimeError, OSError, ValueError, TypeError, AttributeError, LookupError, EOFError),
        *(pickle.UnpicklingError, *ONNX_FAULTS),
    ) as error:
        raise AssetError(
            f"card {card.name}: {file} does not load as {_format(card.weights)}: "
            f"{_first(error)}.\nNext: {card.obtain}, or correct [weights] of the card"
        ) from error


def _onnx(file: Path) -> Run:
    """Return a run of one image at a time, on one thread: many files are exported for just one.

    Not with OpenCV, whose output on the 128 px net is the same to 1.2e-7, in 0.8 of the CPU time:
    one of 40 files with 20 altered bytes ended the whole process.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what goes wrong is raised
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def run(inputs: Floats) -> Floats:
        found = [session.run(None, {name: one[np.newaxis]})[0] for one in inputs]
        return np.concatenate(found, dtype=np.float32)

    return run


def _torchscript(file: Path) -> Run:
    device = backbones.device()
    with warnings.catch_warnings():
        # Deprecated in favour of torch.export, but what people have is TorchScript.
        warnings.simplefilter("ignore", DeprecationWarning)
        network: torch.nn.Module = torch.jit.load(file, map_location=device)  # type: ignore[no-untyped-call]
    return _torch(network.eval(), device)


def _state_dict(file: Path) -> Run:
    device = backbones.device()
    state = torch.load(file, map_location="cpu", weights_only=True)
    return _torch(minifasnet.load(state).to(device), device)


def _torch(network: torch.nn.Module, device: torch.device) -> Run:
    def run(inputs: Floats) -> Floats:
        with torch.inference_mode(), _one_thread():
            found: torch.Tensor = network(torch.from_numpy(inputs).to(device))
        answer: Floats = found.float().cpu().numpy()
        return answer

    return run


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep torch to one thread: its layers here are so small that threads mostly wait.

    MiniFASNet, batches of 16, two busy cores: 2.9 ms of CPU an image, and 20 to 51 ms on two.
    """
    kept = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(kept)


def _class(word: str) -> str:
    """Return the class of ours that ``word`` of a card stands for."""
    return "unknown" if word == schema.ATTACK else word


def _format(weights: Weights) -> str:
    return " ".join(filter(None, (weights.format, weights.architecture)))


def _first(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:200]
