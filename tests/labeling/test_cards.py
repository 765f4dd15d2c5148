"""What a card may say, where its weights are looked for, and which card counts."""

import hashlib

import pytest

from curate import workspace
from curate.errors import AssetError, ConfigError
from labeling import cards


@pytest.fixture(autouse=True)
def assets_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("CURATE_ASSETS", str(tmp_path / "assets"))
    return tmp_path / "assets"


@pytest.fixture
def room(tmp_path):
    """A workspace's folder."""
    return tmp_path / "ws"


def test_shipped_cards_are_whole_and_their_weights_are_not_shipped():
    shelf = cards.shelf()
    assert list(shelf.cards) == ["minifasnet-2.7", "minifasnet-4.0", "minifasnet", "print-replay"]
    assert shelf.available() == []
    assert [net.name for net in shelf.nets(shelf.card("minifasnet"))] == [
        "minifasnet-2.7",
        "minifasnet-4.0",
    ]
    for card in shelf.cards.values():
        for net in shelf.nets(card):
            assert net.weights.sha256 is not None
            assert len(net.selftest) >= 2


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"colour": "RGB"}, "unknown key 'colour'"),
        ({"licence": None}, "missing key 'licence'"),
        ({"weights": {"format": "onnx"}}, "missing key 'weights.file'"),
        ({"name": "../other"}, "name = '../other'"),
        ({"task": "blink"}, "task = 'blink'"),
        ({"weights": {"file": "../a.onnx", "format": "onnx"}}, "weights.file = '../a.onnx'"),
        ({"weights": {"file": "a.pth", "format": "state_dict"}}, "architecture belongs to"),
        (
            {"weights": {"file": "a", "format": "onnx", "architecture": "minifasnet"}},
            "architecture belongs to",
        ),
        ({"weights": {"file": "a", "format": "onnx", "sha256": "abc"}}, "weights.sha256 = 'abc'"),
        (
            {"output": {"values": "logits", "classes": ["bonafide", "replay"]}},
            "['replay'] are no classes of liveness; known: bonafide, print, cutout",
        ),
        (
            {"task": "eyes", "output": {"values": "logits", "classes": ["open", "attack"]}},
            "['attack', 'bonafide'] are no classes of eyes",
        ),
        ({"output": {"values": "logits", "classes": ["attack", "attack"]}}, "two different"),
        ({"parts": ["nose"]}, "['nose'] are no parts of liveness"),
        ({"selftest": []}, "selftest = []"),
        ({"selftest": [{"seed": 1, "expected": {"real": 1.0}}]}, "['real'] are no classes"),
        ({"selftest": [{"seed": 1, "expected": {"print": 1.1}}]}, "selftest.0.expected.print"),
        ({"selftest": [{"seed": 1, "expected": {}}]}, "selftest.0.expected"),
    ],
)
def test_a_faulty_card_names_its_file_the_fault_and_the_keys(
    tmp_path, card_tree, write_card, changes, fault
):
    tree = card_tree(**changes)
    file = write_card(tmp_path, tree | {"name": "x"})
    file.write_text(file.read_text().replace('name = "x"', f'name = "{tree["name"]}"'))
    with pytest.raises(ConfigError) as caught:
        cards.read(file)
    assert str(file) in str(caught.value)
    assert fault in str(caught.value)
    assert "Next: mend it; keys: name, task" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"crop": "whole"}, "crop whole has none"),
        ({"scale": None}, "need a scale"),
        ({"colours": "GBR"}, "input.colours = 'GBR'"),
        ({"white": 128}, "input.white = 128"),
        ({"std": [1.0, 0.0, 1.0]}, "std must be above 0"),
        ({"mean": [0.5, 0.5]}, "input.mean"),
        ({"size": 7}, "input.size = 7"),
        ({"padding": "zero"}, "unknown key 'input.padding'"),
    ],
)
def test_a_faulty_input_is_refused(tmp_path, card_tree, write_card, changes, fault):
    tree = card_tree()
    told = {key: value for key, value in (tree["input"] | changes).items() if value is not None}
    with pytest.raises(ConfigError) as caught:
        cards.read(write_card(tmp_path, tree | {"input": told}))
    assert fault in str(caught.value)


def test_what_is_no_toml_is_said_to_be_none(tmp_path):
    file = tmp_path / "a.toml"
    file.write_text("name = ")
    with pytest.raises(ConfigError, match=r"a\.toml is not TOML.*\nNext: "):
        cards.read(file)


