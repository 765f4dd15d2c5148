"""Run by test_review_sync.py in a process of its own: push, tag, pull, lose, push again.

Usage: review_road.py WORKSPACE; prints one JSON object: step -> what was seen then.
"""

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fiftyone as fo
from click.testing import CliRunner

from curate import workspace
from curate.cli import main
from curate.review import mongod, sync

here = workspace.open_at(Path(sys.argv[1]))
images = sorted(here.catalogue.read("images")["image_id"])


def review(*options: str) -> dict[str, Any]:
    """Run the command; return its JSON, or its error, and the decisions there are then."""
    done = CliRunner().invoke(main, ["--workspace", str(here.root), "review", *options, "--json"])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    said = json.loads(done.stdout) if done.exit_code == 0 else {"error": done.stderr}
    decisions = here.catalogue.read("decisions").sort_values(["image_id", "at"])
    liveness = decisions[decisions["task"] == "liveness"]
    columns = ["image_id", "action", "label", "attack_type", "reviewer"]
    rows = liveness[columns].to_numpy().tolist()
    about_parts = decisions[decisions["part"] != ""]
    return said | {
        "exit": done.exit_code,
        "catalogue": [[images.index(r[0]), *r[1:]] for r in rows],
        "parts": [
            [images.index(r[0]), *r[1:]]
            for r in about_parts[["image_id", "task", "part", "action", "label"]]
            .to_numpy()
            .tolist()
        ],
    }


@contextmanager
def opened(task: str = "liveness") -> Iterator[fo.Dataset]:
    """Open what was pushed, as the App does."""
    with mongod.running(here.root / "review") as uri, sync.connected(uri):
        yield sync.current(here, task)


def tag(words: dict[int, str]) -> None:
    """Tag images by number, several tags apart by blanks."""
    with opened() as dataset:
        for number, tags in words.items():
            for one in tags.split():
                dataset.select_by("image_id", [images[number]]).tag_samples(one)


def tag_parts(task: str, words: dict[tuple[int, str], str]) -> None:
    """Tag parts of images by number and name."""
    with opened(task) as dataset:
        for (number, part), word in words.items():
            one = dataset.match({"image_id": images[number], "part": part or None})
            assert len(one) == 1
            one.tag_samples(word)


def look_at_parts(task: str) -> dict[str, Any]:
    """Return what the App would show of a task that labels parts."""
    with opened(task) as dataset:
        ids = [images.index(name) for name in dataset.values("image_id")]
        units = [
            f"{number} {part}" for number, part in zip(ids, dataset.values("part"), strict=True)
        ]
        return {
            "units": units,
            "views": {name: len(dataset.load_saved_view(name))
                      for name in dataset.list_saved_views()},
            "soft": dict(zip(units, dataset.values("soft.label"), strict=True)),
            "decision": dict(zip(units, dataset.values("decision"), strict=True)),
            "tags": {unit: tags for unit, tags in zip(units, dataset.values("tags"), strict=True)
                     if tags},
            "files": sorted(dataset.values("filepath")),
            "media": sorted(map(str, (here.root / "review" / "media" / task).iterdir())),
            "datasets": [name.split("-")[1] for name in fo.list_datasets()],
            "fields": sorted(dataset.get_field_schema()),
        }  # fmt: skip


def look() -> dict[str, Any]:
    """Return what the App would show."""
    with opened() as dataset:
        ids = [images.index(name) for name in dataset.values("image_id")]
        return {
            "views": {
                name: [images.index(i) for i in dataset.load_saved_view(name).values("image_id")]
                for name in dataset.list_saved_views()
            },
            "soft": dict(zip(ids, dataset.values("soft.label"), strict=True)),
            "tags": {i: tags for i, tags in zip(ids, dataset.values("tags"), strict=True) if tags},
            "decision": dict(zip(ids, dataset.values("decision"), strict=True)),
            "files": sorted(dataset.values("filepath")),
            "media": sorted(map(str, (here.root / "review" / "media" / "liveness").iterdir())),
            "datasets": fo.list_datasets(),
            "filterable": sorted(dataset.get_field_schema()),
        }


def fail_to_push() -> None:
    """Push, and be stopped before what is pushed is named."""
    before, sync.pushed.write = sync.pushed.write, stop
    try:
        done = CliRunner().invoke(main, ["--workspace", str(here.root), "review", "--no-app"])
        assert isinstance(done.exception, Stopped), done.output
    finally:
        sync.pushed.write = before


class Stopped(Exception):
    """What `fail_to_push` is stopped by."""


def stop(*_: object) -> None:
    """Stop a push."""
    raise Stopped


def forge() -> None:
    """Put another mark on the dataset, as a foreign one of the same name would have."""
    with opened() as dataset:
        dataset.info["generation"] = "another"
        dataset.save()


seen: dict[str, Any] = {}
with mongod.running(here.root / "review"):  # as while the App is open elsewhere: all share it
    seen |= {"push": review("--no-app"), "pushed": look()}
    tag({0: "accept", 1: "replay_phone", 2: "accept reject", 3: "keep", 4: "rejct", 5: "reject"})
    seen |= {"pull": review("--pull"), "pulled": look(), "pull again": review("--pull")}
    fail_to_push()
    seen |= {"after a failed push": look()}
    gone = [file for file in seen["pushed"]["files"] if not Path(file).exists()]
    seen |= {"lost to a failed push": gone}
    seen |= {"push again": review("--no-app"), "pushed again": look()}
shutil.rmtree(here.root / "review" / "db")
seen |= {"pull after loss": review("--pull")}
with mongod.running(here.root / "review"):
    seen |= {"push after loss": review("--no-app")}
    tag({5: "bonafide"})
    seen |= {"push with tags": review("--no-app")}
    seen |= {"eyes": review("--task", "eyes", "--no-app"), "eyes pushed": look_at_parts("eyes")}
    seen |= {"occlusion": review("--task", "occlusion", "--no-app")}
    tag_parts("eyes", {(0, "left_eye"): "closed", (0, "right_eye"): "accept", (1, "eye"): "print"})
    tag_parts("occlusion", {(0, "chin"): "blocked", (2, ""): "blocked"})
    seen |= {"liveness after parts": review("--no-app"), "eyes left": look_at_parts("eyes")}
    tag_parts("occlusion", {(0, "nose"): "reject"})
    seen |= {"pull of parts": review("--pull", "--task", "eyes")}
    tag({5: "reject"})
    seen |= {"pull of all": review("--pull"), "eyes again": review("--task", "eyes", "--no-app")}
    seen |= {"eyes pushed again": look_at_parts("eyes")}
    CliRunner().invoke(
        main, ["--workspace", str(here.root), "undo", seen["pull of all"]["runs"][1]]
    )
    seen |= {"undone": review("--task", "occlusion", "--no-app")}
    forge()
    seen |= {"pull of another": review("--pull")}
print(json.dumps(seen))
