"""What is shown to a person, and what tags come to. No FiftyOne, no MongoDB."""

import itertools
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate import labels, runs, schema, tables, workspace
from curate.review import queue, tags
from curate.review.lists import LISTS
from curate.status import overview

UNIT = ["image_id", "part"]
STANDING = pd.DataFrame(columns=queue.DECIDED)


def image(name, **columns):
    row = {
        "image_id": name, "uri": f"/x/{name}.jpg", "also_at": [], "source": "s", "subject": "s/p",
        "origin": "mined", "turn": 0, "mirror": "no", "status": "kept", "reason": "",
        "width": 64, "height": 48, "face": np.float32([0, 0, 9, 9]),
    }  # fmt: skip
    return row | columns


def soft(name, label="bonafide", attack_type="", confidence=0.6, **columns):
    p = confidence if label == "bonafide" else 1 - confidence
    probs = np.full(10, (1 - p) / 9, dtype=np.float32)
    probs[0] = p
    row = {
        "image_id": name, "task": "liveness", "part": "", "label": label,
        "attack_type": attack_type, "confidence": confidence, "probs": probs, "status": "review",
        "reason": "low confidence", "teacher": "t", "threshold": 0.9,
    }  # fmt: skip
    return row | columns


def given_label(name, label, attack_type=""):
    return {"image_id": name, "task": "liveness", "part": "", "label": label,
            "attack_type": attack_type, "source": "s", "trusted": True}  # fmt: skip


def decision(name, action, label="", attack_type="", at="2026-01-01T00:00:00.000000+00:00"):
    return {"image_id": name, "task": "liveness", "part": "", "action": action, "label": label,
            "attack_type": attack_type, "reviewer": "r", "at": at}  # fmt: skip


def pair(a, b, kind, cluster=""):
    return {"a": a, "b": b, "kind": kind, "relation": "same", "distance": 0, "similarity": 1.0,
            "cluster": cluster}  # fmt: skip


@pytest.fixture
def build(tmp_path):
    here = workspace.create(tmp_path)

    def build(task="liveness", *, sample=queue.SAMPLE, also=(), **tables):
        with runs.start(here, "test", {}) as run:
            for table, rows in tables.items():
                run.append(table, pd.DataFrame(rows))
        built = queue.build(here.catalogue, task, also=also, sample=sample)
        return built, built.units.set_index("image_id" if task == "liveness" else UNIT)

    return build


def lists(rows):
    return rows["lists"].map(set).to_dict()


def test_soft_labels_in_review_wait_and_accepted_ones_do_not(build):
    built, rows = build(
        images=[image("a"), image("b")],
        soft_labels=[
            soft("a", "attack", "print", 0.62),
            soft("b", status="accepted", confidence=0.95),
        ],
    )
    assert lists(rows) == {"a": {"queue"}}
    a = rows.loc["a"]
    assert (a["label"], a["attack_type"], a["reasons"]) == (
        "attack/print",
        "print",
        ["low confidence"],
    )
    assert a["confidence"] == pytest.approx(0.62)
    assert a["p_bonafide"] == pytest.approx(0.38)


def test_contradictory_given_labels_and_undecided_turns_wait(build):
    _, rows = build(
        images=[image("a"), image("b", turn=-1), image("c")],
        labels=[
            given_label("a", "bonafide"),
            given_label("a", "attack", "print"),
            given_label("c", "bonafide"),
        ],
    )
    assert lists(rows) == {"a": {"queue"}, "b": {"queue"}}
    assert rows.loc["a", "given"] == labels.CONFLICT
    assert pd.isna(rows.loc["b", "confidence"])


@pytest.mark.parametrize(
    ("action", "label"),
    [("accept", ""), ("accept", "bonafide"), ("relabel", "bonafide"), ("reject", ""),
     ("keep", "bonafide")],
)  # fmt: skip
def test_what_a_person_decided_leaves_the_queue(build, action, label):
    _, rows = build(
        images=[image("a"), image("b", turn=-1), image("c")],
        soft_labels=[soft("a")],
        labels=[given_label("c", "bonafide"), given_label("c", "attack", "print")],
        decisions=[decision(name, action, label) for name in "abc"],
    )
    assert rows.empty


