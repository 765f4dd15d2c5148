"""The contract of a card is kept to the pixel, and a wrong one never passes its self-test."""

import hashlib
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import AssetError
from labeling import zero_shot
from labeling.cards import Input, Net

SEEDS = (3, 4)


def shown(**changes):
    wanted = {"crop": "shift", "scale": 1.8, "size": 8, "colours": "BGR", "white": 1}
    return Input(**(wanted | changes))


@pytest.fixture
def right(tmp_path, card_tree, write_onnx, linear):
    """A card whose expectations come from plain matrix arithmetic, and its file."""
    file = write_onnx(tmp_path / "tiny.onnx", linear)
    tests = []
    for seed in SEEDS:
        rgb, box = zero_shot.picture(seed)
        square = zero_shot.place(rgb, box, shown())
        pixels = square[..., ::-1].transpose(2, 0, 1).ravel() / 255
        scores = np.exp(pixels @ linear)
        attack, bonafide, printed = (scores / scores.sum()).tolist()
        expected = {"bonafide": bonafide, "print": printed, "attack": attack}
        tests.append({"seed": seed, "expected": expected})
    return card_tree(selftest=tests), file


def altered(tree, table, **changes):
    return tree | {table: tree[table] | changes}


def test_the_right_contract_passes(right):
    tree, file = right
    model = zero_shot.Model(Net(**tree), file)
    rgb, box = zero_shot.picture(SEEDS[0])
    found = model.probabilities(model.logits([model.crop(rgb, box)] * 2))
    assert found.shape == (2, 10)
    assert found.sum(axis=1) == pytest.approx(1)
    expected = tree["selftest"][0]["expected"]
    assert found[0, [0, 1, 9]] == pytest.approx(list(expected.values()), abs=1e-5)


@pytest.mark.parametrize(
    "wrong",
    [
        ("input", {"colours": "RGB"}),
        ("input", {"white": 255}),
        ("input", {"scale": 1.6}),
        ("input", {"scale": 2.7}),
        ("input", {"crop": "zero"}),
        ("input", {"crop": "whole", "scale": None}),
        ("input", {"mean": (0.5, 0.4, 0.3)}),
        ("input", {"std": (0.5, 0.5, 0.5)}),
        ("output", {"classes": ("bonafide", "attack", "print")}),
        ("output", {"classes": ("print", "bonafide", "attack")}),
        ("output", {"values": "probabilities"}),
    ],
)
def test_a_wrong_contract_fails_the_self_test(right, wrong):
    tree, file = right
    table, changes = wrong
    with pytest.raises(AssetError, match=r"card tiny fails its self-test: .*tiny\.onnx gives P\("):
        zero_shot.Model(Net(**altered(tree, table, **changes)), file)


def test_the_self_test_tolerates_just_less_than_a_fault(right):
    tree, file = right
    at = tree["selftest"][0]["expected"]["bonafide"]
    for off, fails in ((0.99, False), (1.01, True)):
        moved = {"seed": SEEDS[0], "expected": {"bonafide": at + off * zero_shot.TOLERANCE}}
        card = Net(**(tree | {"selftest": [moved]}))
        if fails:
            with pytest.raises(AssetError, match="P\\(bonafide\\)"):
                zero_shot.Model(card, file)
        else:
            zero_shot.Model(card, file)


def test_another_size_is_refused_by_the_model_itself(right):
    tree, file = right
    with pytest.raises(AssetError, match="refuses an input of 9 px"):
        zero_shot.Model(Net(**altered(tree, "input", size=9)), file)


def test_a_card_that_names_too_few_classes_is_refused(right):
    tree, file = right
    with pytest.raises(AssetError, match=r"answers with shape \(3,\), the card names 2"):
        zero_shot.Model(Net(**altered(tree, "output", classes=("attack", "bonafide"))), file)


def test_answers_that_are_no_numbers_fail(right, write_onnx, linear):
    tree, file = right
    write_onnx(file, linear * np.float32(np.nan))
    with pytest.raises(AssetError, match="P\\(bonafide\\) = nan"):
        zero_shot.Model(Net(**tree), file)


@pytest.mark.parametrize("kind", ["onnx", "torchscript", "state_dict"])
@pytest.mark.parametrize("content", [b"", b"not a model at all", b"PK\x03\x04" + b"\0" * 99])
def test_a_file_that_is_no_model_says_so(right, kind, content):
    tree, file = right
    weights = {"file": "tiny.onnx", "format": kind}
    if kind == "state_dict":
        weights["architecture"] = "minifasnet"
    file.write_bytes(content)
    with pytest.raises(AssetError, match=f"does not load as {kind}.*\n?.*Next: ask its author"):
        zero_shot.Model(Net(**(tree | {"weights": weights})), file)


def test_an_onnx_file_cut_anywhere_is_an_error_and_never_a_crash(right):
    tree, file = right
    whole = file.read_bytes()
    for kept in (1, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:kept])
        with pytest.raises(AssetError):
            zero_shot.Model(Net(**tree), file)


