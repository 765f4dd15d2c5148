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
    columns = ["image_id", "action", "label", "attack_type", "reviewer"]
    rows = decisions[columns].to_numpy().tolist()
    return said | {
        "exit": done.exit_code,
        "catalogue": [[images.index(r[0]), *r[1:]] for r in rows],
    }


@contextmanager
def opened() -> Iterator[fo.Dataset]:
    """Open what was pushed, as the App does."""
    with mongod.running(here.root / "review") as uri, sync.connected(uri):
        yield sync.current(here)


def tag(words: dict[int, str]) -> None:
    """Tag images by number, several tags apart by blanks."""
    with opened() as dataset:
        for number, tags in words.items():
            for one in tags.split():
                dataset.select_by("image_id", [images[number]]).tag_samples(one)


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
            "media": sorted(map(str, (here.root / "review" / "media").iterdir())),
            "datasets": fo.list_datasets(),
            "filterable": sorted(dataset.get_field_schema()),
        }


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
    seen |= {"push again": review("--no-app"), "pushed again": look()}
shutil.rmtree(here.root / "review" / "db")
seen |= {"pull after loss": review("--pull")}
with mongod.running(here.root / "review"):
    seen |= {"push after loss": review("--no-app")}
    tag({5: "bonafide"})
    seen |= {"push with tags": review("--no-app")}
    forge()
    seen |= {"pull of another": review("--pull")}
print(json.dumps(seen))
