"""One review from end to end: pull what is pending, push, serve the App, pull."""

import fcntl
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from curate.engine import Track
from curate.errors import DataError, ServiceError
from curate.review import app, mongod, pushed, queue, sync
from curate.review.lists import LISTS
from curate.workspace import Workspace


@dataclass
class Reviewed:
    """The whole of what `curate review` did."""

    url: str = ""
    shown: dict[str, int] = field(default_factory=dict)  # list -> images shown
    totals: dict[str, int] = field(default_factory=dict)  # list -> images there are
    unreadable: int = 0  # quarantined images that cannot be shown
    gone: int = 0  # images whose original could no longer be read
    runs: list[str] = field(default_factory=list)
    decisions: dict[str, int] = field(default_factory=dict)  # action -> new decisions
    problems: dict[str, str] = field(default_factory=dict)  # unit -> why its tags were not taken
    notes: list[str] = field(default_factory=list)
    undecided: list[str] = field(default_factory=list)  # tasks that have such problems

    def take(self, task: str, pulled: sync.Pulled) -> None:
        """Add what a pull of ``task`` brought."""
        self.runs += [pulled.run_id] if pulled.run_id else []
        for action, count in pulled.decisions.items():
            self.decisions[action] = self.decisions.get(action, 0) + count
        mark = f"{task} " if queue.of_parts(task) else ""
        self.problems |= {f"{mark}{unit}": why for unit, why in pulled.problems.items()}
        self.undecided += [task] if pulled.problems else []


def pull(workspace: Workspace, tasks: list[str]) -> Reviewed:
    """Bring decisions of ``tasks`` back, while the App is open or after.

    Raises:
        DataError: of a task nothing was pushed, or MongoDB no longer holds it; what the others
            brought is in the catalogue.
        ServiceError: mongod does not start.
    """
    done = Reviewed()
    with mongod.running(workspace.root / "review") as uri, sync.connected(uri):
        if lost := _pull_all(workspace, tasks, done):
            raise lost[0]
    return done


def review(
    workspace: Workspace,
    task: str,
    *,
    port: int,
    track: Track,
    opened: Callable[[Reviewed], None],
    only: str = "",
) -> Reviewed:
    """Pull, push ``task``, and unless ``port`` is 0 serve the App until Ctrl-C, then pull again.

    The App can switch to what was pushed for other tasks, so all of them are pulled. ``opened`` is
    told when it can be visited; ``only`` is the one list to show, "" for all.

    Raises:
        ServiceError: mongod or the App does not start, or a review is open already.
    """
    folder, done = workspace.root / "review", Reviewed()
    with _only_one(folder), mongod.running(folder) as uri, sync.connected(uri):
        if port:
            app.check_free(port)
        _pull_every(workspace, done)
        pending = _pending(workspace, task)
        also = zip(pending["image_id"], pending["part"], strict=True)
        what = queue.build(workspace.catalogue, task, also=also, only=only)
        if what.units.empty:
            return done
        dataset = sync.push(workspace, what, task, track=track, pending=pending)
        _count(done, what, sync.units(dataset))
        if port and done.shown:
            done.url = f"http://{mongod.HOST}:{port}/datasets/{dataset.name}"
            _serve(port, done, opened)
            _pull_every(workspace, done)
    return done


def _pull_every(workspace: Workspace, done: Reviewed) -> None:
    """Pull whatever was pushed; what is lost is noted."""
    for fault in _pull_all(workspace, list(pushed.every(workspace)), done):
        note = str(fault).partition("\n")[0]
        done.notes += [note] if note not in done.notes else []


def _pull_all(workspace: Workspace, tasks: list[str], done: Reviewed) -> list[DataError]:
    """Pull each of ``tasks``; return why some could not be."""
    done.problems, done.undecided, lost = {}, [], []
    for task in tasks:
        try:
            dataset = sync.current(workspace, task)
        except DataError as fault:
            lost.append(fault)
            continue
        done.take(task, sync.pull(workspace, dataset, task))
    return lost


def _pending(workspace: Workspace, task: str) -> pd.DataFrame:
    """Return the tags of ``task`` that could not be taken: its next dataset carries them too."""
    try:
        return sync.tagged(sync.current(workspace, task))
    except DataError:
        return sync.no_tags()


def _count(done: Reviewed, what: queue.Queue, shown: set[str]) -> None:
    there = (what.units["image_id"] + what.units["part"]).isin(shown)
    lists = what.units.loc[there, "lists"].explode().value_counts()
    done.shown = {name: int(lists[name]) for name in LISTS if name in lists}
    done.totals = {name: what.totals[name] for name in LISTS if what.totals.get(name)}
    done.unreadable, done.gone = what.unreadable, int((~there).sum())


def _serve(port: int, done: Reviewed, opened: Callable[[Reviewed], None]) -> None:
    """Serve the App until Ctrl-C, a polite kill, or the end of its server."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with app.serving(port) as server:
            opened(done)
            server.wait()
            done.notes.append("the App's server ended on its own")
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Keep a second push out while one is open: it would replace what the App shows."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".app").open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ServiceError(
                f"curate review is open already on {folder.parent}.\n"
                "Next: close it there with Ctrl-C, or bring its decisions back with "
                "curate review --pull"
            ) from error
        yield
