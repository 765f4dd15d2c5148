"""The README: its commands run as written, every verb stands in it, nothing it names is missing."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from curate import recipes, workspace
from curate.cli import COMMANDS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
STORY = [
    line.split("#")[0].strip()
    for block in BLOCKS
    for line in block.splitlines()
    if line.startswith("curate ")
]


def test_the_two_commands_are_targets_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^make (\w+)", "\n".join(BLOCKS), re.MULTILINE)
    assert targets == ["demo", "test"]
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_every_verb_but_the_demos_own_stands_in_the_readme_or_changelog() -> None:
    text = README + (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    for verb in set(COMMANDS) - {"sample"}:
        assert re.search(rf"`?(curate )?{verb}\b", text), verb


def test_the_recipe_of_the_readme_is_one(tmp_path: Path) -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    here = workspace.create(tmp_path)
    (here.root / "datasets" / "mine").mkdir()
    (here.root / "datasets" / "mine" / "recipe.toml").write_text(text)
    read = recipes.bind(recipes.load_recipes(here)["mine"], [], lambda _: None)
    fields = read("labelled/live/ann/a.jpg")
    assert fields is not None
    assert (fields.labels[0].label, fields.subject) == ("bonafide", "mine/ann")


def test_what_the_readme_links_to_is_there() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target


@pytest.mark.timeout(600)
def test_the_story_runs_as_written(tmp_path: Path, draw_portrait: Callable, save: Callable) -> None:
    for n in range(18):
        kind = "live" if n % 2 else "print"
        save(tmp_path / "labelled" / kind / f"{n}.jpg", draw_portrait(n))
    for n in range(18, 24):
        save(tmp_path / "mined" / f"{n}.jpg", draw_portrait(n))
    (tmp_path / "curate.toml").write_text(
        "[softlabel]\nimage_size = 64\n[retrain]\nimage_size = 64\nepochs = 1\n"
    )
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    assert [line.split()[1] for line in STORY] == [
        "ingest", "ingest", "softlabel", "review", "synth", "retrain", "report",
    ]  # fmt: skip
    assert shutil.which("curate", path=environment["PATH"])
    for line in STORY:
        if line == "curate review":
            code, said = _review(line, tmp_path, environment)
        else:
            done = subprocess.run(
                line.split(),
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            code, said = done.returncode, done.stderr
        assert code == 0, (line, said[-3000:])
    assert (tmp_path / "report.html").is_file()
    assert (tmp_path / "models" / "liveness" / "1").is_dir()


def _review(line: str, cwd: Path, environment: dict[str, str]) -> tuple[int, str]:
    """Open the App, wait until it says where it is, press Ctrl-C."""
    log = cwd / "review.log"
    with log.open("w") as stream:
        process = subprocess.Popen(
            line.split(), cwd=cwd, env=environment, stdout=stream, stderr=stream
        )
        for _ in range(1200):
            if "The App is open" in log.read_text() or process.poll() is not None:
                break
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        code = process.wait(timeout=60)
    return code, log.read_text()
