"""kill -9 at random moments of an ingest, then the same command: how often the tables are the same.

    python tests/benchmarks/bench_kill.py [moments] [subjects]

Draws a small generated set (``subjects`` of it trusted, default 8, and half as many mined), ingests
it undisturbed, then ``moments`` times (default 20) into a workspace of its own: killed at a moment
drawn evenly over the whole run, started again, and every visible row compared, run ids and times
aside. A run that ended before its moment came is drawn again.
"""

import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

sys.path += [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "curate")]
from test_kill import tables  # noqa: E402

from synth.sample import make_sample  # noqa: E402

MOMENTS, SUBJECTS = 20, 8
MOST_DRAWS = 3  # for each moment


def start(workspace: Path, images: Path) -> subprocess.Popen[bytes]:
    """Start the ingest."""
    words = ["--workspace", str(workspace), "ingest", str(images), "--recipe", "takehome"]
    return subprocess.Popen(
        [sys.executable, "-m", "curate", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def killed(workspace: Path, images: Path, after: float) -> bool:
    """Start the ingest and kill it ``after`` seconds; return whether it still ran."""
    process = start(workspace, images)
    time.sleep(after)
    process.send_signal(signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


def differing(expected: dict[str, pd.DataFrame], workspace: Path) -> list[str]:
    """Return the tables that are not those ``expected``."""
    got = tables(workspace)
    return [name for name, frame in expected.items() if not frame.equals(got[name])]


def staged(workspace: Path) -> str:
    """Say how far a killed ingest came."""
    if any((workspace / "catalogue").glob("*/_delta_log")):
        return "while writing"
    return (
        "after the first records were staged"
        if any(workspace.glob("runs/ingest-*/*"))
        else "before"
    )


def main(moments: int, subjects: int, folder: Path) -> None:
    """Draw the set, then kill and compare."""
    images = folder / "sample"
    make_sample(images, trusted_subjects=subjects, mined_subjects=subjects // 2)
    for name in ("warm", "undisturbed"):  # the first one compiles, and takes twice as long
        began = time.monotonic()
        if start(folder / name, images).wait():
            raise SystemExit("the undisturbed ingest failed")
    whole = time.monotonic() - began
    expected = tables(folder / "undisturbed")
    sizes = ", ".join(f"{len(frame)} {name}" for name, frame in expected.items())
    print(f"undisturbed: {whole:.1f} s; rows: {sizes}\n", flush=True)
    print("| killed after, s | it was killed | tables that differ after the rerun |")
    print("|---|---|---|")
    draw, same, done = random.Random(0), 0, 0
    for attempt in range(MOST_DRAWS * moments):
        workspace, after = folder / f"killed-{attempt}", draw.uniform(0, whole)
        if not killed(workspace, images, after):
            continue
        where = staged(workspace)
        failed = start(workspace, images).wait() != 0
        wrong = ["the rerun failed"] if failed else differing(expected, workspace)
        done, same = done + 1, same + (not wrong)
        print(f"| {after:.2f} | {where} | {', '.join(wrong) or 'none'} |", flush=True)
        if done == moments:
            break
    print(f"\nidentical: {same} of {done}")


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:3]]
    moments, subjects = given + [MOMENTS, SUBJECTS][len(given) :]
    with tempfile.TemporaryDirectory() as made:
        main(moments, subjects, Path(made))
