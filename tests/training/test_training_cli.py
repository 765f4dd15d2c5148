import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image
from safetensors.numpy import load_file

from curate import champions, faces, runs, workspace
from curate.cli import main
from curate.faces import Face
from training import loop, predict, registry

pytestmark = pytest.mark.usefixtures("untrained")


def run(here, *arguments):
    return CliRunner().invoke(main, ["--workspace", str(here.root), *map(str, arguments)])


def retrain(here, *arguments):
    done = run(here, "retrain", "--json", *arguments)
    assert done.exit_code in (0, 3), (done.stderr, done.exception)
    return done, json.loads(done.stdout)


def rewrite(here, **settings):
    file = here.root / "curate.toml"
    lines = [line for line in file.read_text().splitlines() if line.split(" =")[0] not in settings]
    lines += [f"{name} = {value}" for name, value in settings.items()]
    file.write_text("\n".join(lines))
    return workspace.open_at(here.root)


def learn_well(here):
    """Settings under which the tiny network separates the two colours of noise."""
    return rewrite(here, epochs=8)


def tables(here):
    """Everything a retrain leaves, run ids and times aside."""
    rows = here.catalogue.read("runs").sort_values("started")
    rows = rows.drop(columns=["run_id", "started", "seconds"]).to_dict("records")
    models = {}
    for folder in sorted((here.root / "models" / "liveness").glob("*")):
        facts = json.loads((folder / "card.json").read_text())
        weights = load_file(folder / "weights.safetensors")
        models[folder.name] = (
            facts | {"run_id": ""}, {name: value.tobytes() for name, value in weights.items()},
        )  # fmt: skip
    return rows, models


def test_the_first_model_is_promoted_and_its_folder_is_whole(both_classes):
    done, result = retrain(both_classes)
    assert (done.exit_code, result["status"]) == (0, "promoted")
    folder = both_classes.root / "models" / "liveness" / "1"
    assert result["folder"] == str(folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md", "card.json", "trained_on.parquet", "weights.safetensors",
    ]  # fmt: skip
    champion = champions.require_champion(both_classes, "liveness")
    assert (champion.number, champion.promoted) == (1, True)
    facts = json.loads((folder / "card.json").read_text())
    assert champion.counts["threshold"] == facts["threshold"]
    assert champion.counts["apcer"] == {"print": facts["metrics"]["apcer"]["print"]["value"]}
    assert champion.counts["apcer_max"] == facts["metrics"]["apcer_max"]
    assert champion.counts["bpcer"] == facts["metrics"]["bpcer"]["value"]
    assert champion.counts["n"] == {"bonafide": 6, "print": 6}
    origin = pd.read_parquet(folder / "trained_on.parquet")
    assert origin["split"].value_counts().to_dict() == {"train": 24, "dev": 12}
    assert list((both_classes.root / "runs").iterdir()) == []


def test_a_rerun_with_nothing_new_trains_nothing_and_adds_no_row(both_classes):
    retrain(both_classes)
    before = tables(both_classes)
    done, result = retrain(both_classes)
    assert (done.exit_code, result["status"]) == (0, "unchanged")
    assert tables(both_classes) == before
    assert "Nothing new to learn" in run(both_classes, "retrain").stdout


def test_other_settings_make_another_challenger(both_classes):
    retrain(both_classes)
    done, result = retrain(both_classes, "--epochs", "1")
    assert result["model"]["model"] == 2
    assert result["model"]["compared_with"] == 1
    assert result["model"]["config"]["epochs"] == 1


def test_a_worse_challenger_is_refused_with_the_table_and_exit_code_three(both_classes):
    here = learn_well(both_classes)
    first = retrain(here)[1]
    assert first["model"]["metrics"]["acer"] == 0
    _relabel_train_the_wrong_way_round(here)
    refused = run(here, "retrain")
    assert refused.exit_code == 3
    assert "ROSE" in refused.stdout
    assert "is not promoted" in refused.stderr
    assert "Next: " in refused.stderr
    last = here.catalogue.read("runs").sort_values("started").iloc[-1]
    assert (last["state"], json.loads(last["counts"])["promoted"]) == ("refused", False)
    assert champions.require_champion(here, "liveness").number == 1
    assert (here.root / "models" / "liveness" / "2" / "card.json").exists()
    again = run(here, "retrain")
    assert again.exit_code == 3
    verbs = here.catalogue.read("runs").sort_values("started")["verb"]
    assert list(verbs) == ["ingest", "retrain", "review", "retrain"]


