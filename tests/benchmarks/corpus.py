"""Generate a mixed corpus of JPEG portraits of nobody, as mined selfies look to a decoder.

    python tests/benchmarks/corpus.py FOLDER [count]

Sizes 480x640 to 1080x1440, both ways up; qualities 60 to 95; 4:2:0, 4:2:2 and 4:4:4; 5 % gray, 5 %
progressive, 10 % with an EXIF orientation other than 1. The same seed gives the same files.
"""

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from conftest import face

SIZES = ((480, 640), (600, 800), (720, 960), (960, 1280), (1080, 1440))
SHARES = (0.3, 0.2, 0.25, 0.1, 0.15)
SCENES = 24  # drawn once, then cropped, lit and grained anew for each image
SCENE = 1600  # pixels


def write(folder: Path, count: int, seed: int = 0) -> list[Path]:
    """Write ``count`` JPEGs below ``folder`` unless they are there, and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{number:06d}.jpg" for number in range(count)]
    if not files[-1].exists():
        for file, data in zip(files, jpegs(count, seed), strict=True):
            file.write_bytes(data)
    return files


def jpegs(count: int, seed: int = 0) -> Iterator[bytes]:
    """Yield the bytes of ``count`` JPEGs."""
    rng = np.random.default_rng(seed)
    scenes = [_scene(rng) for _ in range(SCENES)]
    grain = rng.normal(0, 20, (SCENE, SCENE, 3)).astype(np.int8)
    for _ in range(count):
        yield _encode(rng, _picture(rng, scenes, grain))


def _scene(rng: np.random.Generator) -> np.ndarray:
    """Return a (SCENE, SCENE, 3) uint8 backdrop of 1/f noise and edges, with a drawn face."""
    canvas = np.zeros((SCENE, SCENE, 3), np.float32)
    for cells in (4, 16, 64, 256, 800):
        layer = rng.normal(0, 60 * cells**-0.35, (cells, cells, 3)).astype(np.float32)
        canvas += cv2.resize(layer, (SCENE, SCENE), interpolation=cv2.INTER_CUBIC)
    canvas = np.clip(128 + canvas, 0, 255).astype(np.uint8)
    for _ in range(12):
        corner = rng.integers(0, SCENE, 2)
        far = corner + rng.integers(100, 700, 2)
        colour = tuple(map(int, rng.integers(0, 256, 3)))
        cv2.rectangle(canvas, tuple(map(int, corner)), tuple(map(int, far)), colour, -1)
    side = int(rng.integers(600, 900))
    at = (SCENE - side) // 2
    mask = np.zeros((side, side, 1), np.float32)
    cv2.ellipse(mask, (side // 2, side // 2), (side * 4 // 9, side // 2), 0, 0, 360, 1.0, -1)
    mask = cv2.GaussianBlur(mask, (0, 0), side / 60)[..., np.newaxis]
    patch = canvas[at : at + side, at : at + side]
    canvas[at : at + side, at : at + side] = mask * face(side, 0.42) + (1 - mask) * patch
    return canvas


def _picture(rng: np.random.Generator, scenes: list[np.ndarray], grain: np.ndarray) -> np.ndarray:
    """Return one (h, w, 3) uint8 picture: a window of a scene, lit and grained."""
    short, long = SIZES[rng.choice(len(SIZES), p=SHARES)]
    height, width = (long, short) if rng.random() < 0.7 else (short, long)
    zoom = rng.uniform(1.0, min(1.6, SCENE / long))
    rows, columns = int(height * zoom), int(width * zoom)
    y, x = int(rng.integers(SCENE - rows + 1)), int(rng.integers(SCENE - columns + 1))
    window = scenes[rng.integers(len(scenes))][y : y + rows, x : x + columns]
    small = cv2.resize(window, (width, height), interpolation=cv2.INTER_AREA)
    y, x = rng.integers(0, SCENE - long + 1, 2)
    noise = grain[y : y + height, x : x + width]
    gain, offset, strength = rng.uniform(0.7, 1.2), rng.uniform(-25, 25), rng.uniform(0, 0.3)
    lit: np.ndarray = cv2.addWeighted(small, gain, noise, strength, offset, dtype=cv2.CV_8U)
    return lit


def _encode(rng: np.random.Generator, rgb: np.ndarray) -> bytes:
    quality = int(rng.integers(60, 96))
    if rng.random() < 0.05:
        return bytes(simplejpeg.encode_jpeg(rgb[..., 1:2].copy(), quality, "GRAY", "Gray"))
    if rng.random() < 0.15:
        return _by_pillow(rng, rgb, quality)
    subsampling = str(rng.choice(["420", "420", "420", "422", "444"]))
    return bytes(simplejpeg.encode_jpeg(rgb, quality, "RGB", subsampling))


def _by_pillow(rng: np.random.Generator, rgb: np.ndarray, quality: int) -> bytes:
    """Encode as progressive, or with an EXIF orientation."""
    exif = Image.Exif()
    exif[0x0112] = int(rng.integers(2, 9))
    progressive = rng.random() < 1 / 3
    data = io.BytesIO()
    options = {"progressive": True} if progressive else {"exif": exif}
    Image.fromarray(rgb).save(data, "JPEG", quality=quality, **options)
    return data.getvalue()


if __name__ == "__main__":
    written = write(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 5000)
    print(f"{len(written)} files, {sum(f.stat().st_size for f in written) / 1e6:.0f} MB")
