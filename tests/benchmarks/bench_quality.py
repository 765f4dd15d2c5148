"""How often each quality issue strikes on photographs of faces, as they are and spoilt.

    python tests/benchmarks/bench_quality.py FOLDER [count]

FOLDER holds photographs of one face each, good ones for the most part; it is searched for images,
and `count` (default 100) are drawn. The first column is the rate on the photographs as they are
(false alarms where they are good), the others the rate after the defect named (recall).
"""

import io
import random
import sys
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from curate import assets, quality
from curate.decode import Unreadable, decode
from curate.examine import examine
from curate.faces import FaceDetector


def jpeg(rgb, quality_level=92):
    data = io.BytesIO()
    Image.fromarray(rgb).save(data, "JPEG", quality=quality_level)
    return data.getvalue()


def png(rgb):
    data = io.BytesIO()
    Image.fromarray(rgb).save(data, "PNG")
    return data.getvalue()


def blurred(rgb, face, share):
    return jpeg(cv2.GaussianBlur(rgb, (0, 0), share * face[2]))


def lit(rgb, face, level):
    """Bring the median of the face to a gray level by a gamma."""
    x, y, width, height = np.maximum(face, 0).astype(int)
    middle = np.median(rgb[y : y + height, x : x + width])
    power = np.log(level / 255) / np.log(np.clip(middle, 1, 254) / 255)
    return jpeg((255 * (rgb / 255.0) ** power).astype(np.uint8))


def flat(rgb):
    return jpeg((128 + 0.15 * (rgb.astype(float) - 128)).astype(np.uint8))


def tiny(rgb, face):
    scale = 34 / min(face[2:])
    small = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    canvas = np.full((480, 640, 3), 120, np.uint8)
    small = small[:480, :640]
    canvas[: small.shape[0], : small.shape[1]] = small
    return jpeg(canvas)


def rolled(rgb):
    height, width = rgb.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), 44, 1)
    return jpeg(cv2.warpAffine(rgb, turn, (width, height), borderMode=cv2.BORDER_REFLECT))


def covered(rgb, face):
    blind = cv2.GaussianBlur(rgb, (0, 0), face[2])
    return jpeg(blind)


def barred(rgb, shade, sides):
    height, width = rgb.shape[:2]
    wide = (
        (height // 10, height // 10, 0, 0) if sides == "rows" else (0, 0, width // 10, width // 10)
    )
    return jpeg(cv2.copyMakeBorder(rgb, *wide, cv2.BORDER_CONSTANT, value=[shade] * 3))


def again(data, encode, *arguments):
    return encode(decode(data).rgb, *arguments)


def grey(rgb):
    return jpeg(np.dstack([cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)] * 3))


DEFECTS = {  # name: (the issue it should raise, how to make it)
    "blur, 2 % of the face": ("blur", lambda rgb, face: blurred(rgb, face, 0.02)),
    "blur, 3 %": ("blur", lambda rgb, face: blurred(rgb, face, 0.03)),
    "dark, face at level 15": ("exposure", lambda rgb, face: lit(rgb, face, 15)),
    "bright, face at 240": ("exposure", lambda rgb, face: lit(rgb, face, 240)),
    "contrast x 0.15": ("contrast", lambda rgb, face: flat(rgb)),
    "face of 34 px": ("face_size", tiny),
    "rolled by 44 degrees": ("head_pose", lambda rgb, face: rolled(rgb)),
    "twice side by side": ("several_faces", lambda rgb, face: jpeg(np.hstack([rgb, rgb[:, ::-1]]))),
    "blurred out": ("no_face", covered),
    "black bars above, below": ("borders", lambda rgb, face: barred(rgb, 0, "rows")),
    "white bars left, right": ("borders", lambda rgb, face: barred(rgb, 255, "columns")),
    "gray as RGB": ("gray", lambda rgb, face: grey(rgb)),
    "JPEG 10": ("compression", lambda rgb, face: jpeg(rgb, 10)),
    "JPEG 10, then 95": ("compression", lambda rgb, face: again(jpeg(rgb, 10), jpeg, 95)),
    "JPEG 10, then PNG": ("compression", lambda rgb, face: again(jpeg(rgb, 10), png)),
}


def photographs(folder, count):
    files = sorted(file for file in Path(folder).rglob("*") if file.is_file())
    random.Random(0).shuffle(files)
    for file in files[:count]:
        try:
            data = file.read_bytes()
            yield data, decode(data).rgb
        except Unreadable:
            continue


def main(folder, count):
    detect = FaceDetector(assets.path("face_landmarker")).detect
    clean, hit, photos = defaultdict(int), defaultdict(int), 0
    for data, rgb in photographs(folder, count):
        record = examine(data, detect)
        photos += record.get("face") is not None
        for name in quality.NAMES:
            clean[name] += bool(record.get(f"{name}_issue"))
        if record.get("face") is None or record["turn"] != 0:
            continue
        hit["tried"] += 1
        for defect, (issue, make) in DEFECTS.items():
            spoilt = examine(make(rgb, record["face"]), detect)
            hit[defect] += bool(spoilt.get(f"{issue}_issue"))
            hit[defect, "no face"] += bool(spoilt.get("no_face_issue"))
    print(f"{folder}: {photos} photographs with a face, {hit['tried']} of them upright and spoilt")
    for name in quality.NAMES:
        print(f"  as they are: {name:14} {clean[name] / max(photos, 1):6.1%}")
    for defect, (issue, _) in DEFECTS.items():
        rate, lost = hit[defect] / hit["tried"], hit[defect, "no face"] / hit["tried"]
        print(f"  {defect:26} {issue:14} {rate:6.1%}   (no face found: {lost:.1%})")


if __name__ == "__main__":
    cv2.setNumThreads(1)
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 100)