def _relabel_train_the_wrong_way_round(here):
    splits, labels = here.catalogue.read("splits"), here.catalogue.read("labels")
    train = labels[labels["image_id"].isin(splits.loc[splits["split"] == "train", "image_id"])]
    live = (train["label"] == "bonafide").to_numpy()
    wrong = pd.DataFrame(
        {
            "image_id": train["image_id"], "task": "liveness", "part": "", "action": "relabel",
            "label": np.where(live, "attack", "bonafide"),
            "attack_type": np.where(live, "print", ""),
            "reviewer": "somebody", "at": "2026-01-01T00:00:00",
        }
    )  # fmt: skip
    with runs.start(here, "review", {}) as review:
        review.append("decisions", wrong)


def test_stopped_in_the_middle_the_same_command_gives_the_same_tables(both_classes, make):
    whole = make("whole")
    whole.rows = json.loads(_rows_of(both_classes))
    (whole.here.root / "curate.toml").write_text((both_classes.root / "curate.toml").read_text())
    other = workspace.open_at(whole.commit().root)
    _stop_after(1, both_classes)
    assert (both_classes.root / "runs").iterdir()
    assert not champions.models(both_classes, "liveness")
    assert list((both_classes.root / "models").rglob("*")) == []
    retrain(both_classes)
    retrain(other)
    assert tables(both_classes) == tables(other)


def _rows_of(here):
    images = here.catalogue.read("images")[
        ["image_id", "uri", "source", "subject", "origin", "turn", "mirror", "status", "reason",
         "width", "height", "face", "bytes", "mtime_ns"]
    ]  # fmt: skip
    labels = here.catalogue.read("labels")[["image_id", "label", "attack_type"]]
    splits = here.catalogue.read("splits")[["image_id", "split"]]
    rows = images.merge(labels, on="image_id").merge(splits, on="image_id")
    return rows.assign(basis="given", also_at=[[]] * len(rows)).to_json(orient="records")


def _stop_after(epochs, here):
    """Ctrl-C once ``epochs`` whole epochs are on disk."""
    save, count = loop._save, 0

    def saving(*arguments):
        nonlocal count
        save(*arguments)
        count += 1
        if count == epochs:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "_save", saving)
        stopped = run(here, "retrain")
    assert stopped.exit_code == 130
    assert "goes on from here" in stopped.stderr


def test_a_dry_run_counts_and_writes_nothing(both_classes):
    before = both_classes.catalogue.read("runs")
    done, result = retrain(both_classes, "--dry-run")
    assert (done.exit_code, result["status"]) == (0, "dry run")
    assert result["trained_on"] == {"bonafide": {"given": 12}, "print": {"given": 12}}
    assert len(both_classes.catalogue.read("runs")) == len(before)
    assert list((both_classes.root / "models").iterdir()) == []
    assert list((both_classes.root / "runs").iterdir()) == []


def test_an_undone_model_is_no_champion_and_its_number_stays_taken(both_classes):
    _, result = retrain(both_classes)
    assert run(both_classes, "undo", result["run_id"]).exit_code == 0
    assert run(both_classes, "evaluate").exit_code == 1
    assert retrain(both_classes)[1]["model"]["model"] == 2


def test_too_little_data_is_an_error_that_writes_nothing(builder):
    builder.add(3, label="bonafide", split="train")
    here = builder.commit()
    done = run(here, "retrain")
    assert done.exit_code == 1
    assert "split train holds 3 bonafide and 0 attack" in done.stderr
    assert "Next: " in done.stderr
    assert list(here.catalogue.read("runs")["verb"]) == ["ingest"]
    assert list((here.root / "models").iterdir()) == []


def test_an_unknown_backbone_is_an_error_that_writes_nothing(both_classes):
    done = run(both_classes, "retrain", "--backbone", "resnet_of_dreams")
    assert done.exit_code == 1
    assert "resnet_of_dreams" in done.stderr
    assert list((both_classes.root / "models").iterdir()) == []


@pytest.mark.parametrize("verb", [("retrain",), ("evaluate",), ("predict", "x.jpg")])
def test_other_tasks_say_so(both_classes, verb):
    done = run(both_classes, *verb, "--task", "eyes")
    assert done.exit_code == 1
    assert "only liveness" in done.stderr


@pytest.mark.parametrize("verb", [("evaluate",), ("predict", "x.jpg")])
def test_without_a_model_the_next_step_is_retrain(both_classes, verb):
    done = run(both_classes, *verb)
    assert done.exit_code == 1
    assert "Next: curate retrain" in done.stderr