def test_what_was_only_put_back_still_waits_for_its_label_but_not_for_its_turn(build):
    _, rows = build(
        images=[image("a"), image("b", turn=-1), image("c")],
        soft_labels=[soft("a")],
        labels=[given_label("c", "bonafide"), given_label("c", "attack", "print")],
        decisions=[decision(name, "keep") for name in "abc"],
    )
    assert lists(rows) == {"a": {"queue"}, "c": {"queue"}}
    assert rows["decision"].tolist() == ["keep", "keep"]


def test_duplicates_come_with_the_copy_that_is_kept(build):
    _, rows = build(
        images=[image("k"), image("d1", status="duplicate"), image("d2", status="duplicate")],
        pairs=[pair("d1", "k", "duplicate", "k"), pair("d1", "d2", "duplicate", "k")],
    )
    assert lists(rows) == dict.fromkeys(("k", "d1", "d2"), {"duplicates"})
    assert set(rows["group"]) == {"k"}
    assert rows.loc["d1", "reasons"] == ["duplicate of k"]
    assert rows.loc["k", "reasons"] == ["the copy that is kept"]


def test_recapture_pairs_that_share_an_image_lie_together(build):
    names = ["a", "b", "c", "x", "y"]
    _, rows = build(
        images=[image(name) for name in names],
        pairs=[
            pair("b", "a", "recapture"),
            pair("b", "c", "recapture"),
            pair("y", "x", "recapture"),
        ],
    )
    assert rows["group"].to_dict() == {"a": "a", "b": "a", "c": "a", "x": "x", "y": "x"}


def test_turned_and_quarantined_are_shown_and_unreadable_ones_counted(build):
    built, rows = build(
        images=[
            image("t", turn=90),
            image("q", status="quarantined", reason="no_face", turn=180),
            image("u", status="quarantined", reason="truncated", width=None, height=None),
        ]
    )
    assert lists(rows) == {"t": {"turned"}, "q": {"quarantined"}}
    assert rows.loc["q", "reasons"] == [f"no_face: {schema.REASONS['no_face']}"]
    assert built.unreadable == 1


def test_an_image_in_two_lists_is_one_row(build):
    built, rows = build(images=[image("a", turn=90)], soft_labels=[soft("a")])
    assert lists(rows) == {"a": {"queue", "turned"}}
    assert built.totals["queue"] == built.totals["turned"] == 1


def test_tagged_images_are_shown_whatever_else_they_are(build):
    _, rows = build(images=[image("a"), image("b")], also=[("b", ""), ("gone", "")])
    assert lists(rows) == {"b": {"tagged"}}


def test_lists_are_sampled_undecided_first_and_the_queue_is_not(build):
    built, rows = build(
        images=[image(f"t{n}", turn=90) for n in range(9)] + [image(f"w{n}") for n in range(9)],
        soft_labels=[soft(f"w{n}") for n in range(9)],
        decisions=[decision("t0", "keep")],
        sample=4,
    )
    shown = lists(rows)
    assert {name for name in shown if "turned" in shown[name]} == {"t1", "t2", "t3", "t4"}
    assert sum("queue" in names for names in shown.values()) == 9
    assert built.totals["turned"] == 9


def test_a_sample_takes_whole_clusters(build):
    images, pairs = [], []
    for cluster in ("a", "b", "c"):
        images.append(image(f"{cluster}0"))
        for n in (1, 2):
            images.append(image(f"{cluster}{n}", status="duplicate"))
            pairs.append(pair(f"{cluster}{n}", f"{cluster}0", "duplicate", f"{cluster}0"))
    _, rows = build(images=images, pairs=pairs, sample=4)
    assert rows["group"].value_counts().to_dict() == {"a0": 3, "b0": 3}


def issue(name, rank, label="bonafide", attack_type="", suggested="attack/print", **columns):
    row = {"image_id": name, "task": "liveness", "part": "", "label": label,
           "attack_type": attack_type, "quality": 0.03, "issue": True, "suggested": suggested,
           "rank": rank}  # fmt: skip
    return row | columns


