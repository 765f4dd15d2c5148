"""Prints and replays of a bona fide image, photographed again.

Every number is drawn afresh for each image, and patterns fade with their pitch as a lens would make
them fade: a halftone of one fixed pitch is learnt as the generator's watermark (synthetic against
synthetic error 0, against real attacks .4; pad-synth-face, sweep of 2026-05-22). The tone curve,
black crush, saturation and automatic white balance of the replay carry more of a real replay than
moire does.
"""

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.errors import ConfigError
from curate.schema import BONAFIDE
from synth import surface
from synth.camera import Floats, Image, Parameters, planckian, shoot, to_uint8, white_gains

Attack = Callable[[Image, np.random.Generator], tuple[Image, Parameters]]
Range = tuple[float, float]

SCREEN_DEGREES = (15.0, 75.0, 0.0, 45.0)  # of cyan, magenta, yellow, black: the printers' custom


class Paper(NamedTuple):
    """A kind of paper: tone compression, shift of white in CIE xy, gamma, gloss."""

    compression: float
    shift: tuple[float, float]
    gamma: float
    sheen: Range


# Compression, shift and gamma: pad-synth-face, `print` layer; shares .45, .35, .20 there too.
PAPERS = {
    "matte": Paper(0.12, (0.012, 0.008), 1.10, (0.0, 0.05)),
    "glossy": Paper(0.05, (0.002, 0.001), 0.95, (0.0, 0.35)),
    "photo": Paper(0.03, (-0.003, -0.002), 0.92, (0.0, 0.30)),
}


class Display(NamedTuple):
    """A kind of screen: rows of pixels over the picture, and ranges of what each does to it."""

    rows: Range
    gamma: Range  # exponent on encoded values
    saturation: Range
    glow: Range  # light that black pixels still send out
    kelvin: Range
    bezel: Range  # of the width
    framed: float  # how often the border of the device is seen


DISPLAYS = {
    "replay_phone": Display(
        (600, 2200), (0.9, 1.2), (0.95, 1.4), (0, 0.03), (6200, 9000), (0.01, 0.06), 0.5
    ),
    "replay_tablet": Display(
        (500, 1500), (0.85, 1.15), (0.85, 1.2), (0.02, 0.1), (6000, 8500), (0.04, 0.12), 0.5
    ),
    "replay_monitor": Display(
        (160, 700), (0.75, 1.25), (0.8, 1.2), (0.02, 0.12), (5500, 9500), (0.01, 0.04), 0.2
    ),
}


def simulate(rgb: Image, attack_type: str, seed: int) -> tuple[Image, Parameters]:
    """Attack ``rgb`` and photograph the attack, or photograph it alone ("bonafide").

    The camera depends on ``seed`` alone, so a bona fide copy and an attack of one seed differ by
    nothing but the attack.

    Args:
        rgb: uint8, (height, width, 3), upright.
        attack_type: a key of ATTACKS, or "bonafide".
        seed: >= 0.

    Returns:
        uint8 of the same shape, and every number drawn.

    Raises:
        ConfigError: an attack type we cannot simulate.
    """
    if attack_type != BONAFIDE and attack_type not in ATTACKS:
        raise ConfigError(
            f"attack type {attack_type!r} cannot be simulated; "
            f"known: {', '.join((BONAFIDE, *ATTACKS))}.\nNext: choose one of these"
        )
    for_attack, for_camera = np.random.default_rng(seed).spawn(2)
    drawn: Parameters = {}
    if attack_type != BONAFIDE:
        rgb, drawn = ATTACKS[attack_type](rgb, for_attack)
    shot, camera = shoot(rgb, for_camera)
    return shot, surface.rounded(drawn | {f"camera_{key}": value for key, value in camera.items()})


