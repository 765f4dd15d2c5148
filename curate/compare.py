"""The pixels of proposed pairs, read from the originals and compared, each pair at most once."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate import assets, crops, duplicates, engine, eyes, rigid, sameshot
from curate.agreement import Agreement, Spot, View, agree, moved, posed, reduced
from curate.engine import Track
from curate.errors import SourceError
from curate.facehash import centre_and_spread
from curate.faces import Face
from curate.hashes import POSES
from curate.landmarks import LandmarkReader
from curate.relations import inverse, relation

SIDE = 128  # pixels of the shorter side at which two images are compared
FINE_SIDE = rigid.SIDE  # at which it is seen whether they are one exposure
FACE_SIDE = 480  # and at which the state of a face is read
CACHED = 4096  # images of the first size kept, and aspects of faces: about 250 MB
FINE = 512  # images of that size kept, grey: about 45 MB
PORTRAITS = 64  # images of the last size kept, grey: about 20 MB
NEARLY = 0.97  # similarity from which on a pair is worth another look; other people have less
WORST_OF = 6  # members of a cluster, those least like the copy kept, compared with each other


class Compared(NamedTuple):
    """What the pixels of a pair say; the last two are None where that is unknown.

    Attributes:
        pose: the index of the pose in which it was compared.
        agreement: nan where one of the two could not be read.
        drift: see `rigid.drift`; asked, as is what follows, only of pictures that are alike.
        same_state: whether the faces are in one state.
    """

    pose: int
    agreement: Agreement
    drift: float | None = None
    same_state: bool | None = None


class Comparer:
    """Compares rows of ``pairs`` (a, b, pose, other_pose) of images whose rows are ``facts``.

    ``facts`` is indexed by image_id and has the columns of `images` and label_key.
    """

    def __init__(
        self,
        pairs: pd.DataFrame,
        facts: pd.DataFrame,
        *,
        min_similarity: float,
        threads: int,
        track: Track,
    ) -> None:
        self._pairs, self._facts = pairs.iloc[:0], facts
        self._columns: dict[str, list[Any]] = {
            name: [] for name in ("a", "b", "pose", "other_pose")
        }
        self._rows = facts.drop(columns=["phash", "dhash"], errors="ignore").to_dict("index")
        self._min_similarity, self._threads, self._track = min_similarity, threads, track
        self._found: dict[int, Compared] = {}
        self._view = lru_cache(CACHED)(self._read)
        self._fine = lru_cache(FINE)(self._read_fine)
        self._aspect = lru_cache(CACHED)(self._read_aspect)
        self._portrait = lru_cache(PORTRAITS)(self._read_portrait)
        self._reader: LandmarkReader | None = None
        self.add(pairs)

    def add(self, pairs: pd.DataFrame) -> None:
        """Append rows to the pairs."""
        self._pairs = pd.concat([self._pairs, pairs], ignore_index=True)
        for name, values in self._columns.items():
            values.extend(pairs[name].tolist())

    @property
    def rows(self) -> NDArray[np.int64]:
        """The rows compared so far, in order."""
        return np.array(sorted(self._found), dtype=np.int64)

    def compare(self, rows: Sequence[int] | NDArray[np.int64]) -> None:
        """Compare these rows, by threads."""
        new = [int(row) for row in rows if int(row) not in self._found]
        results = engine.mapped(self._compared, new, threads=self._threads)
        self._found.update(zip(new, self._track(results, len(new), "comparing"), strict=True))

    def confirm(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tell which of these rows are duplicates."""
        self.compare(rows)
        return (self.judged(rows)["kind"] == "duplicate").to_numpy(bool)

    def judged(self, rows: NDArray[np.int64]) -> pd.DataFrame:
        """Return these rows, compared, with similarity, worst_patch, same_state, relation, kind."""
        found = [self._found[int(row)] for row in rows]
        pairs = self._pairs.iloc[rows].assign(
            pose=[each.pose for each in found],
            similarity=np.array([each.agreement.similarity for each in found], np.float32),
            worst_patch=np.array([each.agreement.worst for each in found], np.float32),
            cast=np.array([each.agreement.cast for each in found], np.float32),
            drift=np.array([each.drift for each in found], dtype=float),
            same_state=pd.Series([each.same_state for each in found], dtype=object).to_numpy(),
            relation=[self._words(int(row)) for row in rows],
        )
        judged = duplicates.judge(pairs, self._facts, min_similarity=self._min_similarity)
        return judged.drop(columns=["cast", "drift"])

    def worst_inside(self, judged: pd.DataFrame) -> pd.Series:
        """Return cluster -> least similarity of two of its members, of rows that have a cluster.

        The members are those of ``judged``. Of more than WORST_OF the ones least like the copy kept
        are compared with each other.
        """
        clusters = judged[judged["cluster"] != ""].groupby("cluster")
        found = engine.mapped(self._worst_of, [rows for _, rows in clusters], threads=self._threads)
        return pd.Series(list(found), list(clusters.groups), dtype=np.float32)

    def _worst_of(self, rows: pd.DataFrame) -> float:
        kept = rows["cluster"].iloc[0]
        rows = rows[(rows["a"] == kept) | (rows["b"] == kept)].nsmallest(WORST_OF, "similarity")
        views = []
        for a, b, pose in zip(rows["a"], rows["b"], rows["pose"], strict=True):
            towards = POSES[pose] if b == kept else inverse(POSES[pose])
            view = self._view(a if b == kept else b)
            views += [posed(view, towards)] if view else []
        each = [agree(one, other, POSES[0]).similarity for one, other in combinations(views, 2)]
        return min([float(rows["similarity"].min()), *each])

    def _compared(self, row: int) -> Compared:
        ids = self._columns["a"][row], self._columns["b"][row]
        a, b = map(self._view, ids)
        pose, other = self._columns["pose"][row], self._columns["other_pose"][row]
        if a is None or b is None:
            return Compared(pose, Agreement(np.nan, np.nan))
        found = _either_way(a, b, pose, self._min_similarity)
        if other >= 0 and found.similarity < self._min_similarity:
            second = _either_way(a, b, other, self._min_similarity)
            if second.similarity > found.similarity:
                pose, found = other, second
        if not _alike(found, self._min_similarity):
            return Compared(pose, found)
        one, two = map(self._fine, ids)
        drift = rigid.drift(posed(one, POSES[pose]), two) if one and two else None
        if drift is not None and drift > duplicates.MOST_DRIFT:
            return Compared(pose, found, drift)
        return Compared(pose, found, drift, self._same_state(row, pose))

    def _same_state(self, row: int, pose: int) -> bool | None:
        one, other = (self._rows[self._columns[side][row]] for side in ("a", "b"))
        if one.get("shows") == other.get("shows") == "eye":
            return True  # a patch of an eye is compared as a whole
        if crops.given(one["face"]) != crops.given(other["face"]):
            return False  # a copy that cannot be trained on stands for none that can
        if not (crops.given(one["landmarks"]) and crops.given(other["landmarks"])):
            return None
        flips = POSES[pose].mirror ^ (one["mirror"] == "yes") ^ (other["mirror"] == "yes")
        ids = [self._columns[side][row] for side in ("a", "b")]
        same = eyes.compare(*map(self._aspect, ids), mirrored=flips)
        if same:
            return True
        a, b = map(self._portrait, ids)
        shot = a and b and sameshot.same_shot(a, b, mirrored=flips)
        return shot or same

    def _read(self, image_id: str) -> View | None:
        """Return the image as stored, EXIF applied, in grey; None where its original is gone."""
        found = self._read_stored(image_id, SIDE)
        return found and replace(found[0], colours=reduced(found[1]))

    def _read_fine(self, image_id: str) -> View | None:
        found = self._read_stored(image_id, FINE_SIDE)
        return found and found[0]

    def _read_stored(self, image_id: str, side: int) -> tuple[View, np.ndarray] | None:
        row = self._rows[image_id] | {"image_id": image_id}
        try:
            rgb = crops.read_stored(row, min_side=side).rgb
        except SourceError:
            return None
        gray = crops.gray(rgb, side)
        return View(gray, _spot(row, gray.shape[1] / row["width"])), rgb

    def _read_aspect(self, image_id: str) -> eyes.Aspect | None:
        found = self._read_face(image_id)
        return eyes.aspect(*found) if found else None

    def _read_portrait(self, image_id: str) -> sameshot.Portrait | None:
        found = self._read_face(image_id)
        return sameshot.portrait(*found) if found else None

    def _read_face(self, image_id: str) -> tuple[np.ndarray, Face, LandmarkReader] | None:
        row = self._rows[image_id] | {"image_id": image_id}
        try:
            rgb, scale = crops.read_upright(row, min_side=FACE_SIDE)
        except SourceError:
            return None
        if self._reader is None:
            self._reader = LandmarkReader(assets.path("face_landmarker"))
        return rgb, crops.face_of(row, scale), self._reader

    def _words(self, row: int) -> str:
        """Say what was done to a; only the pose where the two are not one picture."""
        pose, found, *_ = self._found[row]
        if not found.similarity >= self._min_similarity:
            return POSES[pose].name
        one, other = (self._rows[self._columns[side][row]] for side in ("a", "b"))
        zoom = _reduction(one) / _reduction(other)
        sharp = [float(each["sharpness"] or np.nan) for each in (one, other)]
        return relation(POSES[pose], found, zoom=zoom, blur=sharp[0] / sharp[1])


