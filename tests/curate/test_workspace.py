"""Workspaces: settings that are checked, and one command at a time."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from curate import config, workspace
from curate.errors import ConfigError, WorkspaceError


def test_a_new_workspace_has_the_defaults(tmp_path: Path) -> None:
    made = workspace.create(tmp_path / "ws")
    assert made.config == config.Config()
    assert workspace.create(tmp_path / "ws").root == made.root


def test_the_commented_defaults_are_the_defaults(tmp_path: Path) -> None:
    text = config.default_text()
    file = tmp_path / "curate.toml"
    file.write_text("\n".join(line.removeprefix("# ") for line in text.splitlines()[1:]))
    assert config.read(file) == config.Config()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param(
            "colour = 1", "unknown key 'colour'; known: ingest, retrain", id="unknown key"
        ),
        pytest.param(
            "[ingest]\nradios = 8",
            "unknown key 'ingest.radios'; known: hashes, keep, quality, radius",
            id="in a section",
        ),
        pytest.param("[ingest]\nradius = 9", "ingest.radius = 9", id="just above the range"),
        pytest.param("[splits]\ntrain = 0.8", "must be 1", id="shares that do not add up"),
        pytest.param("seed = ", "is not TOML", id="no TOML"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "curate.toml").write_text(text)
    with pytest.raises(ConfigError, match=says):
        assert workspace.open_at(tmp_path).config


def test_the_edge_of_a_range_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "curate.toml").write_text("[ingest]\nradius = 8")
    assert workspace.open_at(tmp_path).config.ingest.radius == 8


def test_no_workspace_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="curate init"):
        workspace.open_at(tmp_path)


def test_the_nearest_parent_is_found(tmp_path: Path) -> None:
    workspace.create(tmp_path / "ws")
    (tmp_path / "ws" / "a" / "b").mkdir(parents=True)
    assert workspace.nearest(tmp_path / "ws" / "a" / "b") == tmp_path / "ws"


def test_the_second_command_waits_and_says_who_holds_the_workspace(tmp_path: Path) -> None:
    here = workspace.create(tmp_path / "ws")
    waiting = (
        "from pathlib import Path; from curate import workspace\n"
        f"with workspace.open_at(Path({str(here.root)!r})).lock('second'): print('got it')\n"
    )
    with here.lock("first"):
        second = subprocess.Popen(
            [sys.executable, "-c", waiting],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert second.stderr is not None
        said = second.stderr.readline()
        time.sleep(0.5)
        assert second.poll() is None  # still waiting
    out, _ = second.communicate(timeout=10)
    assert "`curate first` (pid" in said
    assert out.strip() == "got it"
