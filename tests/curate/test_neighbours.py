import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate import neighbours
from curate.hashes import POSES, apply_pose, pose_hashes
from curate.neighbours import CROWD, MAX_RADIUS, cross_join, self_join


def brute(new, old, radius, *, upper):
    """Every (i, j, pose, distance) by comparing all with all."""
    bits = np.bitwise_count(new[:, None, :] ^ old[None, :, 0, None]).astype(int)
    pose, distance = bits.argmin(2), bits.min(2)
    near = distance <= radius
    if upper:
        near &= np.arange(len(new))[:, None] < np.arange(len(old))
    i, j = np.nonzero(near)
    return list(zip(i, j, pose[i, j], distance[i, j], strict=True))


def rows(pairs):
    return list(zip(*(column.tolist() for column in pairs), strict=True))


def planted(rng, count, copies, radius):
    """Random hashes, some of them within radius + 2 bits of a pose of another."""
    poses = rng.integers(0, 2**64, (count, 8), dtype=np.uint64)
    for _ in range(copies):
        i, j = rng.choice(count, 2, replace=False)
        flipped = rng.choice(64, rng.integers(0, radius + 3), replace=False)
        change = np.bitwise_or.reduce(np.uint64(1) << flipped.astype(np.uint64), initial=0)
        poses[j, 0] = poses[i, rng.integers(8)] ^ change
    return poses


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(2, 60),
    radius=st.integers(0, MAX_RADIUS),
    shared=st.sampled_from([1, 2, 3]),
)
def test_both_joins_equal_brute_force(seed, count, radius, shared):
    poses = planted(np.random.default_rng(seed), count, count, radius)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours, "_blocks_to_share", lambda *_: shared)
        assert rows(self_join(poses, radius)) == brute(poses, poses, radius, upper=True)
        new, old = poses[: count // 2], poses[count // 2 :]
        assert rows(cross_join(new, old, radius)) == brute(new, old, radius, upper=False)


@pytest.fixture(scope="module")
def ten_thousand():
    """Ten thousand rows of poses, and the pairs among them by comparing all with all."""
    poses = planted(np.random.default_rng(1), 10_000, 3_000, 8)
    best = {}
    for pose in range(8):
        for start in range(0, 10_000, 50):
            bits = np.bitwise_count(poses[start : start + 50, pose, None] ^ poses[:, 0])
            for i, j in np.argwhere(bits <= 8).tolist():
                if start + i < j:
                    found = (int(bits[i, j]), pose)
                    best[start + i, j] = min(found, best.get((start + i, j), found))
    return poses, [(*pair, pose, distance) for pair, (distance, pose) in sorted(best.items())]


@pytest.mark.parametrize("threads", [1, 2])
def test_ten_thousand_equal_brute_force(ten_thousand, threads):
    poses, expected = ten_thousand
    assert len(expected) > 1000
    assert rows(self_join(poses, threads=threads)) == expected


@pytest.mark.parametrize(("bits", "found"), [(8, 1), (9, 0)], ids=["at radius", "just beyond"])
def test_the_radius_is_inclusive(bits, found):
    poses = np.random.default_rng(0).integers(0, 2**64, (2, 8), dtype=np.uint64)
    poses[1, 0] = poses[0, 5] ^ np.uint64((1 << bits) - 1)
    assert len(self_join(poses, 8).i) == found


def test_the_nearest_pose_wins_and_the_first_among_equals():
    poses = np.zeros((2, 8), np.uint64)
    poses[0] = np.array([2**60 - 1, 7, 3, 1, 1, 2**50 - 1, 1, 15], np.uint64)
    pairs = self_join(poses)
    assert rows(pairs) == [(0, 1, 3, 1)]


def test_the_relation_turns_the_first_image_into_the_second():
    thumb = np.random.default_rng(5).integers(0, 256, (32, 32), dtype=np.uint8)
    for number, pose in enumerate(POSES):
        both = np.stack([thumb, apply_pose(thumb, pose)])
        assert rows(self_join(pose_hashes(both))) == [(0, 1, number, 0)]


def test_ten_thousand_black_images_make_a_star_and_not_fifty_million_pairs():
    rng = np.random.default_rng(2)
    poses = np.concatenate([planted(rng, 500, 100, 8), np.zeros((10_000, 8), np.uint64)])
    poses[499] = 0
    pairs = self_join(poses)
    black = pairs.i == 499
    assert black.sum() == 10_000
    assert set(pairs.j[black]) == set(range(500, 10_500))
    assert not pairs.distance[black].any()
    assert not pairs.pose[black].any()
    assert rows(self_join(poses[:499])) == rows(pairs)[: (~black).sum()]


def test_as_many_equal_images_as_a_crowd_may_hold_are_all_paired():
    poses = np.repeat(np.random.default_rng(3).integers(0, 2**64, (1, 8), dtype=np.uint64), 33, 0)
    assert CROWD == 32
    assert len(self_join(poses[:32]).i) == 32 * 31 // 2
    assert len(self_join(poses).i) == 32


def test_a_neighbour_of_a_crowd_is_paired_with_its_first_member_only():
    crowd = np.repeat(np.random.default_rng(4).integers(0, 2**64, (1, 8), dtype=np.uint64), 50, 0)
    near = crowd[:1].copy()
    near[0, 0] ^= np.uint64(7)
    pairs = self_join(np.concatenate([crowd, near]))
    assert [row for row in rows(pairs) if 50 in row[:2]] == [(0, 50, 0, 3)]
    assert rows(cross_join(near, crowd)) == [(0, 0, 0, 3)]


def test_a_crowd_of_new_images_is_linked_to_the_old_one_each():
    black = np.zeros((100, 8), np.uint64)
    assert rows(cross_join(black, black)) == [(n, 0, 0, 0) for n in range(100)]


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_images_make_no_pair(count):
    poses = np.ones((count, 8), np.uint64)
    assert len(self_join(poses).i) == 0
    assert len(cross_join(poses, poses[:0]).i) == 0


@pytest.mark.parametrize("radius", [-1, MAX_RADIUS + 1])
def test_a_radius_beyond_the_tables_is_refused(radius):
    with pytest.raises(ValueError, match=f"radius is {radius} bits"):
        self_join(np.zeros((2, 8), np.uint64), radius)


@pytest.mark.parametrize(
    "poses", [np.zeros((2, 8), np.int64), np.zeros((2, 7), np.uint64), np.zeros(8, np.uint64)]
)
def test_other_shapes_and_dtypes_are_refused(poses):
    with pytest.raises(ValueError, match="must be"):
        self_join(poses)


def test_only_neighbours_loads_numba():
    code = (
        "import sys, curate.hashes, curate.splits, curate.duplicates; print('numba' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_it_works_where_no_compiled_code_can_be_kept(tmp_path):
    package = tmp_path / "curate"
    shutil.copytree(
        Path(neighbours.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__")
    )
    (package / "__pycache__").touch()  # a file where numba wants a folder
    code = "import numpy as n; import curate.neighbours as m; "
    code += "print(len(m.self_join(n.zeros((3, 8), n.uint64)).i), m.__file__)"
    env = {**os.environ, "HOME": os.devnull, "PYTHONPATH": str(tmp_path)}
    for name in ("XDG_CACHE_HOME", "NUMBA_CACHE_DIR"):
        env.pop(name, None)
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=env,
        cwd=tmp_path,
    )
    assert done.stdout.split() == ["3", str(package / "neighbours.py")]


def test_compile_falls_back_when_numba_finds_no_place_for_its_cache(monkeypatch):
    real = neighbours.numba.njit
    asked = []

    def njit(**options):
        asked.append(options.get("cache", False))
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available for file")
        return real(**options)

    monkeypatch.setattr(neighbours.numba, "njit", njit)
    assert neighbours._compile(lambda x: x + 1)(1) == 2
    assert asked == [True, False]
