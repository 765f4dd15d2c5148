import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training import augment, loop, model

TINY = "test_efficientnet.r160_in1k"
SIZE = 32


def network(seed=0):
    torch.manual_seed(seed)
    return model.create(TINY, crop_scale=2.0, image_size=SIZE, pretrained=False)


def examples(n=20):
    rng = np.random.default_rng(0)
    side = augment.padded(SIZE)
    targets = (np.arange(n) % 2).astype(np.float32)
    crops = rng.normal(60, 20, (n, side, side, 3)) + 120 * targets[:, None, None, None]
    crops = np.clip(crops, 0, 255).astype(np.uint8)
    return loop.Examples(crops, targets, np.ones(n, np.float32))


def settings(epochs=3):
    return loop.Settings(epochs=epochs, batch_size=8, learning_rate=3e-3, seed=5)


def trained(folder, quiet, net=None, **kwargs):
    net = net or network()
    return net, loop.train(net, examples(), settings(**kwargs), folder=folder, track=quiet)


def equal(a, b):
    left, right = a.state_dict(), b.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


class Stopper:
    """A tracker that stops the run at one step of one epoch."""

    def __init__(self, epoch, step):
        self.stop = (f"epoch {epoch}", step)

    def __call__(self, items, total, what):
        for step, item in enumerate(items):
            if (what, step) == self.stop:
                raise KeyboardInterrupt
            yield item


@pytest.mark.parametrize(("epoch", "step"), [(1, 1), (2, 0), (3, 2)])
def test_stopped_anywhere_it_goes_on_to_the_same_weights(tmp_path, quiet, epoch, step):
    whole, losses = trained(tmp_path / "whole", quiet)
    with pytest.raises(KeyboardInterrupt):
        loop.train(
            network(), examples(), settings(), folder=tmp_path / "cut", track=Stopper(epoch, step)
        )
    torch.manual_seed(1234)  # a new process would have other random states, and other fresh heads
    resumed, again = trained(tmp_path / "cut", quiet, net=network(9) if epoch > 1 else network())
    assert again == losses
    assert equal(whole, resumed)


def test_a_resumed_run_does_not_repeat_whole_epochs(tmp_path, quiet):
    trained(tmp_path, quiet)
    seen = []
    loop.train(
        network(), examples(), settings(), folder=tmp_path,
        track=lambda items, total, what: seen.append(what) or items,
    )  # fmt: skip
    assert seen == []


def test_a_kill_while_the_checkpoint_is_written_leaves_the_one_before(tmp_path, quiet):
    whole, _ = trained(tmp_path / "whole", quiet)
    with pytest.raises(KeyboardInterrupt):
        loop.train(network(), examples(), settings(), folder=tmp_path / "cut", track=Stopper(3, 0))
    (tmp_path / "cut" / f"{loop.CHECKPOINT}.tmp").write_bytes(b"half a checkpoi")
    resumed, _ = trained(tmp_path / "cut", quiet)
    assert equal(whole, resumed)


def test_it_learns(tmp_path, quiet):
    net, losses = trained(tmp_path, quiet, epochs=8)
    assert losses[-1] < 0.5 * losses[0]
    shown = examples()
    margin = (augment.padded(SIZE) - SIZE) // 2 or None
    crops = shown.crops[:, margin : margin + SIZE, margin : margin + SIZE]
    scores = model.score(net, list(crops))
    assert scores[shown.targets == 1].min() > scores[shown.targets == 0].max()


def test_another_seed_gives_other_weights(tmp_path, quiet):
    one, _ = trained(tmp_path / "a", quiet, epochs=1)
    other = network()
    loop.train(other, examples(), loop.Settings(1, 8, 3e-3, 6), folder=tmp_path / "b", track=quiet)
    assert not equal(one, other)


def test_batch_normalisation_keeps_its_statistics(tmp_path, quiet):
    before = {k: v.clone() for k, v in network().state_dict().items() if "running" in k}
    net, _ = trained(tmp_path, quiet, epochs=1)
    assert before
    assert all(torch.equal(net.state_dict()[k], v) for k, v in before.items())


def test_an_epoch_of_one_image_in_its_last_batch_is_fine(tmp_path, quiet):
    few = examples(9)
    loop.train(network(), few, settings(epochs=1), folder=tmp_path, track=quiet)


def test_the_checkpoint_holds_no_code(tmp_path, quiet):
    trained(tmp_path, quiet, epochs=1)
    state = torch.load(tmp_path / loop.CHECKPOINT, weights_only=True)
    assert set(state) == {"net", "optimizer", "losses"}
    assert [file.name for file in tmp_path.iterdir()] == [loop.CHECKPOINT]


def test_the_objective_is_weighted_and_takes_soft_targets():
    logits, targets = torch.tensor([0.3, -1.2]), torch.tensor([0.9, 0.2])
    targets_used = targets * (1 - loop.SMOOTHING) + loop.SMOOTHING / 2
    p = torch.sigmoid(logits)
    each = -(targets_used * p.log() + (1 - targets_used) * (1 - p).log())
    got = loop.objective(logits, targets, torch.tensor([3.0, 0.5]))
    assert got == pytest.approx(float((3 * each[0] + 0.5 * each[1]) / 2), rel=1e-5)
    assert loop.objective(logits, targets, torch.tensor([0.0, 0.0])) == 0


def test_the_pace_rises_to_one_and_falls_to_zero():
    assert 0 < loop.pace(0) < 0.05
    assert loop.pace(loop.WARM_UP) == pytest.approx(1)
    assert loop.pace(1) == pytest.approx(0, abs=1e-9)


@given(st.floats(0, 1))
def test_the_pace_is_a_share(done):
    assert 0 <= loop.pace(done) <= 1


@given(st.integers(0, 2**31), st.integers(0, 5))
def test_augmentation_is_a_function_of_its_seed(seed, index):
    crop = examples(2).crops[0]
    first, second = augment.pipeline(SIZE), augment.pipeline(SIZE)
    augment.apply(second, crop, (7, 7))  # what a transform did before does not matter
    a, b = (augment.apply(t, crop, (seed, index)) for t in (first, second))
    assert a.shape == (SIZE, SIZE, 3)
    assert a.dtype == np.uint8
    np.testing.assert_array_equal(a, b)


def test_augmentation_varies_with_the_seed():
    crop, transform = examples(2).crops[0], augment.pipeline(SIZE)
    views = {augment.apply(transform, crop, (0, at)).tobytes() for at in range(20)}
    assert len(views) > 10


def test_scores_are_probabilities_in_the_order_of_the_crops_whatever_the_batch(monkeypatch):
    net, crops = network(), list(examples(7).crops[:, :SIZE, :SIZE])
    whole = model.score(net, crops)
    monkeypatch.setattr(model, "BATCH", 3)
    np.testing.assert_allclose(model.score(net, crops), whole, atol=1e-5)
    assert ((whole >= 0) & (whole <= 1)).all()
    assert model.score(net, []).shape == (0,)


def test_the_network_normalises_as_its_contract_says():
    net = network().eval()
    crops = torch.randint(0, 256, (2, SIZE, SIZE, 3), dtype=torch.uint8)
    mean, std = (torch.tensor(v) for v in (net.contract.mean, net.contract.std))
    pixels = ((crops / 255 - mean) / std).permute(0, 3, 1, 2)
    with torch.inference_mode():
        expected = net.backbone(pixels)[:, 0]
        torch.testing.assert_close(net(crops), expected, atol=1e-4, rtol=1e-4)
