import imagehash
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from curate.hashes import (
    FAST_PIXELS,
    POSES,
    apply_pose,
    canonical_poses,
    exact,
    fast,
    pose_hashes,
)

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


def photo(seed, shape):
    """Something like a photograph of the shape (H, W): soft structure and a little grain."""
    rng = np.random.default_rng(seed)
    soft = np.asarray(Image.fromarray(smooth(seed, 64)).resize(shape[::-1]), float)
    grain = rng.normal(0, rng.uniform(0, 8), shape)
    return np.clip(soft * rng.uniform(0.3, 1) + grain + rng.uniform(0, 40), 0, 255).astype(np.uint8)


def references(gray):
    """imagehash's phash and dhash of the image really turned and mirrored."""
    posed = [Image.fromarray(apply_pose(gray, pose)) for pose in POSES]
    return tuple(
        np.array([int(str(function(image)), 16) for image in posed], np.uint64)
        for function in (imagehash.phash, imagehash.dhash)
    )


def bits_apart(a, b):
    return np.bitwise_count(a ^ b)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), height=st.integers(9, 300), width=st.integers(9, 300))
def test_exact_hashes_equal_imagehash_on_the_really_turned_and_mirrored_image(seed, height, width):
    gray = photo(seed, (height, width))
    hashed, (phash, dhash) = exact(gray), references(gray)
    assert hashed.phash.tolist() == phash.tolist()
    assert hashed.dhash.tolist() == dhash.tolist()


@pytest.mark.parametrize("shape", [(480, 640), (1440, 1080), (33, 700), (20, 25), (8, 9), (1, 1)])
def test_exact_hashes_equal_imagehash_at_any_size(shape):
    gray = noise(7, 1440)[: shape[0], : shape[1]]
    hashed, (phash, dhash) = exact(gray), references(gray)
    assert hashed.dhash.tolist() == dhash.tolist()
    if shape != (1, 1):  # flat: imagehash's coefficients are rounding noise
        assert hashed.phash.tolist() == phash.tolist()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), height=st.integers(24, 150), width=st.integers(24, 150))
def test_fast_hashes_of_a_small_image_are_pillows_but_for_ties(seed, height, width):
    gray = photo(seed, (height, width))
    quick, thorough = fast(gray), exact(gray)
    assert bits_apart(quick.phash[[0, 2, 4, 6]], thorough.phash[[0, 2, 4, 6]]).max() <= 4
    assert bits_apart(quick.dhash[[0, 2, 4, 6]], thorough.dhash[[0, 2, 4, 6]]).max() <= 4


def test_fast_hashes_are_near_exact_ones_on_average():
    rng = np.random.default_rng(0)
    apart = []
    for seed in range(60):
        gray = photo(seed, tuple(rng.integers(100, 700, 2)))
        quick, thorough = fast(gray), exact(gray)
        apart.append(
            [bits_apart(quick.phash, thorough.phash), bits_apart(quick.dhash, thorough.dhash)]
        )
    phash, dhash = np.mean(apart, axis=(0, 2))
    assert phash < 0.3
    assert dhash < 0.5
    assert np.max(apart) <= 8


@pytest.mark.parametrize("side", [1, 2])
def test_a_strip_longer_than_the_limit_is_hashed_too(side):
    strip = np.tile(np.linspace(0, 255, 2 * FAST_PIXELS + 1).astype(np.uint8), (side, 1))
    assert bits_apart(fast(strip).phash, exact(strip).phash).max() <= 8
    assert fast(strip.T).dhash[0] == 0  # no pixel is brighter than its left neighbour
    assert fast(strip).dhash[0] == 2**64 - 1
    assert fast(strip).dhash[4] == 0  # mirrored


@pytest.mark.parametrize("hash_it", [exact, fast])
def test_a_flat_image_has_equal_poses_and_may_lie_in_any_of_them(hash_it):
    hashed = hash_it(np.full((300, 400), 90, np.uint8))
    assert set(hashed.phash.tolist()) == {2**63}
    assert not hashed.dhash.any()
    assert hashed.canonical == 0b11111111


@pytest.mark.parametrize("hash_it", [exact, fast])
def test_dtypes_and_shapes(hash_it):
    hashed = hash_it(photo(0, (60, 80)))
    assert hashed.phash.dtype == hashed.dhash.dtype == np.uint64
    assert hashed.phash.shape == hashed.dhash.shape == (8,)
    assert isinstance(hashed.canonical, int)


@given(seed=st.integers(0, 2**32 - 1), pose=st.sampled_from(range(8)))
@settings(max_examples=60, deadline=None)
def test_an_image_and_itself_turned_share_a_canonical_hash(seed, pose):
    gray = smooth(seed, 64)
    one, other = exact(gray), exact(apply_pose(gray, POSES[pose]))
    canonical = [
        {int(image.phash[p]) for p in range(8) if image.canonical >> p & 1}
        for image in (one, other)
    ]
    assert canonical[0] & canonical[1]


def test_the_canonical_pose_is_bright_at_the_left_and_less_so_at_the_top():
    y, x = np.mgrid[:32, :32]
    thumb = (240 - 4 * x - 2 * y).astype(np.uint8)
    assert canonical_poses(thumb[None]).tolist() == [1]
    for number, pose in enumerate(POSES):
        mask = int(canonical_poses(apply_pose(thumb, pose)[None])[0])
        canonical = apply_pose(apply_pose(thumb, pose), POSES[mask.bit_length() - 1])
        assert mask.bit_count() == 1, number
        assert canonical.tolist() == thumb.tolist()


@pytest.mark.parametrize(("down", "poses"), [(0.4, 1), (0.2, 2), (3.9, 2), (3.4, 1)])
def test_an_image_near_the_border_of_two_poses_has_both(down, poses):
    y, x = np.mgrid[:32, :32]
    thumb = np.rint(200 - 4 * x - down * y).astype(np.uint8)
    assert int(canonical_poses(thumb[None])[0]).bit_count() == poses


def test_few_images_have_more_than_one_canonical_pose():
    noise = np.random.default_rng(0).normal(size=(500, 32, 32))
    walks = noise.cumsum(1).cumsum(2)  # amplitudes fall with frequency, as in photographs
    walks = 128 + 40 * (walks - walks.mean((1, 2), keepdims=True)) / walks.std(
        (1, 2), keepdims=True
    )
    bits = np.bitwise_count(canonical_poses(walks.clip(0, 255).astype(np.uint8)))
    assert bits.min() == 1
    assert bits.mean() < 1.4


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