def test_a_card_of_the_workspace_wins_over_a_shipped_one_of_its_name(room, card_tree, write_card):
    write_card(room / "cards", card_tree(name="print-replay", licence="bought"))
    shelf = cards.shelf(room)
    assert shelf.card("print-replay").licence == "bought"
    assert shelf.files["print-replay"].parent == room / "cards"


def test_two_cards_of_one_folder_may_not_share_a_name(room, card_tree, write_card):
    file = write_card(room / "cards", card_tree())
    file.with_name("other.toml").write_text(file.read_text())
    with pytest.raises(ConfigError, match="are both called 'tiny'"):
        cards.shelf(room)


@pytest.mark.parametrize("member", ["nobody", "minifasnet", "open-eyes"])
def test_an_ensemble_is_of_single_models_of_its_task(room, card_tree, write_card, member):
    eyes = card_tree(
        name="open-eyes",
        task="eyes",
        output={"values": "logits", "classes": ["open", "closed"]},
        selftest=[{"seed": 1, "expected": {"open": 0.5}}],
    )
    write_card(room / "cards", eyes)
    pair = {"name": "pair", "task": "liveness", "licence": "MIT", "obtain": "see its members"}
    write_card(room / "cards", pair | {"members": ["print-replay", member]})
    with pytest.raises(ConfigError, match=f"member '{member}' is no card of one liveness model"):
        cards.shelf(room)


def test_an_ensemble_of_one_is_refused(tmp_path, write_card):
    pair = {"name": "pair", "task": "liveness", "licence": "MIT", "obtain": "see its member"}
    with pytest.raises(ConfigError, match="members"):
        cards.read(write_card(tmp_path, pair | {"members": ["print-replay"]}))


def test_weights_are_looked_for_in_the_order_promised(
    room, tmp_path, assets_folder, card_tree, write_card
):
    write_card(room / "cards", card_tree())
    named = tmp_path / "named"
    shelf = cards.shelf(room, [named])
    net = shelf.nets(shelf.card("tiny"))[0]
    with pytest.raises(AssetError) as caught:
        shelf.weights(net)
    for word in ("tiny.onnx", str(room / "cards"), str(named), "ask its author"):
        assert word in str(caught.value)
    for folder in (assets_folder, named, room / "cards"):
        folder.mkdir(exist_ok=True)
        (folder / "tiny.onnx").write_bytes(b"weights")
        assert shelf.weights(net) == folder / "tiny.onnx"
    assert [card.name for card in shelf.available()] == ["tiny"]
    assert shelf.available("eyes") == []


def test_weights_of_a_shipped_card_may_lie_in_the_workspace(room, card_tree, write_card):
    (room / "cards").mkdir(parents=True)
    (room / "cards" / "2.7_80x80_MiniFASNetV2.pth").write_bytes(b"half of the pair")
    assert [card.name for card in cards.shelf(room).available()] == ["minifasnet-2.7"]


def test_altered_weights_are_refused_and_the_right_ones_are_not(room, card_tree, write_card):
    right = hashlib.sha256(b"weights").hexdigest()
    weights = {"file": "tiny.onnx", "format": "onnx", "sha256": right}
    write_card(room / "cards", card_tree(weights=weights))
    shelf = cards.shelf(room)
    net = shelf.nets(shelf.card("tiny"))[0]
    (room / "cards" / "tiny.onnx").write_bytes(b"weights")
    assert shelf.weights(net) == room / "cards" / "tiny.onnx"
    (room / "cards" / "tiny.onnx").write_bytes(b"Weights")
    with pytest.raises(AssetError, match=f"the card expects {right}") as caught:
        shelf.weights(net)
    assert hashlib.sha256(b"Weights").hexdigest() in str(caught.value)


def test_an_unknown_card_is_answered_with_the_known_ones():
    with pytest.raises(ConfigError, match="no card is called 'tiny'; known: minifasnet-2.7"):
        cards.shelf().card("tiny")


def test_the_folder_that_curate_toml_names_is_relative_to_it(room, card_tree, write_card):
    workspace.create(room)
    (room / "curate.toml").write_text('[softlabel]\nweights = "nets"\n')
    shelf = cards.of_workspace(workspace.open_at(room))
    assert shelf.folders[:2] == (room / "cards", room / "nets")
