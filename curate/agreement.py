"""How far the pixels of two pictures agree once one is laid upon the other.

The one is turned and mirrored by its pose, shifted, scaled and sheared onto the other (ECC:
Evangelidis and Psarakis, PAMI 30(10), 2008), its tones bent by a power law, as cameras and editors
do, and what is burnt out is left aside. What remains must agree as a whole, in every patch, in its
colours, and in every small part of the face (`outliers`).
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from curate import outliers, tones
from curate.hashes import Pose, apply_pose
from curate.registration import SMOOTHING, aligned, cut

SIDE = 64  # pixels of the square to which both pictures are reduced
FLAT = 0.5  # grey levels: less standard deviation than this is an image without a pattern
SAME_LEVEL = 2.0  # grey levels by which two flat images may differ and still agree
LEAST_OVERLAP = 0.5  # share of the square: two crops of 8 % a side share 0.65, or more
SOFTENED = 0.7  # pixels: the grids of two crops differ by half a pixel, and that is no difference
LEAST_SEEN = 0.35  # share of the square that must not be burnt, else all of it is compared
PATCHES = 4  # a side
LEAST_PATCH = 0.4  # share of a patch that must be seen
SLACK = 0.3  # of the picture's standard deviation: what a flat patch may differ by
CONVINCING = 0.99  # an agreement that spares us other beginnings
WORTH_A_LOOK = 0.9  # an agreement from which on the faces are compared
LONGEST = 2**15 - 1  # pixels of a side that OpenCV's warps take
FACE = 4.0  # side of the square about the face over `Spot.size`: forehead, chin and cheeks
FACE_STEPS = 30  # of their alignment at most
CLEAR = (3, 235)  # grey levels of a face of which no channel is clipped, in most pictures
CLIPPED = 245  # of the brightest channel, where colours are known

Gray = NDArray[np.uint8]
Colours: TypeAlias = NDArray[np.uint8]
Small = NDArray[np.float32]
Mask = NDArray[np.bool_]
Warp: TypeAlias = NDArray[np.float32]  # (2, 3): from pixels of the one square to the other's


class Spot(NamedTuple):
    """Where the face is: its middle and size in pixels of the picture, as `facehash` takes them."""

    x: float
    y: float
    size: float


@dataclass(frozen=True, eq=False)
class View:
    """A picture to compare.

    Attributes:
        gray: (H, W) uint8, of any scale.
        spot: its face, where it is known.
        colours: (SIDE, SIDE, 3) uint8, the whole picture; None: its colours are not compared.
    """

    gray: Gray
    spot: Spot | None = None
    colours: Colours | None = None


@dataclass(frozen=True)
class Agreement:
    """How far picture a, posed, agrees with b.

    Attributes:
        similarity: normalised correlation over what both show, in [-1, 1].
        worst: least share of a patch of b that a explains, at most 1; patches of 1/16, and where
            the whole agrees and b's face is known, its parts (`outliers.least_explained`).
        area: what b shows, as a share of a: below 1, b is a crop of a.
        degrees: by which a is turned clockwise to lie on b.
        scale: pixels of a to a pixel of b, in the pixels of the two views.
        brighter: grey levels by which b is brighter than a.
        contrast: standard deviation of b over that of a.
        cast: grey levels by which the colours of b drift apart (`tones.cast`).
    """

    similarity: float
    worst: float
    area: float = 1.0
    degrees: float = 0.0
    scale: float = 1.0
    brighter: float = 0.0
    contrast: float = 1.0
    cast: float = 0.0


def posed(view: View, pose: Pose) -> View:
    """Return the picture turned and mirrored by ``pose``."""
    spot = view.spot and moved(view.spot, view.gray.shape, pose)
    colours = None if view.colours is None else apply_pose(view.colours, pose)
    return View(apply_pose(view.gray, pose), spot, colours)


def moved(spot: Spot, shape: tuple[float, ...], pose: Pose) -> Spot:
    """Return where ``spot`` of a picture of ``shape`` (H, W) comes to lie by ``pose``."""
    x, y, size = spot
    height, width = shape[:2]
    for _ in range(pose.turn // 90):
        x, y, height, width = height - y, x, width, height
    return Spot(width - x if pose.mirror else x, y, size)


def agree(a: View, b: View, pose: Pose) -> Agreement:
    """Return how far picture ``a``, turned by ``pose``, agrees with ``b``.

    The alignment begins with the frames laid upon each other, and, unless that convinces, with the
    faces. Two flat pictures agree (1) where their grey levels do, else not (0); a flat one agrees
    with no other (0). Pictures that no small affine brings together are compared as they lie.
    """
    a = posed(a, pose)
    moving, fixed = _reduced(a.gray), _reduced(b.gray)
    flat = [bool(image.std() < FLAT) for image in (moving, fixed)]
    if any(flat):
        same = float(all(flat) and abs(moving.mean() - fixed.mean()) <= SAME_LEVEL)
        return Agreement(same, same)
    colours = None if a.colours is None or b.colours is None else (a.colours, b.colours)
    compared = partial(_compared, moving, fixed, colours)
    frames, *_ = every = beginnings(a, b)
    best, how = compared(frames), frames
    for beginning in every:
        laid = aligned(moving, fixed, beginning)
        found = compared(laid.warp) if laid else None
        if laid and found and (best is None or found.similarity > best.similarity):
            best, how = found, laid.warp
        if best and best.similarity >= CONVINCING:
            break
    if best is None:
        return Agreement(0.0, 0.0)
    found = _described(best, how, a.gray.shape, b.gray.shape)
    fits = max(a.gray.shape + b.gray.shape) <= LONGEST
    if found.similarity < WORTH_A_LOOK or b.spot is None or not (fits and b.spot.size > 0):
        return found
    return replace(found, worst=min(found.worst, _least_of_face(a, b, b.spot, how)))


def reduced(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return (H, W) or (H, W, 3) at the size at which pictures are compared."""
    small: NDArray[np.uint8] = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return small