def test_issues_come_with_rank_reason_and_the_label_in_question(build):
    built, rows = build(
        images=[image("a"), image("b"), image("c")],
        issues=[issue("a", 1), issue("b", 0, labels.CONFLICT), issue("c", 2, issue=False)],
        sample=1,
    )
    assert lists(rows) == {"a": {"issues"}, "b": {"issues"}}
    assert rows["rank"].to_dict() == {"a": 1, "b": 0}
    assert rows.loc["a", "accepts"] == "bonafide"
    assert pd.isna(rows.loc["b", "accepts"])
    assert rows.loc["a", "reasons"] == ["perhaps attack/print: label bonafide, quality 0.03"]
    assert rows.loc["b", "reasons"] == [
        "perhaps attack/print: given labels contradict, quality 0.03"
    ]
    assert built.totals["issues"] == 2


def test_only_what_the_latest_run_doubts_waits_and_a_decision_since_ends_it(tmp_path):
    here = workspace.create(tmp_path)
    with runs.start(here, "test", {}) as run:
        run.append("images", pd.DataFrame([image(name) for name in "abcd"]))
        at = "2000-01-01T00:00:00.000000+00:00"
        run.append("decisions", pd.DataFrame([decision("b", "relabel", "bonafide", at=at)]))
        run.append("issues", pd.DataFrame([issue("d", 0)]))
    with runs.start(here, "issues", {}) as run:
        run.append("issues", pd.DataFrame([issue(name, n) for n, name in enumerate("abc")]))

    def waiting():
        return set(queue.build(here.catalogue, only="issues").units["image_id"])

    assert waiting() == {"a", "b", "c"}
    at = "2999-01-01T00:00:00.000000+00:00"
    with runs.start(here, "review", {}) as run:
        made = [decision("a", "accept", "bonafide", at=at), decision("b", "keep", at=at)]
        run.append("decisions", pd.DataFrame(made))
    assert waiting() == {"b", "c"}


def test_an_audit_holds_what_nobody_decided_of_its_last_sample(build):
    audited = {"task": "liveness", "part": "", "audited": "r", "label": "attack"}
    _, rows = build(
        images=[image("a"), image("b")],
        audits=[audited | {"image_id": name, "attack_type": "print"} for name in "ab"],
        decisions=[decision("b", "relabel", "bonafide")],
    )
    assert lists(rows) == {"a": {"audit"}}
    assert rows.loc["a", "reasons"] == ["audit of accepted label attack/print"]


@pytest.mark.parametrize("only", ["", "issues", "turned", "audit"])
def test_one_list_alone_can_be_shown(tmp_path, only):
    here = workspace.create(tmp_path)
    with runs.start(here, "issues", {}) as run:
        run.append("images", pd.DataFrame([image("a", turn=90), image("b"), image("c")]))
        run.append("issues", pd.DataFrame([issue("b", 0)]))
    shown = queue.build(here.catalogue, also=[("c", "")], only=only).units.set_index("image_id")
    expected = {"a": {"turned"}, "b": {"issues"}, "c": {"tagged"}}
    assert lists(shown) == {k: v for k, v in expected.items() if v & {only or min(v), "tagged"}}


@pytest.mark.parametrize("task", schema.TASKS)
def test_an_empty_workspace_has_nothing_to_review(build, task):
    built, rows = build(task)
    assert rows.empty
    assert built.unreadable == 0


def eye(rows, part, *, task="eyes", label="open", **columns):
    """Turn a row about liveness into one about a part; soft ones get probabilities of the task."""
    probs = {"probs": np.float32([0.6, 0.3, 0.1])} if "probs" in rows else {}
    return rows | {"task": task, "part": part, "label": label} | probs | columns


def test_each_part_waits_for_itself_and_for_its_own_task_alone(build):
    tables = {
        "images": [image("a"), image("b", turn=90)],
        "soft_labels": [
            eye(soft("a"), "left_eye"),
            eye(soft("a"), "right_eye", status="accepted"),
            eye(soft("b"), "right_eye", label="closed", reason=schema.DOUBTED),
            eye(soft("b"), "mouth", task="occlusion", label="blocked"),
        ],
    }
    _, rows = build("eyes", **tables)
    assert lists(rows) == {("a", "left_eye"): {"queue"}, ("b", "right_eye"): {"queue"}}
    assert rows.loc[("b", "right_eye"), "reasons"] == [schema.DOUBTED]
    assert rows["label"].tolist() == ["open", "closed"]
    assert rows["p_bonafide"].isna().all()
    assert lists(build("occlusion")[1]) == {("b", "mouth"): {"queue"}}
    assert lists(build()[1]) == {"b": {"turned"}}


