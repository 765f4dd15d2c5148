"""What landmarks say of eyes and covers: a teacher that learns nothing and shares no features.

Eyes: the blendshape eyeBlink and the aspect ratio of the eye among the 478 landmarks. Regions:
tones and lines where the landmarks say that the region lies, against the person's own skin, and how
surely the landmark network sees a face at all. Two logistic maps, with the constants below, make
probabilities of them. They are weak where a part has few lines of its own: chin and forehead.
"""

import math
from functools import cache
from typing import TypeAlias

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from curate import assets, engine, schema
from curate.crops import Row, face_of, given, read_upright
from curate.embeddings import Cache
from curate.engine import Track
from curate.errors import ConfigError
from curate.eyes import closed
from curate.landmarks import LandmarkReader, Landmarks
from curate.parts import RADII, REGIONS, Crop, axes
from curate.workspace import Workspace

VERSION = 1  # of the evidence: another number names another cache
CHUNK = 256  # images whose evidence a kill may cost
LEAST_SIDE = 480  # pixels of the shorter side from which a face is read, if the image has them

# Corners and lids of an eye, in the order of the formula of Soukupova and Cech, "Real-Time Eye
# Blink Detection using Facial Landmarks", CVWW 2016. Right and left are the subject's.
LIDS = ((33, 160, 158, 133, 153, 144), (362, 385, 387, 263, 373, 380))
# Bias, eyeBlink, aspect ratio. Fitted on 1,764 eyes of photographs (NUAA, LFW and the web), the 300
# with most eyeBlink looked at one by one; only 17 are closed.
SHUT = (-15.44, 36.15, -22.45)

UNIT = 40.0  # pixels between the eyes in the upright face in which regions are measured
CANVAS = (116, 96)  # its height and width
ORIGIN = (48.0, 40.0)  # x, y in it of the point between the eyes
# Where skin shows above a mask: between the eyes, on the bridge of the nose, under the eyes, above.
SKIN = ((0.0, -0.15), (0.0, 0.2), (-0.45, 0.28), (0.45, 0.28), (0.0, -0.5))
SKIN_RADII = (0.16, 0.09)
MOST_PRESENCE = 10.0  # logit above which more says nothing
# Bias, the statistics of `_stats` in their order, logit of the presence. Logistic regressions on
# drawn covers (ovals and bars of one colour or of pieces of photographs) over 373 faces of NUAA,
# LFW and the web, and on 187 web faces with real masks; both eyes share one.
_EYE = (6.50, -0.32, 0.52, 0.56, 0.69, 1.45, -0.40, -2.73, -0.62, 0.30, -0.13)
COVERED = {
    "left_eye": _EYE,
    "right_eye": _EYE,
    "nose": (7.46, -0.36, 1.03, 0.20, 1.02, 0.57, -0.93, -1.91, 0.27, -0.03, -0.39),
    "mouth": (6.31, 0.08, 0.21, 0.15, 0.50, 1.01, 0.71, -3.12, -0.06, -1.01, -0.21),
    "chin": (1.92, 0.38, 0.15, 0.24, 0.25, -0.46, 0.39, -0.49, 0.11, -0.55, -0.24),
    "forehead": (-1.52, 0.09, 0.59, 0.02, -0.05, 1.13, 1.10, -1.95, 0.47, -0.04, -0.03),
}
RARE = math.log(9)  # covered eyes were half of what the map was fitted on; we take one in ten

# Evidence of an image: presence as a logit, eyeBlink and aspect ratio of the right and of the left
# eye, then the statistics of the regions in the order of schema.PARTS_OF["occlusion"].
PRESENCE, EYES, STATS = 0, {"right_eye": [1, 3], "left_eye": [2, 4]}, 5
COUNT = 9  # statistics of a region

Floats: TypeAlias = NDArray[np.float64]