def _reduced(gray: Gray) -> Small:
    return reduced(gray).astype(np.float32)


def beginnings(a: View, b: View) -> list[Warp]:
    """Return (2, 3) maps of squares of SIDE: frame on frame, and face on face where known."""
    frames: Warp = np.eye(2, 3, dtype=np.float32)
    if a.spot is None or b.spot is None or not a.spot.size > 0 or not b.spot.size > 0:
        return [frames]
    (tall, wide), (high, broad) = a.gray.shape, b.gray.shape
    zoom = a.spot.size / b.spot.size
    x_scale, y_scale = zoom * broad / wide, zoom * high / tall
    x = SIDE * (a.spot.x / wide - x_scale * b.spot.x / broad)
    y = SIDE * (a.spot.y / tall - y_scale * b.spot.y / high)
    corner = 0.5  # a pixel's middle lies half a pixel from its corner
    faces = [
        [x_scale, 0, x + corner * (x_scale - 1)],
        [0, y_scale, y + corner * (y_scale - 1)],
    ]
    return [frames, np.array(faces, dtype=np.float32)]


def _compared(
    moving: Small, fixed: Small, colours: tuple[Colours, Colours] | None, warp: Warp
) -> Agreement | None:
    """Compare where the two overlap; None where that is too little."""
    overlap = _warped(np.ones_like(moving), warp, cv2.BORDER_CONSTANT) > 0.999
    if overlap.mean() < LEAST_OVERLAP:
        return None
    moved = _warped(moving, warp)
    seen = overlap & tones.has_tone(moved) & tones.has_tone(fixed)
    seen = seen if seen.mean() >= LEAST_SEEN else overlap
    x, y = (cv2.GaussianBlur(image, (0, 0), SOFTENED) for image in (moved, fixed))
    similarity, bent = tones.bent(x, y, seen)
    return Agreement(
        similarity,
        _worst_patch(bent, y, seen),
        brighter=float(y[seen].mean() - x[seen].mean()),
        contrast=float(y[seen].std() / max(x[seen].std(), FLAT)),
        cast=_cast(colours, warp, overlap) if colours is not None else 0.0,
    )


def _cast(colours: tuple[Colours, Colours], warp: Warp, overlap: Mask) -> float:
    x, y = (image.astype(np.float32) for image in colours)
    return tones.cast(_warped(x, warp), y, overlap)


def _warped(image: Small, warp: Warp, border: int = cv2.BORDER_REPLICATE) -> Small:
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved: Small = cv2.warpAffine(image, warp, (SIDE, SIDE), flags=how, borderMode=border)
    return moved