def test_a_decision_about_one_eye_leaves_the_other_waiting(build):
    _, rows = build(
        "eyes",
        images=[image("a")],
        soft_labels=[eye(soft("a"), part) for part in ("left_eye", "right_eye")],
        decisions=[eye(decision("a", "relabel"), "left_eye", label="closed"),
                   eye(decision("a", "reject"), "right_eye", task="occlusion", label="")],
    )  # fmt: skip
    assert list(rows.index) == [("a", "right_eye")]
    assert rows["decision"].isna().all()


def test_contradictory_labels_of_one_part_wait(build):
    labels_ = [eye(given_label("a", ""), "nose", task="occlusion", label=label)
               for label in ("clear", "blocked")]  # fmt: skip
    other = eye(given_label("a", ""), "chin", task="occlusion", label="clear")
    _, rows = build("occlusion", images=[image("a")], labels=[*labels_, other])
    assert lists(rows) == {("a", "nose"): {"queue"}}
    assert rows["given"].tolist() == [labels.CONFLICT]


def test_issues_audits_and_tags_of_parts(build):
    audited = {"image_id": "a", "audited": "r", "attack_type": "", "task": "eyes"}
    built, rows = build(
        "eyes",
        images=[image("a"), image("b")],
        issues=[eye(issue("a", 0, suggested="closed"), "left_eye"),
                eye(issue("a", 1, suggested="open"), "right_eye", label="closed")],
        audits=[audited | {"part": "right_eye", "label": "closed"},
                audited | {"part": "left_eye", "label": ""}],
        decisions=[eye(decision("a", "accept"), "left_eye", label="open", at="2000")],
        also=[("b", "eye")],
    )  # fmt: skip
    assert lists(rows) == {
        ("a", "left_eye"): {"issues"},  # decided before the run that doubts it; not audited again
        ("a", "right_eye"): {"issues", "audit"},
        ("b", "eye"): {"tagged"},
    }
    assert rows.loc[("a", "right_eye"), "reasons"] == [
        "perhaps open: label closed, quality 0.03", "audit of accepted label closed",
    ]  # fmt: skip
    assert rows.loc[("a", "right_eye"), "accepts"] == "closed"
    assert built.totals == {"queue": 0, "issues": 2, "audit": 1, "tagged": 1}


@pytest.mark.parametrize("task", schema.TASKS)
def test_lists_about_whole_images_are_of_liveness_alone(task):
    whole = {"duplicates", "recapture", "turned", "quarantined"}
    names = set(queue.lists_of(task))
    assert names == set(LISTS) - (set() if task == "liveness" else whole)
    assert ("turn" in queue.lists_of(task)["queue"]) == (task == "liveness")


@pytest.mark.parametrize("task", ["eyes", "occlusion"])
def test_the_command_refuses_a_list_that_means_nothing(tmp_path, curate, task):
    workspace.create(tmp_path / "ws")
    done = curate("review", "--task", task, "--queue", "turned", "--no-app")
    assert done.code == 2
    assert "--queue turned is of whole images" in done.err


def test_what_stands_is_said_in_tag_words():
    rows = pd.DataFrame(
        [
            decision("a", "reject"),
            decision("b", "relabel", "attack", "print"),
            decision("c", "keep"),
            decision("d", "keep", "bonafide"),
        ]
    )
    words = queue.decision_words(rows.set_index("image_id"))
    assert words.tolist() == ["reject", "attack/print", "keep", "keep bonafide"]