class Geometry:
    """The teacher `geometry`: no opinion on patches of eyes, and where no landmarks show."""

    name = "geometry"

    def __init__(self, workspace: Workspace, task: str, track: Track) -> None:
        """Judge units of ``task``, eyes or occlusion; evidence is kept in ``workspace``.

        Raises:
            ConfigError: any other task.
        """
        if task not in ("eyes", "occlusion"):
            raise ConfigError(
                f"teacher geometry knows nothing of task {task!r}; it judges eyes and occlusion.\n"
                "Next: curate teachers list"
            )
        self._workspace, self._task, self._track = workspace, task, track

    def probabilities(self, units: pd.DataFrame) -> Floats:
        """Return (N, C) over schema.CLASSES_OF[task]; NaN where there is no evidence.

        Raises:
            AssetError: the landmark network is not here.
            SourceError: an original is gone.
        """
        found = np.full((len(units), len(schema.CLASSES_OF[self._task])), np.nan)
        seen = np.flatnonzero(units["landmarks"].map(given) & units["face"].map(given))
        if len(seen):
            faces = units.iloc[seen]
            evidence = self._evidence(faces)
            judge = judge_eyes if self._task == "eyes" else judge_regions
            found[seen] = judge(evidence, faces["part"].tolist())
        return found

    def _evidence(self, faces: pd.DataFrame) -> Floats:
        """Return (len(faces), 59) evidence, computed once per image and kept."""
        kept = Cache(self._workspace.root / "crops" / f"evidence-{VERSION}")
        missing = faces[~faces["image_id"].isin(kept.ids())].drop_duplicates("image_id")
        if len(missing):
            reader = LandmarkReader(assets.path("face_landmarker"))
            rows = missing.to_dict("records")
            threads = engine.threads(self._workspace.config.threads)
            found = engine.mapped(lambda row: _read(row, reader), rows, threads=threads)
            named = zip(missing["image_id"], found, strict=True)
            for part in engine.batched(self._track(named, len(rows), "landmark evidence"), CHUNK):
                kept.add(dict(part))
        return kept.matrix(faces["image_id"].tolist()).astype(float)


def judge_eyes(evidence: Floats, parts: list[str]) -> Floats:
    """Return (N, 3) P(open), P(closed), P(blocked) of eye ``parts[i]`` by ``evidence[i]``.

    NaN for the part `eye`, and where the landmarks were not found.
    """
    found = np.full((len(parts), 3), np.nan)
    for row, part in enumerate(parts):
        if part in EYES:
            shut = expit(SHUT[0] + SHUT[1:] @ evidence[row, EYES[part]])
            hidden = expit(_covered(evidence[row], part) - RARE)
            seen = np.array([(1 - hidden) * (1 - shut), (1 - hidden) * shut, hidden])
            found[row] = seen if np.isfinite(seen).all() else np.nan
    return found


def judge_regions(evidence: Floats, parts: list[str]) -> Floats:
    """Return (N, 2) P(clear), P(blocked) of region ``parts[i]`` by ``evidence[i]``."""
    logits = [_covered(row, part) for row, part in zip(evidence, parts, strict=True)]
    return np.stack([expit(np.negative(logits)), expit(logits)], axis=1)


def _covered(evidence: Floats, part: str) -> float:
    """Return the logit that ``part`` is covered."""
    first = STATS + COUNT * schema.PARTS_OF["occlusion"].index(part)
    bias, *weights = COVERED[part]
    values = np.append(evidence[first : first + COUNT], evidence[PRESENCE])
    return float(bias + np.dot(weights, values))


def evidence_of(rgb: Crop, points: Floats, found: Landmarks | None) -> NDArray[np.float32]:
    """Return (59,) evidence of the face with ``points`` (6, 2) in the upright ``rgb`` (h, w, 3).

    ``found`` are its 478 landmarks; without them the eyes are NaN and the presence is 0.
    """
    eyes, presence = np.full(4, np.nan), 0.0
    if found is not None:
        eyes = np.array([*closed(found), *(aspect_ratio(found.points, eye) for eye in LIDS)])
        likely = min(found.presence, 1 - 1e-9)
        presence = min(math.log(likely / (1 - likely)), MOST_PRESENCE)
    return np.concatenate([[presence], eyes, region_stats(rgb, points).ravel()]).astype(np.float32)