def _worst_patch(bent: Small, y: Small, seen: Mask) -> float:
    """Return the least of 1 - squared error / (variance of the patch + that of a slack)."""
    slack = (SLACK * float(y[seen].std())) ** 2
    shares = [1.0]
    for patch in np.ndindex(PATCHES, PATCHES):
        area = tuple(slice(n * SIDE // PATCHES, (n + 1) * SIDE // PATCHES) for n in patch)
        inside = seen[area]
        if inside.mean() >= LEAST_PATCH:
            target = y[area][inside]
            error = float(((bent[area][inside] - target) ** 2).mean())
            shares.append(1 - error / (float(target.var()) + slack))
    return min(shares)


def _described(
    found: Agreement, warp: Warp, shape: tuple[int, ...], onto: tuple[int, ...]
) -> Agreement:
    """Add what the alignment says; ``shape`` is that of a, posed, ``onto`` that of b."""
    square = warp[:, :2].astype(float)
    pixels = np.diag(shape[1::-1]) @ square @ np.diag(1 / np.array(onto[1::-1], dtype=float))
    turned = np.arctan2(pixels[1, 0] - pixels[0, 1], pixels[0, 0] + pixels[1, 1])
    return replace(
        found,
        area=float(abs(np.linalg.det(square))),
        degrees=-float(np.degrees(turned)),
        scale=float(np.sqrt(abs(np.linalg.det(pixels)))),
    )


def _least_of_face(a: View, b: View, spot: Spot, warp: Warp) -> float:
    """Return how much of the least explained part of b's face, at ``spot``, picture a explains."""
    side = FACE * spot.size
    zoom = side / outliers.SIDE
    left, top = spot.x - side / 2 + (zoom - 1) / 2, spot.y - side / 2 + (zoom - 1) / 2
    square = np.array([[zoom, 0, left], [0, zoom, top], [0, 0, 1]])
    frames = _to_pixels(a.gray.shape) @ _square(warp) @ np.linalg.inv(_to_pixels(b.gray.shape))
    target, across = _cut(b.gray, square), frames @ square
    (all_a, clear_a), (all_b, clear_b) = _seen(a), _seen(b)
    both = (_cut(all_a, across) > 0.99) & (_cut(all_b, square) > 0.99)
    across = across @ _refined(_cut(a.gray, across), target, both)
    there, clear = (
        (_cut(one, across) > 0.99) & (_cut(other, square) > 0.99)
        for one, other in ((all_a, all_b), (clear_a, clear_b))
    )
    return outliers.least_explained(_cut(a.gray, across), target, there, clear)


def _refined(moving: Small, fixed: Small, there: Mask) -> NDArray[np.float64]:
    """Return (3, 3): from pixels of the one square to the other's, all but the same.

    Only what lies well within both pictures counts: the edge of a crop would be laid on nothing.
    """
    inside = cv2.erode(there.astype(np.uint8), np.ones((SMOOTHING + 2, SMOOTHING + 2), np.uint8))
    laid = aligned(moving, fixed, inside=inside, steps=FACE_STEPS)
    return _square(laid.warp) if laid else np.eye(3)


def _square(warp: Warp) -> NDArray[np.float64]:
    return np.vstack([warp, [0, 0, 1]]).astype(float)


def _to_pixels(shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return (3, 3): from pixels of the square of the whole picture to those of its view."""
    x, y = (side / SIDE for side in shape[1::-1])
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]])


def _seen(view: View) -> tuple[Small, Small]:
    """Return (H, W) twice: 1 everywhere, and 1 where no channel is clipped, else 0."""
    clear = (view.gray > CLEAR[0]) & (view.gray < CLEAR[1])
    if view.colours is not None:
        size = view.gray.shape[::-1]
        clear &= cv2.resize(view.colours.max(axis=2), size) < CLIPPED
    return np.ones(view.gray.shape, np.float32), clear.astype(np.float32)


def _cut(image: NDArray[np.generic], matrix: NDArray[np.float64]) -> Small:
    """Return the square whose pixels ``matrix`` takes to those of ``image``; 0 outside of it."""
    return cut(image.astype(np.float32), matrix[:2], outliers.SIDE, cv2.BORDER_CONSTANT)
