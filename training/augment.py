"""What a camera may do to a training crop without changing its label. Imports albumentations."""

from typing import Any

import albumentations as A  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import NDArray

MARGIN = 1.1  # side of the crop an augmentation starts from over the side of the network's input


def padded(size: int) -> int:
    """Return the side of the crop, in pixels, from which one of ``size`` is cut at random."""
    return round(size * MARGIN)


def pipeline(size: int) -> Any:
    """Return the transform of a (padded, padded, 3) uint8 crop into a (size, size, 3) one.

    Blur, noise, shrinking and compression stay mild: strong ones wipe out the print dots and screen
    grids that give an attack away, and would teach that a blurred attack is bona fide.
    """
    return A.Compose(
        [
            A.RandomSizedCrop((round(size * 0.9), padded(size)), (size, size)),
            A.HorizontalFlip(p=0.5),
            A.RandomBrightnessContrast(0.2, 0.2, p=0.5),
            A.RandomGamma((80, 125), p=0.3),
            A.OneOf(
                [
                    A.GaussianBlur((3, 5)),
                    A.MotionBlur((3, 5)),
                    A.Downscale((0.5, 0.9)),
                ],
                p=0.2,
            ),
            A.GaussNoise((0.01, 0.04), p=0.2),
            A.ImageCompression(quality_range=(60, 100), p=0.3),
        ]
    )


def apply(transform: Any, crop: NDArray[np.uint8], seed: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return ``crop`` augmented; the same ``seed`` gives the same pixels, in any process."""
    word = np.random.SeedSequence(seed).generate_state(1)[0]
    transform.set_random_seed(int(word) & 0x7FFFFFFF)
    image: NDArray[np.uint8] = transform(image=crop)["image"]
    return image
