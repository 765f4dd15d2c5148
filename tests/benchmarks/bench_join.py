"""CPU seconds of the all-pairs join in all 8 poses, against comparing all with all.

    python tests/benchmarks/bench_join.py [count ...]

Two sets of each size: random bits, and face-like ones (pHashes of random thumbnails whose
amplitudes fall with frequency as those of photographs do, so that buckets are uneven). In both,
15 % are planted within 8 bits of a pose of another image. Brute force is numpy's bitwise_count over
a sample of planted rows, scaled up; the sample also checks the join, pair by pair.
"""

import sys
import time

import numpy as np

from curate.hashes import pose_hashes
from curate.neighbours import self_join

RADIUS = 8
PLANTED = 0.15
SAMPLE = 200_000_000  # comparisons of brute force that are really made
CHUNK = 10_000  # thumbnails drawn at a time


def random_poses(rng, count):
    return rng.integers(0, 2**64, (count, 8), dtype=np.uint64)


def face_like_poses(rng, count):
    waves = np.cos(np.pi * np.outer(np.arange(12), 2 * np.arange(32) + 1) / 64)
    fall = 1 / (1 + np.hypot(*np.mgrid[:12, :12])) ** 1.5
    hashes = []
    for start in range(0, count, CHUNK):
        weights = rng.normal(size=(min(CHUNK, count - start), 12, 12)) * fall
        weights[:, 0, 0] = 0  # the mean is set below
        thumbs = waves.T @ weights @ waves
        thumbs = 127 + 40 * thumbs / thumbs.std(axis=(1, 2), keepdims=True)
        hashes.append(pose_hashes(thumbs.clip(0, 255).astype(np.uint8)))
    return np.concatenate(hashes)


def plant(rng, poses):
    """Bring some rows within RADIUS bits of a pose of earlier ones, which it returns."""
    count = int(len(poses) * PLANTED)
    originals, copies = np.sort(rng.permutation(len(poses))[: 2 * count].reshape(2, -1), axis=0)
    flips = np.zeros(count, np.uint64)
    for _ in range(RADIUS):
        flips |= np.uint64(1) << rng.integers(0, 64, count, dtype=np.uint64)
    poses[copies, 0] = poses[originals, rng.integers(0, 8, count)] ^ flips
    return originals


def brute_force(poses, rows):
    """Return the pairs {(i, j)} of rows i with any j above, and the CPU seconds it took."""
    start, found = time.process_time(), set()
    for i in rows.tolist():
        near = np.bitwise_count(poses[i, :, None] ^ poses[i + 1 :, 0]) <= RADIUS
        found |= {(i, i + 1 + int(j)) for j in np.flatnonzero(near.any(axis=0))}
    return found, time.process_time() - start


def run(name, make, count):
    rng = np.random.default_rng(0)
    poses = make(rng, count)
    planted = plant(rng, poses)
    start = time.process_time()
    pairs = self_join(poses, RADIUS)
    join = time.process_time() - start
    rows = np.unique(rng.permutation(planted)[: max(SAMPLE // (count * 4), 1)])
    expected, seconds = brute_force(poses, rows)
    sampled = np.isin(pairs.i, rows)
    got = set(zip(pairs.i[sampled].tolist(), pairs.j[sampled].tolist(), strict=True))
    assert got == expected, f"{len(got ^ expected)} of {len(expected)} pairs differ"
    brute = seconds * (count * (count - 1) / 2) / (count - 1 - rows).sum()
    print(
        f"{name:10} {count:>9,} images {join:8.2f} CPU-s, {len(pairs.i):>9,} pairs; "
        f"brute force {brute:9.0f} CPU-s ({len(rows)} rows tried, {len(expected)} pairs equal), "
        f"{brute / join:6.0f} x",
        flush=True,
    )


if __name__ == "__main__":
    self_join(random_poses(np.random.default_rng(0), 2))  # compile first
    for size in [int(argument) for argument in sys.argv[1:]] or [100_000, 1_000_000]:
        run("random", random_poses, size)
        run("face-like", face_like_poses, size)
