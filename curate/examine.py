"""One file's bytes to one record: what ingest knows of an image on its own. Pure."""

import hashlib
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import cv2
import numpy as np
from PIL import Image

from curate import hashes, quality
from curate.decode import REDUCED_SIDE, Decoded, Unreadable, decode
from curate.facehash import face_hashes
from curate.faces import Face, square_crop
from curate.orient import Detect, find_upright, turn_image

Mode: TypeAlias = Literal["fast", "exact"]

SHARPNESS_SIDE = 128  # pixels to which the face is brought before its sharpness is measured
LONGEST = 8 * REDUCED_SIDE  # pixels of the longer side, or a strip would cost what 20 pictures do
CONTRAST = 50.0  # gray levels, a face's usual deviation
LEAST_FACE = 24  # pixels of the face's shorter side; smaller ones are mostly patches of noise
HASH_SIDE = 90  # pixels of the shorter side; fewer bits of pHash than 0.2 change on average


def examine(
    data: bytes, detect: Detect | None, *, mode: Mode = "fast", judge: bool = True
) -> dict[str, Any]:
    """Return the columns of `images` that the bytes alone decide.

    An image that cannot be read is a record too: `status` quarantined, with its `reason`.

    Args:
        data: the file.
        detect: finds faces; None spares the search: the image is kept, and taken for upright.
        mode: hashes from the scaled decode, or from every pixel as imagehash computes them.
        judge: measure quality; what needs a face stays null without ``detect``.
    """
    record: dict[str, Any] = {
        "image_id": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "turn": -1,
        "mirror": "no",
        "exif_orientation": 1,
        "status": "quarantined",
    }
    try:
        image = _decoded(data, mode, REDUCED_SIDE if detect else HASH_SIDE, bool(detect) or judge)
    except Unreadable as fault:
        return record | {"reason": fault.reason}
    record |= {
        "width": image.width,
        "height": image.height,
        "exif_orientation": image.exif_orientation,
    }
    record |= _hash_columns(image.pixels, mode)
    if detect:
        return record | _face_columns(image, detect, judge)
    scores = _quality_columns(image, image.pixels, None) if judge else {}
    return record | {"turn": 0, "status": "kept", "reason": ""} | scores


def sharpness(face: np.ndarray) -> float:
    """Return how sharp a (128, 128, 3) uint8 face is, >= 0, higher is sharper.

    The variance of the Laplacian (Pech-Pacheco et al., "Diatom autofocusing in brightfield
    microscopy", ICPR 2000) over a Gaussian of 1.5 pixels, without which noise and the block edges
    of a harder JPEG count as sharpness; for a deviation of CONTRAST, or a copy made brighter would
    be the sharpest.
    """
    gray = cv2.GaussianBlur(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY), (0, 0), 1.5)
    contrast = max(float(gray.std()), 1.0)  # of gray levels: a plain face is not sharp
    return float(cv2.Laplacian(gray, cv2.CV_32F).var()) * (CONTRAST / contrast) ** 2


def _decoded(data: bytes, mode: Mode, side: int, colours: bool) -> Decoded:
    """Decode no more than is needed; luma as JPEG stores it is not quite Pillow's gray."""
    if mode == "exact":
        return decode(data)
    return decode(data, min_side=side, gray=not colours)


def _hash_columns(pixels: np.ndarray, mode: Mode) -> dict[str, Any]:
    if mode == "exact":
        hashed = hashes.exact(np.asarray(Image.fromarray(pixels).convert("L")))
    else:
        hashed = hashes.fast(
            pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
        )
    return {
        "phash": hashed.phash.view(np.int64),
        "dhash": hashed.dhash.view(np.int64),
        "canonical": hashed.canonical,
        "phash_mode": mode,
    }


def _face_columns(image: Decoded, detect: Detect, judge: bool) -> dict[str, Any]:
    rgb = _reduced(image.pixels)
    upright = find_upright(rgb, detect)
    turned = turn_image(rgb, upright.turn)
    columns = {"turn": upright.turn, "turn_confidence": upright.confidence}
    if judge:
        columns |= _quality_columns(image, turned, upright.faces)
    if upright.face is None:
        return columns | {"status": "quarantined", "reason": "no_face"}
    face, scale = upright.face, image.width / rgb.shape[1]
    small = min(face.box[2:]) * scale < LEAST_FACE
    gray = cv2.cvtColor(turned, cv2.COLOR_RGB2GRAY)
    phash, dhash = face_hashes(gray, face.keypoints)
    return columns | {
        "status": "quarantined" if small else "kept",
        "reason": "small_face" if small else "",
        "face": np.array(face.box, np.float32) * np.float32(scale),
        "face_score": face.score,
        "landmarks": (face.keypoints * scale).astype(np.float32).ravel(),
        "face_phash": phash.view(np.int64),
        "face_dhash": dhash.view(np.int64),
        "sharpness": sharpness(square_crop(turned, face.box, 1.0, SHARPNESS_SIDE)),
    }


def _reduced(rgb: np.ndarray) -> np.ndarray:
    """Halve what came in full size, as the scaled decode does, so that faces look the same."""
    while min(rgb.shape[:2]) >= 2 * REDUCED_SIDE or max(rgb.shape[:2]) >= LONGEST:
        size = (max(rgb.shape[1] // 2, 1), max(rgb.shape[0] // 2, 1))
        rgb = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    return rgb


def _quality_columns(
    image: Decoded, upright: np.ndarray, faces: Sequence[Face] | None
) -> dict[str, Any]:
    scale = max(image.width, image.height) / max(upright.shape[:2])
    scores = quality.measure(
        upright, faces, scale=scale, coloured=image.coloured, jpeg_quality=image.jpeg_quality
    )
    columns: dict[str, Any] = {f"{name}_score": score for name, score in scores.items()}
    return columns | {f"{name}_issue": bad for name, bad in quality.issues(scores).items()}
