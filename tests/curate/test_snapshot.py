"""Numbers for ids change nothing: what stands equals a slow reading of the rules."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate import fingerprints, groups, labels, schema, tables
from curate.duplicates import RECAPTURED
from curate.labels import Said
from curate.snapshot import NONE, Snapshot
from curate.usable import usable

SIMILAR = st.sampled_from([0.5, 0.95, 0.98])

IDS = [f"{n:x}" * 64 for n in range(8)]  # as long as real ones, so that fingerprints are taken
WORDS = ["bonafide", "attack/print", "attack/mask_3d", "attack/unknown"]


class Tables:
    """A catalogue in memory, of one run; a row of `splits` or `images` may stand twice."""

    def __init__(self, given):
        self.tables = {name: tables.empty(name) for name in tables.TABLES}
        self.tables |= {name: pd.DataFrame(rows) for name, rows in given.items() if rows}

    def runs_standing(self):
        return pd.DataFrame({"run_id": ["r"], "verb": ["ingest"]})

    def rows(self, table, runs):
        return Stored(tables.conform(table, self.tables[table]))


class Stored:
    def __init__(self, rows):
        self.rows = rows

    def columns(self, names, coded=()):
        rows = self.rows.select(list(names))
        for position, name in enumerate(rows.column_names):
            if name in coded:
                rows = rows.set_column(position, name, rows[name].dictionary_encode())
        return rows

    def mapped(self, names, work):
        columns = [self.rows[name].combine_chunks() for name in names]
        return work(pa.RecordBatch.from_arrays(columns, list(names)))

    def take(self, numbers, names):
        return self.rows.select(list(names)).take(pa.array(numbers, pa.int64()))


def image_row(name):
    base = {"status": "kept", "origin": "mined", "turn": 0, "mirror": "no"}
    return {"image_id": name, "uri": f"/{name}", **base}


ids = st.sampled_from(IDS)
words = st.sampled_from(WORDS)
maybe = st.sampled_from([None, "s", "t"])
COMMON = {"task": "liveness", "part": "", "run_id": "r"}


def said_row(image_id, word, **more):
    label, _, attack_type = word.partition("/")
    return COMMON | {"image_id": image_id, "label": label, "attack_type": attack_type, **more}


@st.composite
def catalogues(draw):
    def some(strategy, most=8):
        return draw(st.lists(strategy, max_size=most))

    def image(image_id, number):
        status = draw(st.sampled_from(["kept", "kept", "duplicate", "quarantined"]))
        return {
            "image_id": image_id, "uri": f"/{draw(st.integers(0, 9))}", "also_at": [], "batch": "r",
            "status": status, "reason": "contamination" if status == "quarantined" else "",
            "origin": "synthetic" if number == 0 else "mined", "turn": 0, "mirror": "no",
            "parent_id": IDS[1] if number == 0 else None, "subject": draw(maybe),
            "clip": draw(st.sampled_from([None, None, "k"])),
            "face": draw(st.sampled_from([[0.0, 0, 9, 9], [0.0, 0, 9, 9], None])),
        }  # fmt: skip

    present = IDS[: draw(st.integers(2, 7))]
    tables = {"images": [image(name, n) for n, name in enumerate(present)]}
    tables["images"] += [image(name, 5) for name in some(st.sampled_from(present), 1)]
    tables["places"] = [
        {"image_id": name, "uri": uri, "subject": subject, "run_id": "r"}
        for name, uri, subject in some(st.tuples(ids, st.sampled_from(["/1", "/2"]), maybe), 2)
    ]
    tables["labels"] = [
        said_row(name, word, trusted=trusted)
        for name, word, trusted in some(st.tuples(ids, words, st.booleans()))
    ]
    tables["soft_labels"] = [
        said_row(name, word, status=status, reason="", probs=[0.5] * 10, confidence=0.7)
        for name, word, status in some(st.tuples(ids, words, st.sampled_from(schema.SOFT_STATUSES)))
    ]
    tables["decisions"] = [
        said_row(name, word if action == "relabel" else "", action=action, at=at)
        for name, word, action, at in some(
            st.tuples(ids, words, st.sampled_from(schema.ACTIONS), st.sampled_from("123")), 4
        )
    ]
    tables["pairs"] = [
        {
            "a": a, "b": b, "kind": kind, "similarity": similarity, "run_id": "r",
            "cluster": a if kind == "duplicate" else "", "relation": "same",
        }
        for a, b, kind, similarity in some(
            st.tuples(ids, ids, st.sampled_from(schema.PAIR_KINDS), SIMILAR), 5
        )
    ]  # fmt: skip
    tables["splits"] = [
        {"image_id": name, "split": split, "run_id": "r"}
        for name, split in some(st.tuples(ids, st.sampled_from(schema.SPLITS)), 6)
    ]
    return tables


class Slow:
    """The rules of labels.py, groups.py and usable.py in words of one image."""

    def __init__(self, tables):
        self.tables = tables
        self.images, self.decision, self.soft, self.split, self.pairs = {}, {}, {}, {}, {}
        for row in tables["images"]:
            self.images.setdefault(row["image_id"], row)
        for row in sorted(tables["decisions"], key=lambda row: row["at"]):
            self.decision[row["image_id"]] = row
        for row in tables["soft_labels"]:
            if row["image_id"] in self.images:
                self.soft[row["image_id"]] = row
        for row in tables["splits"]:
            self.split.setdefault(row["image_id"], row["split"])
        for row in tables["pairs"]:
            self.pairs.setdefault((row["a"], row["b"]), row)

    def decided(self, name, *actions):
        return self.decision.get(name, {}).get("action") in actions

    def given(self, name, trusted=None):
        rows = [row for row in self.tables["labels"] if row["image_id"] == name]
        said = {labels.key(row["label"], row["attack_type"])
                for row in rows if trusted is None or row["trusted"]}  # fmt: skip
        if len(said) > 1 and "bonafide" not in said:
            said -= {"attack/unknown"}
        return None if not said else said.pop() if len(said) == 1 else labels.CONFLICT

    def relabelled(self, name):
        row = self.decision.get(name, {"label": ""})
        return labels.key(row["label"], row["attack_type"]) if row["label"] else None

    def resolved(self, name):
        trusted = self.given(name, trusted=True)
        if self.decided(name, "reject"):
            return None
        if self.relabelled(name):
            return self.relabelled(name)
        if trusted:
            return None if trusted == labels.CONFLICT else trusted
        row = self.soft.get(name)
        if row and (row["status"] == "accepted" or self.decided(name, "accept")):
            return labels.key(row["label"], row["attack_type"])
        return None

    def best(self, name):
        if self.decided(name, "reject"):
            return None
        return self.relabelled(name) or self.given(name) or self.resolved(name)

    def groups(self):
        belongs = [*self.images.values(), *self.tables["places"]]
        subject = {}
        for row in belongs:
            if row["subject"]:
                subject.setdefault(row["image_id"], row["subject"])
        ties = [(row["image_id"], row["parent_id"]) for row in self.images.values()
                if row["parent_id"]]  # fmt: skip
        for column in ("subject", "clip"):
            ties += [(row["image_id"], column + row[column]) for row in belongs if row.get(column)]
        for (a, b), row in self.pairs.items():
            same = row["kind"] in groups.LINKING or row["similarity"] >= groups.SAME_PICTURE
            strangers = subject.get(a, 0) != subject.get(b, 0) and a in subject and b in subject
            alike = row["similarity"] is None or row["similarity"] >= RECAPTURED
            apart = labels.differs(self.best(a), self.best(b))
            if same or (apart and alike and not strangers):
                ties.append((a, b))
        group = {name: {name} for tie in ties for name in tie} | {name: {name} for name in IDS}
        for a, b in ties:
            union = group[a] | group[b]
            group |= dict.fromkeys(union, union)
        return group

    def home(self, name):
        rows = [row for row in self.pairs.values() if row["cluster"]]
        found = [row["cluster"] for side in "ab" for row in rows if row[side] == name]
        return found[0] if found else None

    def reopened(self):
        found = {}
        for name in sorted(self.images):
            home, word = self.home(name), self.best(name)
            if self.images[name]["status"] != "duplicate" or home is None:
                continue
            learnt = self.resolved(name) and not self.resolved(home)
            if labels.differs(word, self.best(home)) or learnt or home not in self.images:
                found.setdefault((home, word), name)
        return set(found.values())

    def usable(self):
        group, reopened, found = self.groups(), self.reopened(), set()
        order = list(self.images)
        copies = {name for (a, b), row in self.pairs.items()
                  if row["kind"] == "contamination" for name in (a, b)}  # fmt: skip
        for name, row in self.images.items():
            redrawn = row["reason"] == "contamination" and name in self.split and name not in copies
            back = self.decided(name, "keep") or name in reopened or redrawn
            parent = row["parent_id"]
            bonafide = parent in self.images and self.best(parent) == "bonafide"
            leaks = self.split.get(name) == "train" and any(
                self.split.get(other) in ("dev", "test") and other in self.images
                for other in group[name]
            )
            later = [self.images[other]["uri"] for other in order[order.index(name) + 1 :]]
            places = {place["uri"] for place in self.tables["places"] if place["image_id"] == name}
            replaced = row["uri"] in later and not places - {row["uri"]}
            orphaned = row["origin"] == "synthetic" and not bonafide
            chosen = (row["status"] == "kept" or back) and row["face"] is not None
            if chosen and not (orphaned or leaks or replaced):
                found.add(name)
        return found


@settings(max_examples=60, deadline=None)
@given(tables=catalogues())
def test_what_stands_equals_a_slow_reading_of_the_rules(tables):
    snapshot, slow = Snapshot(Tables(tables)), Slow(tables)
    said = Said(snapshot)
    names = snapshot.ids(np.arange(snapshot.total)).tolist()
    assert names[: snapshot.images] == list(slow.images)
    for codes, rule in ((said.resolved, slow.resolved), (said.best, slow.best)):
        got = [None if code == NONE else said.words[code] for code in codes]
        assert got == [rule(name) for name in names]
    component = groups.numbered(snapshot, said)
    group = slow.groups()
    for a, name in enumerate(names):
        mates = {names[b] for b in np.flatnonzero(component == component[a])}
        assert mates == group[name] & set(names)
    flags = usable(snapshot, said, groups.split_ranks(snapshot))
    assert {names[n] for n in np.flatnonzero(flags)} == slow.usable()


@pytest.mark.parametrize("names", [["a", "bb", "", "a"], [IDS[0], IDS[1], "", IDS[0]]])
def test_ids_of_any_length_are_numbered_and_come_back(names):
    rows = [
        {"a": name, "b": IDS[2], "kind": "candidate", "cluster": "", "run_id": "r"}
        for name in names
    ]
    snapshot = Snapshot(Tables({"pairs": rows, "images": [image_row(IDS[3])]}))
    numbers = snapshot.numbers("pairs", "a")
    assert numbers.tolist() == [1, 2, NONE]  # the fourth row is the first once more
    assert snapshot.ids(numbers[:2]).tolist() == names[:2]
    assert snapshot.images == 1
    assert snapshot.total == 4


def test_where_half_of_two_fingerprints_agrees_the_letters_decide(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def half_blind(ids: pa.Array) -> np.ndarray:
        prints = np.ones((2, len(ids)), np.uint64)
        prints[1] = np.arange(len(ids))
        return prints

    monkeypatch.setattr(fingerprints, "of_ids", half_blind)
    taken = Snapshot(Tables({"images": [image_row(name) for name in IDS]}))
    assert taken.ids(np.arange(taken.total)).tolist() == IDS


texts = st.lists(st.text("ab", max_size=3) | st.text("ab", min_size=34, max_size=36), max_size=20)


@given(texts=texts | st.lists(st.text("ab", min_size=34, max_size=36), max_size=20))
def test_repeated_later_equals_what_pandas_finds(texts: list[str]) -> None:
    column = pa.chunked_array([texts[:7], texts[7:]], pa.string())
    expected = pd.Series(texts, dtype=object).duplicated(keep="last").tolist()
    assert fingerprints.repeated_later(column).tolist() == expected