def test_a_torchscript_model_answers_as_the_onnx_model_does(right, linear, tmp_path):
    tree, _ = right
    layer = torch.nn.Linear(*linear.shape, bias=False)
    layer.load_state_dict({"weight": torch.from_numpy(linear.T.copy())})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        network = torch.nn.Sequential(torch.nn.Flatten(), layer)
        torch.jit.save(torch.jit.script(network), tmp_path / "tiny.pt")
    weights = {"file": "tiny.pt", "format": "torchscript"}
    zero_shot.Model(Net(**(tree | {"weights": weights})), tmp_path / "tiny.pt")


def test_outputs_that_are_probabilities_stay_what_they_are(right, write_onnx):
    tree, file = right
    # Pixels are 0, so any matrix answers 0; probabilities of 0 count as the least.
    write_onnx(file, np.zeros((192, 3), np.float32))
    even = [{"seed": 1, "expected": {"bonafide": 1 / 3, "print": 1 / 3, "attack": 1 / 3}}]
    told = altered(tree, "output", values="probabilities") | {"selftest": even}
    model = zero_shot.Model(Net(**told), file)
    given_back = model.probabilities(np.log(np.array([[0.7, 0.2, 0.1]], np.float32)))
    assert given_back[0, [9, 0, 1]] == pytest.approx([0.7, 0.2, 0.1])
    logits = model.logits([np.zeros((8, 8, 3), np.uint8)])
    assert logits == pytest.approx(np.log(zero_shot.LEAST))


def test_outputs_of_one_word_add_up(right):
    tree, file = right
    attack = [
        {"seed": test["seed"], "expected": {"attack": 1 - test["expected"]["bonafide"]}}
        for test in tree["selftest"]
    ]
    classes = ("attack", "bonafide", "unknown")
    told = altered(tree, "output", classes=classes) | {"selftest": attack}
    model = zero_shot.Model(Net(**told), file)
    found = model.probabilities(np.array([[1.0, 2.0, 3.0]]))
    assert found[0, 9] + found[0, 0] == pytest.approx(1)
    assert np.flatnonzero(found[0]).tolist() == [0, 9]


@pytest.mark.parametrize(
    ("box", "scale", "rows", "columns"),
    [
        # worked by hand from minivision's formula, frame 640 x 480
        ((10, 10, 100, 120), 2.7, (0, 325), (0, 271)),  # moved right and down
        ((560, 380, 80, 90), 2.7, (236, 480), (423, 640)),  # moved left and up
        ((200, 100, 200, 240), 4.0, (0, 480), (100, 500)),  # no more than the frame
        ((200, 150, 100, 100), 1.0, (150, 251), (200, 301)),  # last pixel included
    ],
)
def test_shift_moves_the_box_into_the_frame_and_never_pads(box, scale, rows, columns):
    rgb = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    cut = zero_shot._shifted(rgb, box, scale)
    assert np.array_equal(cut, rgb[slice(*rows), slice(*columns)])


def test_zero_is_a_square_that_is_black_outside_the_frame():
    rgb = np.full((480, 640, 3), 255, np.uint8)
    square = zero_shot._padded(rgb, (10, 20, 100, 120), 1.5)
    assert square.shape == (180, 180, 3)
    assert np.array_equal(np.argwhere(square[..., 0]).min(axis=0), [10, 30])
    assert square[10:, 30:].min() == 255
    corner = zero_shot._padded(rgb, (600, 440, 100, 120), 1.5)
    assert np.array_equal(np.argwhere(corner[..., 0]).max(axis=0), [480 - 410 - 1, 640 - 560 - 1])


@given(
    box=st.tuples(st.floats(-50, 90), st.floats(-50, 70), st.floats(1, 300), st.floats(1, 300)),
    scale=st.floats(0.5, 6),
    crop=st.sampled_from(["shift", "zero"]),
)
def test_any_box_that_a_detector_may_give_yields_a_square(box, scale, crop):
    rgb = np.full((80, 100, 3), 7, np.uint8)
    square = zero_shot.place(rgb, box, shown(crop=crop, scale=scale, size=16))
    assert square.shape == (16, 16, 3)
    if crop == "shift":
        assert (square == 7).all()


def test_values_follow_colours_range_mean_and_std():
    pixel = np.full((1, 8, 8, 3), (255, 51, 0), np.uint8)
    assert zero_shot.values(pixel, shown(white=255))[0, :, 0, 0].tolist() == [0, 51, 255]
    told = shown(colours="RGB", mean=(0.5, 0.2, 0.0), std=(0.5, 1.0, 0.1))
    assert zero_shot.values(pixel, told)[0, :, 0, 0] == pytest.approx([1, 0, 0], abs=1e-6)


def test_the_picture_of_a_seed_is_the_same_everywhere():
    rgb, box = zero_shot.picture(5)
    assert (rgb.shape, rgb.dtype) == ((480, 640, 3), np.uint8)
    assert hashlib.sha256(rgb.tobytes()).hexdigest()[:16] == "174977880c424d4c"
    assert box == (64.0, 123.0, 76.0, 98.0)
    assert not np.array_equal(rgb, zero_shot.picture(6)[0])
