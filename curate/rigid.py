"""Whether one map lays a picture on another everywhere, to a fraction of a pixel.

A copy was cut, scaled, sheared or turned as a whole: one affine map takes all its parts where they
lie. Two exposures of one scene agree almost as well in their grey levels (0.9999 was seen), but a
head moves before its background, and lids and lips in a face: no one map serves all. So the map
that serves most is found, and what is left of a shift is read block by block (Lucas and Kanade,
IJCAI 1981), with a gain and an offset of each block's own, for tones may have been bent.
"""

from typing import NamedTuple, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from curate import agreement, registration, tones
from curate.agreement import View

SIDE = 256  # pixels of the square to which both pictures are reduced; less, where one has less
START = agreement.SIDE  # pixels of the square in which the first map is found
ROUNDS = 2  # of reading the shifts and mending the map
SOFTENED = 1.0  # pixels: the grids of two crops differ by half a pixel
BLURS = (0.0, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0)  # pixels by which one may be the coarser
FOR_TONES = 3.0  # pixels of the Gaussian under which any two copies are equally coarse
EXPLAINED = 0.8  # share of the pixels by which blurs are compared: what moved must not choose one
TONE_STEP = 23  # every so many pixels serve the fit of the tones
MARGIN = np.ones((7, 7), np.uint8)  # about what is burnt out, or beyond the picture
LEAST_SHARE = 0.05  # of the square that must be seen
CELL = 16  # pixels; four of them are a block, and blocks overlap by half
LEAST_SEEN = 0.5  # share of a block
NOISE = 0.5  # squared grey levels that differ in any two pictures
PRIOR = 0.25  # what keeps a shift small where there is no texture; squared grey levels per pixel
TEXTURE = 2.0  # of a block in which a shift can be read along both axes; the same unit
STRANGER = 0.3  # pixels of shift from which on a block has less and less say in the map
MENDINGS = 4
NTH = 5  # whatever moves fills as many blocks

Gray: TypeAlias = NDArray[np.uint8]
Small: TypeAlias = NDArray[np.float32]
Mask: TypeAlias = NDArray[np.bool_]
Values: TypeAlias = NDArray[np.float64]
Warp: TypeAlias = NDArray[np.float64]  # (2, 3): from pixels of the one square to the other's


class Shifts(NamedTuple):
    """What blocks tell: by how much one must be moved to lie on the other.

    Attributes:
        by: (N, 2) pixels, x and y.
        texture: (N, 2, 2) squared grey levels per pixel: how well ``by`` can be read.
        noise: (N,) squared grey levels that no shift explains.
        places: (N, 3): 1, and the block's middle from the middle of the square.
    """

    by: Values
    texture: Values
    noise: Values
    places: Values


def drift(a: View, b: View) -> float | None:
    """Return by how many pixels parts of ``a`` lie apart from ``b`` under the best affine map.

    It is the fifth largest shift of a block in which one can be read, in pixels of a square of
    SIDE, or of the shorter side of the smaller picture. None where fewer blocks can be
    read, or the two cannot be laid upon each other at all. ``a`` is posed as ``b`` is.
    """
    side = min(SIDE, *a.gray.shape, *b.gray.shape) // CELL * CELL
    first = _begun(a, b) if side >= START else None
    if first is None:
        return None
    moving, fixed = _reduced(a.gray, side), _reduced(b.gray, side)
    warp, blurs = registration.zoomed(first, side / START), None
    left = np.zeros(0)
    for _ in range(ROUNDS):
        moved, seen = _seen(moving, fixed, warp)
        if seen.mean() < LEAST_SHARE:
            return None
        moved = _toned(moved, fixed, seen)
        blurs = blurs or _blurs(moved, fixed, seen)
        found = _shifts(_blurred(moved, blurs[0]), _blurred(fixed, blurs[1]), seen)
        step, left = _common(found)
        warp = _then(warp, step, side)
    return float(np.partition(left, -NTH)[-NTH]) if len(left) >= NTH else None


def _begun(a: View, b: View) -> Warp | None:
    """Return the best map that begins with frame on frame, or else with face on face."""
    moving, fixed = _reduced(a.gray, START), _reduced(b.gray, START)
    best = None
    for beginning in agreement.beginnings(a, b):
        laid = registration.aligned(moving, fixed, beginning)
        if laid and (best is None or laid.correlation > best.correlation):
            best = laid
        if best and best.correlation >= agreement.CONVINCING:
            break
    return best and best.warp.astype(float)


def _reduced(gray: Gray, side: int) -> Small:
    small: Small = cv2.resize(gray, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)
    return small


def _seen(moving: Small, fixed: Small, warp: Warp) -> tuple[Small, Mask]:
    """Return the one picture laid upon the other, and where both show a tone."""
    moved = _warped(moving, warp, cv2.BORDER_REPLICATE)
    overlap = _warped(np.ones_like(moving), warp, cv2.BORDER_CONSTANT) > 0.999
    seen = overlap & tones.has_tone(moved) & tones.has_tone(fixed)
    return moved, cv2.erode(seen.astype(np.uint8), MARGIN) > 0


