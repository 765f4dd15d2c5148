"""The catalogue: what is written comes back, what is unfinished stays invisible."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st

from curate import rows, runs, tables, upkeep, workspace
from curate.catalogue import Catalogue
from curate.errors import DataError, SchemaError
from curate.workspace import Workspace


@pytest.fixture
def here(tmp_path: Path) -> Workspace:
    return workspace.create(tmp_path / "ws")


def images(*names: str, **columns: object) -> pd.DataFrame:
    base = {"status": "kept", "reason": "", "turn": 0, "mirror": "no", "origin": "mined"}
    return pd.DataFrame(
        [{"image_id": name, "uri": f"/{name}", **base, **columns} for name in names]
    )


def test_rows_are_invisible_until_the_run_is_done(here: Workspace) -> None:
    with runs.start(here, "ingest", {}) as run:
        run.append("images", images("a"))
        assert here.catalogue.read("images").empty
    assert list(here.catalogue.read("images")["image_id"]) == ["a"]


def test_what_a_failed_run_wrote_is_swept_by_the_next(here: Workspace) -> None:
    with pytest.raises(RuntimeError), runs.start(here, "ingest", {}) as run:  # noqa: PT012
        run.append("images", images("a", "b"))
        raise RuntimeError("a fault of ours")
    leftover = here.root / "catalogue" / "images" / "part-x.parquet#1"
    leftover.write_bytes(b"half an upload")
    assert here.catalogue.sweep() == 2
    assert not leftover.exists()
    assert here.catalogue.sweep() == 0


def test_undone_runs_keep_their_rows(here: Workspace) -> None:
    with runs.start(here, "ingest", {}) as run:
        run.append("images", images("a"))
    undone = runs.undo(here, run.run_id)
    assert here.catalogue.read("images").empty
    assert here.catalogue.sweep() == 0
    runs.undo(here, undone.run_id)
    assert len(here.catalogue.read("images")) == 1


def test_an_unknown_run_cannot_be_undone(here: Workspace) -> None:
    with pytest.raises(DataError, match="curate status"):
        runs.undo(here, "nope")
    assert here.catalogue.read("runs").empty


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        pytest.param({"colour": "red"}, "unknown columns", id="unknown column"),
        pytest.param({"status": "lost"}, "'lost' not in", id="unknown class"),
        pytest.param({"face_score": 1.01}, r"must lie in \[0, 1\]", id="just above the range"),
        pytest.param({"turn": "ninety"}, "turn", id="wrong dtype"),
    ],
)
def test_a_frame_that_does_not_fit_the_schema_is_refused(
    here: Workspace, columns: dict[str, object], says: str
) -> None:
    with pytest.raises(SchemaError, match=says):
        here.catalogue.append("images", images("a", **columns))


def test_the_upper_end_of_a_range_belongs_to_it(here: Workspace) -> None:
    assert here.catalogue.append("images", images("a", face_score=1.0, batch="x")) == 1


texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20)
uint64s = st.integers(0, 2**64 - 1)


@settings(max_examples=20, deadline=None)
@given(
    rows=st.lists(
        st.tuples(texts, st.lists(uint64s, min_size=8, max_size=8), st.none() | texts),
        min_size=1,
        max_size=5,
    )
)
def test_written_then_read_is_the_same(rows: list[tuple[str, list[int], str | None]]) -> None:
    import tempfile

    frame = images(*(f"{n}" for n in range(len(rows))))
    frame["uri"] = [uri for uri, _, _ in rows]
    frame["phash"] = [np.array(poses, np.uint64).view(np.int64) for _, poses, _ in rows]
    frame["subject"] = pd.Series([subject for _, _, subject in rows], dtype="object")
    with tempfile.TemporaryDirectory() as folder:
        catalogue = Catalogue(Path(folder))
        catalogue.append("images", frame.assign(batch="x"))
        run = pd.DataFrame([{"run_id": "x", "started": "1", "undoes": ""}])
        catalogue.append("runs", run)
        back = catalogue.read("images")
    assert list(back["uri"]) == [uri for uri, _, _ in rows]
    assert [list(p.view(np.uint64)) for p in back["phash"]] == [poses for _, poses, _ in rows]
    assert [None if pd.isna(s) else s for s in back["subject"]] == [s for _, _, s in rows]


def test_every_table_that_a_run_writes_says_which_run(here: Workspace) -> None:
    for table, column in tables.RUN_COLUMN.items():
        assert column in tables.TABLES[table].names


def everything_in(folder: Path) -> str:
    """Return what all files of a table say, Parquet files read."""
    texts = []
    for file in folder.rglob("*"):
        if file.is_file():
            parquet = ".parquet" in file.name
            texts.append(str(pq.read_table(file).to_pylist()) if parquet else file.read_text())
    return "\n".join(texts)


@pytest.fixture
def three_runs(here: Workspace) -> Workspace:
    for name in "abc":
        with runs.start(here, "ingest", {}) as run:
            run.append("images", images(f"secret-{name}", f"open-{name}"))
    return here


def test_erased_rows_are_in_no_file_and_no_commit_any_more(three_runs: Workspace) -> None:
    catalogue, folder = three_runs.catalogue, three_runs.root / "catalogue" / "images"
    (folder / "part-x.parquet#1").write_bytes(b"half an upload: secret-a")
    assert "secret-a" in everything_in(three_runs.root / "catalogue" / "images" / "_delta_log")
    assert catalogue.erase("images", "image_id", ["secret-a", "secret-c", "it's not there"]) == 2
    left = everything_in(folder)
    assert "secret-a" not in left
    assert "secret-c" not in left
    assert "secret-b" in left  # and what was read was not nothing
    names = list(catalogue.read("images")["image_id"])
    assert names == ["open-a", "secret-b", "open-b", "open-c"]
    with runs.start(three_runs, "ingest", {}) as run:
        run.append("images", images("later"))
    assert len(catalogue.read("images")) == 5


def test_erasing_what_is_not_there_still_removes_older_versions(three_runs: Workspace) -> None:
    catalogue, folder = three_runs.catalogue, three_runs.root / "catalogue" / "images"
    DeltaTable(str(folder)).delete("image_id = 'secret-a'")  # as if killed right after
    assert "secret-a" in everything_in(folder)
    assert catalogue.erase("images", "image_id", ["secret-a"]) == 0
    assert "secret-a" not in everything_in(folder)
    assert catalogue.erase("labels", "image_id", ["secret-a"]) == 0  # a table not written yet


@pytest.mark.parametrize("step", ["vacuum", "create_checkpoint", "alter", "_forget_commits"])
def test_an_erasure_killed_half_way_is_completed_by_the_next(
    three_runs: Workspace, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue, folder = three_runs.catalogue, three_runs.root / "catalogue" / "images"

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        owner = upkeep if step == "_forget_commits" else DeltaTable
        patch.setattr(owner, step, property(die) if step == "alter" else die)
        with pytest.raises(KeyboardInterrupt):
            catalogue.erase("images", "image_id", ["secret-a"])
    assert len(catalogue.read("images")) == 5
    catalogue.erase("images", "image_id", ["secret-a"])
    assert "secret-a" not in everything_in(folder)
    assert len(catalogue.read("images")) == 5


def test_removing_commits_may_stop_after_any_of_them(three_runs: Workspace) -> None:
    catalogue, folder = three_runs.catalogue, three_runs.root / "catalogue" / "images"
    unlink, removed = Path.unlink, []

    def last_breath(file: Path) -> None:
        if len(removed) == 2:
            raise KeyboardInterrupt
        removed.append(file.name)
        unlink(file)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "unlink", last_breath)
        with pytest.raises(KeyboardInterrupt):
            catalogue.erase("images", "image_id", ["secret-a"])
    assert len(removed) == 2
    assert len(catalogue.read("images")) == 5
    catalogue.erase("images", "image_id", ["secret-a"])
    assert "secret-a" not in everything_in(folder)


def test_many_small_files_are_put_together_and_nothing_changes(
    here: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "SMALL_FILES", 4)
    for number in range(4):
        with runs.start(here, "ingest", {}) as run:
            run.append("images", images(f"{number}"))
    undone = runs.undo(here, run.run_id)
    before = here.catalogue.read("images")
    here.catalogue.sweep()
    assert len(rows.parts(here.root / "catalogue" / "images", "batch")) == 1
    pd.testing.assert_frame_equal(before, here.catalogue.read("images"))
    assert list(before["image_id"]) == ["0", "1", "2"]
    runs.undo(here, undone.run_id)
    assert list(here.catalogue.read("images")["image_id"]) == ["0", "1", "2", "3"]


def test_rows_of_a_dead_run_are_swept_out_of_a_file_of_several_runs(
    here: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "SMALL_FILES", 2)
    with runs.start(here, "ingest", {}) as run:
        run.append("images", images("done"))
    here.catalogue.append("images", images("dead", batch="died"))
    upkeep.compact(here.root / "catalogue" / "images")
    assert here.catalogue.sweep() == 1
    assert list(here.catalogue.read("images")["image_id"]) == ["done"]


def test_a_table_of_an_earlier_version_lacks_columns_and_still_reads_and_grows(
    here: Workspace,
) -> None:
    with runs.start(here, "ingest", {}) as run:
        old = tables.conform("images", images("old", batch=run.run_id)).drop_columns(["seed"])
        write_deltalake(str(here.root / "catalogue" / "images"), old)
    with runs.start(here, "ingest", {}) as run:
        run.append("images", images("new", seed=7))
    read = here.catalogue.read("images", ["image_id", "seed"]).set_index("image_id")["seed"]
    assert pd.isna(read["old"])
    assert read["new"] == 7


def deal(here: Workspace, verb: str, **split: str) -> str:
    with runs.start(here, verb, {}) as run:
        run.append("splits", pd.DataFrame({"image_id": list(split), "split": list(split.values())}))
    return run.run_id


def test_the_latest_redraw_counts_and_its_undo_brings_the_old_draw_back(here: Workspace) -> None:
    deal(here, "ingest", a="train", b="test", c="dev")
    deal(here, "ingest", a="test")  # splits are frozen
    first = dict(a="train", b="test", c="dev")
    assert here.catalogue.split_of().to_dict() == first
    deal(here, "resplit", a="dev", b="train")  # c is contamination now
    second = deal(here, "resplit", a="test", b="dev")
    deal(here, "ingest", a="train", d="train")
    assert here.catalogue.split_of().to_dict() == {"a": "test", "b": "dev", "d": "train"}
    undone = runs.undo(here, second)
    assert here.catalogue.split_of().to_dict() == {"a": "dev", "b": "train", "d": "train"}
    runs.undo(here, undone.run_id)
    assert here.catalogue.split_of().to_dict() == {"a": "test", "b": "dev", "d": "train"}


def test_rows_read_in_pieces_or_one_by_one_are_those_read_at_once(here: Workspace) -> None:
    with runs.start(here, "ingest", {}) as first:
        first.append("images", images("a", "b"))
    with runs.start(here, "ingest", {}) as undone:
        undone.append("images", images("x", "y", "z"))
    with runs.start(here, "ingest", {}) as run:
        run.append("images", images("c", "d"))
    upkeep.compact(here.root / "catalogue" / "images")
    runs.undo(here, undone.run_id)
    seen = here.catalogue.rows("images")
    whole = seen.columns(["image_id"])["image_id"].to_pylist()
    assert whole == ["a", "b", "c", "d"]
    letters = seen.mapped(["image_id"], lambda batch: np.array([batch["image_id"].to_pylist()] * 2))
    assert letters.tolist() == [whole, whole]
    taken = seen.take(np.array([3, 0, 2, 2]), ["image_id", "phash"])
    assert taken["image_id"].to_pylist() == ["d", "a", "c", "c"]
    assert seen.take(np.array([], np.int64), ["image_id"]).num_rows == 0
