import json

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import ConfigError
from curate.schema import ATTACK_TYPES
from synth import attacks, surface
from synth.attacks import ATTACKS, simulate

KINDS = sorted(ATTACKS)
UPRIGHT = surface.Pose(0, 0, 0, 1, 0, 0, 0, 0)


def portrait(seed: int = 0, height: int = 256, width: int = 192) -> attacks.Image:
    """A light oval on shoulders before a smooth room: up and down differ."""
    rng = np.random.default_rng(seed)
    rgb = (surface.room((height, width), rng) * 120 + 60).astype(np.uint8)
    cv2.ellipse(rgb, (width // 2, height), (70, 80), 0, 180, 360, (40, 60, 120), -1)
    cv2.ellipse(rgb, (width // 2, int(0.4 * height)), (45, 60), 0, 0, 360, (220, 180, 160), -1)
    for side in (-18, 18):
        cv2.circle(rgb, (width // 2 + side, int(0.35 * height)), 6, (30, 20, 20), -1)
    return rgb


def difference(a: attacks.Image, b: attacks.Image) -> float:
    return float(np.abs(a.astype(int) - b).mean())


def test_names_are_attack_types_of_the_schema():
    assert set(ATTACKS) == {"print", "replay_phone", "replay_tablet", "replay_monitor"}
    assert set(ATTACKS) <= set(ATTACK_TYPES)


def test_unknown_attacks_are_refused_and_the_known_ones_named():
    with pytest.raises(ConfigError, match=r"'mask_3d'.*bonafide, print"):
        simulate(portrait(), "mask_3d", 0)


@pytest.mark.parametrize("kind", ["bonafide", *KINDS])
@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 2**31), height=st.integers(48, 130), width=st.integers(48, 130))
def test_any_size_and_seed_gives_the_same_image_twice(kind, seed, height, width):
    rgb = portrait(1, height, width)
    before = rgb.copy()
    shot, drawn = simulate(rgb, kind, seed)
    again, drawn_again = simulate(rgb, kind, seed)
    assert np.array_equal(shot, again)
    assert drawn == drawn_again == json.loads(json.dumps(drawn))
    assert shot.shape == rgb.shape
    assert shot.dtype == np.uint8
    assert np.array_equal(rgb, before)


@pytest.mark.parametrize("kind", ["bonafide", *KINDS])
def test_other_seeds_give_other_images(kind):
    assert len({simulate(portrait(), kind, seed)[0].tobytes() for seed in range(6)}) == 6


@pytest.mark.parametrize("kind", KINDS)
def test_the_camera_of_a_seed_does_not_depend_on_the_attack(kind):
    for seed in range(5):
        drawn = simulate(portrait(), kind, seed)[1]
        alone = simulate(portrait(), "bonafide", seed)[1]
        assert alone.items() <= drawn.items()
        assert len(drawn) > len(alone)


@pytest.mark.parametrize("kind", KINDS)
def test_an_attack_changes_more_than_the_camera_alone(kind):
    rgb = portrait()
    extra = [
        difference(simulate(rgb, kind, seed)[0], rgb)
        - difference(simulate(rgb, "bonafide", seed)[0], rgb)
        for seed in range(20)
    ]
    assert np.median(extra) > 5
    assert np.mean(np.array(extra) > 0) >= 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_attacks_stay_upright(kind):
    def alike(a: attacks.Image, b: attacks.Image) -> float:
        small = [cv2.resize(cv2.cvtColor(x, cv2.COLOR_RGB2GRAY), (24, 32)) for x in (a, b)]
        return float(np.corrcoef(small[0].ravel(), small[1].ravel())[0, 1])

    rgb = portrait()
    right = 0
    for seed in range(12):
        shot = simulate(rgb, kind, seed)[0]
        right += alike(shot, rgb) > alike(np.rot90(shot, 2).copy(), rgb)
    assert right >= 10


def spectrum(rgb: attacks.Image) -> np.ndarray:
    """Return the size of the spectrum of the middle, each frequency against its neighbours.

    Noise of any colour gives about 1 everywhere, a screen a few sharp peaks.
    """
    grey = rgb.astype(np.float32).mean(axis=-1)[48:208, 48:208]
    size = np.abs(np.fft.rfft2((grey - grey.mean()) * np.outer(np.hanning(160), np.hanning(160))))
    peaked = size / cv2.blur(size, (15, 15))
    rows, columns = np.meshgrid(np.fft.fftfreq(160), np.fft.rfftfreq(160), indexing="ij")
    peaked[np.hypot(rows, columns) < 1 / 13] = 0  # light and moire, not a screen
    return peaked


def shared(kind: str, mark: np.ndarray | float = 0.0) -> float:
    """Return the strongest peak of the median of 16 seeds, against the same without an attack."""
    flat = np.full((256, 256, 3), (150, 130, 110), np.uint8)
    attacked = [simulate(flat, kind, seed)[0] + mark for seed in range(16)]
    alone = [simulate(flat, "bonafide", seed)[0] for seed in range(16)]
    common = [np.median([spectrum(one) for one in shots], axis=0) for shots in (attacked, alone)]
    return float((common[0] / np.maximum(common[1], 0.5)).max())


@pytest.mark.parametrize("kind", KINDS)
def test_images_of_other_seeds_share_no_peak_that_the_camera_does_not_make(kind):
    assert shared(kind) < 3


def test_the_watermark_guard_notices_a_screen_that_is_in_every_image():
    screen = attacks._ordered((256, 256), 4.0, 15.0, np.random.default_rng(0))[..., None]
    assert shared("print", 4 * screen) > 5


@settings(max_examples=25, deadline=None)
@given(st.floats(0.5, 8), st.integers(0, 2**31), st.tuples(*[st.floats(0.1, 0.9)] * 3))
def test_halftone_keeps_the_tone_and_the_range(pitch, seed, colour):
    flat = np.empty((96, 96, 3), np.float32)
    flat[:] = colour
    screened = attacks.halftone(flat, pitch, np.random.default_rng(seed))
    assert screened.min() >= 0
    assert screened.max() <= 1
    assert screened.mean(axis=(0, 1)) == pytest.approx(flat[0, 0], abs=0.06)


def test_dots_finer_than_the_camera_sees_fade_away():
    flat = np.full((96, 96, 3), 0.5, np.float32)

    def ripple(pitch: float) -> float:
        rngs = [np.random.default_rng(seed) for seed in range(8)]
        return float(np.mean([attacks.halftone(flat, pitch, rng).std() for rng in rngs]))

    assert ripple(1.0) < 0.004 < ripple(2.0) < ripple(5.0)


def test_ordered_dots_lie_one_pitch_apart():
    pitch = 6.4
    field = attacks._ordered((320, 320), pitch, 0.0, np.random.default_rng(0))
    size = np.abs(np.fft.rfft2(field - field.mean()))
    y, x = np.unravel_index(size.argmax(), size.shape)
    # cos(2 pi x/p) cos(2 pi y/p) has its four peaks at (+-1/p, +-1/p).
    assert (min(y, 320 - y), x) == (50, 50)
    assert (field.min(), field.max()) == pytest.approx((0, 1), abs=0.02)


def test_prints_lift_black_and_screens_may_crush_it():
    dark = np.full((128, 96, 3), 12, np.uint8)
    lifted = [attacks.print_attack(dark, np.random.default_rng(seed))[0] for seed in range(20)]
    middle = [float(one[48:80, 36:60].mean()) for one in lifted]
    assert np.median(middle) > 20
    grey = np.full((2, 2, 3), 0.05, np.float32)
    quiet = {"curve": 0.0, "gamma": 1.0, "saturation": 1.0}
    crushed = attacks._screen_tone(grey, quiet | {"crush": 0.08, "glow": 0.0})
    glowing = attacks._screen_tone(grey, quiet | {"crush": 0.0, "glow": 0.1})
    assert crushed.max() == 0
    assert glowing.min() == pytest.approx(0.1 + 0.9 * 0.05, abs=1e-5)


def test_an_s_curve_adds_contrast_and_keeps_the_ends():
    ramp = np.linspace(0, 1, 101, dtype=np.float32)[:, None, None].repeat(3, axis=2)
    number = {"crush": 0.0, "curve": 0.8, "gamma": 1.0, "saturation": 1.0, "glow": 0.0}
    curved = attacks._screen_tone(ramp, number)[:, 0, 0]
    assert (curved[0], curved[50], curved[100]) == pytest.approx((0, 0.5, 1), abs=1e-5)
    assert curved[25] < 0.25 < 0.75 < curved[75]
    assert (np.diff(curved) > 0).all()


def test_a_thing_held_straight_and_full_is_the_picture_itself():
    thing = surface.to_floats(portrait())
    behind = np.zeros_like(thing)
    held = surface.present(thing, behind, UPRIGHT)
    assert np.abs(held - thing)[2:-2, 2:-2].max() < 2e-3


def test_a_smaller_thing_shows_the_room_around_it_and_shifts_by_its_shift():
    thing, behind = np.ones((100, 80, 3), np.float32), np.zeros((100, 80, 3), np.float32)
    held = surface.present(thing, behind, UPRIGHT._replace(scale=0.5, shift_x=0.1))
    rows, columns = np.nonzero(held[..., 0] > 0.5)
    assert (rows.min(), rows.max()) == pytest.approx((25, 74), abs=1)
    assert (columns.min(), columns.max()) == pytest.approx((28, 67), abs=1)


def test_a_turned_away_thing_is_narrower():
    thing, behind = np.ones((100, 80, 3), np.float32), np.zeros((100, 80, 3), np.float32)
    straight, turned = (
        surface.present(thing, behind, UPRIGHT._replace(scale=0.6, yaw=yaw)) for yaw in (0, 25)
    )
    assert turned.sum() < 0.97 * straight.sum()


def test_lamp_and_exposure_keep_what_they_promise():
    fall, spot = surface.lamp((90, 70), np.random.default_rng(3), slope=0.3, sheen=0.2)
    assert fall.min() >= 0.7 - 1e-6
    assert fall.max() <= 1.3 + 1e-6
    assert spot.min() >= 0
    assert spot.max() <= 0.2 + 1e-6
    tinted = np.full((40, 40, 3), (0.2, 0.3, 0.4), np.float32)
    assert surface.automatic(tinted, 0, 0) == pytest.approx(tinted)
    assert surface.automatic(tinted, 1, 1) == pytest.approx(0.45, abs=1e-3)


def test_visibility_falls_with_finer_pitch():
    seen = [surface.visibility(pitch) for pitch in (0.5, 1, 2, 4, 100)]
    assert seen == sorted(seen)
    assert seen[0] < 1e-6
    assert seen[-1] == pytest.approx(1, abs=0.01)
