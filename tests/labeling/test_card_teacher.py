"""Cards as teachers: right rows in the right order, nothing computed twice, nothing lost."""

import hashlib

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from curate import places
from curate.errors import AssetError, ConfigError
from labeling import card_teacher, cards, zero_shot


def quiet(items, total, what):
    yield from items


@pytest.fixture
def images(tmp_path):
    """Rows of `images`, seven pictures with a face and one without, as units of liveness."""
    rows = []
    for seed in range(8):
        rgb, box = zero_shot.picture(seed)
        file = tmp_path / "photos" / f"{seed}.png"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(rgb).save(file, compress_level=1)
        size, time = places.stat(str(file))
        rows.append(
            {
                "image_id": hashlib.sha256(file.read_bytes()).hexdigest(),
                "uri": str(file),
                "bytes": size,
                "mtime_ns": time,
                "face": None if seed == 5 else np.array(box, np.float32),
                "turn": 0,
                "mirror": "no",
                "part": "",
            }
        )
    return pd.DataFrame(rows)


@pytest.fixture
def shelf(tmp_path, card_tree, write_card, write_onnx, linear, monkeypatch):
    """Two cards over one linear model, one sees a wider crop; and their mean."""
    monkeypatch.setenv("CURATE_ASSETS", str(tmp_path / "none"))
    folder = tmp_path / "cards"
    write_onnx(folder / "tiny.onnx", linear)

    def add(name, scale):
        tree = card_tree(name=name, input=card_tree()["input"] | {"scale": scale})
        rgb, box = zero_shot.picture(3)
        told = cards.Net(**tree).input
        square = zero_shot.place(rgb, box, told)
        scores = np.exp(zero_shot.values(square[np.newaxis], told).ravel() @ linear)
        expected = {"bonafide": float(scores[1] / scores.sum())}
        write_card(folder, tree | {"selftest": [{"seed": 3, "expected": expected}]})

    add("narrow", 1.8)
    add("wide", 3.0)
    pair = {"name": "pair", "task": "liveness", "licence": "MIT", "obtain": "as its members"}
    write_card(folder, pair | {"members": ["narrow", "wide"]})
    return cards.shelf(tmp_path)


@pytest.fixture
def teach(tmp_path, shelf):
    def load(name, shelf=shelf):
        cache = tmp_path / "crops"
        return card_teacher.load(shelf, name, cache, threads=2, track=quiet)

    return load


def by_hand(linear, row, scale):
    rgb = np.asarray(Image.open(row["uri"]))
    told = cards.Input(crop="shift", scale=scale, size=8, colours="BGR", white=1)
    square = zero_shot.place(rgb, tuple(map(float, row["face"])), told)
    return zero_shot.values(square[np.newaxis], told).ravel() @ linear


def test_each_unit_gets_the_answer_about_its_own_image(teach, images, linear):
    shuffled = images.iloc[[6, 1, 5, 0, 1]].reset_index(drop=True)
    found = teach("narrow").logits(shuffled)
    assert (found.shape, found.dtype) == ((5, 3), np.float32)
    assert np.isnan(found[2]).all()
    for place in (0, 1, 3, 4):
        wanted = by_hand(linear, shuffled.iloc[place], 1.8)
        assert found[place] == pytest.approx(wanted, abs=0.01)  # half precision is kept
    probs = teach("narrow").probabilities(shuffled)
    assert probs.shape == (5, 10)
    assert probs[[0, 1, 3, 4]].sum(axis=1) == pytest.approx(1)
    assert np.isnan(probs[2]).all()


def test_an_ensemble_is_the_mean_of_its_members_and_all_their_logits(teach, images):
    pair = teach("pair")
    apart = [teach(name) for name in ("narrow", "wide")]
    mean = np.mean([one.probabilities(images) for one in apart], axis=0)
    assert np.allclose(pair.probabilities(images), mean, equal_nan=True)
    beside = np.hstack([one.logits(images) for one in apart])
    assert np.array_equal(pair.logits(images), beside, equal_nan=True)
    assert not np.allclose(beside[0, :3], beside[0, 3:])


