"""CPU seconds and memory of the all-pairs join through canonical poses, against brute force.

    python tests/benchmarks/bench_join.py [count ...]

Two sets of each size: random bits, and face-like ones (hashes of random thumbnails whose amplitudes
fall with frequency as those of photographs do, so that buckets are uneven). Of both, 15 % are near
copies of others: of the random set within 8 bits, of the face-like one turned, mirrored and noisy.
Brute force compares the same hashes by numpy's bitwise_count: a sample of rows, scaled up, which
also checks the join pair by pair. Then new batches are joined against the whole set, and last,
canonical poses are compared with searching all 8 poses of the face-like copies.
"""

import re
import sys
import time
from pathlib import Path

import numpy as np

from curate.hashes import POSES, apply_pose, canonical_poses, pose_hashes
from curate.neighbours import cross_join, self_join
from curate.pigeonhole import near

RADIUS = 8
PLANTED = 0.15
SAMPLE = 17_000_000_000  # comparisons that brute force really makes: all of them at 100,000 images
CHUNK = 10_000  # thumbnails drawn at a time
MOST_DRAWN = 1_000_000  # more face-like thumbnails take longer to draw than to join
BATCHES = (100, 1_000, 10_000)
WAVES = np.cos(np.pi * np.outer(np.arange(12), 2 * np.arange(32) + 1) / 64)
FALL = 1 / (1 + np.hypot(*np.mgrid[:12, :12])) ** 1.5


def random_set(rng, count):
    """Return random poses of which one, of a third two, may be canonical."""
    poses = rng.integers(0, 2**64, (count, 8), dtype=np.uint64)
    canonical = 1 << rng.integers(0, 8, count) | (rng.random(count) < 0.35)
    copies = int(count * PLANTED)
    flips = np.zeros(copies, np.uint64)
    for _ in range(RADIUS):
        flips |= np.uint64(1) << rng.integers(0, 64, copies, dtype=np.uint64)
    lowest = [np.log2(masks & -masks).astype(int) for masks in np.split(canonical, [copies])]
    rows = np.arange(copies)
    poses[rows, lowest[0]] = poses[copies + rows, lowest[1][:copies]] ^ flips
    return poses, canonical.astype(np.uint8)


def thumbs(rng, count):
    """Return face-like thumbnails; the first 15 % are turned, mirrored, noisy copies of others."""
    weights = rng.normal(size=(count, 12, 12)) * FALL
    weights[:, 0, 0] = 0  # the mean is set below
    drawn = WAVES.T @ weights @ WAVES
    drawn = 127 + 40 * drawn / drawn.std(axis=(1, 2), keepdims=True)
    copies = int(count * PLANTED)
    for n, pose in enumerate(rng.integers(0, 8, copies)):
        drawn[n] = apply_pose(drawn[copies + n], POSES[pose])
    drawn[:copies] += rng.normal(size=(copies, 32, 32)) * rng.uniform(0, 25, (copies, 1, 1))
    return drawn.clip(0, 255).astype(np.uint8)


def face_like_set(rng, count):
    parts = [thumbs(rng, min(CHUNK, count - start)) for start in range(0, count, CHUNK)]
    hashed = [(pose_hashes(part), canonical_poses(part)) for part in parts]
    return tuple(np.concatenate(columns) for columns in zip(*hashed, strict=True))


def canonical_hashes(poses, canonical):
    row, pose = np.nonzero(
        np.unpackbits(canonical[:, None] | np.uint8(1), axis=1, bitorder="little")
    )
    return row, poses[row, pose]


def brute_force(poses, canonical, rows):
    """Return the pairs {(i, j)} of rows i with any other j, and the CPU seconds it took."""
    row, hashes = canonical_hashes(poses, canonical)
    found, start = set(), time.process_time()
    for n in np.flatnonzero(np.isin(row, rows)).tolist():
        near = row[np.bitwise_count(hashes ^ hashes[n]) <= RADIUS]
        found |= {(min(row[n], j), max(row[n], j)) for j in near.tolist() if j != row[n]}
    return {(int(i), int(j)) for i, j in found}, time.process_time() - start