def aspect_ratio(points: NDArray[np.floating], eye: tuple[int, ...]) -> float:
    """Return how far an eye is open over how wide it is, about 0 to 0.5; ``eye`` is of `LIDS`."""
    p = points[list(eye), :2]
    height = np.linalg.norm(p[1] - p[5]) + np.linalg.norm(p[2] - p[4])
    return float(height / (2 * max(float(np.linalg.norm(p[0] - p[3])), 1e-6)))


def region_stats(rgb: Crop, points: Floats) -> Floats:
    """Return (6, 9) statistics of schema.PARTS_OF["occlusion"] in an upright (h, w, 3) image."""
    lab = _canvas(rgb, points)
    skin = _skin(lab)
    across, down = (cv2.Sobel(lab[..., 0], cv2.CV_32F, *way) for way in ((1, 0), (0, 1)))
    lines = np.abs(np.stack([across, down], axis=-1))
    return np.stack([_stats(lab, lines, skin, part) for part in schema.PARTS_OF["occlusion"]])


def _read(row: Row, reader: LandmarkReader) -> NDArray[np.float32]:
    rgb, scale = read_upright(row, min_side=LEAST_SIDE)
    face = face_of(row, scale)
    return evidence_of(rgb, face.keypoints.astype(float), reader.read(rgb, face))


def _canvas(rgb: Crop, points: Floats) -> NDArray[np.float32]:
    """Return the face brought to one place, (116, 96, 3) float32 in CIELAB."""
    shrink = min(1.0, UNIT / max(float(np.hypot(*axes(points)[1])), 1.0))
    if shrink < 1:
        rgb = cv2.resize(rgb, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    middle, right, below = (shrink * step for step in axes(points))
    turn = np.column_stack([right, below]) / UNIT
    pixels = cv2.warpAffine(
        rgb,
        np.column_stack([turn, middle - turn @ np.array(ORIGIN)]),
        CANVAS[::-1],
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    lab: NDArray[np.float32] = cv2.cvtColor(pixels.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    return lab


def _skin(lab: NDArray[np.float32]) -> Floats:
    """Return the (3,) tone of the patch of `SKIN` that is most like the others."""
    tones = np.stack([np.median(lab[_ellipse(at, SKIN_RADII)], axis=0) for at in SKIN])
    apart = np.linalg.norm(tones[:, None] - tones[None], axis=2)
    return np.asarray(tones[np.median(apart, axis=1).argmin()], float)


def _stats(lab: NDArray[np.float32], lines: NDArray[np.float32], skin: Floats, part: str) -> Floats:
    """Return (9,): colour and tone off the skin's, contrast, lines, a dark and a red middle."""
    inside, middle, rim = (
        _ellipse(REGIONS[part], RADII[part], *ring) for ring in ((0, 1), (0, 0.3), (0.55, 1.4))
    )
    off = lab[inside] - skin
    colour = np.hypot(off[:, 1], off[:, 2])
    tone = float(np.median(off[:, 0])) / 20
    raised = np.median(lab[middle], axis=0) - np.median(lab[rim], axis=0)
    values = np.array([np.median(colour), np.percentile(colour, 80), lab[inside, 0].std()])
    plain, most, contrast = np.log1p(values)
    across, down = np.log1p(lines[inside].mean(axis=0))
    dark, red = -raised[0] / 10, raised[1] / 10
    return np.array([plain, most, tone, abs(tone), contrast, across, down, dark, red])


@cache
def _ellipse(
    centre: tuple[float, float], radii: tuple[float, float], low: float = 0.0, high: float = 1.0
) -> NDArray[np.bool_]:
    """Return the pixels of the canvas from ``low`` to ``high`` of an ellipse's squared radius."""
    y, x = np.mgrid[: CANVAS[0], : CANVAS[1]]
    across = ((x - ORIGIN[0]) / UNIT - centre[0]) / radii[0]
    down = ((y - ORIGIN[1]) / UNIT - centre[1]) / radii[1]
    squared = across**2 + down**2
    return np.asarray((squared >= low) & (squared < high))
