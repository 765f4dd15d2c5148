"""What an ingest asks by number is what the rules say of ids."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate import groups, labels, runs, tables, workspace
from curate.record import Record
from curate.snapshot import NONE, Snapshot

OLD, NEW = [f"{n:x}" * 64 for n in range(4)], [f"{n:x}" * 64 for n in range(4, 8)]
LABELS = ["bonafide", "attack/print", "attack/unknown"]


def label(image_id: str, word: str, task: str = "liveness", part: str = "") -> dict[str, object]:
    kind, _, attack_type = word.partition("/")
    row = {"image_id": image_id, "task": task, "part": part, "label": kind}
    return row | {"attack_type": attack_type, "source": "folder", "trusted": True}


def image(image_id: str, subject: str | None) -> dict[str, object]:
    row = {"image_id": image_id, "uri": f"/{image_id[0]}", "also_at": [], "status": "kept"}
    place = {"source": "folder", "subject": subject, "clip": None, "parent_id": None}
    return row | place | {"origin": "mined", "turn": 0, "mirror": "no", "reason": ""}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., workspace.Workspace]:
    """Write tables as one run into a new workspace."""

    def write(**given: list[dict[str, object]]) -> workspace.Workspace:
        here = workspace.create(Path(tmp_path_factory.mktemp("ws")))
        with runs.start(here, "ingest", {}) as run:
            for name, rows in given.items():
                columns = [n for n in tables.TABLES[name].names if n != tables.RUN_COLUMN[name]]
                run.append(name, pd.DataFrame(rows).reindex(columns=columns))
        return here

    return write


maybe = st.sampled_from([None, "s", "t"])
said = st.tuples(st.sampled_from([*OLD, *NEW]), st.sampled_from(LABELS))
eyes = st.tuples(st.sampled_from([*OLD, *NEW]), st.sampled_from(["left", "right"]))


@settings(max_examples=8, deadline=None)
@given(
    subjects=st.lists(maybe, min_size=8, max_size=8),
    before=st.lists(said, min_size=1, max_size=4),
    now=st.lists(said, max_size=4),
    seen=st.lists(eyes, min_size=1, max_size=3),
    tied=st.lists(st.tuples(*[st.sampled_from([*OLD, *NEW])] * 2), min_size=1, max_size=3),
)
def test_by_number_as_by_id(
    written: Callable, subjects: list, before: list, now: list, seen: list, tied: list
) -> None:
    """A label, a pair on record may name an id whose image is new: its run was undone."""
    blink = [label(name, "closed", "eyes", part) for name, part in seen]
    pairs = [
        {"a": a, "b": b, "kind": kind, "similarity": 0.9, "cluster": "", "relation": "same"}
        for (a, b), kind in zip(tied, ["candidate", "recapture", "duplicate"], strict=False)
    ]
    rows = [image(name, subject) for name, subject in zip([*OLD, *NEW], subjects, strict=True)]
    old = [label(*each) for each in before]
    here = written(images=rows[:4], labels=[*old, *blink[:1]], pairs=pairs[:1])
    given = pd.DataFrame([*(label(*each) for each in now), *blink[1:]], columns=list(old[0]))
    fresh, joined = pd.DataFrame(rows[4:]), pd.DataFrame(pairs)
    record = Record(Snapshot(here.catalogue), NEW, given)
    every = [*OLD, *NEW]
    numbers = record.find(every)
    assert len(set(numbers.tolist())) == 8
    assert NONE not in numbers

    keys = labels.given_keys(here.catalogue, extra=given)
    assert record.label_keys(numbers).tolist() == [keys.get(name) for name in every]
    both = pd.concat([here.catalogue.read("labels")[given.columns], given])
    expected = labels.states(both).reindex(every)
    assert pd.Series(record.states(numbers), every).dropna().equals(expected.dropna())

    places = tables.empty("places")
    images = pd.concat([here.catalogue.read("images"), fresh])[groups.COLUMNS]
    known = here.catalogue.read("pairs")
    slow = groups.grouped(images, places, pd.concat([known, joined]), keys)
    got = record.groups(fresh, places, joined)[numbers]
    theirs = slow.reindex(every).to_numpy(object)
    for n in range(4, 8):
        assert got[n] == theirs[n]
    assert ((got[:, None] == got) == (theirs[:, None] == theirs)).all()


def test_a_cluster_comes_along_whole(written: Callable) -> None:
    rows = [image(name, None) for name in OLD]
    pair = {"kind": "duplicate", "similarity": 1.0, "relation": "same", "cluster": OLD[0]}
    here = written(images=rows, pairs=[{"a": OLD[0], "b": OLD[1]} | pair])
    record = Record(Snapshot(here.catalogue), NEW, tables.empty("labels"))
    assert record.company(record.find([OLD[1], NEW[0]])).tolist() == [0, 1]
    assert record.company(record.find([OLD[2]])).tolist() == [2]
    assert record.homes(np.arange(3)).tolist() == [OLD[0], OLD[0], None]
