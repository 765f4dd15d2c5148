"""Which frames of a burst are mirrored: those that look like their siblings only when flipped.

A face alone does not say whether it is mirrored; a frame of the same burst does, if the two look
alike. So frames are compared with their siblings, as they are and flipped, and one is called
mirrored only where its siblings agree; photographs that happen to show one person do not.

Measured on bursts of live selfies, of held-up prints, and on unrelated press photographs of one
person (tests/benchmarks/bench_mirror.py). The frame alone decides for selfies, before a still
background; the face alone less surely; for prints, which move, only both together do.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 64  # pixels of a view
FINE, COARSE = 1, 8  # pixels: a difference of Gaussians keeps what lies between, and drops light
FACES = (4.5, 6.0)  # sides of the face views over the spread of the keypoints (a face is about 3)
NEAREST = 5  # siblings that are asked; one is not enough, it may be mirrored itself
REFERENCES = 128  # siblings at most that a frame is compared with, evenly spaced over the burst
LEAST = 0.03  # correlation by which one side must be ahead on average
AGREEMENT = 0.8  # of the evidence (1: all of it for one side), for each frame and for the burst
ALIKE, MUCH_ALIKE = 0.35, 0.47  # least correlation with the nearest to say no, and to say yes
MAJORITY = 0.6  # share of the burst that must lie the same way, which is then taken for unmirrored
SWAPPED = (1, 0, 2, 3, 5, 4)  # faces.KEYPOINTS with left and right exchanged

Floats = NDArray[np.float32]


def views(gray: NDArray[np.uint8], keypoints: NDArray[np.floating]) -> Floats:
    """Return what is compared of an upright image: (3, 64, 64), each of mean 0 and length 1.

    ``gray`` is (H, W), 128 pixels of the shorter side are enough; ``keypoints`` (6, 2) are
    `faces.Face.keypoints` in it. The views are the whole frame, and the face level at two scales.
    """
    frame = cv2.resize(gray, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return np.stack([_structure(frame), *(_structure(_face(gray, keypoints, k)) for k in FACES)])


def decide(burst: Floats) -> NDArray[np.object_]:
    """Return "no", "yes" or "ambiguous" for the frames of one burst: (N,) of views (N, V, 64, 64).

    How most lie is taken for unmirrored, and each is judged by the nearest of those. Ambiguous are
    frames without siblings, those whose siblings look too little alike or contradict each other,
    and all where the burst is divided or contradicts itself.
    """
    count = len(burst)
    answers = np.full(count, "ambiguous", dtype=object)
    if count < 2:
        return answers
    chosen = np.unique(np.linspace(0, count - 1, min(count, REFERENCES)).round().astype(int))
    plain, flipped = _correlations(burst, chosen)
    way, agreement = _ways(plain[chosen], flipped[chosen])
    most = way > 0
    if agreement < AGREEMENT or most.mean() < MAJORITY:
        return answers
    likeness, votes = _asked(plain[:, most], flipped[:, most])
    vote = votes.mean(axis=1)
    clear = (np.abs(vote) > LEAST) & (np.abs(vote) >= AGREEMENT * np.abs(votes).mean(axis=1))
    answers[clear & (vote > 0) & (likeness >= ALIKE)] = "no"
    answers[clear & (vote < 0) & (likeness >= MUCH_ALIKE)] = "yes"
    return answers


def mirrored_columns(
    face: NDArray[np.floating], landmarks: NDArray[np.floating], width: float
) -> tuple[Floats, Floats]:
    """Return a face box (4,) and landmarks (12,) as they lie in the flipped image of ``width``.

    Left and right are exchanged: a detector that looked at a mirrored image named them by the side
    on which it saw them.
    """
    x, y, box_width, box_height = face
    points = np.asarray(landmarks, np.float32).reshape(-1, 2)[list(SWAPPED)]
    flipped = np.column_stack([width - points[:, 0], points[:, 1]])
    box = np.array([width - x - box_width, y, box_width, box_height], np.float32)
    return box, flipped.astype(np.float32).ravel()


def _structure(view: NDArray[np.uint8]) -> Floats:
    """Return the difference of Gaussians, of mean 0 and length 1; all 0 where there is nothing."""
    pixels = view.astype(np.float32)
    kept = cv2.GaussianBlur(pixels, (0, 0), FINE) - cv2.GaussianBlur(pixels, (0, 0), COARSE)
    kept -= kept.mean()
    length = float(np.linalg.norm(kept))
    return kept / length if length > 1e-3 else np.zeros_like(kept)


def _face(
    gray: NDArray[np.uint8], keypoints: NDArray[np.floating], scale: float
) -> NDArray[np.uint8]:
    """Cut out a square about the face, level with the eyes; outside, the edge is repeated."""
    middle = keypoints.mean(axis=0)
    spread = float(np.sqrt(((keypoints - middle) ** 2).sum(axis=1).mean()))
    zoom = SIDE / max(scale * spread, 1.0)
    across = keypoints[1] - keypoints[0]  # from the right eye to the left one
    length = max(float(np.hypot(*across)), 1e-6)
    cos, sin = across / length * zoom
    turn = np.array([[cos, sin], [-sin, cos]])
    warp = np.column_stack([turn, SIDE / 2 - turn @ middle])
    if zoom < 1:
        gray = cv2.GaussianBlur(gray, (0, 0), 0.4 / zoom).astype(np.uint8)
    face: NDArray[np.uint8] = cv2.warpAffine(
        gray, warp, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return face


def _correlations(burst: Floats, chosen: NDArray[np.integer]) -> tuple[Floats, Floats]:
    """Return (N, R) each, means over views: with the chosen as they are, and flipped.

    With itself a frame correlates as little as can be.
    """
    count, number_of_views = burst.shape[:2]
    references = burst[chosen]
    flat = burst.reshape(count, -1)
    both = []
    for others in (references, references[..., ::-1]):
        likeness = flat @ others.reshape(len(chosen), -1).T / number_of_views
        likeness[chosen, np.arange(len(chosen))] = -1
        both.append(likeness)
    return both[0], both[1]


def _nearest(plain: Floats, flipped: Floats) -> NDArray[np.intp]:
    """Return the references that look most alike, one way or the other: (N, at most NEAREST)."""
    likeness = np.maximum(plain, flipped)
    asked = max(min(NEAREST, likeness.shape[1] - 1), 1)
    return np.argpartition(-likeness, asked - 1, axis=1)[:, :asked]


def _asked(plain: Floats, flipped: Floats) -> tuple[Floats, Floats]:
    """Return the mean likeness of the nearest (N,), and of each how much more it is so unflipped.

    A frame that is its own only reference looks like none.
    """
    near = _nearest(plain, flipped)
    one, other = (np.take_along_axis(each, near, axis=1) for each in (plain, flipped))
    return np.maximum(one, other).mean(axis=1), one - other


def _ways(plain: Floats, flipped: Floats) -> tuple[NDArray[np.intp], float]:
    """Return +1 or -1 for each reference, +1 for how most lie, so that neighbours fit best.

    Of the (R, R) only those between a frame and its nearest count. The first guess is the sign of
    the leading eigenvector, then whatever fits worst is turned until all fit. Also returned: how
    well they fit, 1 where no bond is at odds.
    """
    near = _nearest(plain, flipped)
    evidence = np.take_along_axis(plain - flipped, near, axis=1)
    bonds = np.zeros(plain.shape)
    np.put_along_axis(bonds, near, evidence, axis=1)
    bonds += bonds.T
    way = np.where(np.linalg.eigh(bonds)[1][:, -1] < 0, -1, 1)
    for _ in range(4 * len(way)):
        fit = way * (bonds @ way)
        worst = int(fit.argmin())
        if fit[worst] >= 0:
            break
        way[worst] = -way[worst]
    way = way if way.sum() >= 0 else -way
    total = float(np.abs(bonds).sum())
    return way, float(way @ bonds @ way) / total if total else 0.0
