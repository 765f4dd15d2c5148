import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.agreement import Spot, View
from curate.duplicates import MOST_DRIFT
from curate.rigid import SIDE, START, drift

SHAPE = (320, 400)


def scene(seed, shape=SHAPE):
    """Blurred noise: structure at many scales, as photographs have."""
    rng = np.random.default_rng(seed)
    layers = [
        cv2.resize(rng.normal(size=(n, n)) / n**0.5, shape[::-1], interpolation=cv2.INTER_CUBIC)
        for n in (3, 6, 12, 24, 48)
    ]
    return cv2.normalize(np.sum(layers, axis=0), None, 20, 235, cv2.NORM_MINMAX).astype(np.uint8)


def exposed(seed, pixels=0.0, noise=0.0):
    """A head of another scene before the scene, moved to the right; with noise of its own."""
    matrix = np.array([[1.0, 0, pixels], [0, 1, 0]])
    head = cv2.warpAffine(scene(seed + 1000), matrix, SHAPE[::-1], borderMode=cv2.BORDER_REFLECT)
    oval = np.zeros(SHAPE, np.float32)
    cv2.ellipse(oval, (200, 170), (80, 110), 0, 0, 360, 1.0, -1)
    oval = cv2.warpAffine(cv2.GaussianBlur(oval, (0, 0), 3), matrix, SHAPE[::-1])
    grains = np.random.default_rng(seed + int(noise > 0)).normal(0, noise, SHAPE)
    return np.clip(oval * head + (1 - oval) * scene(seed) + grains, 0, 255).astype(np.uint8)


def apart(one, other, **spots):
    return drift(View(one, spots.get("a")), View(other, spots.get("b")))


def jpeg(image, quality):
    return cv2.imdecode(cv2.imencode(".jpg", image, [1, quality])[1], cv2.IMREAD_GRAYSCALE)


def rotated(image, border):
    height, width = image.shape
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), 3, 1)
    return cv2.warpAffine(image, matrix, (width, height), borderMode=border)


COPIES = {
    "the same": lambda x: x,
    "jpeg 30": lambda x: jpeg(x, 30),
    "half size": lambda x: cv2.resize(x, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "blurred": lambda x: cv2.GaussianBlur(x, (0, 0), 2),
    "8 % crop": lambda x: x[26:-26, 32:-32],
    "8 % crop at a corner": lambda x: x[51:, 64:],
    "3 degrees": lambda x: rotated(x, cv2.BORDER_REPLICATE),
    "3 degrees, black corners": lambda x: rotated(x, cv2.BORDER_CONSTANT),
    "burnt out": lambda x: np.clip(x * 1.2 + 8.0, 0, 255).astype(np.uint8),
    "gamma .6": lambda x: (255 * (x / 255) ** 0.6).astype(np.uint8),
    "noisy": lambda x: np.clip(x + np.random.default_rng(0).normal(0, 5, x.shape), 0, 255).astype(
        np.uint8
    ),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("alter", COPIES.values(), ids=COPIES)
def test_a_copy_lies_under_one_map(seed, alter):
    image = exposed(seed)
    assert apart(image, alter(image)) <= MOST_DRIFT
    assert apart(alter(image), image) <= MOST_DRIFT


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("alter", COPIES.values(), ids=COPIES)
def test_a_head_that_moved_does_not(seed, alter):
    assert apart(exposed(seed), alter(exposed(seed, 4, noise=3))) > MOST_DRIFT


@pytest.mark.parametrize("pixels", [2, 3, 4, 6])
def test_it_is_about_the_pixels_of_the_move(pixels):
    wide = pixels * SIDE / SHAPE[1]
    assert 0.5 * wide < apart(exposed(1), exposed(1, pixels)) < 1.3 * wide


def test_what_moved_as_a_whole_did_not_move():
    image = exposed(5)
    assert apart(image, np.roll(image, 7, axis=1)[:, 7:]) <= MOST_DRIFT


def test_faces_bring_together_what_lies_too_far_apart():
    image = exposed(2)
    part = image[60:280, 90:310]
    spots = {"a": Spot(200, 170, 80), "b": Spot(110, 110, 80)}
    assert apart(image, part, **spots) <= MOST_DRIFT


def test_flat_pictures_have_nothing_that_could_move():
    flat = np.full(SHAPE, 128, np.uint8)
    assert apart(flat, flat) is None


@pytest.mark.parametrize("blur", [8, 12])
def test_of_a_picture_too_soft_to_be_read_nobody_says_that_nothing_moved(blur):
    one, other = (cv2.GaussianBlur(exposed(1, move) // 2 + 60, (0, 0), blur) for move in (0, 8))
    assert apart(one, other) is None


def test_two_tones_are_compared_without_a_warning():
    image = np.where(scene(4) > 128, 200, 60).astype(np.uint8)
    assert apart(image, image) is not None
    spot = np.full(SHAPE, 60, np.uint8)
    spot[100:104, 100:104] = 200
    apart(spot, np.roll(spot, 1, axis=1))


def test_small_pictures_cannot_be_told():
    small = cv2.resize(scene(1), (START - 1, START - 1))
    assert apart(small, small) is None


def test_burnt_pictures_cannot_be_told():
    image = scene(3)
    assert apart(image, np.maximum(image, 254)) is None


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 50), st.integers(-6, 6), st.integers(0, 6))
def test_it_is_a_distance(seed, pixels, noise):
    found = apart(exposed(seed), exposed(seed, pixels, noise))
    assert found is None or 0 <= found < SIDE