def test_evaluate_repeats_the_figures_of_the_card(both_classes):
    _, result = retrain(both_classes)
    done = run(both_classes, "evaluate", "--json")
    assert done.exit_code == 0
    again = json.loads(done.stdout)
    assert {name: again[name] for name in result["model"]["metrics"]} == result["model"]["metrics"]
    assert run(both_classes, "evaluate", "--model", "1").exit_code == 0
    wrong = run(both_classes, "evaluate", "--model", "9")
    assert wrong.exit_code == 1
    assert "known: 1" in wrong.stderr


def test_a_lost_champion_stops_retrain_before_it_trains(both_classes):
    retrain(both_classes)
    (both_classes.root / "models" / "liveness" / "1" / registry.WEIGHTS).unlink()
    done = run(both_classes, "retrain", "--epochs", "1")
    assert done.exit_code == 1
    assert "cannot be loaded" in done.stderr
    assert list((both_classes.root / "runs").iterdir()) == []


@pytest.fixture
def a_face_everywhere(monkeypatch):
    """A detector that finds one upright face in the middle of any image that is not black."""

    def detect(self, rgb, looks=("frame",)):
        if rgb.max() < 10:
            return []
        height, width = rgb.shape[:2]
        x, y, w, h = width / 4, height / 4, width / 2, height / 2
        points = [
            (x, y),
            (x + w, y),
            (x + w / 2, y + h / 2),
            (x + w / 2, y + h),
            (x, y),
            (x + w, y),
        ]
        return [Face((x, y, w, h), 0.99, np.array(points, np.float32))]

    monkeypatch.setattr(faces.FaceDetector, "__init__", lambda self, task_file: None)
    monkeypatch.setattr(faces.FaceDetector, "detect", detect)
    monkeypatch.setattr("curate.assets.path", lambda name: name)


@pytest.mark.usefixtures("a_face_everywhere")
def test_predict_gives_a_line_per_image_also_for_bad_files(both_classes, tmp_path):
    here = learn_well(both_classes)
    retrain(here)
    rows = here.catalogue.read("images").merge(here.catalogue.read("splits"), on="image_id")
    test = rows[rows["split"] == "test"]
    live, attack = test["uri"].iloc[0], test["uri"].iloc[-1]
    broken, black, absent = (tmp_path / name for name in ("broken.jpg", "black.png", "absent.jpg"))
    broken.write_bytes(b"\xff\xd8 not really")
    Image.new("RGB", (64, 64)).save(black)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "page.jpg").write_bytes(b"<html>")
    images = [live, broken, black, absent, tmp_path / "folder", attack]
    done = run(here, "predict", *images)
    assert done.exit_code == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    inside = tmp_path / "folder" / "page.jpg"  # a folder stands for its files
    assert [line["image"] for line in lines] == [*map(str, [*images[:4], inside, attack])]
    assert ["error" in line for line in lines] == [False, True, True, True, True, False]
    assert "no face" in lines[2]["error"]
    assert set(lines[0]) == {"image", "score", "label", "threshold", "turn"}
    assert (lines[0]["label"], lines[-1]["label"]) == ("bonafide", "attack")
    assert lines[0]["turn"] == 0
    for line in (lines[0], lines[-1]):
        assert (line["score"] >= line["threshold"]) == (line["label"] == "bonafide")


@pytest.mark.usefixtures("a_face_everywhere")
def test_predict_scores_as_evaluate_does(both_classes):
    retrain(both_classes)
    champion = champions.require_champion(both_classes, "liveness")
    saved = registry.load(champion)
    uris = both_classes.catalogue.read("images")["uri"].tolist()
    done = run(both_classes, "predict", *uris)
    from training import data, model

    rows = both_classes.catalogue.read("images")
    crops = data.stream(rows, scale=2.0, size=32, threads=1)
    expected = model.score(saved.net, crops)
    got = [json.loads(line)["score"] for line in done.stdout.splitlines()]
    np.testing.assert_allclose(got, expected, atol=1e-6)


@pytest.mark.usefixtures("a_face_everywhere")
def test_predict_fails_only_when_nothing_could_be_scored(both_classes, tmp_path):
    retrain(both_classes)
    done = run(both_classes, "predict", tmp_path / "absent.jpg")
    assert done.exit_code == 1
    assert "error" in json.loads(done.stdout.splitlines()[0])
    assert "none of the 1 images" in done.stderr


def test_a_label_is_bonafide_from_the_threshold_on():
    line = {"image": "a", "turn": 0}
    assert predict._judged(line, 0.5, 0.5)["label"] == "bonafide"
    assert predict._judged(line, np.nextafter(0.5, 0), 0.5)["label"] == "attack"
