"""How far the eyes of the face in a picture are closed, for pictures nobody has looked at yet."""

from functools import cache

from curate import assets
from curate.eyes import closed
from curate.faces import MIN_SCORE, FaceDetector, Image
from curate.landmarks import LandmarkReader


def closed_in(rgb: Image) -> float | None:
    """Return how far the more closed eye is, in [0, 1], in an upright (H, W, 3) uint8 picture.

    None where no face is found. May be called by several threads.

    Raises:
        AssetError: the model file is missing.
    """
    detector, reader = _networks()
    faces = detector.detect(rgb, ("frame",))
    if not faces or faces[0].score < MIN_SCORE:
        return None
    found = reader.read(rgb, faces[0])
    return float(closed(found).max()) if found else None


@cache
def _networks() -> tuple[FaceDetector, LandmarkReader]:
    task = assets.path("face_landmarker")
    return FaceDetector(task), LandmarkReader(task)