def print_attack(rgb: Image, rng: np.random.Generator) -> tuple[Image, Parameters]:
    """Print ``rgb`` on paper and hold the sheet before a camera.

    Args:
        rgb: uint8, (height, width, 3).
        rng: the only source of chance.

    Returns:
        uint8 of the same shape, and the numbers drawn (not those of every jitter).
    """
    kind = str(rng.choice(list(PAPERS), p=[0.45, 0.35, 0.20]))
    paper = PAPERS[kind]
    dpi = int(rng.choice([150, 300, 600, 1200], p=[0.1, 0.4, 0.4, 0.1]))
    inches = rng.uniform(4, 11.7)
    pitch = rgb.shape[0] / inches / (dpi / rng.uniform(4, 10))
    framed = rng.random() < 0.5
    softness = rng.uniform(0.3, 1.3) * rgb.shape[0] / 512
    ink = cv2.GaussianBlur(surface.to_floats(rgb), (0, 0), softness)
    ink = _printer_tone(ink, paper, rng)
    ink = halftone(ink, pitch, rng)
    grain = _paper_grain(ink.shape, paper, rng)
    sheet = ink * grain
    if framed:
        sheet = _bordered(sheet, rng.uniform(0, 0.06), cv2.mean(grain)[:3])
    pose = surface.hold(rng, framed=framed, tilt=25, curl=0.012)
    scene = surface.present(sheet, surface.room(rgb.shape, rng), pose)
    sheen = rng.uniform(*paper.sheen)
    fall, spot = surface.lamp(rgb.shape, rng, slope=rng.uniform(0, 0.3), sheen=sheen)
    settings: Parameters = {"paper": kind, "dpi": dpi, "inches": inches, "pitch_px": pitch}
    settings |= {"softness_px": softness, "sheen": sheen, "framed": float(framed)}
    seen = surface.automatic(scene * fall + spot, rng.uniform(0, 0.7), rng.uniform(0, 0.6))
    return to_uint8(seen), settings | pose._asdict()


def _bordered(image: Floats, share: float, colour: tuple[float, ...]) -> Floats:
    """Add a border of one colour, ``share`` of the width."""
    edge = (max(1, round(share * image.shape[1])),) * 4
    framed: Floats = cv2.copyMakeBorder(image, *edge, cv2.BORDER_CONSTANT, value=colour)
    return framed


def _printer_tone(image: Floats, paper: Paper, rng: np.random.Generator) -> Floats:
    """Squeeze ``image`` into what inks on ``paper`` can show."""
    image = surface.saturate(image, 1 - paper.compression * rng.uniform(0, 3))
    channels = np.clip(rng.normal(1, 0.04, 3), 0.9, 1.1).astype(np.float32)
    gamma = paper.gamma * rng.uniform(0.85, 1.15)
    black = np.float32(paper.compression * rng.uniform(0.3, 1.5))
    printed: Floats = black + (1 - black) * cv2.pow(np.clip(image * channels, 0, 1), gamma)
    return printed