@pytest.mark.parametrize("task", schema.TASKS)
def test_the_queue_holds_what_status_counts(tmp_path, task):
    first, second = schema.CLASSES_OF[task][:2]
    kinds = [(first, ""), (schema.ATTACK, second) if task == "liveness" else (second, "")]
    of = {"task": task, "part": schema.PARTS_OF[task][0]}
    probs = {"probs": np.float32(np.eye(len(schema.CLASSES_OF[task]))[0])}
    decided = [(), *itertools.product(schema.ACTIONS, [("", ""), kinds[0]])]
    tables_ = {"images": [], "labels": [], "soft_labels": [], "decisions": []}
    ways = itertools.product([0, -1], ["", *schema.SOFT_STATUSES], range(3), decided)
    for number, (turn, status, said, by_a_person) in enumerate(ways):
        name = f"{number:03}"
        tables_["images"].append(image(name, turn=turn))
        tables_["labels"] += [given_label(name, *kind) | of for kind in kinds[:said]]
        if status:
            tables_["soft_labels"].append(soft(name, *kinds[0], status=status) | of | probs)
        for action, label in [by_a_person] if by_a_person else []:
            tables_["decisions"].append(decision(name, action, *label) | of)
    here = workspace.create(tmp_path)
    with runs.start(here, "softlabel", {"task": task}) as run:
        for table, rows in tables_.items():
            run.append(table, pd.DataFrame(rows))
    reasons = queue.build(here.catalogue, task, only="queue").units["reasons"]
    waits = reasons.explode().value_counts().to_dict()
    counts, own = overview(here).queues, "" if task == "liveness" else f", {task}"
    assert waits["low confidence"] == counts[f"soft labels to review{own}"] > 0
    assert waits["given labels contradict"] == counts[f"contradictory given labels{own}"] > 0
    asked = counts["turn undecided"] if task == "liveness" else 0
    assert waits.get("which way is up is undecided", 0) == asked


def judged(words, label=None, standing=STANDING, *, task="liveness", part=""):
    row = {"image_id": "i", "part": part, "tags": list(words), "label": label}
    return tags.judge(pd.DataFrame([row]), standing, task)


def only(found):
    return tuple(found.decisions.iloc[0][["action", "label", "attack_type"]])


@pytest.mark.parametrize(
    ("words", "soft_label", "expected"),
    [
        (["accept"], "attack/print", ("accept", "attack", "print")),
        (["accept"], "bonafide", ("accept", "bonafide", "")),
        (["reject"], "bonafide", ("reject", "", "")),
        (["keep"], None, ("keep", "", "")),
        (["keep", "print"], None, ("keep", "attack", "print")),
        (["keep", "accept"], "bonafide", ("keep", "bonafide", "")),
        (["bonafide"], "attack/print", ("relabel", "bonafide", "")),
        (["attack"], None, ("relabel", "attack", "unknown")),
        (["attack", "mask_3d"], None, ("relabel", "attack", "mask_3d")),
        (["accept", "print"], "attack/print", ("accept", "attack", "print")),
        (["accept", "print"], "attack/unknown", ("relabel", "attack", "print")),
        ([" Reject "], None, ("reject", "", "")),
        *(([name], None, ("relabel", "attack", name)) for name in schema.ATTACK_TYPES),
    ],
)
def test_tags_make_decisions(words, soft_label, expected):
    found = judged(words, soft_label)
    assert only(found) == expected
    assert found.taken == {"i": sorted(words)}
    assert not found.problems


@pytest.mark.parametrize(
    ("words", "soft_label"),
    [
        (["accept", "reject"], "bonafide"),
        (["reject", "keep"], None),
        (["reject", "print"], None),
        (["print", "cutout"], None),
        (["bonafide", "attack"], None),
        (["bonafide", "print"], None),
        (["accept", "print"], "bonafide"),
        (["accept", "attack"], "bonafide"),
        (["accept"], None),
    ],
)
def test_contradictory_tags_are_reported_and_left(words, soft_label):
    found = judged(words, soft_label)
    assert found.decisions.empty
    assert not found.taken
    assert "i" in found.problems


