"""What examining images costs, against the bare JPEG decoder and against others; all in one run.

    python tests/benchmarks/bench_ingest.py [--count 5000] [--corpus FOLDER] [--imagededup PYTHON]
    python tests/benchmarks/bench_ingest.py --memory [--corpus FOLDER]

The floor reads each file and decodes it in gray at a quarter of its size with simplejpeg, on as
many threads. The slow ones run on a sample. PYTHON is an interpreter that has imagededup.
`--memory` prints the peak memory of examining 2,000 and 20,000 files, and of reading back the
records that a killed run left.
"""

import argparse
import io
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import imagehash
import numpy as np
import simplejpeg
from corpus import write
from PIL import Image

from curate import assets, engine, hashes
from curate.examine import examine
from curate.faces import FaceDetector
from curate.staging import Staging

ROUNDS = 3
THREADS = 2
SAMPLE = 200  # files that the slow ones are tried on
STAGED = 200_000  # records that a killed run left
IMAGEDEDUP = """
import json, resource, sys
from imagededup.methods import PHash
def cpu():
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in both)
hasher = PHash(verbose=False)
start = cpu()
hashes = hasher.encode_images(sys.argv[1], num_enc_workers=0)
print(json.dumps([cpu() - start, len(hashes)]))
"""

Examine = Callable[[bytes], object]


def floor(data: bytes) -> np.ndarray:
    height, width = simplejpeg.decode_jpeg_header(data)[:2]
    pixels: np.ndarray = simplejpeg.decode_jpeg(
        data, "GRAY", min_height=-(-height // 4), min_width=-(-width // 4), strict=True
    )
    return pixels


def naive(data: bytes) -> object:
    return imagehash.phash(Image.open(io.BytesIO(data)))


def timed(look: Examine, files: Sequence[Path]) -> tuple[float, float]:
    """Return CPU and wall milliseconds a file."""
    cpu, wall = time.process_time(), time.monotonic()
    for _ in engine.mapped(lambda file: look(file.read_bytes()), files, threads=THREADS):
        pass
    count = len(files) / 1000
    return (time.process_time() - cpu) / count, (time.monotonic() - wall) / count


def speed(files: Sequence[Path], imagededup: str) -> None:
    detector = FaceDetector(assets.path("face_landmarker"))
    sample = files[:: max(len(files) // SAMPLE, 1)][:SAMPLE]
    looks: dict[str, tuple[Examine, Sequence[Path]]] = {
        "floor: gray, 1/4": (floor, files),
        "no faces": (lambda data: examine(data, None, judge=False), files),
        "no faces, quality": (lambda data: examine(data, None), files),
        "no faces, exact": (lambda data: examine(data, None, mode="exact", judge=False), sample),
        "faces, quality": (lambda data: examine(data, detector.detect), sample),
        "imagehash.phash": (naive, sample),
    }
    for look, _ in looks.values():
        timed(look, sample[:20])
    rounds = [{name: timed(*what) for name, what in looks.items()} for _ in range(ROUNDS)]
    print(f"{len(files)} files, {len(sample)} for the slow ones; median of {ROUNDS} rounds")
    print(f"{'':20} CPU ms  wall ms  floor / this (CPU, wall)  imagehash / this (CPU)")
    for name in looks:
        cpu, wall = (median(each[name][at] for each in rounds) for at in (0, 1))
        ratios = [
            median(each[other][at] / each[name][at] for each in rounds)
            for other, at in (
                ("floor: gray, 1/4", 0),
                ("floor: gray, 1/4", 1),
                ("imagehash.phash", 0),
            )
        ]
        print(
            f"{name:20} {cpu:6.2f} {wall:8.2f} {ratios[0]:10.2f} {ratios[1]:6.2f} {ratios[2]:14.2f}"
        )
    print_imagededup(sample, median(each["no faces"][0] for each in rounds), imagededup)


def print_imagededup(files: Sequence[Path], ours: float, python: str) -> None:
    if not python:
        print("imagededup           not measured: name a PYTHON that has it")
        return
    with tempfile.TemporaryDirectory() as folder:
        for file in files:
            (Path(folder) / file.name).symlink_to(file.resolve())
        command = [python, "-c", IMAGEDEDUP, folder]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, count = json.loads(done.stdout.splitlines()[-1])
    theirs = 1000 * seconds / count
    print(
        f"imagededup PHash     {theirs:6.2f} CPU ms, import not counted: {theirs / ours:.1f} x ours"
    )


def accuracy(files: Sequence[Path]) -> None:
    apart = {"phash": [], "dhash": []}
    for file in files:
        data = file.read_bytes()
        fast, exact = (examine(data, None, mode=mode, judge=False) for mode in ("fast", "exact"))
        for name, bits in apart.items():
            bits.append(np.bitwise_count(fast[name] ^ exact[name]))
    for name, bits in apart.items():
        all_bits = np.stack(bits)
        print(
            f"{name}: fast and exact differ by {all_bits.mean():.3f} of 64 bits on average over "
            f"{len(hashes.POSES)} poses ({all_bits[:, 0].mean():.3f} as it is), "
            f"{all_bits.max()} at most, not at all in {(all_bits == 0).mean():.1%}"
        )


def peak(count: int, files: Sequence[Path]) -> float:
    """Return the peak memory, MB, of examining ``count`` links to ``files`` in a new process."""
    with tempfile.TemporaryDirectory(dir=files[0].parent) as folder:
        for number in range(count):
            os.link(files[number % len(files)], Path(folder) / f"{number:06d}.jpg")
        return child("--stream", folder)


def child(*words: str) -> float:
    command = [sys.executable, __file__, *words]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def print_own_peak() -> None:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def stream(folder: Path) -> None:
    """Examine and stage all files of ``folder`` as ingest does, and print the peak memory."""
    staging = Staging(folder / "staged")

    def work(file: Path) -> dict[str, object]:
        return examine(file.read_bytes(), None) | {"uri": str(file), "mtime_ns": 0}

    for record in engine.mapped(work, sorted(folder.glob("*.jpg")), threads=THREADS):
        staging.add(record)
    staging.flush()
    print_own_peak()


def stage_many(folder: Path, file: Path, count: int) -> None:
    staging = Staging(folder)
    record = examine(file.read_bytes(), None)
    for number in range(count):
        staging.add(record | {"uri": f"/some/where/{number:07d}.jpg", "mtime_ns": number})
    staging.flush()


def memory(files: Sequence[Path]) -> None:
    few, many = peak(2_000, files), peak(20_000, files)
    print(f"peak memory: 2,000 files {few:.0f} MB, 20,000 files {many:.0f} MB")
    with tempfile.TemporaryDirectory(dir=files[0].parent) as folder:
        stage_many(Path(folder) / "staged", files[0], STAGED)
        print(f"reading back {STAGED:,} records: {child('--read-back', folder + '/staged'):.0f} MB")


def read_back(folder: Path) -> None:
    assert len(Staging(folder).rows()), "nothing was staged"
    print_own_peak()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--imagededup", default="")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--stream", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--read-back", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.stream:
        return stream(given.stream)
    if given.read_back:
        return read_back(given.read_back)
    corpus = given.corpus or Path(tempfile.mkdtemp())
    try:
        files = write(corpus, given.count)
        if given.memory:
            return memory(files)
        speed(files, given.imagededup)
        accuracy(files[:: max(len(files) // (2 * SAMPLE), 1)])
    finally:
        if not given.corpus:
            shutil.rmtree(corpus)
    return None


if __name__ == "__main__":
    main()
