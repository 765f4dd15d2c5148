"""`curate demo`, as a newcomer runs it: the road on generated faces, found against planted."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from curate import truth, workspace
from curate.champions import require_champion


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("newcomer") / "demo"
    done = subprocess.run(
        [sys.executable, "-m", "curate", "demo", str(folder)],
        capture_output=True, text=True, check=False, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, done.stdout


pytestmark = pytest.mark.timeout(900)


def test_it_finds_what_was_planted(demo: tuple[Path, str]) -> None:
    folder, _ = demo
    catalogue = workspace.open_at(folder).catalogue
    found = {row.what: row for row in truth.scores(catalogue, folder / "sample" / "truth.csv")}
    for what in (
        "damaged and non-image files",
        "EXIF tags applied",
        "exact copies folded into one image",
        "train files of test subjects held back",
    ):
        assert found[what].found == found[what].planted > 0, what
    for what in ("damaged and non-image files", "near copies found"):
        assert found[what].false == 0, what
    for what, share in (
        ("turned images put upright", 0.85),
        ("near copies found", 0.85),
        ("accepted soft labels that are right", 0.9),
        ("wrong labels sent to review", 0.5),
    ):
        assert found[what].found >= share * found[what].planted > 0, (what, found[what])


def test_it_shows_found_against_planted_and_what_to_do_next(demo: tuple[Path, str]) -> None:
    folder, out = demo
    assert "found / planted" in out
    assert str(folder / "report.html") in out.replace("\n", "")
    assert "review" in out.rpartition("Next:")[2]


def test_report_and_output_say_that_the_figures_are_no_accuracy(demo: tuple[Path, str]) -> None:
    page = (demo[0] / "report.html").read_text(encoding="utf-8")
    assert "These are generated faces" in page
    assert "They are not accuracy" in page


def test_a_model_was_promoted_and_its_card_counts(demo: tuple[Path, str]) -> None:
    champion = require_champion(workspace.open_at(demo[0]), "liveness")
    metrics = json.loads((champion.folder / "card.json").read_text(encoding="utf-8"))["metrics"]
    assert metrics["bpcer"]["n"] > 0
    assert metrics["apcer"]["unknown"]["n"] > 0


def test_a_second_demo_finds_nothing_new(demo: tuple[Path, str]) -> None:
    folder, _ = demo
    catalogue = workspace.open_at(folder).catalogue
    before = {name: len(catalogue.read(name)) for name in ("images", "labels", "runs", "splits")}
    done = subprocess.run(
        [sys.executable, "-m", "curate", "demo", str(folder)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert {name: len(catalogue.read(name)) for name in before} == before


def test_the_sample_has_the_take_home_layout(demo: tuple[Path, str]) -> None:
    with (demo[0] / "sample" / "truth.csv").open(encoding="utf-8") as stream:
        paths = [Path(row["path"]).parts for row in csv.DictReader(stream)]
    assert {(part[1], part[2]) for part in paths} == {
        (split, kind) for split in ("train", "test") for kind in ("normal", "spoof")
    }
