import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth import camera


def scene(height: int = 96, width: int = 72, seed: int = 0) -> camera.Image:
    knots = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3))
    return np.kron(knots, np.ones((8, 8, 1))).astype(np.uint8)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.integers(16, 90), st.integers(16, 90))
def test_shoot_is_the_same_for_a_seed_and_keeps_size_and_input(seed, height, width):
    rgb = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    before = rgb.copy()
    first, drawn = camera.shoot(rgb, np.random.default_rng(seed))
    again, drawn_again = camera.shoot(rgb, np.random.default_rng(seed))
    assert np.array_equal(first, again)
    assert drawn == drawn_again
    assert first.shape == rgb.shape
    assert first.dtype == np.uint8
    assert np.array_equal(rgb, before)


def test_shoot_differs_between_seeds():
    shots = {camera.shoot(scene(), np.random.default_rng(seed))[0].tobytes() for seed in range(8)}
    assert len(shots) == 8


def test_parameters_stay_in_their_ranges_and_fit_into_json():
    drawn = [camera.shoot(scene(), np.random.default_rng(seed))[1] for seed in range(60)]
    ranges = {
        "k1": (-0.1, 0.1),
        "blur_px": (1, 7),
        "vignette": (0, 0.35),
        "iso": (50, 800),
        "kelvin": (4200, 6500),
        "cast_left": (0, 1),
    }
    for name, (low, high) in ranges.items():
        values = [one[name] for one in drawn]
        assert low <= min(values) < max(values) <= high
    passes = [[int(quality) for quality in one["jpeg"].split()] for one in drawn]
    assert {len(one) for one in passes} == {1, 2, 3}
    assert all(75 <= quality <= 95 for one in passes for quality in one)
    json.dumps(drawn)


def test_no_distortion_leaves_the_image():
    assert np.array_equal(camera.radial(scene(), 0.0), scene())


@pytest.mark.parametrize("k1", [-0.1, 0.1])
def test_distortion_never_shows_what_lies_outside(k1):
    framed = np.full((80, 60, 3), 200, np.uint8)
    x, y = np.meshgrid(np.arange(60, dtype=np.float32), np.arange(80, dtype=np.float32))
    ramp = np.stack([x, y, x], axis=-1).astype(np.uint8)
    bent = camera.radial(ramp, k1)
    assert np.array_equal(camera.radial(framed, k1), framed)
    # A replicated border would repeat the outermost value along the edge.
    assert (np.diff(bent[40, :, 0].astype(int)) >= 0).all()
    assert bent[40, 30, 0] == pytest.approx(30, abs=1)


def test_distortion_bends_outwards_or_inwards_by_its_sign():
    x = np.tile(np.arange(200, dtype=np.float32)[None, :, None], (200, 1, 3))
    inwards, outwards = (camera.radial(x, k1)[100, :, 0] for k1 in (-0.1, 0.1))
    # How many source pixels a pixel steps over, in the middle and near the edge.
    assert np.diff(outwards)[90:110].mean() < 0.95 * np.diff(outwards)[170:190].mean()
    assert np.diff(inwards)[90:110].mean() > 1.05 * np.diff(inwards)[170:190].mean()


def test_blur_of_one_pixel_changes_nothing_and_longer_ones_smear_along_their_line_only():
    lines = np.zeros((60, 60, 3), np.float32)
    lines[:, ::6] = 1
    assert np.allclose(camera.motion_blur(lines, 1, 30), lines, atol=1e-6)
    along = camera.motion_blur(lines, 7, 90)[12:48, 12:48]
    across = camera.motion_blur(lines, 7, 0)[12:48, 12:48]
    assert np.allclose(along, lines[12:48, 12:48], atol=1e-5)
    assert across.std() < 0.3 * along.std()
    assert across.mean() == pytest.approx(along.mean(), rel=0.01)


def test_vignette_is_one_in_the_middle_and_weakest_in_the_corners():
    gains = camera.vignette((81, 61), 0.35)
    assert gains[40, 30] == pytest.approx(1)
    assert gains[0, 0] == pytest.approx(0.65, abs=0.02)
    assert gains.min() >= 0.65 - 1e-6


@pytest.mark.parametrize(("level", "iso"), [(0, 800), (64, 200), (128, 800), (255, 1600)])
def test_noise_has_the_deviation_of_its_formula(level, iso):
    flat = np.full((200, 200, 3), level / 255, np.float32)
    noise = (camera.sensor_noise(flat, iso, np.random.default_rng(0)) - flat) * 255
    assert noise.std() == pytest.approx(np.hypot(np.sqrt(level) * iso / 1600, 1.5), rel=0.02)
    assert abs(noise.mean()) < 0.15


# CIE xy of black bodies: Wyszecki and Stiles, Color Science, table 1(3.11).
@pytest.mark.parametrize(
    ("kelvin", "x", "y"), [(4000, 0.3805, 0.3768), (5000, 0.3451, 0.3516), (6500, 0.3135, 0.3237)]
)
def test_black_bodies_have_their_known_colours(kelvin, x, y):
    assert camera.planckian(kelvin) == pytest.approx((x, y), abs=0.001)


def test_white_stays_white_and_warm_light_is_yellow_and_cool_light_blue():
    assert camera.white_gains(*camera.WHITE) == pytest.approx([1, 1, 1], abs=0.002)
    assert camera.cast(camera.DAYLIGHT) == pytest.approx([1, 1, 1])
    red, _, blue = camera.cast(4200)
    assert red > 1 > blue
    red, _, blue = camera.cast(6500)
    assert red < 1 < blue


def test_jpeg_hurts_more_at_lower_quality():
    def loss(qualities: list[int]) -> float:
        return float(np.abs(camera.recompress(scene(), qualities).astype(int) - scene()).mean())

    assert loss([]) == 0
    assert loss([95]) < loss([75]) < loss([30])


def test_floats_round_and_clip():
    values = np.array([[[-1, 0, 0.5 / 255]], [[1, 2, 254.4 / 255]]], np.float32)
    assert camera.to_uint8(values).ravel().tolist() == [0, 0, 1, 255, 255, 254]
