"""A person who is forgotten is in no file of the workspace, and does not come back."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate import embeddings, forget, runs, workspace
from curate.errors import ConfigError
from curate.workspace import Workspace

TAKEHOME = ("--recipe", "takehome")
SUBJECT = "takehome/1"


@pytest.fixture
def here(curate: Callable, tmp_path: Path, draw_portrait: Callable, save: Callable) -> Workspace:
    """Subject 1 in two images, a copy without a name, an attack, another person, a child."""
    train = tmp_path / "in" / "train"
    for subject in (1, 2, 3):
        for shot in (1, 2):
            rgb = draw_portrait(10 * subject + shot)
            save(train / "normal" / f"{subject}_{shot}.jpg", rgb)
    save(tmp_path / "mined" / "copy.jpg", draw_portrait(11), 70)
    assert curate("ingest", tmp_path / "in", *TAKEHOME).code == 0
    assert curate("ingest", tmp_path / "mined").code == 0
    made = workspace.open_at(tmp_path / "ws")
    add_child(made, id_of(made, "1_1.jpg"))
    ids = list(made.catalogue.read("images")["image_id"])
    embeddings.Cache(made.root / "crops" / "features-x").add(
        {image_id: np.ones(4, np.float32) for image_id in ids}
    )
    return made


def id_of(here: Workspace, name: str) -> str:
    images = here.catalogue.read("images")
    (found,) = images.loc[images["uri"].str.endswith(f"/{name}"), "image_id"]
    return str(found)


def add_child(here: Workspace, parent: str) -> None:
    """Put a synthetic attack on ``parent`` into the catalogue, as synth does."""
    images = here.catalogue.read("images")
    child = images[images["image_id"] == parent].drop(columns="batch")
    file = here.root / "synthetic" / "child.jpg"
    file.write_bytes(b"a synthetic face")
    child = child.assign(
        image_id="f" * 64, uri=str(file), origin="synthetic", parent_id=parent, subject=None
    )
    with runs.start(here, "synth", {}) as run:
        run.append("images", child)


def subject_ids(here: Workspace) -> set[str]:
    return {id_of(here, name) for name in ("1_1.jpg", "1_2.jpg", "copy.jpg")} | {"f" * 64}


def every_string_in(folder: Path) -> set[str]:
    """Return every string of every Parquet file below ``folder``, visible rows or not."""
    found: set[str] = set()
    for part in folder.rglob("*.parquet*"):
        if "_delta_log" in part.parts:
            continue  # the catalogue's own test reads those
        for column in pq.read_table(part).columns:
            if pa.types.is_string(column.type):
                found |= set(column.drop_null().to_pylist())
    return found


def test_rows_embeddings_children_and_copies_go_and_others_stay(
    curate: Callable, here: Workspace
) -> None:
    ids = subject_ids(here)
    before = here.catalogue.read("images")
    tuned = here.root / "runs" / "finetune-x"  # a net tuned on faces, kept to save minutes
    tuned.mkdir()
    done = curate("forget", "--subject", SUBJECT, "--yes", "--json")
    assert done.code == 0, done.err
    assert not tuned.exists()
    assert (done.json["images"], done.json["synthetic"]) == (4, 1)
    assert {Path(uri).name for uri in done.json["originals"]} == {"1_1.jpg", "1_2.jpg", "copy.jpg"}
    after = here.catalogue.read("images")
    assert set(after["image_id"]) == set(before["image_id"]) - ids
    forgotten = set(here.catalogue.read("forgotten")["mark"])
    left = every_string_in(here.root) - forgotten
    assert not left & ids
    assert SUBJECT not in left
    assert not (here.root / "synthetic" / "child.jpg").exists()
    kept = embeddings.Cache(here.root / "crops" / "features-x").ids()
    assert set(kept) == set(before["image_id"]) - ids


def test_originals_are_not_ours_to_delete(curate: Callable, here: Workspace) -> None:
    done = curate("forget", "--subject", SUBJECT, "--yes", "--json")
    assert all(Path(uri).is_file() for uri in done.json["originals"])


def test_who_was_forgotten_does_not_come_back(
    curate: Callable, here: Workspace, tmp_path: Path, draw_portrait: Callable, save: Callable
) -> None:
    curate("forget", "--subject", SUBJECT, "--yes")
    save(tmp_path / "in" / "train" / "normal" / "1_3.jpg", draw_portrait(13))
    save(tmp_path / "in" / "train" / "normal" / "4_1.jpg", draw_portrait(41))
    again = curate("ingest", tmp_path / "in", *TAKEHOME, "--json")
    assert again.json["new"] == 1
    assert again.json["counts"]["forgotten"] == 3
    copy = curate("ingest", tmp_path / "mined", "--json")  # bears no name: known by its bytes
    assert (copy.json["new"], copy.json["counts"]["forgotten"]) == (0, 1)
    assert not here.catalogue.read("images")["subject"].isin([SUBJECT]).any()


def test_dry_run_changes_nothing(curate: Callable, here: Workspace) -> None:
    before = here.catalogue.read("images")
    done = curate("forget", "--subject", SUBJECT, "--dry-run", "--json")
    assert done.json["images"] == 4
    pd.testing.assert_frame_equal(here.catalogue.read("images"), before)
    assert here.catalogue.read("forgotten").empty


def test_an_unknown_subject_is_an_error_that_names_some(curate: Callable, here: Workspace) -> None:
    done = curate("forget", "--subject", "takehome/99", "--yes")
    assert done.code == 1
    assert "takehome/1" in done.err


def test_without_yes_it_asks_first(curate: Callable, here: Workspace) -> None:
    assert curate("forget", "--subject", SUBJECT).code == 1
    assert len(here.catalogue.read("images")) == 8


def test_it_cannot_be_undone_and_says_so(curate: Callable, here: Workspace) -> None:
    run = curate("forget", "--subject", SUBJECT, "--yes", "--json").json["run_id"]
    done = curate("undo", run)
    assert done.code == 1
    assert "cannot be undone" in done.err


def test_rows_of_runs_undone_before_are_erased_too(curate: Callable, here: Workspace) -> None:
    ids = subject_ids(here)
    first = here.catalogue.runs_standing()["run_id"].iloc[0]
    curate("undo", first)
    assert curate("forget", "--subject", SUBJECT, "--yes", "--json").code == 0
    assert not (every_string_in(here.root / "catalogue" / "images") & ids)


def test_an_erasure_cut_short_is_finished_by_the_same_command(
    curate: Callable, here: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from curate.catalogue import Catalogue

    ids, erase = subject_ids(here), Catalogue.erase

    def dies(self: Catalogue, table: str, column: str, values: list[str]) -> int:
        if table == "images":
            raise KeyboardInterrupt
        return erase(self, table, column, values)

    monkeypatch.setattr(Catalogue, "erase", dies)
    assert curate("forget", "--subject", SUBJECT, "--yes").code != 0
    monkeypatch.undo()
    done = curate("forget", "--subject", SUBJECT, "--yes", "--json")
    assert (done.code, done.json["images"]) == (0, 4)
    assert not set(here.catalogue.read("images")["image_id"]) & ids


def test_models_that_learnt_from_the_subject_are_listed(
    curate: Callable, here: Workspace, tmp_path: Path
) -> None:
    for number, name in ((1, "1_1.jpg"), (2, "2_1.jpg")):
        folder = here.root / "models" / "liveness" / str(number)
        folder.mkdir(parents=True)
        learnt = pd.DataFrame(
            {"subject": ["x"]}, index=pd.Index([id_of(here, name)], name="image_id")
        )
        learnt.to_parquet(folder / "trained_on.parquet")
    done = curate("forget", "--subject", SUBJECT, "--yes", "--json")
    assert [Path(folder).name for folder in done.json["models"]] == ["1"]
    shutil.rmtree(here.root / "models")


def test_a_second_manifest_without_the_name_does_not_bring_the_person_back(
    curate: Callable, tmp_path: Path, draw_portrait: Callable, save: Callable
) -> None:
    folder = tmp_path / "fg"
    save(folder / "first.jpg", draw_portrait(1))
    save(folder / "later.jpg", draw_portrait(2))
    (folder / "known.csv").write_text("path,subject\nfirst.jpg,ann\n")
    (folder / "one.csv").write_text("path,subject\nlater.jpg,ann\n")
    (folder / "two.csv").write_text("path,label\nlater.jpg,bonafide\n")
    assert curate("ingest", folder / "known.csv").code == 0
    assert curate("forget", "--subject", "fg/ann", "--yes").code == 0
    curate("ingest", folder / "one.csv", folder / "two.csv")
    assert workspace.open_at(tmp_path / "ws").catalogue.read("images").empty


def test_a_wrong_setting_stops_it_before_anything_is_erased(here: Workspace) -> None:
    before = len(here.catalogue.read("images"))
    (here.root / "curate.toml").write_text("[ingest]\nradios = 8")
    with pytest.raises(ConfigError, match="radios"):
        forget.forget(workspace.open_at(here.root), SUBJECT, dry_run=False)
    assert len(here.catalogue.read("images")) == before