@pytest.mark.parametrize(
    ("task", "part", "words", "soft_label", "expected"),
    [
        ("eyes", "left_eye", ["open"], "closed", ("relabel", "open", "")),
        ("eyes", "eye", ["accept"], "closed", ("accept", "closed", "")),
        ("eyes", "right_eye", ["reject"], "open", ("reject", "", "")),
        ("eyes", "right_eye", ["accept", "blocked"], "blocked", ("accept", "blocked", "")),
        ("occlusion", "chin", ["clear"], None, ("relabel", "clear", "")),
        ("occlusion", "chin", ["blocked"], "clear", ("relabel", "blocked", "")),
    ],
)
def test_tags_of_parts_make_decisions_about_them(task, part, words, soft_label, expected):
    found = judged(words, soft_label, task=task, part=part)
    assert only(found) == expected
    assert found.taken == {f"i{part}": sorted(words)}
    rows = tags.rows(found, task=task, reviewer="r", at="t")
    assert rows[["task", "part"]].to_numpy().tolist() == [[task, part]]
    tables.conform("decisions", rows)


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("eyes", ["print"]), ("eyes", ["bonafide"]), ("eyes", ["clear"]), ("eyes", ["keep"]),
        ("occlusion", ["open"]), ("occlusion", ["keep"]), ("liveness", ["blocked"]),
        ("eyes", ["open", "closed"]), ("occlusion", ["clear", "reject"]),
    ],
)  # fmt: skip
def test_words_of_other_tasks_and_contradictions_are_not_taken(task, words):
    found = judged(words, task=task, part="" if task == "liveness" else "left_eye")
    assert found.decisions.empty
    assert found.problems
    assert not found.taken


@pytest.mark.parametrize("task", schema.TASKS)
def test_the_legend_tells_every_word(task):
    told = " ".join(f"{word} {said}" for word, said in tags.LEGENDS[task].items())
    assert all(word in told for word in tags.vocabulary(task))


def test_what_stands_is_of_the_same_part():
    stood = pd.DataFrame([("i", "left_eye", "relabel", "open", "")], columns=queue.DECIDED)
    assert judged(["open"], None, stood, task="eyes", part="left_eye").decisions.empty
    assert len(judged(["open"], None, stood, task="eyes", part="right_eye").decisions) == 1


def test_unknown_tags_are_reported_and_known_ones_beside_them_taken():
    found = judged(["reject", "rejct"])
    assert only(found) == ("reject", "", "")
    assert found.taken == {"i": ["reject"]}
    assert found.problems == {"i": "unknown tag 'rejct'"}


@pytest.mark.parametrize(
    ("stood", "words", "expected"),
    [
        (("keep", "", ""), ["print"], ("keep", "attack", "print")),
        (("relabel", "bonafide", ""), ["keep"], ("keep", "bonafide", "")),
        (("keep", "bonafide", ""), ["reject"], ("reject", "", "")),
        (("reject", "", ""), ["keep"], ("keep", "", "")),
        (("reject", "", ""), ["print"], ("relabel", "attack", "print")),
    ],
)
def test_a_decision_keeps_what_it_does_not_speak_of(stood, words, expected):
    assert only(judged(words, standing=stands(stood))) == expected


def stands(stood):
    return pd.DataFrame([("i", "", *stood)], columns=queue.DECIDED)


@given(
    words=st.sets(st.sampled_from(sorted(tags.vocabulary("liveness"))), min_size=1, max_size=4),
    soft_label=st.sampled_from([None, "bonafide", "attack/print", "attack/unknown"]),
)
def test_judging_what_was_just_decided_adds_nothing(words, soft_label):
    first = judged(words, soft_label)
    again = judged(words, soft_label, first.decisions)
    assert again.decisions.empty
    assert again.taken == first.taken
    assert ("i" in first.taken) != ("i" in first.problems)
    bad = set(first.decisions["attack_type"]) - {"", *schema.ATTACK_TYPES}
    assert not bad
    tables.conform("decisions", tags.rows(first, task="liveness", reviewer="r", at="t"))


def test_problems_are_summed_up_by_kind():
    problems = {str(n): "unknown tag 'x'" for n in range(3)} | {"y": "two labels: a, b"}
    assert tags.summary(problems) == ["3 images: unknown tag 'x'", "1 image: two labels: a, b"]


def test_the_review_command_is_light_until_it_runs():
    code = (
        "import sys, curate.review.cli;"
        "print(sorted({'fiftyone', 'pymongo', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