def _warped(image: Small, warp: Warp, border: int) -> Small:
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved: Small = cv2.warpAffine(image, warp, image.shape[::-1], flags=how, borderMode=border)
    return moved


def _toned(x: Small, y: Small, seen: Mask) -> Small:
    """Return x, its tones bent towards those of y."""
    there, here = (_blurred(image, FOR_TONES)[seen][::TONE_STEP].astype(float) for image in (x, y))
    if np.ptp(there) == 0:
        return x
    powers = np.vander(there / 255, tones.CURVE + 1)  # two tones alone leave it open: no polyfit
    curve = np.linalg.lstsq(powers, here, rcond=None)[0]
    return np.polyval(curve, x / 255).astype(np.float32)


def _blurs(x: Small, y: Small, seen: Mask) -> tuple[float, float]:
    """Return by how much to blur x and y so that they are equally coarse."""
    steep = [
        float(cv2.Laplacian(_blurred(image, SOFTENED), cv2.CV_32F)[seen].var()) for image in (x, y)
    ]
    finer, coarser = (x, y) if steep[0] > steep[1] else (y, x)
    errors = [_error(_blurred(finer, BLURS[0]), coarser, seen)]
    for blur in BLURS[1:]:
        errors.append(_error(_blurred(finer, blur), coarser, seen))
        if errors[-1] >= errors[-2]:
            break
    blur = BLURS[int(np.argmin(errors))]
    more = float(np.hypot(blur, SOFTENED))
    return (more, SOFTENED) if finer is x else (SOFTENED, more)


def _error(x: Small, y: Small, seen: Mask) -> float:
    """Return the mean square of the smaller differences."""
    apart = np.abs(x - y)[seen][::5]
    kept = int(EXPLAINED * len(apart))
    return float((np.partition(apart, kept)[:kept] ** 2).mean())


def _blurred(image: Small, sigma: float) -> Small:
    soft: Small = cv2.GaussianBlur(image, (0, 0), sigma) if sigma else image
    return soft


def _shifts(x: Small, y: Small, seen: Mask) -> Shifts:
    """Read the shift of each block: x - y is what gradient, gain and offset leave least of."""
    middle, weight = (x + y) / 2, seen.astype(np.float32)
    slopes = [cv2.Scharr(middle, cv2.CV_32F, *axis, scale=1 / 32) for axis in ((1, 0), (0, 1))]
    cells = len(x) // CELL

    def mean(values: Small) -> Values:
        each = cv2.resize(values * weight, (cells, cells), interpolation=cv2.INTER_AREA)
        rows = each[1:] + each[:-1]
        return np.asarray(rows[:, 1:] + rows[:, :-1], float) / 4

    share = mean(np.ones_like(x))
    used = share > LEAST_SEEN
    parts = [*slopes, middle, x - y]
    means = np.stack([mean(part)[used] / share[used] for part in parts], axis=1)
    both = np.empty((len(means), 4, 4))
    for i, j in zip(*np.triu_indices(4), strict=True):
        both[:, i, j] = both[:, j, i] = mean(parts[i] * parts[j])[used] / share[used]
    both -= means[:, :, None] * means[:, None, :]
    terms = both[:, :3, :3] + np.diag([PRIOR, PRIOR, 100 * PRIOR])
    solved: Values = np.linalg.solve(terms, both[:, :3, 3:])[..., 0].astype(float)
    across = both[:, :2, 2:3] / np.sqrt(np.maximum(both[:, 2, 2], 0) + 1e-3)[:, None, None]
    y_at, x_at = (CELL * (at + 1.0) - len(x) / 2 for at in np.nonzero(used))
    return Shifts(
        by=solved[:, :2],
        texture=both[:, :2, :2] - across * across.transpose(0, 2, 1),
        noise=np.maximum(both[:, 3, 3] - (solved * both[:, :3, 3]).sum(axis=1), 0),
        places=np.column_stack([np.ones(len(x_at)), x_at, y_at]),
    )


def _common(found: Shifts) -> tuple[Values, Values]:
    """Return (2, 3): the affine shift that most blocks share, and what is left where it is read."""
    weight = np.ones(len(found.by))
    for _ in range(MENDINGS):
        each = (weight / (found.noise + NOISE))[:, None, None] * found.texture
        normal = np.einsum("nij,nk,nl->ikjl", each, found.places, found.places).reshape(6, 6)
        right = np.einsum("nij,nk,nj->ik", each, found.places, found.by).reshape(6)
        common = np.linalg.solve(normal + 1e-6 * np.eye(6), right).reshape(2, 3)
        left = np.linalg.norm(found.by - found.places @ common.T, axis=1)
        weight = 1 / (1 + (left / STRANGER) ** 2)
    readable = np.linalg.eigvalsh(found.texture)[:, 0] > TEXTURE
    return common, left[readable]


def _then(warp: Warp, step: Values, side: int) -> Warp:
    """Return the map after the picture it moves was moved by ``step``."""
    square = step[:, 1:]
    back = np.column_stack([np.eye(2) - square, square.sum(axis=1) * side / 2 - step[:, 0]])
    moved: Warp = warp @ np.vstack([back, [0, 0, 1]])
    return moved
