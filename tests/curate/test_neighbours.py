import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate import pigeonhole
from curate.hashes import POSES, apply_pose, canonical_poses, pose_hashes
from curate.neighbours import CROWD, cross_join, match, self_join
from curate.pigeonhole import MAX_RADIUS, MAX_SHARED, near


def every_join(poses, *args):
    """self_join where any pose may be the canonical one."""
    return self_join(poses, np.full(len(poses), 255, np.uint8), *args)


def every_cross(new, old):
    every = [np.full(len(poses), 255, np.uint8) for poses in (new, old)]
    return cross_join(new, every[0], old, every[1])


def bits_apart(queries, targets):
    """Return (N, M, P) distances of each query's P hashes to each target."""
    return np.bitwise_count(queries[:, None, :] ^ targets[None, :, None]).astype(int)


def brute(queries, targets, radius):
    """Every (i, j, p, distance) by comparing all with all."""
    bits = bits_apart(queries, targets)
    nearest, distance = bits.argmin(2), bits.min(2)
    i, j = np.nonzero(distance <= radius)
    return list(zip(i, j, nearest[i, j], distance[i, j], strict=True))


def brute_canonical(one, one_canonical, other, other_canonical, radius, *, upper=False):
    """Every (i, j, pose, distance) by comparing all canonical poses of all with all."""
    best = {}
    square = np.arange(9).reshape(3, 3)
    posed = [apply_pose(square, pose).tolist() for pose in POSES]
    for (p, first), (q, second) in product(enumerate(POSES), enumerate(POSES)):
        undone = next(
            pose
            for pose in POSES
            if apply_pose(apply_pose(square, second), pose).tolist() == posed[0]
        )
        relation = posed.index(apply_pose(apply_pose(square, first), undone).tolist())
        both = (((one_canonical | 1) >> p & 1)[:, None] & ((other_canonical | 1) >> q & 1)).astype(
            bool
        )
        bits = np.bitwise_count(one[:, p, None] ^ other[None, :, q]).astype(int)
        for i, j in np.argwhere(both & (bits <= radius)).tolist():
            if not upper or i < j:
                found = (bits[i, j], relation)
                best[i, j] = min(best.get((i, j), found), found)
    return [(*pair, relation, bits) for pair, (bits, relation) in sorted(best.items())]


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


