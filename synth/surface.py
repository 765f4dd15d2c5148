"""What prints and screens share: a flat thing held before a camera, in a room, under a lamp."""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from synth.camera import Floats, Image, Parameters

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
PIXEL_SIGMA = 0.5  # pixels: lens and pixel area together, as one Gaussian


class Pose(NamedTuple):
    """How a flat thing is held: degrees, a scale (1 fills the frame) and shifts in frame sizes."""

    yaw: float
    pitch: float
    roll: float
    scale: float
    shift_x: float
    shift_y: float
    curl: float  # bending, as a share of the height
    curl_phase: float


def hold(rng: np.random.Generator, *, framed: bool, tilt: float, curl: float) -> Pose:
    """Draw a pose: ``framed`` shows the thing's border, else the thing fills the frame."""
    scale = rng.uniform(0.72, 0.94) if framed else rng.uniform(1.05, 1.2)
    room = abs(1 - scale) / 2
    return Pose(
        yaw=tilt * np.clip(rng.normal(0, 0.4), -1, 1),
        pitch=tilt * np.clip(rng.normal(0, 0.4), -1, 1),
        roll=float(np.clip(rng.normal(0, 3), -8, 8)),
        scale=scale,
        shift_x=rng.uniform(-room, room),
        shift_y=rng.uniform(-room, room),
        curl=rng.uniform(0, curl),
        curl_phase=rng.uniform(0, 2 * np.pi),
    )


