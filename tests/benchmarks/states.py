"""Pictures of faces in another state, for the benchmarks: copies, drawn covers, the eyes of others.

A ``picture`` has rgb ((H, W, 3) uint8) and points ((478, 2), its landmarks in pixels).
"""

import cv2
import numpy as np
import simplejpeg

DARK, LIGHT, CLOTH = (22, 20, 20), (225, 230, 235), (60, 110, 170)
RIGHT_EYE, LEFT_EYE = (33, 133), (362, 263)
CHIN = [454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150, 136, 172, 58]
CHIN += [132, 93, 234]


def encoded(rgb, quality=85):
    return simplejpeg.decode_jpeg(simplejpeg.encode_jpeg(np.ascontiguousarray(rgb), quality))


def tones(rgb, curve):
    return np.clip(curve(np.arange(256.0)), 0, 255).astype(np.uint8)[rgb]


def rotated(rgb, degrees):
    height, width = rgb.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.06)
    return cv2.warpAffine(rgb, matrix, (width, height), borderMode=cv2.BORDER_REFLECT)


def cropped(rgb, share):
    height, width = rgb.shape[:2]
    down, right = round(height * share), round(width * share)
    return rgb[down : height - down // 2, right // 2 : width - right]


def scaled(rgb, factor):
    return cv2.resize(rgb, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)


def gamma(rgb, power):
    return tones(rgb, lambda tone: 255 * (tone / 255) ** power)


COPIES = {
    "quality 30": lambda rgb: encoded(rgb, 30),
    "half size": lambda rgb: encoded(scaled(rgb, 0.5)),
    "blur": lambda rgb: encoded(cv2.GaussianBlur(rgb, (0, 0), max(rgb.shape) / 320)),
    "brightness x 1.2 + 8": lambda rgb: encoded(tones(rgb, lambda tone: 1.2 * tone + 8)),
    "gamma .6": lambda rgb: encoded(gamma(rgb, 0.6)),
    "gamma 1.6": lambda rgb: encoded(gamma(rgb, 1.6)),
    "mirror": lambda rgb: encoded(rgb[:, ::-1]),
    "3 degrees": lambda rgb: encoded(rotated(rgb, 3)),
    "3 % crop": lambda rgb: encoded(cropped(rgb, 0.03)),
    "8 % crop": lambda rgb: encoded(cropped(rgb, 0.08)),
    "gamma, -3 degrees, x .6, mirror, quality 40": lambda rgb: encoded(
        scaled(rotated(gamma(rgb, 0.6), -3), 0.6)[:, ::-1], 40
    ),
}


def covers(picture, rng):
    """Yield name and picture: drawn covers, in units of the distance between the eyes."""
    points = picture.points
    right, left = (points[list(eye)].mean(axis=0) for eye in (RIGHT_EYE, LEFT_EYE))
    unit = np.linalg.norm(left - right)
    x = (left - right) / unit
    axes = np.array([x, [-x[1], x[0]]])
    skin = np.median([pixel(picture.rgb, points[one]) for one in (50, 280, 205, 425)], axis=0)

    def place(across, down):
        return (left + right) / 2 + unit * (np.array([across, down]) @ axes)

    def oval(centre, radii, angle=0.0):
        turn = np.linspace(0, 2 * np.pi, 40)
        edge = np.stack([radii[0] * np.cos(turn), radii[1] * np.sin(turn)], axis=1) * unit
        cos, sin = np.cos(angle), np.sin(angle)
        return centre + edge @ np.array([[cos, sin], [-sin, cos]]) @ axes

    def hand(centre):
        angle, rgb = rng.uniform(0, np.pi), picture.rgb
        aside = np.array([-np.sin(angle), np.cos(angle)]) @ axes
        for finger in range(-2, 2):
            middle = centre + (finger + 0.5) * 0.17 * unit * aside
            for radii, shade in (((0.55, 0.1), 0.7), ((0.52, 0.08), 1.0)):
                rgb = painted(rgb, oval(middle, radii, angle), skin * shade, unit, rng)
        return rgb

    nose = [place(-1.05, 0.45), place(0, 0.28), place(1.05, 0.45)]
    mask = np.array([*nose, *points[CHIN]])
    yield "mask", painted(picture.rgb, mask, (DARK, LIGHT, CLOTH)[rng.integers(3)], unit, rng)
    glasses = painted(picture.rgb, oval(right, (0.36, 0.26)), DARK, unit, rng)
    yield "eye patch", glasses
    yield "dark glasses", painted(glasses, oval(left, (0.36, 0.26)), DARK, unit, rng)
    yield "hand on an eye", hand(right if rng.random() < 0.5 else left)
    for name, spot in {"brow": -0.5, "nose": 0.55, "mouth": 1.05, "chin": 1.5}.items():
        yield f"hand on {name}", hand(place(0, spot))
    yield "hand on a cheek", hand(place(0.7 * rng.choice([-1, 1]), 0.8))
    anywhere = place(rng.uniform(-0.5, 0.5), rng.uniform(-0.5, 1.4))
    finger = oval(anywhere, (0.6, 0.11), rng.uniform(0, np.pi))
    yield "a finger", painted(picture.rgb, finger, skin * 0.85, unit, rng)


def pixel(rgb, point):
    x, y = np.clip(np.round(point).astype(int), 0, np.array(rgb.shape[1::-1]) - 1)
    return rgb[y, x]


def painted(rgb, outline, colour, unit, rng):
    mask = np.zeros(rgb.shape[:2], np.float32)
    cv2.fillPoly(mask, [np.round(outline).astype(np.int32)], 1.0)
    mask = cv2.GaussianBlur(mask, (0, 0), max(0.6, unit * 0.02))[..., None]
    cells = rng.normal(0, 6, (rgb.shape[0] // 8 + 2, rgb.shape[1] // 8 + 2, 1)).astype(np.float32)
    cloth = cv2.resize(cells, rgb.shape[1::-1], interpolation=cv2.INTER_CUBIC)[..., None]
    noise = rng.normal(0, 4, rgb.shape)
    return np.clip(rgb * (1 - mask) + mask * (colour + cloth + noise), 0, 255).astype(np.uint8)


def with_eyes_of(picture, donor, sides):
    """Return ``picture`` with the eyes of ``donor`` (0: the right, 1: the left), or None."""
    rgb = picture.rgb
    for corners in [(RIGHT_EYE, LEFT_EYE)[side] for side in sides]:
        (from_0, from_1), (to_0, to_1) = donor.points[list(corners)], picture.points[list(corners)]
        turn = complex(*(to_1 - to_0)) / complex(*(from_1 - from_0))
        matrix = np.array([[turn.real, -turn.imag, 0], [turn.imag, turn.real, 0]])
        matrix[:, 2] = to_0 - matrix[:, :2] @ from_0
        size = rgb.shape[1::-1]
        moved = cv2.warpAffine(donor.rgb, matrix, size, borderMode=cv2.BORDER_REFLECT)
        width, angle = np.linalg.norm(to_1 - to_0), np.degrees(np.arctan2(*(to_1 - to_0)[::-1]))
        mask = np.zeros(rgb.shape[:2], np.uint8)
        middle, axes = (to_0 + to_1) / 2, (0.72 * width, 0.42 * width)
        centre, axes = tuple(map(int, middle.round())), tuple(map(int, np.round(axes)))
        cv2.ellipse(mask, centre, axes, angle, 0, 360, 255, -1)
        y, x = np.nonzero(mask)
        if min(x.min(), y.min()) < 2 or x.max() > size[0] - 3 or y.max() > size[1] - 3:
            return None
        centre = (int(x.min() + x.max()) // 2, int(y.min() + y.max()) // 2)
        rgb = cv2.seamlessClone(moved, rgb, mask, centre, cv2.NORMAL_CLONE)
    return rgb
