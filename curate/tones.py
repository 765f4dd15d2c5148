"""What copying does to tones and colours: a curve for all, no tint of its own.

Editors and encoders bend the tones of a picture, all channels alike; a second camera that takes a
print or a screen has a white balance of its own, and inks and pixels do not mix as light does.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

# A gamma of 0.6 and back, with a margin.
POWERS = np.exp(np.linspace(np.log(0.5), np.log(2), 9)).astype(np.float32)
BURNT = (3, 250)  # grey levels outside of which a tone has no partner
UNCLIPPED = (4, 235)  # those of a mean of pixels, none of which is clipped, in most pictures
CURVE = 3  # degree of the polynomial that stands for a tone curve, its shoulder included
LEAST_PIXELS = 200  # fewer unclipped ones say nothing of a tint

Small: TypeAlias = NDArray[np.float32]
Mask: TypeAlias = NDArray[np.bool_]


def has_tone(image: Small) -> Mask:
    """Tell which pixels are not burnt out."""
    inside: Mask = (image > BURNT[0]) & (image < BURNT[1])
    return inside


def bent(x: Small, y: Small, seen: Mask) -> tuple[float, Small]:
    """Bend the tones of x towards y: the best correlation of gain * x^power + offset, and that."""
    tones = np.maximum(x, 0) / np.float32(255)
    each: list[Small] = [tones**power for power in POWERS]
    scores = [correlation(one[seen], y[seen]) for one in each]
    best = int(np.argmax(scores))
    inside, target = each[best][seen], y[seen]
    gain = scores[best] * target.std() / max(float(inside.std()), 1e-6)
    return scores[best], gain * (each[best] - inside.mean()) + target.mean()


def correlation(x: Small, y: Small) -> float:
    """Return the normalised correlation, in [-1, 1]; 0 where one of the two is flat."""
    x, y = x - x.mean(), y - y.mean()
    norm = float(np.linalg.norm(x) * np.linalg.norm(y))
    return float(np.clip((x * y).sum() / norm, -1, 1)) if norm else 0.0


def cast(x: Small, y: Small, seen: Mask) -> float:
    """Return by how many grey levels the channels of y drift apart, >= 0.

    One curve for all channels is fitted from the pixels of x to those of y, both (H, W, 3), where
    ``seen`` (H, W) and nothing is clipped; each channel's mean residual is what no curve explains.
    """
    low, high = np.minimum(x, y).min(axis=2), np.maximum(x, y).max(axis=2)
    seen = seen & (low > UNCLIPPED[0]) & (high < UNCLIPPED[1])
    if seen.sum() < LEAST_PIXELS:
        return 0.0
    pixels, target = (image[seen].astype(float) / 255 for image in (x, y))
    powers = np.vander(pixels.ravel(), CURVE + 1)
    curve = np.linalg.lstsq(powers, target.ravel(), rcond=None)[0]
    drift = (target - np.polyval(curve, pixels)).mean(axis=0)
    return float(255 * (drift.max() - drift.min()))