def _alike(found: Agreement, min_similarity: float) -> bool:
    return found.similarity >= min_similarity and found.worst >= duplicates.WORST_PATCH


def _either_way(a: View, b: View, pose: int, min_similarity: float) -> Agreement:
    """Return how far ``a`` agrees with ``b``; where they nearly do, the better of both ways.

    The edge that a turned copy was filled up with lies inside it, and spoils its alignment, unless
    it is the one on which the other is laid: then that edge lies beyond the other picture.
    """
    forth = agree(a, b, POSES[pose])
    if forth.similarity < NEARLY or _alike(forth, min_similarity):
        return forth
    back = agree(b, a, inverse(POSES[pose]))
    if back.similarity <= forth.similarity and not _alike(back, min_similarity):
        return forth
    return replace(
        back,
        area=1 / max(back.area, 1e-6),
        degrees=back.degrees if POSES[pose].mirror else -back.degrees,
        scale=1 / max(back.scale, 1e-6),
        brighter=-back.brighter,
        contrast=1 / max(back.contrast, 1e-6),
    )


def _reduction(row: crops.Row) -> float:
    """Return how many pixels of the original make one of its view."""
    return max(min(int(row["width"]), int(row["height"])) / SIDE, 1.0)


def _spot(row: crops.Row, scale: float) -> Spot | None:
    """Return where the face lies in the image as stored, ``scale`` times its size."""
    if not crops.given(row["landmarks"]):
        return None
    x, y, size = centre_and_spread(np.asarray(row["landmarks"], float).reshape(-1, 2) * scale)
    turn = max(int(row["turn"]), 0)
    shape = int(row["height"]) * scale, int(row["width"]) * scale
    upright = shape[::-1] if turn % 180 else shape
    if row["mirror"] == "yes":
        x = upright[1] - x
    back = next(pose for pose in POSES if not pose.mirror and pose.turn == -turn % 360)
    return moved(Spot(x, y, size), upright, back)
