"""`curate issues` end to end, with the real backbone at a small size."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from curate import labels, runs, workspace
from curate.review import queue
from curate.workspace import Workspace

WRONG = 5  # the person whose attack is called normal


@pytest.fixture
def here(
    curate: Callable,
    ready: Callable,
    tmp_path: Path,
    draw_portrait: Callable,
    striped: Callable,
    save: Callable,
) -> Workspace:
    def build(folder: Path) -> None:
        (folder / "ws").mkdir()
        settings = "[softlabel]\nimage_size = 64\ncrop_scales = [2.7]\n"
        (folder / "ws" / "curate.toml").write_text(settings)
        for n in range(14):
            split = "test" if n < 2 else "train"
            save(folder / "in" / split / "normal" / f"{n}_1.jpg", draw_portrait(n))
            kind = "normal" if n == WRONG else "spoof"
            save(folder / "in" / split / kind / f"{n}_2.jpg", striped(draw_portrait(50 + n)))
        at = folder / "ws"
        assert curate("ingest", folder / "in", "--recipe", "takehome", workspace=at).code == 0
        assert curate("issues", "--dry-run", workspace=at).code == 0  # features, once

    return workspace.open_at(ready("issues", build, tmp_path))


def names(here: Workspace, ids: pd.Series) -> list[str]:
    uri = here.catalogue.read("images").set_index("image_id")["uri"]
    return [Path(uri[image_id]).name for image_id in ids]


def decide(here: Workspace, image_id: str, who: str, label: str, kind: str = "") -> None:
    at = f"{pd.Timestamp.now('UTC').isoformat(timespec='microseconds')}"
    row = {"image_id": image_id, "task": "liveness", "part": "", "action": "relabel",
           "label": label, "attack_type": kind, "reviewer": who, "at": at}  # fmt: skip
    with runs.start(here, "review", {}) as run:
        run.append("decisions", pd.DataFrame([row]))


def test_a_wrong_label_is_doubted_and_nothing_of_test_is_judged(
    curate: Callable, here: Workspace
) -> None:
    done = curate("issues", "--json")
    assert done.code == 0
    rows = here.catalogue.read("issues").sort_values("rank")
    assert names(here, rows["image_id"].head(1)) == [f"{WRONG}_2.jpg"]
    first = rows.iloc[0]
    assert first["issue"]
    assert (first["label"], first["suggested"]) == ("bonafide", "attack/unknown")
    assert rows["issue"].sum() <= 2
    split = here.catalogue.split_of()
    assert "test" not in set(split[rows["image_id"]])
    assert done.json["judged"] == len(rows) == (split != "test").sum()
    shown = queue.build(here.catalogue, only="issues").units
    assert set(shown["image_id"]) == set(rows.loc[rows["issue"], "image_id"])


def test_a_second_run_adds_no_row_and_a_dry_run_none_at_all(
    curate: Callable, here: Workspace
) -> None:
    assert curate("issues", "--dry-run", "--json").json["judged"]
    assert here.catalogue.read("issues").empty
    first = curate("issues", "--json").json
    before = (len(here.catalogue.read("issues")), len(here.catalogue.read("runs")))
    again = curate("issues", "--json").json
    assert again == first | {"run_id": ""}
    assert (len(here.catalogue.read("issues")), len(here.catalogue.read("runs"))) == before
    assert "Next: curate review --queue issues" in curate("issues", "--dry-run").out


def test_what_a_person_decided_is_doubted_only_where_reviewers_disagree(
    curate: Callable, here: Workspace
) -> None:
    images = here.catalogue.read("images").set_index("image_id")["uri"]
    wrong = images.index[images.str.endswith(f"/{WRONG}_2.jpg")][0]
    decide(here, wrong, "ann", "bonafide")
    curate("issues")
    assert not here.catalogue.read("issues").set_index("image_id").loc[wrong, "issue"]
    decide(here, wrong, "bob", "attack", "print")
    done = curate("issues", "--json").json
    rows = here.catalogue.read("issues").query("run_id == @done['run_id']").set_index("image_id")
    assert rows.loc[wrong, "issue"]
    assert rows.loc[wrong, "suggested"] == "bonafide"
    assert done["disputed"] == 1
    assert set(done["annotators"]) == {"ann", "bob"}
    decide(here, wrong, "ann", "attack", "print")
    done = curate("issues", "--json").json
    assert done["disputed"] == 0


def test_contradictory_sources_are_issues_without_a_label_of_their_own(
    curate: Callable, here: Workspace
) -> None:
    rows = here.catalogue.read("labels")
    split = here.catalogue.split_of()
    first = rows[rows["image_id"].map(split) == "train"].query("label == 'bonafide'").iloc[[0]]
    other = first.assign(label="attack", attack_type="print", source="vendor")
    with runs.start(here, "ingest", {}) as run:
        run.append("labels", other)
    done = curate("issues", "--json").json
    found = here.catalogue.read("issues").set_index("image_id").loc[first["image_id"].iloc[0]]
    assert found["issue"]
    assert found["label"] == labels.CONFLICT
    assert set(done["annotators"]) == {"takehome", "vendor"}


def test_no_trusted_label_is_an_error(
    curate: Callable, tmp_path: Path, draw_portrait: Callable, save: Callable
) -> None:
    save(tmp_path / "in" / "a.jpg", draw_portrait(0))
    curate("ingest", tmp_path / "in")
    done = curate("issues")
    assert done.code == 1
    assert "Next:" in done.err
    assert workspace.open_at(tmp_path / "ws").catalogue.read("issues").empty
