"""The camera that looks at a face, a print or a screen.

Every image of the sample set and every simulated attack is shot through it, bona fide ones too:
otherwise the camera itself, not the attack, would be what a model learns to tell apart.
"""

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

Image = NDArray[np.uint8]  # (height, width, 3), RGB
Floats = NDArray[np.float32]  # (height, width, 3), RGB in [0, 1], gamma-encoded
Parameters = dict[str, float | str]

ENCODING = 2.2  # exponent between linear light and encoded values
DAYLIGHT = 5200.0  # kelvin, what cameras call so: warmer light comes out yellow, cooler blue
WHITE = (0.3127, 0.3290)  # CIE xy of D65, the white of sRGB
# CIE XYZ to linear sRGB (IEC 61966-2-1).
XYZ_TO_RGB = np.array(
    [[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]]
)


def shoot(rgb: Image, rng: np.random.Generator) -> tuple[Image, Parameters]:
    """Photograph ``rgb``: lens, hand, sensor, white balance, JPEG.

    Ranges: radial distortion k1 within 0.1, motion blur 1 to 7 px (short ones most often), vignette
    up to 0.35, ISO 50 to 800, light of 4200 to 6500 K of which white balance leaves a part, one to
    three JPEG passes at quality 75 to 95.

    Args:
        rgb: uint8, (height, width, 3).
        rng: the only source of chance.

    Returns:
        uint8 of the same shape, and every number drawn.
    """
    settings: Parameters = {
        "k1": rng.uniform(-0.1, 0.1),
        "blur_px": 1 + 6 * rng.beta(1, 4),
        "blur_degrees": rng.uniform(0, 180),
        "vignette": rng.uniform(0, 0.35),
        "iso": float(np.exp(rng.uniform(np.log(50), np.log(800)))),
        "kelvin": rng.uniform(4200, 6500),
        "cast_left": rng.uniform(0, 1),
    }
    image = radial(rgb, float(settings["k1"])).astype(np.float32) / np.float32(255)
    image = motion_blur(image, float(settings["blur_px"]), float(settings["blur_degrees"]))
    image *= vignette(image.shape[:2], float(settings["vignette"]))[..., None]
    image = sensor_noise(image, float(settings["iso"]), rng)
    image *= cast(float(settings["kelvin"])) ** np.float32(settings["cast_left"])
    qualities = rng.integers(75, 96, size=rng.integers(1, 4)).tolist()
    sampling = str(rng.choice(["420", "444"], p=[0.8, 0.2]))
    settings |= {"jpeg": " ".join(map(str, qualities)), "jpeg_sampling": sampling}
    return recompress(to_uint8(image), qualities, sampling), settings


def to_uint8(image: Floats) -> Image:
    """Round [0, 1] floats to uint8, clipping what lies outside."""
    scaled: Image = np.clip(image * np.float32(255) + np.float32(0.5), 0, 255).astype(np.uint8)
    return scaled


def radial(rgb: Image, k1: float) -> Image:
    """Bend by r -> r (1 + k1 r^2), r in half diagonals; scaled so that no border shows."""
    height, width = rgb.shape[:2]
    x, y, squared = _centred(height, width)
    bend = (1 + np.float32(k1) * squared) / np.float32(1 + max(k1, 0.0))
    half = np.float32(np.hypot(height, width) / 2)
    map_x = x * bend * half + np.float32((width - 1) / 2)
    map_y = y * bend * half + np.float32((height - 1) / 2)
    bent: Image = cv2.remap(rgb, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return bent


def motion_blur(image: Floats, length: float, degrees: float) -> Floats:
    """Smear along a straight line of ``length`` pixels (1: unchanged)."""
    half = (length - 1) / 2
    radius = int(np.ceil(half))
    kernel = np.zeros((2 * radius + 3, 2 * radius + 3), np.float32)
    for t in np.linspace(-half, half, 4 * radius + 1):
        x, y = t * np.cos(np.deg2rad(degrees)), t * np.sin(np.deg2rad(degrees))
        i, j = int(np.floor(y)), int(np.floor(x))
        weights = np.outer([1 - (y - i), y - i], [1 - (x - j), x - j])
        kernel[radius + 1 + i : radius + 3 + i, radius + 1 + j : radius + 3 + j] += weights
    smeared: Floats = cv2.filter2D(
        image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE
    )
    return smeared


def vignette(shape: tuple[int, ...], strength: float) -> NDArray[np.float32]:
    """Return (height, width) gains of a lens that loses ``strength`` of the light at corners."""
    squared = _centred(shape[0], shape[1])[2]
    gains: NDArray[np.float32] = 1 - np.float32(strength) * squared
    return gains


def sensor_noise(image: Floats, iso: float, rng: np.random.Generator) -> Floats:
    """Add shot noise of sd sqrt(I) iso / 1600 and read noise of sd 1.5 (both of 255)."""
    level = np.maximum(image, 0) * np.float32(255)
    deviation = np.sqrt(level * np.float32(iso / 1600) ** 2 + np.float32(1.5**2))
    noisy: Floats = image + rng.standard_normal(image.shape, np.float32) * deviation / np.float32(
        255
    )
    return noisy


def planckian(kelvin: float) -> tuple[float, float]:
    """Return the CIE xy of a black body of 4000 to 25000 K.

    Source: the cubic fit of Kim et al., US patent 7024034.
    """
    t = 1000 / kelvin
    x = -3.0258469 * t**3 + 2.1070379 * t**2 + 0.2226347 * t + 0.240390
    return x, 3.0817580 * x**3 - 5.87338670 * x**2 + 3.75112997 * x - 0.37001483


def cast(kelvin: float) -> NDArray[np.float32]:
    """Return the three factors that light of ``kelvin`` leaves in a camera set for DAYLIGHT."""
    return white_gains(*planckian(kelvin)) / white_gains(*planckian(DAYLIGHT))


def white_gains(x: float, y: float) -> NDArray[np.float32]:
    """Return the three factors on encoded values that turn white into the colour CIE ``x``, ``y``.

    The mean factor in linear light is 1.
    """
    white, wanted = (XYZ_TO_RGB @ np.array([a / b, 1, (1 - a - b) / b]) for a, b in (WHITE, (x, y)))
    linear = wanted / white
    return np.asarray((linear / linear.mean()) ** (1 / ENCODING), np.float32)


def recompress(rgb: Image, qualities: list[int], sampling: str = "420") -> Image:
    """Send ``rgb`` through one JPEG encoder and decoder after the other."""
    for quality in qualities:
        data = simplejpeg.encode_jpeg(
            np.ascontiguousarray(rgb), quality, "RGB", colorsubsampling=sampling
        )
        rgb = simplejpeg.decode_jpeg(data, "RGB", strict=True)
    return rgb


def _centred(height: int, width: int) -> tuple[Floats, Floats, NDArray[np.float32]]:
    """Return x, y and their squared radius from the centre, in half diagonals."""
    half = np.float32(np.hypot(height, width) / 2)
    x = ((np.arange(width, dtype=np.float32) - np.float32((width - 1) / 2)) / half)[None]
    y = ((np.arange(height, dtype=np.float32) - np.float32((height - 1) / 2)) / half)[:, None]
    return x, y, x**2 + y**2
