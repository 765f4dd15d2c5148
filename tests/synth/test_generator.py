import numpy as np
import pytest
import torch

from curate.errors import DataError
from synth import generator
from synth.generator import FaceGenerator


class Drawn:
    """Faces without a network: a colour and a pattern that follow the latent."""

    def faces(self, latents):
        scaled = np.clip(128 + 60 * latents[:, :48], 0, 255).reshape(-1, 4, 4, 3)
        return np.kron(scaled, np.ones((1, 16, 16, 1))).astype(np.uint8)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    net = generator._network()
    for layer in net:
        if isinstance(layer, torch.nn.ConvTranspose2d):
            layer.weight.data *= 8  # as fresh, its faces would be one grey
    state = {f"main.{key}": value for key, value in net.state_dict().items()}
    file = tmp_path_factory.mktemp("weights") / "weights.tar"
    torch.save({"netG_state_dict": state}, file)
    return file


def test_the_network_has_the_layers_of_the_weights_file():
    shapes = {key: tuple(value.shape) for key, value in generator._network().state_dict().items()}
    assert shapes["0.weight"] == (100, 512, 4, 4)
    assert shapes["3.weight"] == (512, 256, 4, 4)
    assert shapes["12.weight"] == (64, 3, 4, 4)
    assert "10.running_var" in shapes
    assert not any(key.endswith("bias") for key in shapes if int(key.split(".")[0]) % 3 == 0)


def test_faces_are_uint8_and_do_not_depend_on_their_neighbours(weights):
    faces = FaceGenerator(weights)
    latents = np.random.default_rng(0).standard_normal((5, 100), np.float32)
    together = faces.faces(latents)
    assert together.shape == (5, 64, 64, 3)
    assert together.dtype == np.uint8
    assert together.std() > 10
    alone = np.concatenate([faces.faces(latents[i : i + 1]) for i in range(5)])
    assert np.abs(together.astype(int) - alone).max() <= 1
    assert np.array_equal(together, FaceGenerator(weights).faces(latents))
    assert faces.faces(latents[:0]).shape == (0, 64, 64, 3)


def test_long_lists_go_through_in_batches(weights, monkeypatch):
    latents = np.random.default_rng(0).standard_normal((7, 100), np.float32)
    whole = FaceGenerator(weights).faces(latents)
    monkeypatch.setattr(generator, "BATCH", 3)
    parts = FaceGenerator(weights).faces(latents)
    assert np.abs(whole.astype(int) - parts).max() <= 1


def test_shots_are_as_long_as_their_person_and_near_it():
    rng = np.random.default_rng(0)
    person, other = rng.standard_normal((2, 100), np.float32)
    near = generator.shots(person, 50, rng)
    assert np.linalg.norm(near, axis=1) == pytest.approx(np.linalg.norm(person), rel=1e-5)
    away = np.linalg.norm(near - person, axis=1) / np.linalg.norm(person)
    assert away.min() > 0.15
    assert away.max() < 0.40
    assert np.linalg.norm(other - person) / np.linalg.norm(person) > 0.8


def test_selfies_follow_their_seed():
    face = np.full((64, 64, 3), 200, np.uint8)
    one, again, other = (generator.selfie(face, np.random.default_rng(s)) for s in (1, 1, 2))
    assert one.shape == (512, 384, 3)
    assert one.dtype == np.uint8
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_the_face_is_in_the_selfie():
    black, white = (
        generator.selfie(np.full((64, 64, 3), level, np.uint8), np.random.default_rng(5))
        for level in (0, 255)
    )
    changed = np.abs(white.astype(int) - black).mean(axis=-1) > 100
    rows, columns = np.nonzero(changed)
    assert 0.1 < changed.mean() < 0.5
    assert 120 < rows.mean() < 260
    assert 130 < columns.mean() < 250


def test_people_are_only_those_seen_upright():
    asked = []

    def turn_of(rgb):
        asked.append(rgb)
        return 0 if rgb.mean() > np.median([one.mean() for one in asked]) - 5 else 90

    picked = generator.people(6, 3, generator=Drawn(), turn_of=turn_of)
    assert picked.shape == (6, 100)
    assert len(asked) > 6 * generator.PROBES
    everyone = generator.people(6, 3, generator=Drawn(), turn_of=lambda _: 0)
    assert not np.array_equal(picked, everyone)
    assert np.array_equal(everyone, generator.people(6, 3, generator=Drawn(), turn_of=lambda _: 0))
    assert not np.array_equal(
        everyone, generator.people(6, 4, generator=Drawn(), turn_of=lambda _: 0)
    )


def test_one_person_judged_otherwise_leaves_the_others_as_they_were():
    everyone = generator.people(5, 0, generator=Drawn(), turn_of=lambda _: 0)
    looks = iter([-1])
    fewer = generator.people(5, 0, generator=Drawn(), turn_of=lambda _: next(looks, 0))
    assert np.array_equal(fewer[:4], everyone[1:])


@pytest.mark.parametrize("turn", [90, -1])
def test_nobody_upright_is_an_error_that_says_what_to_do(turn, monkeypatch):
    monkeypatch.setattr(generator, "PATIENCE", 2)
    with pytest.raises(DataError, match=r"only 0 of 4 .*\nNext: curate models pull"):
        generator.people(2, 0, generator=Drawn(), turn_of=lambda _: turn)
