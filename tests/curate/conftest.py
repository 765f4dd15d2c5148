"""A face of nobody, drawn; and the real detector, which finds it."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from curate import assets
from curate.faces import FaceDetector

SKIN, SHADE, HAIR, SHIRT = (222, 178, 150), (150, 105, 90), (50, 35, 30), (60, 70, 120)
BIG = 1024  # pixels of the drawing before it is brought to size: no jagged edges


@pytest.fixture(scope="session")
def detector() -> FaceDetector:
    return FaceDetector(assets.path("face_landmarker"))


@pytest.fixture(scope="session")
def draw_face() -> Callable[..., np.ndarray]:
    return _draw_face


def _draw_face(size: int = 200, share: float = 0.35) -> np.ndarray:
    """Return a (size, size, 3) uint8 portrait whose face is ``share`` of the frame wide."""
    image = np.full((BIG, BIG, 3), (150, 160, 170), np.uint8)
    unit, centre = BIG * share / 2, BIG / 2

    def ellipse(
        x: float, y: float, radii: tuple[float, float], colour: tuple[int, int, int], arc: int = 360
    ) -> None:
        """Fill an ellipse; an arc of 180 is a stroke along its upper half."""
        at = (round(centre + x * unit), round(centre + y * unit))
        axes = (round(radii[0] * unit), round(radii[1] * unit))
        width = -1 if arc == 360 else max(1, round(0.06 * unit))
        cv2.ellipse(image, at, axes, 180, 0, arc, colour, width, cv2.LINE_AA)

    ellipse(0, 1.75, (1.3, 0.7), SHIRT)
    ellipse(0, 1.2, (0.42, 0.5), SHADE)
    ellipse(0, -0.25, (1.02, 1.15), HAIR)
    ellipse(0, 0.05, (0.85, 1.15), SKIN)
    for side in (-0.36, 0.36):
        ellipse(side, -0.12, (0.2, 0.1), (250, 250, 250))
        ellipse(side, -0.12, (0.09, 0.09), HAIR)
        ellipse(side, -0.17, (0.21, 0.1), SHADE, 180)
        ellipse(side, -0.36, (0.26, 0.09), HAIR, 180)
        ellipse(side / 4, 0.36, (0.06, 0.04), SHADE)
    ellipse(0, 0.66, (0.32, 0.1), (180, 80, 85))
    ellipse(0, 0.64, (0.3, 0.03), (120, 40, 50))
    image = cv2.GaussianBlur(image, (0, 0), BIG / 200)
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
