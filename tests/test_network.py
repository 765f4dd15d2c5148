"""Promise 6: no verb but `models pull` and `demo` reaches for the network, not even for a name."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

# Loaded by Python at start-up, in the command and in every Python process it starts.
SPY = """
import sys

def watch(event, args):
    host = None
    if event == "socket.connect":
        host = args[1][0] if isinstance(args[1], tuple) else None
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = args[0]
    if host and host not in ("127.0.0.1", "::1", "localhost", "0.0.0.0"):
        with open({log!r}, "a") as stream:
            print(event, host, file=stream)

sys.addaudithook(watch)
"""


@pytest.fixture
def spied(tmp_path: Path) -> tuple[Callable[..., subprocess.CompletedProcess[str]], Path]:
    log = tmp_path / "reached.log"
    (tmp_path / "spy").mkdir()
    (tmp_path / "spy" / "sitecustomize.py").write_text(SPY.format(log=str(log)))
    # Our own settings must do it: none of these may come from outside.
    ours = ("FIFTYONE_DO_NOT_TRACK", "NO_ALBUMENTATIONS_UPDATE", "HF_HUB_OFFLINE")
    clean = {name: value for name, value in os.environ.items() if name not in ours}
    clean |= {"PYTHONPATH": str(tmp_path / "spy"), "CURATE_WORKSPACE": str(tmp_path / "ws")}

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *words]
        return subprocess.run(command, env=clean, capture_output=True, text=True, check=False)

    return call, log


def test_the_spy_sees_a_look_up(
    spied: tuple[Callable[..., subprocess.CompletedProcess[str]], Path],
) -> None:
    call, log = spied
    call(
        "-c", "import socket\ntry: socket.getaddrinfo('nowhere.invalid', 80)\nexcept OSError: pass"
    )
    assert "nowhere.invalid" in log.read_text()


def test_no_verb_of_the_road_reaches_for_the_network(
    spied: tuple[Callable[..., subprocess.CompletedProcess[str]], Path],
    tmp_path: Path, draw_portrait: Callable, save: Callable,
) -> None:  # fmt: skip
    call, log = spied
    for person in range(10):
        split = "test" if person < 3 else "train"
        for shot, kind in enumerate(("normal", "spoof")):
            save(
                tmp_path / "in" / split / kind / f"{person}_{shot}.jpg",
                draw_portrait(10 * person + shot),
            )
    save(tmp_path / "mined" / "a.jpg", draw_portrait(999))
    (tmp_path / "ws").mkdir()
    (tmp_path / "ws" / "curate.toml").write_text(
        "[softlabel]\nimage_size = 64\n[retrain]\nimage_size = 64\nepochs = 1\n"
    )
    for words in (
        ("ingest", str(tmp_path / "in"), "--recipe", "takehome"),
        ("ingest", str(tmp_path / "mined")),
        ("softlabel",),
        ("synth",),
        ("retrain",),
        ("evaluate",),
        ("predict", str(tmp_path / "mined" / "a.jpg")),
        ("report",),
        ("status",),
        ("review", "--no-app"),
        ("review", "--pull"),
    ):
        done = call("-m", "curate", *words)
        assert done.returncode == 0, (words, done.stderr[-2000:])
    assert not log.exists(), log.read_text()


def test_a_verb_with_a_missing_model_names_the_command_and_fetches_nothing(
    spied: tuple[Callable[..., subprocess.CompletedProcess[str]], Path],
    tmp_path: Path, draw_portrait: Callable, save: Callable, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    call, log = spied
    save(tmp_path / "in" / "a.jpg", draw_portrait(0))
    code = (
        "import os; os.environ['CURATE_ASSETS'] = '/nonexistent'\n"
        f"from curate.cli import main\nmain(['ingest', {str(tmp_path / 'in')!r}])"
    )
    done = call("-c", code)
    assert done.returncode == 1
    assert "curate models pull" in done.stderr
    assert not log.exists()