def _paper_grain(
    shape: tuple[int, ...], paper: Paper, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return the (height, width, 3) reflectance of the paper: tint, fibres, streaks."""
    dx, dy = paper.shift
    tint = white_gains(0.3127 + dx + rng.normal(0, 0.003), 0.3290 + dy + rng.normal(0, 0.003))
    tint = tint * np.float32(rng.uniform(0.88, 1.0))
    fibres = rng.standard_normal(shape[:2], np.float32)
    size = rng.uniform(0.5, 2.0)
    fibres = cv2.GaussianBlur(fibres, (0, 0), size) * np.float32(size * rng.uniform(0, 0.05))
    grain: NDArray[np.float32] = (1 + fibres + _bands(shape, rng))[..., None] * tint
    return grain


def _bands(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float32]:
    """Return the streaks of the print head, across or along the sheet: (1, width) or (height, 1).

    Most prints show none: streaks in every one, always level, would be a watermark.
    """
    along = int(rng.integers(2))
    strength = rng.uniform(0, 0.02) * float(rng.random() < 0.3)
    noise = rng.standard_normal((shape[along], 1), np.float32) * np.float32(strength)
    streaks: NDArray[np.float32] = cv2.GaussianBlur(noise, (1, 0), 1, sigmaY=rng.uniform(0.3, 3))
    return streaks.T if along else streaks


def halftone(image: Floats, pitch: float, rng: np.random.Generator) -> Floats:
    """Screen ``image`` into cyan, magenta, yellow and black dots about ``pitch`` pixels apart.

    Ordered dots on turned grids, or scattered ones as ink jets make them. Dots finer than the
    camera resolves fade away; the tone stays.

    Args:
        image: float32 in [0, 1], (height, width, 3).
        pitch: > 0, pixels.
        rng: draws pitch, angle, phase, hardness and strength anew for each ink.

    Returns:
        float32 in [0, 1], same shape.
    """
    red, green, blue = cv2.split(image)
    black = (1 - cv2.max(cv2.max(red, green), blue)) * np.float32(rng.uniform(0.3, 1.0))
    paper = np.maximum(1 - black, np.float32(1e-3))
    inks = [(1 - channel - black) / paper for channel in (red, green, blue)] + [black]
    scattered, strength = rng.random() < 0.4, rng.uniform(0.1, 0.8)
    for i, degrees in enumerate(SCREEN_DEGREES):
        own = max(pitch * rng.uniform(0.9, 1.1), 1.0)
        seen = np.float32(strength * surface.visibility(own))
        if seen < 0.01:
            continue
        if scattered:
            threshold = _scattered(image.shape, own, rng)
        else:
            threshold = _ordered(image.shape, own, degrees + rng.normal(0, 3), rng)
        hard = np.float32(rng.uniform(3, 12))
        detail = 1 / (1 + np.exp(hard * (threshold - inks[i]))) - inks[i]
        reach = 2 * int(np.ceil(own)) + 1
        inks[i] = inks[i] + seen * (detail - cv2.blur(detail, (reach, reach)))
    bare = 1 - inks[3]
    screened: Floats = cv2.merge([np.clip((1 - ink) * bare, 0, 1) for ink in inks[:3]])
    return screened


def _ordered(
    shape: tuple[int, ...], pitch: float, degrees: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return .5 + .5 cos(2 pi x'/p) cos(2 pi y'/p) on axes turned by ``degrees``.

    cos a cos b = (cos(a + b) + cos(a - b)) / 2 and both arguments are linear in x and y, so each
    is the real part of an outer product of two vectors: no cosine per pixel.
    """
    field = np.zeros(shape[:2], np.float32)
    for side in (45, -45):
        angle = np.deg2rad(degrees + side)
        step = 2 * np.pi * np.sqrt(2) / pitch
        a = step * np.cos(angle) * np.arange(shape[1]) + rng.uniform(0, 2 * np.pi)
        b = step * np.sin(angle) * np.arange(shape[0])
        wave = [f(v).astype(np.float32) for v in (b, a) for f in (np.cos, np.sin)]
        field += np.outer(wave[0], wave[2]) - np.outer(wave[1], wave[3])
    return np.float32(0.5) + np.float32(0.25) * field


def _scattered(
    shape: tuple[int, ...], pitch: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return thresholds in [0, 1] at random, in cells of ``pitch`` pixels."""
    cells = rng.random((int(shape[0] / pitch) + 1, int(shape[1] / pitch) + 1), np.float32)
    field: NDArray[np.float32] = cv2.resize(
        cells, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR
    )
    return field


def replay_attack(
    rgb: Image, rng: np.random.Generator, *, display: Display = DISPLAYS["replay_phone"]
) -> tuple[Image, Parameters]:
    """Show ``rgb`` on a screen and hold the screen before a camera.

    Args:
        rgb: uint8, (height, width, 3).
        rng: the only source of chance.
        display: the kind of screen.

    Returns:
        uint8 of the same shape, and the numbers drawn (not those of every jitter).
    """
    settings: Parameters = {
        "curve": rng.uniform(0, 0.8),
        "crush": 0.1 * rng.beta(1, 2),
        "gamma": rng.uniform(*display.gamma),
        "saturation": rng.uniform(*display.saturation),
        "glow": rng.uniform(*display.glow),
        "kelvin": rng.uniform(*display.kelvin),
        "pitch_px": rgb.shape[0] / rng.uniform(*display.rows),
        "moire": 0.25 * rng.beta(1, 3) * float(rng.random() < 0.75),
        "bezel": rng.uniform(*display.bezel),
        "framed": float(rng.random() < display.framed),
        "exposure": rng.uniform(0.1, 0.9),
        "white_balance": rng.uniform(0, 0.8),
        "sheen": rng.uniform(0, 0.25) * float(rng.random() < 0.5),
    }
    number = {name: float(value) for name, value in settings.items()}
    picture = _screen_tone(surface.to_floats(rgb), number)
    picture = picture * white_gains(*planckian(number["kelvin"]))
    picture = picture * _screen_pattern(rgb.shape, number, rng)
    picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.3, 1.0) * rgb.shape[0] / 512)
    scene = surface.room(rgb.shape, rng)
    glass = picture + np.float32(rng.uniform(0, 0.1)) * scene[:, ::-1]
    if number["framed"]:
        glass = _bordered(glass, number["bezel"], (rng.uniform(0.01, 0.2),) * 3)
    pose = surface.hold(rng, framed=bool(number["framed"]), tilt=20, curl=0)
    fall, spot = surface.lamp(rgb.shape, rng, slope=rng.uniform(0, 0.2), sheen=number["sheen"])
    seen = surface.present(glass, scene, pose) * fall + spot
    seen = surface.automatic(seen, number["exposure"], number["white_balance"])
    return to_uint8(seen), settings | pose._asdict()


def _screen_tone(image: Floats, number: dict[str, float]) -> Floats:
    """Apply black crush, S-curve, gamma, saturation and backlight of a screen."""
    crush, curve, glow = (np.float32(number[name]) for name in ("crush", "curve", "glow"))
    image = np.clip((image - crush) / (1 - crush), 0, 1)
    image = image + curve * (image * image * (3 - 2 * image) - image)
    image = surface.saturate(cv2.pow(image, number["gamma"]), number["saturation"])
    return glow + (1 - glow) * np.clip(image, 0, 1)


def _screen_pattern(
    shape: tuple[int, ...], number: dict[str, float], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return what the screen's grid multiplies the picture by: stripes, flicker and moire."""
    pattern = np.ones((*shape[:2], 3), np.float32)
    x, y = np.arange(shape[1], dtype=np.float32), np.arange(shape[0], dtype=np.float32)
    stripes = rng.uniform(0, 0.5) * surface.visibility(number["pitch_px"])
    third = np.arange(3) / 3
    if stripes > 0.005:
        phase = 2 * np.pi * (x[:, None] / number["pitch_px"] + third)
        pattern *= (1 + stripes * np.cos(phase)).astype(np.float32)[None]
    flicker = 2 * np.pi * y / (shape[0] * rng.uniform(0.1, 0.8)) + rng.uniform(0, 2 * np.pi)
    pattern *= (1 + rng.uniform(0, 0.05) * np.sin(flicker)).astype(np.float32)[:, None, None]
    if number["moire"]:
        pattern *= 1 + np.float32(number["moire"]) * _moire(shape, rng)
    return pattern


def _moire(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float32]:
    """Return two slowly bending waves in [-1, 1], (height, width, 3), coloured by their phases.

    Frequencies of .1 to .5 rad/px at 512 px height, directions at least .2 rad apart: the usual
    ranges of two-wave moire augmentation.
    """
    first = rng.uniform(0, np.pi)
    waves = np.zeros((*shape[:2], 3), np.float32)
    x = np.arange(shape[1], dtype=np.float32)[None]
    y = np.arange(shape[0], dtype=np.float32)[:, None]
    bend = surface.smooth(shape, 4, rng) * np.float32(rng.uniform(0, 4))
    for angle in (first, first + rng.uniform(0.2, np.pi - 0.2)):
        rate = rng.uniform(0.1, 0.5) * 512 / shape[0]
        phase = np.float32(rate * np.cos(angle)) * x + np.float32(rate * np.sin(angle)) * y + bend
        apart = rng.uniform(0, 2.1)
        for channel in range(3):
            waves[..., channel] += np.sin(phase + np.float32(apart * channel))
    return waves * np.float32(0.5)


def _replay(name: str) -> Attack:
    return lambda rgb, rng: replay_attack(rgb, rng, display=DISPLAYS[name])


ATTACKS: dict[str, Attack] = {"print": print_attack} | {name: _replay(name) for name in DISPLAYS}