def test_a_rerun_reads_no_image(teach, images, tmp_path):
    first = teach("pair").probabilities(images)
    for file in (tmp_path / "photos").iterdir():
        file.unlink()
    for name in ("pair", "narrow", "wide"):
        teach(name).probabilities(images)
    assert np.array_equal(teach("pair").probabilities(images), first, equal_nan=True)


def test_what_was_computed_before_a_kill_is_kept(teach, images, monkeypatch):
    monkeypatch.setattr(card_teacher, "PART", 2)
    monkeypatch.setattr(card_teacher, "BATCH", 1)
    run, seen = zero_shot.Model.logits, []

    def dying(model, crops):
        seen.append(len(crops))
        if len(seen) == 6:  # one is the self-test
            raise KeyboardInterrupt
        return run(model, crops)

    monkeypatch.setattr(zero_shot.Model, "logits", dying)
    with pytest.raises(KeyboardInterrupt):
        teach("narrow").logits(images)
    seen[:] = [0] * 10
    again = teach("narrow").logits(images)
    assert sum(seen) - 1 == 7 - 4  # 7 faces, two parts of two were written
    assert np.isfinite(again[images["face"].notna()]).all()


def test_another_contract_has_scores_of_its_own(teach, images, tmp_path):
    wide = teach("wide").logits(images)
    file = tmp_path / "cards" / "wide.toml"
    narrowed = file.read_text().replace("3.0", "1.8")
    same = (tmp_path / "cards" / "narrow.toml").read_text().split("selftest")[1]
    file.write_text(narrowed.split("selftest")[0] + "selftest" + same)
    again = teach("wide", cards.shelf(tmp_path)).logits(images)
    assert not np.allclose(again[0], wide[0])
    assert np.array_equal(again, teach("narrow").logits(images), equal_nan=True)


def test_no_faces_at_all_is_no_opinion_at_all(teach, images):
    faceless = images[images["face"].isna()]
    assert np.isnan(teach("pair").logits(faceless)).all()
    assert teach("pair").logits(faceless).shape == (1, 6)
    assert teach("pair").probabilities(images.iloc[:0]).shape == (0, 10)


def test_a_card_judges_only_the_parts_it_names(
    tmp_path, images, card_tree, write_card, write_onnx, linear
):
    write_onnx(tmp_path / "cards" / "tiny.onnx", linear[:, :2] * 0)
    masks = card_tree(
        name="masks",
        task="occlusion",
        parts=["nose", "mouth"],
        output={"values": "logits", "classes": ["blocked", "clear"]},
        selftest=[{"seed": 3, "expected": {"clear": 0.5}}],
    )
    write_card(tmp_path / "cards", masks)
    units = pd.concat([images[:1].assign(part=part) for part in ("nose", "chin", "mouth")])
    shelf = cards.shelf(tmp_path)
    teacher = card_teacher.load(shelf, "masks", tmp_path / "crops", threads=1, track=quiet)
    found = teacher.probabilities(units)
    assert np.isnan(found[1]).all()
    assert found[[0, 2]].tolist() == [[0.5, 0.5], [0.5, 0.5]]


def test_a_model_of_the_whole_image_needs_no_face(
    tmp_path, images, card_tree, write_card, write_onnx, linear
):
    write_onnx(tmp_path / "cards" / "tiny.onnx", linear * 0)
    whole = {"crop": "whole", "size": 8, "colours": "RGB", "white": 1}
    even = [{"seed": 3, "expected": {"bonafide": 1 / 3}}]
    write_card(tmp_path / "cards", card_tree(input=whole, selftest=even))
    teacher = card_teacher.load(
        cards.shelf(tmp_path), "tiny", tmp_path / "crops", threads=1, track=quiet
    )
    assert np.isfinite(teacher.probabilities(images)).all()


def test_loading_refuses_what_is_not_there(teach, tmp_path):
    with pytest.raises(ConfigError, match="no card is called 'nobody'"):
        teach("nobody")
    (tmp_path / "cards" / "tiny.onnx").unlink()
    with pytest.raises(AssetError, match="card narrow: its weights"):
        teach("pair")
