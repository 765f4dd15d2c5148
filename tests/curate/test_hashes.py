import imagehash
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from curate.hashes import POSES, apply_pose, pose_hashes, thumb32

NAMES = ["same", "rot90", "rot180", "rot270"]
NAMES += ["mirror", "rot90 mirror", "rot180 mirror", "rot270 mirror"]


def reference(gray):
    return int(str(imagehash.phash(Image.fromarray(gray))), 16)


def smooth(seed, side=32, frequencies=4):
    """A picture of a few low frequencies, each with its own random phase and weight."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    picture = np.zeros((side, side))
    for _ in range(frequencies * 3):
        u, v = rng.uniform(0, frequencies, 2)
        picture += rng.normal() * np.cos(2 * np.pi * (u * x + v * y) + rng.uniform(0, 6.3))
    picture -= picture.min()
    return (picture / picture.max() * 255).astype(np.uint8)


def noise(seed, side=32):
    return np.random.default_rng(seed).integers(0, 256, (side, side), dtype=np.uint8)


def test_poses_are_the_eight_in_the_stated_order():
    assert [pose.name for pose in POSES] == NAMES
    square = np.arange(9).reshape(3, 3)
    assert len({apply_pose(square, pose).tobytes() for pose in POSES}) == 8


def test_turn_is_clockwise_and_comes_before_the_mirror():
    corner = np.array([[1, 2, 3], [4, 5, 6]])
    assert apply_pose(corner, POSES[1]).tolist() == [[4, 1], [5, 2], [6, 3]]
    assert apply_pose(corner, POSES[5]).tolist() == [[1, 4], [2, 5], [3, 6]]


def test_apply_pose_keeps_channels():
    colour = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    assert apply_pose(colour, POSES[3]).shape == (4, 2, 3)
    assert apply_pose(colour, POSES[4])[0, 0].tolist() == colour[0, -1].tolist()


@pytest.mark.parametrize("make", [noise, smooth])
@pytest.mark.parametrize("column", range(8), ids=NAMES)
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_every_pose_is_bit_identical_to_imagehash_on_the_posed_thumbnail(make, column, seed):
    thumb = make(seed)
    ours = int(pose_hashes(thumb[None])[0, column])
    assert ours == reference(apply_pose(thumb, POSES[column]))


@pytest.mark.parametrize("shape", [(480, 640), (61, 33), (32, 32), (20, 25)])
@pytest.mark.parametrize("seed", range(5))
def test_whole_images_hash_as_imagehash_hashes_them(shape, seed):
    gray = np.asarray(Image.fromarray(smooth(seed, 64)).resize(shape[::-1]))
    assert f"{pose_hashes(thumb32(gray)[None])[0, 0]:016x}" == str(
        imagehash.phash(Image.fromarray(gray))
    )


def test_a_batch_is_hashed_as_its_members_are():
    thumbs = np.stack([noise(n) for n in range(7)])
    batch = pose_hashes(thumbs)
    assert batch.shape == (7, 8)
    assert batch.dtype == np.uint64
    assert np.array_equal(batch, np.concatenate([pose_hashes(thumb[None]) for thumb in thumbs]))


def test_no_thumbnails_give_no_hashes():
    assert pose_hashes(np.empty((0, 32, 32), np.uint8)).shape == (0, 8)


def test_the_hashes_of_a_posed_thumbnail_are_a_reordering_of_its_own():
    thumb = smooth(3)
    own = sorted(pose_hashes(thumb[None])[0].tolist())
    for pose in POSES:
        assert sorted(pose_hashes(apply_pose(thumb, pose)[None])[0].tolist()) == own


@pytest.mark.parametrize("level", [1, 77, 128, 255])
def test_a_flat_picture_has_only_its_mean_above_the_median(level):
    flat = np.full((1, 32, 32), level, np.uint8)
    assert set(pose_hashes(flat)[0].tolist()) == {2**63}


def test_a_black_picture_has_no_bit_set():
    assert not pose_hashes(np.zeros((1, 32, 32), np.uint8)).any()


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_a_symmetric_picture_hashes_alike_in_its_symmetric_poses(seed):
    half = noise(seed)[:, :16]
    symmetric = np.hstack([half, half[:, ::-1]])
    hashes = pose_hashes(symmetric[None])[0]
    assert hashes[0] == hashes[4]
    assert hashes[2] == hashes[6]
