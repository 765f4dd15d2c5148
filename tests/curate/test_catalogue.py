"""The catalogue: what is written comes back, what is unfinished stays invisible."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate import runs, schema, workspace
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
        back = catalogue._load("images")
    assert list(back["uri"]) == [uri for uri, _, _ in rows]
    assert [list(p.view(np.uint64)) for p in back["phash"]] == [poses for _, poses, _ in rows]
    assert [None if pd.isna(s) else s for s in back["subject"]] == [s for _, _, s in rows]


def test_every_table_that_a_run_writes_says_which_run(here: Workspace) -> None:
    for table, column in schema.RUN_COLUMN.items():
        assert column in schema.TABLES[table].names
