"""Pictures of nobody, workspaces, and the command line, for every test."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import simplejpeg
from click.testing import CliRunner

os.environ["MPLBACKEND"] = "Agg"

SKIN, SHADE, HAIR, SHIRT = (222, 178, 150), (150, 105, 90), (50, 35, 30), (60, 70, 120)
BIG = 1024  # pixels of the drawing before it is brought to size: no jagged edges

LONGEST = {"test_demo.py", "test_readme.py", "test_network.py"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that no core waits for it at the end."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


@dataclass(frozen=True)
class Called:
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out.strip().splitlines()[-1])


@pytest.fixture
def curate(tmp_path: Path) -> Callable[..., Called]:
    """Call `curate --workspace tmp_path/ws ...` in this process."""

    def call(*words: str | Path, workspace: Path = tmp_path / "ws") -> Called:
        from curate.cli import main

        given = ["--workspace", str(workspace), *map(str, words)]
        result = CliRunner().invoke(main, given, catch_exceptions=False)
        return Called(result.exit_code, result.stdout, result.stderr)

    return call


@pytest.fixture(scope="session")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Build a workspace once, `build(folder)` making folder/ws, and give each test a copy."""
    built: dict[str, Path] = {}

    def copy(name: str, build: Callable[[Path], None], into: Path) -> Path:
        if name not in built:
            built[name] = tmp_path_factory.mktemp(name)
            build(built[name])
        return Path(shutil.copytree(built[name] / "ws", into / "ws"))

    return copy


@pytest.fixture(scope="session")
def detector() -> Any:
    from curate import assets
    from curate.faces import FaceDetector

    return FaceDetector(assets.path("face_landmarker"))


@pytest.fixture(scope="session")
def draw_face() -> Callable[..., np.ndarray]:
    return face


@pytest.fixture(scope="session")
def draw_portrait() -> Callable[[int], np.ndarray]:
    return portrait


@pytest.fixture(scope="session")
def save() -> Callable[..., Path]:
    """Write an image as JPEG, making its folders."""

    def write(file: Path, rgb: np.ndarray, quality: int = 92) -> Path:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(rgb), quality))
        return file

    return write


def portrait(seed: int) -> np.ndarray:
    """Return a (400, 320, 3) uint8 picture: the drawn face before a backdrop of its own."""
    rng = np.random.default_rng(seed)
    cells = rng.integers(0, 255, (5, 4, 3), dtype=np.uint8)
    picture = cv2.resize(cells, (320, 400), interpolation=cv2.INTER_CUBIC)
    side = int(rng.integers(190, 230))
    x, y = int(rng.integers(0, 320 - side)), int(rng.integers(40, 400 - side))
    mask = np.zeros((side, side, 1), np.float32)
    cv2.ellipse(mask, (side // 2, side // 2), (side * 4 // 9, side // 2), 0, 0, 360, 1.0, -1)
    mask = cv2.GaussianBlur(mask, (0, 0), side / 60)[..., np.newaxis]
    tint = rng.uniform(0.8, 1.1, 3)
    drawn = np.clip(face(side, 0.42) * tint, 0, 255)
    patch = picture[y : y + side, x : x + side]
    picture[y : y + side, x : x + side] = mask * drawn + (1 - mask) * patch
    return picture


def face(size: int = 200, share: float = 0.35) -> np.ndarray:
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
