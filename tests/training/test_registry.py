import json

import numpy as np
import pandas as pd
import pytest
import torch

from curate import runs
from curate.champions import Model
from curate.errors import AssetError
from training import card, model, registry
from training.metrics import Rate, evaluate

TINY = "test_efficientnet.r160_in1k"


@pytest.fixture
def here(builder):
    return builder.here


@pytest.fixture
def net():
    torch.manual_seed(0)
    return model.create(TINY, crop_scale=2.5, image_size=32, pretrained=False)


def facts(net, **changed):
    scores = np.array([0.9, 0.3, 0.8, 0.1, 0.1])
    types = ["", "", "print", "print", "cutout"]
    bonafide = np.array([True, True, False, False, False])
    return {
        "task": "liveness", "model": 1, "run_id": "r1", "code_version": "0", "promoted": True,
        "reasons": ["first model of its task"], "compared_with": None,
        "contract": net.contract.to_dict(), "threshold": 0.4375, "dev_eer": 0.25,
        "metrics": evaluate(scores, bonafide, types, 0.4375).to_dict(), "test_subjects": 2,
        "trained_on": {"bonafide": {"given": 3, "soft": 1}, "print": {"given": 2},
                       "mask_3d": {"synthetic": 4}},
        "config": {}, "seed": 0,
    } | changed  # fmt: skip


ORIGIN = pd.DataFrame(
    {
        "subject": ["s/1", None], "parent_id": [None, "a"], "split": ["train", "dev"],
        "label": ["bonafide", "attack"], "attack_type": ["", "print"], "basis": ["given", "soft"],
        "face": [[1.0], [2.0]],
    },
    index=pd.Index(["a", "b"], name="image_id"),
)  # fmt: skip


def at(folder):
    return Model(folder, int(folder.name), "run-7", True, {})


def record(here, number, task="liveness"):
    with runs.start(here, "retrain", {}) as run:
        run.counts = {"task": task, "model": number, "promoted": True}
    return run.run_id


def test_a_saved_model_scores_the_same_when_loaded(tmp_path, net):
    folder = tmp_path / "models" / "liveness" / "1"
    registry.save(folder, net, facts(net), ORIGIN)
    saved = registry.load(at(folder))
    crops = list(np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8))
    np.testing.assert_array_equal(model.score(saved.net, crops), model.score(net, crops))
    assert saved.net.contract == net.contract
    assert saved.threshold == 0.4375
    assert [path.name for path in folder.parent.iterdir()] == ["1"]


def test_the_folder_says_what_the_model_learnt_from(tmp_path, net):
    registry.save(tmp_path / "1", net, facts(net), ORIGIN)
    rows = pd.read_parquet(tmp_path / "1" / registry.ORIGIN)
    assert rows["subject"].tolist()[0] == "s/1"
    assert rows["split"].to_dict() == {"a": "train", "b": "dev"}


@pytest.mark.parametrize("name", [registry.WEIGHTS, registry.CARD])
@pytest.mark.parametrize("damage", ["gone", "empty", "garbage"])
def test_a_missing_or_damaged_file_says_which_model_and_what_next(tmp_path, net, name, damage):
    registry.save(tmp_path / "1", net, facts(net), ORIGIN)
    file = tmp_path / "1" / name
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(b"" if damage == "empty" else b"{'x" * 40)
    with pytest.raises(AssetError, match=r"1 cannot be loaded(.|\n)*Next: .*curate undo run-7"):
        registry.load(at(tmp_path / "1"))


def test_weights_of_another_network_are_refused(tmp_path, net):
    registry.save(tmp_path / "1", net, facts(net), ORIGIN)
    file = tmp_path / "1" / registry.CARD
    other = json.loads(file.read_text())
    other["contract"]["backbone"] = "test_resnet.r160_in1k"
    file.write_text(json.dumps(other))
    with pytest.raises(AssetError, match="cannot be loaded"):
        registry.load(at(tmp_path / "1"))


def test_what_dead_runs_left_is_removed_and_recorded_models_are_not(here):
    kept = record(here, 1)
    record(here, 2)
    record(here, 7, task="eyes")
    models = here.root / "models" / "liveness"
    for name in ("1", "2", "3", ".3", ".2", "notes"):
        (models / name).mkdir(parents=True)
    runs.undo(here, kept)
    assert registry.sweep(here, "liveness") == 3
    assert sorted(path.name for path in models.iterdir()) == ["1", "2", "notes"]


def test_numbers_of_undone_runs_are_not_given_again(here):
    runs.undo(here, record(here, 1))
    assert registry.sweep(here, "liveness") == 2


def test_numbers_start_at_one(here):
    assert registry.sweep(here, "liveness") == 1


def test_the_card_for_people_states_rates_with_n_and_what_was_never_measured(net):
    text = card.text(facts(net))
    assert "| APCER print | 50.00 % | 1.26 to 98.74 % | 1 / 2 |" in text
    assert "| APCER cutout | 0.00 % | 0.00 to 97.50 % | 0 / 1 |" in text
    assert "absent from the test split: mask_3d." in text
    assert "**0.4375**" in text
    assert "| bonafide | 3 given, 1 soft |" in text
    assert "**Refused**; compared with model 4" in card.text(
        facts(net, promoted=False, compared_with=4)
    )


def test_nothing_tried_is_not_zero_per_cent():
    assert card.rate_cells(Rate(0, 0).to_dict()) == ("not measured", "-", "0 / 0")
