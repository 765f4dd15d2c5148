"""kill -9 at any moment of an ingest, then the same command: the tables of an undisturbed run."""

import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from curate.catalogue import Catalogue

RUN_COLUMNS = ("batch", "run_id", "started", "seconds", "at", "counts")


@pytest.fixture
def mined(tmp_path: Path, draw_portrait: Callable, save: Callable) -> Path:
    folder = tmp_path / "mined"
    for n in range(24):
        kind = "live" if n % 2 else "print"
        save(folder / kind / f"{n}.jpg", np.rot90(draw_portrait(n), n % 4))
        if n % 6 == 0:
            save(folder / kind / f"{n}_copy.jpg", draw_portrait(n), 70)
    (folder / "live" / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    return folder


def start(workspace: Path, mined: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "curate", "--workspace", str(workspace), "ingest", str(mined)]
    return subprocess.Popen(
        [*command, "--recipe", "class-folders"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def tables(workspace: Path) -> dict[str, pd.DataFrame]:
    """Every visible row, run ids and times aside, in an order of its own."""
    catalogue = Catalogue(workspace / "catalogue")
    read = {}
    for name in ("images", "labels", "pairs", "splits", "runs"):
        frame = catalogue.read(name).drop(columns=list(RUN_COLUMNS), errors="ignore")
        frame = frame.map(lambda cell: tuple(cell) if isinstance(cell, np.ndarray) else cell)
        read[name] = frame.sort_values(list(frame.columns[:2])).reset_index(drop=True)
    return read


def test_killed_at_random_moments_then_rerun_gives_the_same_tables(
    tmp_path: Path, mined: Path
) -> None:
    began = time.monotonic()
    assert start(tmp_path / "undisturbed", mined).wait() == 0
    whole = time.monotonic() - began
    moments = random.Random(0)
    killed = 0
    for _ in range(20):
        process = start(tmp_path / "killed", mined)
        time.sleep(moments.uniform(0.2, 0.95) * whole)
        process.send_signal(signal.SIGKILL)
        if process.wait() == -signal.SIGKILL:
            killed += 1
        else:  # it was faster than the one we timed
            whole *= 0.7
            shutil.rmtree(tmp_path / "killed")
        if killed == 4:
            break
    assert killed == 4
    assert start(tmp_path / "killed", mined).wait() == 0
    expected, got = tables(tmp_path / "undisturbed"), tables(tmp_path / "killed")
    for name, frame in expected.items():
        pd.testing.assert_frame_equal(frame, got[name], obj=name)


@pytest.mark.parametrize("table", ["images", "labels", "pairs", "splits", "runs"])
def test_killed_right_before_each_append_nothing_is_visible_and_a_rerun_completes(
    tmp_path: Path, mined: Path, table: str, monkeypatch: pytest.MonkeyPatch, curate: Callable
) -> None:
    """The five writes of an ingest, one by one: the moment that a random kill seldom hits."""
    workspace = tmp_path / "ws"
    script = (
        "import os, signal, sys\n"
        "from curate.catalogue import Catalogue\n"
        "append = Catalogue.append\n"
        "def dying(self, table, frame):\n"
        f"    if table == {table!r}: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return append(self, table, frame)\n"
        "Catalogue.append = dying\n"
        "from curate.cli import main\n"
        "main()\n"
    )
    words = ["--workspace", str(workspace), "ingest", str(mined), "--recipe", "class-folders"]
    died = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, check=False)
    assert died.returncode == -signal.SIGKILL
    assert all(frame.empty for frame in tables(workspace).values())
    assert curate("ingest", mined, "--recipe", "class-folders").code == 0
    assert curate("ingest", mined, "--recipe", "class-folders", workspace=tmp_path / "b").code == 0
    for name, frame in tables(tmp_path / "b").items():
        pd.testing.assert_frame_equal(frame, tables(workspace)[name], obj=name)