def timed(function, *args):
    start = time.process_time()
    result = function(*args)
    return time.process_time() - start, result


def memory(what):
    """Return this process's memory in MB: VmRSS now, VmHWM at most."""
    return int(re.search(rf"{what}:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024


def join(name, poses, canonical):
    count, hashes = len(poses), int(np.bitwise_count(canonical | np.uint8(1)).sum())
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    before = memory("VmRSS")
    seconds, pairs = timed(self_join, poses, canonical, RADIUS)
    peak = memory("VmHWM")
    rows = np.random.default_rng(1).permutation(count)[: max(SAMPLE // hashes, 1)]
    expected, brute = brute_force(poses, canonical, rows)
    sampled = np.isin(pairs.i, rows) | np.isin(pairs.j, rows)
    got = set(zip(pairs.i[sampled].tolist(), pairs.j[sampled].tolist(), strict=True))
    assert got == expected, f"{len(got ^ expected)} of {len(expected)} pairs differ"
    brute *= hashes / 2 / max(np.bitwise_count(canonical[rows] | np.uint8(1)).sum(), 1)
    print(
        f"{name:10} {count:>10,} images, {hashes / count:.2f} hashes each: {seconds:7.2f} CPU-s, "
        f"{len(pairs.i):>9,} pairs, peak {peak:.0f} MB ({peak - before:.0f} MB more than before); "
        f"brute force {brute:9.0f} CPU-s ({len(rows)} rows, {len(expected)} pairs equal), "
        f"{brute / seconds:6.0f} x",
        flush=True,
    )


def plain(name, poses):
    """Print what all pairs of one hash an image cost."""
    hashes = np.ascontiguousarray(poses[:, 0])
    seconds, found = timed(near, hashes, hashes, RADIUS)
    print(f"{name:10} {len(hashes):>10,} hashes: {seconds:7.2f} CPU-s, {len(found[0]):>9,} pairs",
          flush=True)  # fmt: skip


def batches(name, make, poses, canonical):
    for count in BATCHES:
        new = make(np.random.default_rng(2), count)
        seconds, pairs = timed(cross_join, *new, poses, canonical, RADIUS)
        print(
            f"{name:10} {count:>10,} new against {len(poses):,} old: {seconds:6.3f} CPU-s, "
            f"{seconds / count * 1e6:7.1f} us each, {len(pairs.i)} pairs",
            flush=True,
        )


def recall(count):
    """Print how many planted copies each search finds, and how many hashes an image it needs."""
    poses, canonical = face_like_set(np.random.default_rng(3), count)
    copies = int(count * PLANTED)
    first, second = poses[:copies], poses[copies : 2 * copies]
    all_eight = np.bitwise_count(first ^ second[:, :1]).min(axis=1) <= RADIUS
    pairs = self_join(poses, canonical, RADIUS)
    found = np.zeros(copies, bool)
    found[pairs.i[pairs.j == pairs.i + copies]] = True
    print(
        f"{copies} face-like copies: {found.sum()} found through canonical poses, "
        f"{all_eight.sum()} by searching all 8 poses; {(found & all_eight).sum()} by both",
        flush=True,
    )


if __name__ == "__main__":
    self_join(*random_set(np.random.default_rng(0), 10), RADIUS)  # compile first
    for size in [int(arg) for arg in sys.argv[1:]] or [100_000, 1_000_000]:
        sets = {"random": random_set, "face-like": face_like_set}
        if size > MOST_DRAWN:
            del sets["face-like"]
        for title, maker in sets.items():
            made = maker(np.random.default_rng(0), size)
            plain(title, made[0])
            join(title, *made)
            batches(title, maker, *made)
    recall(CHUNK)