@contextmanager
def forced(shared):
    """Force the number of blocks that groups share, and small groups to be sorted on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pigeonhole, "_blocks_to_share", lambda *_: shared)
        patch.setattr(pigeonhole, "FEW", 0)
        yield


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(2, 60),
    radius=st.integers(0, MAX_RADIUS),
    shared=st.integers(0, MAX_SHARED),
)
def test_both_joins_find_every_pair_of_canonical_poses(seed, count, radius, shared):
    rng = np.random.default_rng(seed)
    poses = planted(rng, count, 2 * count, radius)
    canonical = (rng.integers(0, 256, count) | 1 << rng.integers(0, 8, count)).astype(np.uint8)
    half = count // 2
    cut = poses[:half], canonical[:half], poses[half:], canonical[half:]
    every = poses, canonical, poses, canonical
    with forced(shared):
        assert rows(self_join(poses, canonical, radius)) == brute_canonical(
            *every, radius, upper=True
        )
        assert rows(cross_join(*cut, radius)) == brute_canonical(*cut, radius)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    sizes=st.tuples(st.integers(1, 60), st.integers(1, 60), st.integers(1, 8)),
    radius=st.integers(0, MAX_RADIUS),
    shared=st.integers(0, MAX_SHARED),
)
def test_match_equals_brute_force(seed, sizes, radius, shared):
    rng = np.random.default_rng(seed)
    count, targets, columns = sizes
    hashes = planted(rng, count + targets, 2 * (count + targets), radius)[:, :columns]
    queries, others = hashes[:count], hashes[count:, 0]
    with forced(shared):
        found = match(queries, others, radius)
    expected = [(i, p, j, distance) for i, j, p, distance in brute(queries, others, radius)]
    assert rows(found) == expected


@pytest.fixture(scope="module")
def many():
    """Many hashes of realistic unevenness, and the pairs among them by comparing all with all."""
    rng = np.random.default_rng(1)
    hashes = planted(rng, 12_000, 4_000, 8)[:, 0] | rng.integers(0, 2**64, dtype=np.uint64) >> 8
    found = []
    for start in range(0, len(hashes), 500):
        bits = np.bitwise_count(hashes[start : start + 500, None] ^ hashes)
        i, j = np.nonzero(bits <= 8)
        found += [(start + a, b) for a, b in zip(i.tolist(), j.tolist(), strict=True)]
    return hashes, {(i, j) for i, j in found if i < j}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("shared", [1, 2, 3, MAX_SHARED])
def test_many_equal_brute_force(many, threads, shared):
    hashes, expected = many
    assert len(expected) > 1000
    with forced(shared):
        one, other, _ = near(hashes, hashes, 8, threads=threads)
        both = match(hashes[:500, None], hashes[500:], threads=threads)
    pairs = list(zip(np.minimum(one, other).tolist(), np.maximum(one, other).tolist(), strict=True))
    assert len(pairs) == len(set(pairs))
    assert set(pairs) == expected
    assert set(zip(both.i.tolist(), (both.j + 500).tolist(), strict=True)) == {
        (i, j) for i, j in expected if i < 500 <= j
    }


@pytest.mark.parametrize(("bits", "found"), [(8, 1), (9, 0)], ids=["at radius", "just beyond"])
def test_the_radius_is_inclusive(bits, found):
    poses = np.random.default_rng(0).integers(0, 2**64, (2, 8), dtype=np.uint64)
    poses[1, 0] = poses[0, 5] ^ np.uint64((1 << bits) - 1)
    assert len(every_join(poses, 8).i) == found


def test_the_nearest_pose_wins_and_the_first_among_equals():
    hashes = np.array([[2**60 - 1, 7, 3, 1, 1, 2**50 - 1, 1, 15], [0] * 8], np.uint64)
    assert rows(match(hashes[:1], hashes[1:, 0])) == [(0, 3, 0, 1)]
    only_upright = np.array([255, 1], np.uint8)
    assert rows(self_join(hashes, only_upright)) == [(0, 1, 3, 1)]


def test_poses_that_are_not_canonical_are_not_searched():
    hashes = np.random.default_rng(6).integers(0, 2**64, (2, 8), dtype=np.uint64)
    hashes[1, 0] = hashes[0, 5]
    masks = np.array([[1 << 5, 1], [1 << 4, 1], [1 << 5, 2], [255, 255]], np.uint8)
    assert [len(self_join(hashes, mask).i) for mask in masks] == [1, 0, 1, 1]


def test_images_that_lie_alike_are_found_whatever_their_canonical_poses():
    hashes = np.random.default_rng(7).integers(0, 2**64, (2, 8), dtype=np.uint64)
    hashes[1, 0] = hashes[0, 0] ^ np.uint64(0b11111111)
    masks = np.array([1 << 5, 1 << 3], np.uint8)
    assert rows(self_join(hashes, masks)) == [(0, 1, 0, 8)]
    assert rows(cross_join(hashes[:1], masks[:1], hashes[1:], masks[1:])) == [(0, 0, 0, 8)]


def test_the_relation_turns_the_first_image_into_the_second():
    thumb = np.random.default_rng(5).integers(0, 256, (32, 32), dtype=np.uint8)
    for number, pose in enumerate(POSES):
        both = np.stack([thumb, apply_pose(thumb, pose)])
        pairs = self_join(pose_hashes(both), canonical_poses(both))
        assert rows(pairs) == [(0, 1, number, 0)]


def test_ten_thousand_black_images_make_a_star_and_not_fifty_million_pairs():
    rng = np.random.default_rng(2)
    poses = np.concatenate([planted(rng, 500, 100, 8), np.zeros((10_000, 8), np.uint64)])
    poses[499] = 0
    pairs = every_join(poses)
    black = pairs.i == 499
    assert black.sum() == 10_000
    assert set(pairs.j[black]) == set(range(500, 10_500))
    assert not pairs.distance[black].any()
    assert not pairs.pose[black].any()
    assert rows(every_join(poses[:499])) == rows(pairs)[: (~black).sum()]


def test_as_many_equal_images_as_a_crowd_may_hold_are_all_paired():
    poses = np.repeat(np.random.default_rng(3).integers(0, 2**64, (1, 8), dtype=np.uint64), 33, 0)
    assert CROWD == 32
    assert len(every_join(poses[:32]).i) == 32 * 31 // 2
    assert len(every_join(poses).i) == 32


def test_a_neighbour_of_a_crowd_is_paired_with_its_first_member_only():
    crowd = np.repeat(np.random.default_rng(4).integers(0, 2**64, (1, 8), dtype=np.uint64), 50, 0)
    beside = crowd[:1] ^ np.uint64(7)
    pairs = every_join(np.concatenate([crowd, beside]))
    assert [row for row in rows(pairs) if 50 in row[:2]] == [(0, 50, 0, 3)]
    assert rows(every_cross(beside, crowd)) == [(0, 0, 0, 3)]


def test_a_crowd_of_new_images_is_linked_to_the_old_one_each():
    black = np.zeros((100, 8), np.uint64)
    assert rows(every_cross(black, black)) == [(n, 0, 0, 0) for n in range(100)]


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_images_make_no_pair(count):
    poses = np.ones((count, 8), np.uint64)
    assert len(every_join(poses).i) == 0
    assert len(every_cross(poses, poses[:0]).i) == 0


@pytest.mark.parametrize("radius", [-1, MAX_RADIUS + 1])
def test_a_radius_beyond_the_tables_is_refused(radius):
    with pytest.raises(ValueError, match=f"radius is {radius} bits"):
        every_join(np.zeros((2, 8), np.uint64), radius)


@pytest.mark.parametrize(
    "poses", [np.zeros((2, 8), np.int64), np.zeros((2, 7), np.uint64), np.zeros(8, np.uint64)]
)
def test_other_shapes_and_dtypes_are_refused(poses):
    with pytest.raises(ValueError, match="must be"):
        every_join(poses)


def test_only_the_search_loads_numba():
    code = (
        "import sys, curate.hashes, curate.splits, curate.duplicates; print('numba' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_it_works_where_no_compiled_code_can_be_kept(tmp_path):
    package = tmp_path / "curate"
    shutil.copytree(
        Path(pigeonhole.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__")
    )
    (package / "__pycache__").touch()  # a file where numba wants a folder
    code = "import numpy as n; import curate.pigeonhole as m; "
    code += "h = n.zeros(3, n.uint64); print(len(m.near(h, h, 8)[0]), m.__file__)"
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
    assert done.stdout.split() == ["3", str(package / "pigeonhole.py")]


def test_compile_falls_back_when_numba_finds_no_place_for_its_cache(monkeypatch):
    real = pigeonhole.numba.njit
    asked = []

    def njit(**options):
        asked.append(options.get("cache", False))
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available for file")
        return real(**options)

    monkeypatch.setattr(pigeonhole.numba, "njit", njit)
    assert pigeonhole._compile(lambda x: x + 1)(1) == 2
    assert asked == [True, False]
