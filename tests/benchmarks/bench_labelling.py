"""CPU seconds of labelling from cached features, and the speed of computing features.

    OMP_NUM_THREADS=1 python tests/benchmarks/bench_labelling.py [--rows 100000] [--images 300]

First a workspace of so many images is made whose features lie in the cache already: Gaussians, wide
as those of tf_efficientnet_lite0 are at two scales; 1,000 people are learnt from, 1,000 certified
on, all others labelled by `curate softlabel --max-error 0.02`. Then features of so many pictures
are computed, by labeling.features (decoding, cropping and caching included), and by a bare loop of
timm over the same crops, batch for batch, which reads and keeps nothing.
"""

import argparse
import hashlib
import resource
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch

from curate import backbones, engine, runs, show, workspace
from curate.config import Config
from curate.workspace import Workspace
from labeling import features
from labeling.exam import Wish
from labeling.softlabel import softlabel

PART = 2000  # rows of a part of the cache
KNOWN = 1000  # people of train, and of dev, with a trusted label
WIDTHS = {"final": 1280, "middle": 1024}


def image(name: str, uri: str, **more: Any) -> dict[str, Any]:
    """Return a row of `images`."""
    return {
        "image_id": name, "uri": uri, "source": "bench", "origin": "mined", "shows": "face",
        "status": "kept", "turn": 0, "mirror": "no", "width": 320, "height": 400,
        "face": [90.0, 120.0, 140.0, 160.0],
    } | more  # fmt: skip


def planted(root: Path, count: int) -> Workspace:
    """Make a workspace of ``count`` images whose features were computed already."""
    here = Workspace(workspace.create(root).root, Config(threads=1))
    names = [hashlib.sha256(str(n).encode()).hexdigest() for n in range(count)]
    split = np.where(np.arange(count) // KNOWN == 1, "dev", "train")
    word = np.where(np.arange(2 * KNOWN) % 2 == 0, "bonafide", "attack")
    known = pd.DataFrame({"image_id": names[: 2 * KNOWN], "task": "liveness", "part": "",
                          "label": word, "source": "bench", "trusted": True})  # fmt: skip
    kind = np.where(word == "attack", "print", "")
    with runs.start(here, "ingest", {}) as run:
        run.append("images", pd.DataFrame([image(name, f"/{name}.jpg") for name in names]))
        run.append("splits", pd.DataFrame({"image_id": names, "split": split}))
        run.append("labels", known.assign(attack_type=kind))
    rng = np.random.default_rng(0)
    for view in features.views(here.config.softlabel, "liveness"):
        for layer, width in WIDTHS.items():
            cache = features._cache(here, view, layer, "")
            for start in range(0, count, PART):
                rows = names[start : start + PART]
                values = rng.standard_normal((len(rows), width), np.float32)
                side = np.where(np.arange(start, start + len(rows)) % 2 == 0, 1.0, -1.0)
                values[:, :20] += side[:, np.newaxis]
                cache.add(dict(zip(rows, values.astype(np.float16), strict=True)))
    return here


def labelling(folder: Path, count: int) -> None:
    """Print the CPU seconds of one certified run."""
    here = planted(folder / "cached", count)
    began, clock = time.process_time(), time.monotonic()
    done = softlabel(here, Wish("liveness", "fitted", max_error=0.02), show.track)
    took = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    show.facts("Labelling from cached features", {
        "images": count, "pool": done.pool, "accepted": sum(done.accepted.values()),
        "refused": done.refused or "no", "CPU seconds": round(took, 1),
        "wall seconds": round(time.monotonic() - clock, 1),
        "10 s / CPU seconds": round(10 / took, 2), "peak memory, GiB": round(peak, 2),
    })  # fmt: skip


def pictures(folder: Path, count: int) -> pd.DataFrame:
    """Draw ``count`` pictures of coloured blobs as JPEG; return their units."""
    rows = []
    folder.mkdir()
    for n in range(count):
        cells = np.random.default_rng(n).integers(0, 255, (10, 8, 3), dtype=np.uint8)
        file = folder / f"{n}.jpg"
        cv2.imwrite(str(file), cv2.resize(cells, (320, 400), interpolation=cv2.INTER_CUBIC))
        stat = file.stat()
        name = hashlib.sha256(file.read_bytes()).hexdigest()
        rows.append(image(name, str(file), bytes=stat.st_size, mtime_ns=stat.st_mtime_ns, part=""))
    return pd.DataFrame(rows).set_index("image_id", drop=False)


def bare(crops: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield what timm pools of batches of crops, and do nothing else."""
    model: Any = backbones.create("tf_efficientnet_lite0").eval()
    told = model.pretrained_cfg
    mean, std = (torch.tensor(told[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    with torch.inference_mode():
        for batch in engine.batched(crops, features.BATCH):
            pixels = torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2).float() / 255
            yield model((pixels - mean) / std).numpy()


def speed(folder: Path, count: int) -> None:
    """Print images a CPU second of both, in turns, and the ratio."""
    units = pictures(folder / "pictures", count)
    figures: dict[str, list[float]] = {"ours": [], "bare": []}
    for turn in range(3):
        here = Workspace(workspace.create(folder / f"speed{turn}").root, Config(threads=1))
        view = features.views(here.config.softlabel, "liveness")[0]
        crops = [view.crop(row) for row in units.to_dict("records")]
        began = time.process_time()
        features.features(here, units, [view], show.track)
        figures["ours"].append(count / (time.process_time() - began))
        began = time.process_time()
        for _ in bare(crops):
            pass
        figures["bare"].append(count / (time.process_time() - began))
    ours, theirs = (float(np.median(figures[name])) for name in ("ours", "bare"))
    turns = [f"{a:.1f} / {b:.1f}" for a, b in zip(*figures.values(), strict=True)]
    show.facts("Features, images a CPU second, one thread, median of 3", {
        "ours: decode, crop, both layers, cache": round(ours, 1),
        "bare timm over the same crops": round(theirs, 1), "ratio": round(ours / theirs, 2),
        "each turn": ", ".join(turns),
    })  # fmt: skip


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--images", type=int, default=300)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        if asked.images:
            speed(Path(folder), asked.images)
        if asked.rows:
            labelling(Path(folder), asked.rows)


if __name__ == "__main__":
    main()
