"""Promises kept over several batches: bridges, labels learnt later, undo, files that move."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from curate import labels, runs, workspace
from curate.usable import usable_images
from curate.workspace import Workspace

CLASSES = ("--recipe", "class-folders")
TAKEHOME = ("--recipe", "takehome")


@pytest.fixture
def here(tmp_path: Path) -> Workspace:
    return workspace.create(tmp_path / "ws")


def ingest(curate: Callable, *words: object) -> dict[str, object]:
    done = curate("ingest", *words, "--json")
    assert done.code == 0, done.err
    return dict(done.json)


def usable_names(here: Workspace) -> list[str]:
    return sorted(Path(uri).name for uri in usable_images(here.catalogue)["uri"])


def decide(
    here: Workspace, name: str, label: str, attack_type: str = "", action: str = "relabel"
) -> None:
    images = here.catalogue.read("images")
    (image_id,) = images.loc[images["uri"].str.endswith(f"/{name}"), "image_id"]
    row = {
        "image_id": image_id, "task": "liveness", "part": "", "action": action, "label": label,
        "attack_type": attack_type, "reviewer": "me", "at": "2026-01-01",
    }  # fmt: skip
    with runs.start(here, "review", {}) as run:
        run.append("decisions", pd.DataFrame([row]))


def shifted(rgb: np.ndarray, pixels: int) -> np.ndarray:
    return np.roll(rgb, (pixels, -pixels), (0, 1))


def test_an_unlabelled_image_is_no_bridge_between_bonafide_and_attack(
    curate: Callable, tmp_path: Path, here: Workspace, draw_portrait: Callable, save: Callable
) -> None:
    rgb = draw_portrait(0)
    save(tmp_path / "p" / "k.jpg", rgb)
    save(tmp_path / "t" / "live" / "d.jpg", shifted(rgb, 4), 91)
    save(tmp_path / "u" / "print" / "n.jpg", shifted(rgb, -4), 90)
    ingest(curate, tmp_path / "p")
    ingest(curate, tmp_path / "t", *CLASSES)
    ingest(curate, tmp_path / "u", *CLASSES)
    images = here.catalogue.read("images").set_index("image_id")
    clusters = here.catalogue.read("pairs").query("cluster != ''")
    for cluster, pairs in clusters.groupby("cluster"):
        members = {cluster, *pairs["a"], *pairs["b"]}
        kinds = {Path(images.loc[member, "uri"]).parent.name for member in members}
        assert not {"live", "print"} <= kinds
    used = labels.resolved(here.catalogue)
    used = used[used.index.isin(usable_images(here.catalogue).index)]
    assert set(used["label"]) == {"bonafide", "attack"}  # and neither label is lost


def test_a_labelled_copy_of_an_image_that_came_unlabelled_is_not_lost(
    curate: Callable, tmp_path: Path, here: Workspace, draw_portrait: Callable, save: Callable
) -> None:
    save(tmp_path / "p" / "mined.jpg", draw_portrait(0), 95)
    save(tmp_path / "t" / "live" / "known.jpg", draw_portrait(0), 70)
    ingest(curate, tmp_path / "p")
    ingest(curate, tmp_path / "t", *CLASSES)
    assert usable_names(here) == ["known.jpg", "mined.jpg"]


def test_labels_learnt_later_take_a_whole_cluster_apart(
    curate: Callable, tmp_path: Path, here: Workspace, draw_portrait: Callable, save: Callable
) -> None:
    for n, quality in enumerate((95, 80, 70)):
        save(tmp_path / "p" / f"{n}.jpg", draw_portrait(0), quality)
    ingest(curate, tmp_path / "p")
    assert usable_names(here) == ["0.jpg"]
    decide(here, "1.jpg", "bonafide")
    decide(here, "2.jpg", "attack", "print")
    assert usable_names(here) == ["0.jpg", "1.jpg", "2.jpg"]


def test_a_recapture_of_a_test_image_that_is_only_understood_later_leaves_training(
    curate: Callable, tmp_path: Path, here: Workspace, draw_portrait: Callable, save: Callable
) -> None:
    """A pool image within 8 bits of a test image, pixels too far apart for a copy; then a label."""
    rgb = draw_portrait(5)
    for person in range(5):
        split = "test" if person < 2 else "train"
        save(tmp_path / "in" / split / "normal" / f"{person}_1.jpg", draw_portrait(5 + 10 * person))
    ingest(curate, tmp_path / "in", *TAKEHOME)
    light = np.linspace(0.55, 1.15, rgb.shape[1])[None, :, None]
    save(tmp_path / "pool" / "w.jpg", np.clip(rgb * light, 0, 255).astype(np.uint8))
    ingest(curate, tmp_path / "pool")
    assert set(here.catalogue.read("pairs")["kind"]) == {"candidate"}
    assert "w.jpg" in usable_names(here)
    decide(here, "w.jpg", "attack", "print")
    assert "w.jpg" not in usable_names(here)


def test_the_same_bytes_under_a_second_subject_tie_both_subjects(
    curate: Callable, tmp_path: Path, here: Workspace, draw_portrait: Callable, save: Callable
) -> None:
    data = save(tmp_path / "a" / "test" / "normal" / "50_1.jpg", draw_portrait(0)).read_bytes()
    for person in range(1, 4):
        save(tmp_path / "a" / "train" / "normal" / f"{person}_1.jpg", draw_portrait(person))
    ingest(curate, tmp_path / "a", *TAKEHOME)
    copy = tmp_path / "b" / "train" / "normal" / "77_1.jpg"
    copy.parent.mkdir(parents=True)
    copy.write_bytes(data)
    ingest(curate, tmp_path / "b", *TAKEHOME)
    save(tmp_path / "c" / "train" / "normal" / "77_2.jpg", draw_portrait(9))
    ingest(curate, tmp_path / "c", *TAKEHOME)
    images = here.catalogue.read("images")
    (reason,) = images.loc[images["uri"].str.endswith("77_2.jpg"), "reason"]
    assert reason == "contamination"


def test_undo_takes_places_back_too(
    curate: Callable, tmp_path: Path, here: Workspace, draw_portrait: Callable, save: Callable
) -> None:
    data = save(tmp_path / "a" / "1.jpg", draw_portrait(0)).read_bytes()
    ingest(curate, tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "2.jpg").write_bytes(data)
    run = ingest(curate, tmp_path / "b")["run_id"]
    assert [len(places) for places in here.catalogue.read("images")["also_at"]] == [1]
    curate("undo", run)
    assert [len(places) for places in here.catalogue.read("images")["also_at"]] == [0]


def test_redo_after_a_second_ingest_leaves_one_row_each(
    curate: Callable, tmp_path: Path, here: Workspace, draw_portrait: Callable, save: Callable
) -> None:
    for n in range(3):
        save(tmp_path / "m" / "live" / f"{n}.jpg", draw_portrait(n))
    first = ingest(curate, tmp_path / "m", *CLASSES)["run_id"]
    undone = curate("undo", first, "--json").json["run_id"]
    ingest(curate, tmp_path / "m", *CLASSES)
    assert curate("undo", undone).code == 0
    for table in ("images", "labels", "splits"):
        assert len(here.catalogue.read(table)) == 3
    assert curate("status").code == 0
    assert ingest(curate, tmp_path / "m", *CLASSES)["run_id"] == ""


def test_an_empty_run_name_undoes_nothing(
    curate: Callable, tmp_path: Path, here: Workspace, draw_portrait: Callable, save: Callable
) -> None:
    save(tmp_path / "m" / "0.jpg", draw_portrait(0))
    ingest(curate, tmp_path / "m")
    assert curate("undo", "").code == 1
    assert len(here.catalogue.read("images")) == 1


def test_a_copy_of_what_was_undone_counts_again(
    curate: Callable, tmp_path: Path, here: Workspace, draw_portrait: Callable, save: Callable
) -> None:
    save(tmp_path / "a" / "1.jpg", draw_portrait(1), 95)
    save(tmp_path / "b" / "2.jpg", draw_portrait(1), 60)
    first = ingest(curate, tmp_path / "a")["run_id"]
    second = ingest(curate, tmp_path / "b")["run_id"]
    assert usable_names(here) == ["1.jpg"]
    done = curate("undo", first)
    assert str(second) in done.err  # it was judged beside what is gone now
    assert usable_names(here) == ["2.jpg"]


def test_a_file_replaced_in_place_is_a_new_image_and_the_old_one_is_never_read_from_it(
    curate: Callable, tmp_path: Path, here: Workspace, draw_portrait: Callable, save: Callable
) -> None:
    from curate.crops import face_crop
    from curate.errors import SourceError

    save(tmp_path / "m" / "1.jpg", draw_portrait(1))
    ingest(curate, tmp_path / "m")
    (old,) = here.catalogue.read("images").to_dict("records")
    save(tmp_path / "m" / "1.jpg", draw_portrait(2))
    with pytest.raises(SourceError, match="another content lies there"):
        face_crop(old, scale=2.0, size=64)
    ingest(curate, tmp_path / "m")
    assert len(here.catalogue.read("images")) == 2
    assert old["image_id"] not in usable_images(here.catalogue).index


def test_originals_are_found_wherever_they_were_seen(
    curate: Callable, tmp_path: Path, here: Workspace, draw_portrait: Callable, save: Callable
) -> None:
    from curate.crops import face_crop

    save(tmp_path / "m" / "1.jpg", draw_portrait(1))
    ingest(curate, tmp_path / "m")
    shutil.move(tmp_path / "m", tmp_path / "moved")
    ingest(curate, tmp_path / "moved")
    (row,) = here.catalogue.read("images").to_dict("records")
    assert face_crop(row, scale=2.0, size=64).shape == (64, 64, 3)


def test_a_gone_original_stops_no_later_ingest(
    curate: Callable, tmp_path: Path, here: Workspace, draw_portrait: Callable, save: Callable
) -> None:
    file = save(tmp_path / "a" / "1.jpg", draw_portrait(1))
    ingest(curate, tmp_path / "a")
    file.unlink()
    save(tmp_path / "b" / "2.jpg", draw_portrait(1), 70)
    ingest(curate, tmp_path / "b")
    assert list(here.catalogue.read("pairs")["kind"]) == ["candidate"]


def test_a_workspace_inside_the_source_does_not_eat_itself(
    tmp_path: Path, curate: Callable, draw_portrait: Callable, save: Callable
) -> None:
    save(tmp_path / "photos" / "live" / "1.jpg", draw_portrait(1))
    inside = tmp_path / "photos"
    for _ in range(3):
        assert curate("ingest", tmp_path / "photos", *CLASSES, workspace=inside).code == 0
        assert curate("report", workspace=inside).code == 0
    assert len(workspace.open_at(inside).catalogue.read("images")) == 1


def test_a_crowd_of_copies_becomes_one_image(
    curate: Callable, tmp_path: Path, here: Workspace, draw_portrait: Callable, save: Callable
) -> None:
    for n in range(40):
        save(tmp_path / "m" / f"{n:02d}.jpg", draw_portrait(1), 50 + n)
    ingest(curate, tmp_path / "m")
    assert len(usable_names(here)) == 1


def test_a_copy_of_a_quarantined_image_is_not_its_duplicate(
    curate: Callable, tmp_path: Path, here: Workspace, draw_portrait: Callable, save: Callable
) -> None:
    for person in range(3):
        save(tmp_path / "a" / "train" / "normal" / f"{person}_1.jpg", draw_portrait(person))
        save(tmp_path / "a" / "test" / "spoof" / f"{10 + person}_1.jpg", draw_portrait(10 + person))
    ingest(curate, tmp_path / "a", *TAKEHOME)
    save(tmp_path / "b" / "test" / "normal" / "1_5.jpg", draw_portrait(50))  # too late for test
    ingest(curate, tmp_path / "b", *TAKEHOME)
    save(tmp_path / "c" / "n.jpg", draw_portrait(50), 70)
    ingest(curate, tmp_path / "c")
    images = here.catalogue.read("images")
    statuses = dict(zip(images["uri"].str.rpartition("/")[2], images["status"], strict=True))
    assert statuses["1_5.jpg"] == "quarantined"
    assert statuses["n.jpg"] != "duplicate"


def test_a_file_that_could_not_be_read_once_is_tried_again(
    curate: Callable, tmp_path: Path, here: Workspace, draw_portrait: Callable, save: Callable
) -> None:
    save(tmp_path / "m" / "good.jpg", draw_portrait(0))
    (tmp_path / "m" / "bad.jpg").symlink_to(tmp_path / "later.jpg")
    ingest(curate, tmp_path / "m")
    assert usable_names(here) == ["good.jpg"]
    save(tmp_path / "later.jpg", draw_portrait(1))
    ingest(curate, tmp_path / "m")
    assert usable_names(here) == ["bad.jpg", "good.jpg"]


def test_a_dry_run_makes_no_workspace_and_a_missing_source_neither(
    curate: Callable, tmp_path: Path, draw_portrait: Callable, save: Callable
) -> None:
    save(tmp_path / "m" / "1.jpg", draw_portrait(1))
    assert curate("ingest", tmp_path / "m", "--dry-run", workspace=tmp_path / "new").code == 0
    assert curate("ingest", tmp_path / "nope", workspace=tmp_path / "new").code == 1
    assert not (tmp_path / "new").exists()


def test_noise_is_no_face(
    curate: Callable, tmp_path: Path, here: Workspace, save: Callable
) -> None:
    rng = np.random.default_rng(0)
    for n in range(40):
        size = rng.integers(3, 34, 2)
        save(tmp_path / "m" / f"{n}.jpg", rng.integers(0, 255, (*size, 3), dtype=np.uint8))
    curate("ingest", tmp_path / "m")
    assert set(here.catalogue.read("images")["status"]) == {"quarantined"}


def test_a_later_batch_with_near_strangers_of_its_own_is_joined_too(
    curate: Callable, tmp_path: Path, here: Workspace, draw_portrait: Callable, save: Callable
) -> None:
    """Candidates on record and new ones at once: two people each time, one picture's layout."""
    light = np.linspace(0.55, 1.15, 320)[None, :, None]
    for batch, seed in (("a", 1), ("b", 2), ("c", 3)):
        save(tmp_path / batch / "live" / "1.jpg", draw_portrait(seed))
        changed = np.clip(draw_portrait(seed) * light, 0, 255).astype(np.uint8)
        save(tmp_path / batch / "live" / "2.jpg", changed)
        ingest(curate, tmp_path / batch, *CLASSES)
    images = here.catalogue.read("images").set_index("image_id")["batch"]
    pairs = here.catalogue.read("pairs")
    assert set(pairs["kind"]) == {"candidate"}
    within = pairs["a"].map(images) == pairs["b"].map(images)
    assert within.sum() == 3
    assert (~within).any()


def test_dev_and_test_images_of_nobody_known_are_said_aloud(
    curate: Callable, tmp_path: Path, here: Workspace, draw_portrait: Callable, save: Callable
) -> None:
    for n in range(8):
        save(tmp_path / "m" / ("live" if n % 2 else "print") / f"{n}.jpg", draw_portrait(n))
    done = curate("ingest", tmp_path / "m", *CLASSES)
    assert "No subject is known for" in done.err
    save(tmp_path / "n" / "train" / "normal" / "1_1.jpg", draw_portrait(20))
    assert "No subject" not in curate("ingest", tmp_path / "n", *TAKEHOME).err
    curate("report")
    assert "No subject is known" in (here.root / "report.html").read_text(encoding="utf-8")
