"""Faces of nobody: a small GAN's faces, each pasted into a selfie with a room behind it.

The network is a DCGAN of 64 pixels (Radford et al., arXiv 1511.06434) trained on rendered faces,
so no picture of a real person is drawn. Good for showing how curate works, not for figures: simple
texture features tell simulated attacks on these faces apart perfectly.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from curate.errors import DataError
from synth.camera import Image, to_uint8
from synth.surface import saturate, smooth, to_floats

Latents = NDArray[np.float32]  # (N, 100)
TurnOf = Callable[[Image], int]  # clockwise degrees that bring an image upright, -1 undecided

LATENT = 100
CHANNELS = (LATENT, 512, 256, 128, 64, 3)
TRUNCATION = 0.7  # shorter latents draw fewer odd faces, and faces more alike
FACE = (64, 64, 3)
BATCH = 128  # faces at once
LIKENESS = (0.20, 0.35)  # length of a shot's step from its person, as a share of the person's
SIZE = (512, 384)  # height, width of a selfie
PROBES = 2  # shots of a person that must all be seen upright
PATIENCE = 20  # candidates looked at for each person wanted


class Faces(Protocol):
    """Anything that draws (N, 64, 64, 3) uint8 faces for (N, 100) latents."""

    def faces(self, latents: Latents) -> Image:
        """Draw one face for each latent."""
        ...


class FaceGenerator:
    """The DCGAN generator of the `face_generator` model file."""

    def __init__(self, weights: Path) -> None:
        state = torch.load(weights, weights_only=True, map_location="cpu")["netG_state_dict"]
        self._net = _network()
        self._net.load_state_dict({key.removeprefix("main."): v for key, v in state.items()})
        self._net.eval()

    def faces(self, latents: Latents) -> Image:
        """Draw one face for each latent.

        Args:
            latents: (N, 100) float32.

        Returns:
            (N, 64, 64, 3) uint8 RGB.
        """
        drawn = np.empty((len(latents), *FACE), np.uint8)
        for i in range(0, len(latents), BATCH):
            batch = torch.from_numpy(latents[i : i + BATCH])[..., None, None]
            with torch.no_grad():
                faces = self._net(batch).permute(0, 2, 3, 1).numpy()
            drawn[i : i + BATCH] = to_uint8((faces + 1) / 2)
        return drawn


def _network() -> nn.Sequential:
    layers: list[nn.Module] = []
    for i, (before, after) in enumerate(zip(CHANNELS, CHANNELS[1:], strict=False)):
        stride, padding = (1, 0) if i == 0 else (2, 1)
        layers.append(nn.ConvTranspose2d(before, after, 4, stride, padding, bias=False))
        layers += [nn.Tanh()] if after == 3 else [nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers)


def people(n: int, seed: int, *, generator: Faces, turn_of: TurnOf) -> Latents:
    """Draw ``n`` people whose selfies are seen upright.

    Args:
        n: how many, at least 1.
        seed: the only source of chance.
        generator: draws the faces.
        turn_of: names the turn of an image; people it does not see upright are passed over.

    Returns:
        (n, 100) latents.

    Raises:
        DataError: hardly any candidate was seen upright.
    """
    found: list[NDArray[np.float32]] = []
    for first in range(0, PATIENCE * n, n):
        # Each candidate has its own chance, so that one judged otherwise leaves the next as it was.
        rngs = [np.random.default_rng([seed, first + i]) for i in range(n)]
        drawn = [_person(rng) for rng in rngs]
        probes = [shots(person, PROBES, rng) for person, rng in zip(drawn, rngs, strict=True)]
        faces = generator.faces(np.concatenate(probes)).reshape(n, PROBES, *FACE)
        for person, own, rng in zip(drawn, faces, rngs, strict=True):
            if len(found) < n and all(turn_of(selfie(face, rng)) == 0 for face in own):
                found.append(person)
        if len(found) == n:
            break
    if len(found) < n:
        raise DataError(
            f"only {len(found)} of {PATIENCE * n} generated people were seen upright, {n} wanted.\n"
            "Next: curate models pull, then try again; a detector that finds no face at all "
            "points to damaged model files"
        )
    return np.stack(found)


def _person(rng: np.random.Generator) -> NDArray[np.float32]:
    return np.float32(TRUNCATION) * rng.standard_normal(LATENT, np.float32)


def shots(person: NDArray[np.float32], n: int, rng: np.random.Generator) -> Latents:
    """Return ``n`` latents near that of ``person`` and as long: other frames of the same face."""
    length = np.linalg.norm(person)
    steps = rng.standard_normal((n, LATENT), np.float32)
    steps *= length * rng.uniform(*LIKENESS, (n, 1)) / np.linalg.norm(steps, axis=1, keepdims=True)
    moved = person + steps
    return np.asarray(moved * length / np.linalg.norm(moved, axis=1, keepdims=True), np.float32)


def selfie(face: Image, rng: np.random.Generator) -> Image:
    """Put ``face`` on shoulders before a sharp background, at a random place, size and light.

    Args:
        face: (64, 64, 3) uint8.
        rng: the only source of chance.

    Returns:
        (512, 384, 3) uint8.
    """
    height, width = SIZE
    side = int(rng.uniform(0.66, 0.88) * width)
    top = int(rng.uniform(0.32, 0.44) * height - side / 2)
    left = int(np.clip(rng.normal(0.5, 0.05), 0.4, 0.6) * width - side / 2)
    picture = backdrop(rng)
    chin = (left + side // 2, top + int(0.9 * side))
    _shoulders(picture, chin, side, rng)
    patch = picture[max(top, 0) : top + side, max(left, 0) : left + side]
    rows = slice(max(-top, 0), max(-top, 0) + patch.shape[0])
    columns = slice(max(-left, 0), max(-left, 0) + patch.shape[1])
    large = cv2.resize(face, (side, side), interpolation=cv2.INTER_LANCZOS4)[rows, columns]
    alpha = _oval(side)[rows, columns, None]
    patch[:] = np.rint(patch + (large.astype(np.float32) - patch) * alpha).astype(np.uint8)
    return _light(picture, rng)


def backdrop(rng: np.random.Generator) -> Image:
    """Return a room of sharp boxes and lines with some texture, uint8 of SIZE."""
    height, width = SIZE
    picture: Image = np.empty((height, width, 3), np.uint8)
    picture[:] = rng.integers(60, 240) * rng.uniform(0.8, 1, 3)
    for _ in range(rng.integers(6, 28)):
        corner = rng.integers((-60, -60), (width, height))
        opposite = corner + rng.integers(20, 220, 2)
        colour = (rng.uniform(20, 250) * rng.uniform(0.5, 1, 3)).tolist()
        thickness = int(rng.choice([-1, 2, 5], p=[0.6, 0.2, 0.2]))
        cv2.rectangle(picture, corner.tolist(), opposite.tolist(), colour, thickness)
    if rng.random() < 0.5:
        picture[:: rng.integers(12, 60), :] //= 2
        picture[:, :: rng.integers(12, 60)] //= 2
    grain = rng.standard_normal((height, width, 1), np.float32)
    return to_uint8(to_floats(picture) + grain * np.float32(rng.uniform(1, 8) / 255))


def _shoulders(picture: Image, chin: tuple[int, int], side: int, rng: np.random.Generator) -> None:
    """Draw clothes and their pattern below the chin, into ``picture``."""
    height = picture.shape[0]
    colour = (rng.uniform(15, 240) * rng.uniform(0.4, 1, 3)).tolist()
    body = np.zeros(picture.shape[:2], np.uint8)
    axes = (int(side * rng.uniform(0.62, 0.8)), height - chin[1] + 60)
    cv2.ellipse(body, (chin[0], height + 60), axes, 0, 180, 360, 255, -1, cv2.LINE_AA)
    clothes = np.empty_like(picture)
    clothes[:] = colour
    if rng.random() < 0.6:
        clothes[:, :: rng.integers(4, 30)] //= 2
    alpha = to_floats(body)[..., None]
    picture[:] = np.rint(picture + (clothes.astype(np.float32) - picture) * alpha).astype(np.uint8)


def _oval(side: int) -> NDArray[np.float32]:
    """Return a feathered oval mask in [0, 1], (side, side)."""
    mask = np.zeros((side, side), np.float32)
    half = side // 2
    cv2.ellipse(mask, (half, half), (int(0.37 * side), int(0.45 * side)), 0, 0, 360, 1.0, -1)
    feathered: NDArray[np.float32] = cv2.GaussianBlur(mask, (0, 0), 0.025 * side)
    return feathered


def _light(picture: Image, rng: np.random.Generator) -> Image:
    """Light ``picture`` unevenly; change its gamma and saturation a little."""
    lit = cv2.pow(to_floats(picture), rng.uniform(0.75, 1.2))
    lit *= np.float32(rng.uniform(0.85, 1.15)) + smooth(picture.shape, 3, rng)[..., None] / 10
    return to_uint8(saturate(lit, rng.uniform(0.8, 1.15)))