def present(thing: Floats, behind: Floats, pose: Pose) -> Floats:
    """Project ``thing`` in ``pose`` before ``behind``, through a pinhole 1.5 frames away.

    Args:
        thing: (h, w, 3); its own frame or margin included.
        behind: (height, width, 3); the result has this shape.
        pose: how the thing is held.
    """
    map_x, map_y = _sources(thing.shape[:2], behind.shape[:2], pose)
    shown = cv2.remap(thing, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    # Distance to the border in pixels, so that the edge is one soft pixel wide.
    inside_x = np.minimum(map_x, thing.shape[1] - 1 - map_x)
    inside_y = np.minimum(map_y, thing.shape[0] - 1 - map_y)
    alpha = np.clip(np.minimum(inside_x, inside_y) + np.float32(0.5), 0, 1)[..., None]
    placed: Floats = behind + (shown - behind) * alpha
    return placed


def _sources(
    thing: tuple[int, ...], frame: tuple[int, ...], pose: Pose
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the maps of cv2.remap: for each pixel of the frame, where in the thing it looks."""
    focal = 1.5 * float(max(frame))
    fit = pose.scale * min(frame[0] / thing[0], frame[1] / thing[1])
    turn = _rotation(pose.yaw, pose.pitch, pose.roll)
    plane = turn @ np.diag([fit, fit, 1.0])
    plane[:, 2] = (pose.shift_x * frame[1], pose.shift_y * frame[0], focal)
    back = np.linalg.inv(np.diag([focal, focal, 1.0]) @ plane)
    x = np.arange(frame[1], dtype=np.float32)[None] - np.float32((frame[1] - 1) / 2)
    y = np.arange(frame[0], dtype=np.float32)[:, None] - np.float32((frame[0] - 1) / 2)
    rows = back.astype(np.float32)
    u, v, w = (row[0] * x + (row[1] * y + row[2]) for row in rows)
    map_x: NDArray[np.float32] = u / w
    map_y: NDArray[np.float32] = v / w
    if pose.curl:
        wave = np.sin(map_y * np.float32(2 * np.pi / thing[0]) + np.float32(pose.curl_phase))
        map_x = map_x + np.float32(pose.curl * thing[0]) * wave
    map_x += np.float32((thing[1] - 1) / 2)
    map_y += np.float32((thing[0] - 1) / 2)
    return map_x, map_y


def _rotation(yaw: float, pitch: float, roll: float) -> NDArray[np.float64]:
    """Return Rz(roll) Rx(pitch) Ry(yaw), degrees."""
    (cy, cx, cz), (sy, sx, sz) = (f(np.deg2rad([yaw, pitch, roll])) for f in (np.cos, np.sin))
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    turn: NDArray[np.float64] = about_z @ about_x @ about_y
    return turn


def room(shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    """Return a room out of focus: a few boxes of colour on a wall, (height, width, 3)."""
    small = np.empty((48, 36, 3), np.float32)
    small[:] = rng.uniform(0.1, 0.9) * rng.uniform(0.85, 1.0, 3)
    for _ in range(rng.integers(3, 12)):
        (top, left), (tall, wide) = rng.integers(0, (48, 36)), rng.integers(4, 24, 2)
        small[top : top + tall, left : left + wide] = rng.uniform(0.02, 0.95) * rng.uniform(
            0.5, 1.0, 3
        )
    blurred = cv2.GaussianBlur(small, (0, 0), rng.uniform(0.4, 2.5))
    scene: Floats = cv2.resize(blurred, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
    return scene


def smooth(shape: tuple[int, ...], cells: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return a (height, width) field that wanders slowly, about N(0, 1), with ``cells`` humps."""
    knots = rng.standard_normal((cells, cells), np.float32)
    field: NDArray[np.float32] = cv2.resize(
        knots, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC
    )
    return field


def lamp(
    shape: tuple[int, ...], rng: np.random.Generator, *, slope: float, sheen: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return what to multiply by (light falling off to one side) and what to add (a highlight).

    Both (height, width, 1), within 1 +- ``slope`` and in [0, ``sheen``].
    """
    x = np.linspace(-1, 1, shape[1], dtype=np.float32)[None]
    y = np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None]
    angle, centre = rng.uniform(0, 2 * np.pi), rng.uniform(-1, 1, 2)
    long, short = rng.uniform(0.3, 1.2), rng.uniform(0.08, 0.4)
    along = np.float32(np.cos(angle)) * x + np.float32(np.sin(angle)) * y
    cross = np.float32(np.cos(angle)) * y - np.float32(np.sin(angle)) * x
    fall = 1 + np.float32(slope / np.sqrt(2)) * along
    centre_along = centre[0] * np.cos(angle) + centre[1] * np.sin(angle)
    centre_cross = centre[1] * np.cos(angle) - centre[0] * np.sin(angle)
    spot = ((along - np.float32(centre_along)) / np.float32(long)) ** 2
    spot += ((cross - np.float32(centre_cross)) / np.float32(short)) ** 2
    return fall[..., None], (np.float32(sheen) * np.exp(-spot))[..., None]


def saturate(image: Floats, factor: float) -> Floats:
    """Scale the distance of each colour to its grey by ``factor``."""
    grey = cv2.transform(image, LUMA[None])[..., None]
    result: Floats = grey + np.float32(factor) * (image - grey)
    return result


def automatic(scene: Floats, exposure: float, balance: float) -> Floats:
    """Expose the middle of ``scene`` for .45 and balance its mean to grey, each by its share.

    Args:
        scene: (height, width, 3).
        exposure: how much of the way the exposure goes, in [0, 1].
        balance: how much of the way the white balance goes, in [0, 1].
    """
    height, width = scene.shape[0] // 4, scene.shape[1] // 4
    middle = scene[height : 3 * height + 1, width : 3 * width + 1]
    metered = max(sum(cv2.mean(middle)[:3]) / 3, 1e-3)
    means = np.maximum(cv2.mean(scene)[:3], 1e-3)
    gain = (0.45 / metered) ** exposure * (means.mean() / means) ** balance
    exposed: Floats = scene * np.clip(gain, 0.4, 2.5).astype(np.float32)
    return exposed


def visibility(pitch: float) -> float:
    """Return how much contrast of a pattern of ``pitch`` pixels a lens and pixels leave, in [0, 1].

    The transfer function of a Gaussian, exp(-2 pi^2 sigma^2 / pitch^2).
    """
    return float(np.exp(-2 * np.pi**2 * PIXEL_SIGMA**2 / pitch**2))


def to_floats(rgb: Image) -> Floats:
    """Return uint8 as float32 in [0, 1]."""
    return rgb.astype(np.float32) * np.float32(1 / 255)


def rounded(parameters: Parameters) -> Parameters:
    """Return the parameters as plain text and floats of four digits, ready for JSON."""
    return {
        name: value if isinstance(value, str) else float(f"{value:.4g}")
        for name, value in parameters.items()
    }
