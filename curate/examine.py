"""One file's bytes to one record: what ingest knows of an image on its own. Pure."""

import hashlib
from typing import Any

import cv2
import numpy as np

from curate import hashes
from curate.decode import REDUCED_SIDE, Unreadable, decode
from curate.faces import square_crop
from curate.orient import Detect, find_upright, turn_image

SHARPNESS_SIDE = 128  # pixels to which the face is brought before its sharpness is measured
LEAST_FACE = 24  # pixels of the face's shorter side; smaller ones are mostly patches of noise
HASH_MODE = "fast"  # hashes come from the scaled decode


def examine(data: bytes, detect: Detect) -> dict[str, Any]:
    """Return the columns of `images` that the bytes alone decide.

    An image that cannot be read is a record too: `status` quarantined, with its `reason`.
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
        image = decode(data, min_side=REDUCED_SIDE)
    except Unreadable as fault:
        return record | {"reason": fault.reason}
    gray = cv2.cvtColor(image.rgb, cv2.COLOR_RGB2GRAY)
    poses = hashes.pose_hashes(hashes.thumb32(gray)[np.newaxis])[0]
    record |= {
        "width": image.width,
        "height": image.height,
        "exif_orientation": image.exif_orientation,
        "phash": poses.view(np.int64),
        "phash_mode": HASH_MODE,
    }
    return record | _face_columns(image.rgb, image.width, detect)


def sharpness(face: np.ndarray) -> float:
    """Return the variance of the Laplacian of a (128, 128, 3) uint8 face, >= 0, higher is sharper.

    Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", ICPR 2000; over a Gaussian
    of 1.5 pixels, without which noise and the block edges of a harder JPEG count as sharpness.
    """
    gray = cv2.GaussianBlur(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY), (0, 0), 1.5)
    return float(cv2.Laplacian(gray, cv2.CV_32F).var())


def _face_columns(rgb: np.ndarray, full_width: int, detect: Detect) -> dict[str, Any]:
    upright = find_upright(rgb, detect)
    columns = {"turn": upright.turn, "turn_confidence": upright.confidence}
    if upright.face is None:
        return columns | {"status": "quarantined", "reason": "no_face"}
    face, scale = upright.face, full_width / rgb.shape[1]
    turned = turn_image(rgb, max(upright.turn, 0))
    crop = square_crop(turned, face.box, 1.0, SHARPNESS_SIDE)
    small = min(face.box[2:]) * scale < LEAST_FACE
    return columns | {
        "status": "quarantined" if small else "kept",
        "reason": "small_face" if small else "",
        "face": np.array(face.box, np.float32) * np.float32(scale),
        "face_score": face.score,
        "landmarks": (face.keypoints * scale).astype(np.float32).ravel(),
        "sharpness": sharpness(crop),
    }
