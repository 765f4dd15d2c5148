"""`curate synth`: rows and files, training only, the same again for the same seed."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from curate import workspace
from curate.catalogue import Catalogue


@pytest.fixture
def labelled(
    curate: Callable, tmp_path: Path, draw_portrait: Callable, save: Callable
) -> Catalogue:
    for n in range(8):
        split = "test" if n < 2 else "train"
        save(tmp_path / "in" / split / "normal" / f"{n}_1.jpg", draw_portrait(n))
        save(tmp_path / "in" / split / "spoof" / f"{n}_2.jpg", draw_portrait(50 + n))
    assert curate("ingest", tmp_path / "in", "--recipe", "takehome").code == 0
    return workspace.open_at(tmp_path / "ws").catalogue


def synthetic(catalogue: Catalogue) -> list[dict[str, object]]:
    images = catalogue.read("images")
    return images[images["origin"] == "synthetic"].to_dict("records")


def test_each_training_parent_gets_each_attack_and_a_bonafide_copy_through_the_same_camera(
    curate: Callable, labelled: Catalogue
) -> None:
    done = curate("synth", "--attack", "print,replay_phone", "--json").json
    made = synthetic(labelled)
    split = labelled.read("splits").set_index("image_id")["split"]
    given = labelled.read("labels").set_index("image_id")
    parents = {row["parent_id"] for row in made}
    assert len(parents) == done["parents"]
    assert len(made) == 3 * len(parents)
    assert set(split[list(parents)]) == {"train"}
    for row in made:
        assert Path(str(row["uri"])).is_file()
        assert json.loads(str(row["parameters"]))
        assert row["seed"] >= 0
        kind = Path(str(row["uri"])).parts[-3]
        label = given.loc[row["image_id"]]
        expected = ("bonafide", "") if kind == "bonafide" else ("attack", kind)
        assert (label["label"], label["attack_type"]) == expected
        if row["status"] == "kept":
            assert split[row["image_id"]] == "train"
        else:
            assert row["image_id"] not in split.index


def test_a_second_run_makes_nothing_and_a_second_type_only_itself(
    curate: Callable, labelled: Catalogue
) -> None:
    curate("synth", "--attack", "print")
    before = len(synthetic(labelled))
    assert curate("synth", "--attack", "print", "--json").json["run_id"] == ""
    assert len(synthetic(labelled)) == before
    more = curate("synth", "--attack", "print,replay_tablet", "--json").json
    assert more["wanted"] == more["parents"]


def test_undone_and_made_again_the_bytes_are_the_same(
    curate: Callable, labelled: Catalogue
) -> None:
    run = curate("synth", "--attack", "print", "--json").json["run_id"]
    before = {row["image_id"] for row in synthetic(labelled)}
    curate("undo", run)
    assert synthetic(labelled) == []
    curate("synth", "--attack", "print")
    assert {row["image_id"] for row in synthetic(labelled)} == before


def test_dry_run_makes_nothing(curate: Callable, labelled: Catalogue, tmp_path: Path) -> None:
    assert curate("synth", "--dry-run", "--json").json["wanted"] > 0
    assert synthetic(labelled) == []
    assert not list((tmp_path / "ws" / "synthetic").rglob("*.jpg"))


@pytest.mark.parametrize("attack", ["mask_3d", "nonsense", ","])
def test_an_attack_that_cannot_be_simulated_is_named(
    curate: Callable, labelled: Catalogue, attack: str
) -> None:
    done = curate("synth", "--attack", attack)
    assert done.code == 1
    assert "known: " in done.err


def test_without_bonafide_training_images_it_says_what_is_missing(
    curate: Callable, tmp_path: Path, draw_portrait: Callable, save: Callable
) -> None:
    save(tmp_path / "in" / "a.jpg", draw_portrait(0))
    curate("ingest", tmp_path / "in")
    done = curate("synth")
    assert done.code == 1
    assert "Next:" in done.err


def test_an_original_that_is_gone_is_named(
    curate: Callable, labelled: Catalogue, tmp_path: Path
) -> None:
    for file in (tmp_path / "in").rglob("*.jpg"):
        file.unlink()
    done = curate("synth")
    assert done.code == 1
    assert "was readable at ingest and is not now" in done.err
    assert synthetic(labelled) == []
