"""One review from end to end: pull what is pending, push, serve the App, pull."""

import fcntl
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from curate.errors import DataError, ServiceError
from curate.review import app, mongod, pushed, queue, sync
from curate.review.thumbs import Track
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
    problems: dict[str, str] = field(default_factory=dict)  # image_id -> why not taken
    notes: list[str] = field(default_factory=list)

    def take(self, pulled: sync.Pulled) -> None:
        """Add what a pull brought."""
        self.runs += [pulled.run_id] if pulled.run_id else []
        for action, count in pulled.decisions.items():
            self.decisions[action] = self.decisions.get(action, 0) + count
        self.problems = pulled.problems


def pull(workspace: Workspace) -> Reviewed:
    """Bring decisions back, while the App is open or after.

    Raises:
        DataError: nothing was pushed, or MongoDB no longer holds it.
        ServiceError: mongod does not start.
    """
    done = Reviewed()
    with mongod.running(workspace.root / "review") as uri, sync.connected(uri):
        done.take(sync.pull(workspace, sync.current(workspace)))
    return done


def review(
    workspace: Workspace,
    *,
    port: int,
    track: Track,
    opened: Callable[[Reviewed], None],
    only: str = "",
) -> Reviewed:
    """Pull, push, and unless ``port`` is 0 serve the App there until Ctrl-C, then pull again.

    ``opened`` is told when the App can be visited; ``only`` is the one list to show, "" for all.

    Raises:
        ServiceError: mongod or the App does not start, or a review is open already.
    """
    folder, done = workspace.root / "review", Reviewed()
    with _only_one(folder), mongod.running(folder) as uri, sync.connected(uri):
        if port:
            app.check_free(port)
        pending = _pull_pending(workspace, done)
        what = queue.build(workspace.catalogue, also=pending["image_id"], only=only)
        if what.images.empty:
            return done
        dataset = sync.push(workspace, what, track=track, pending=pending)
        _count(done, what, set(dataset.values("image_id")))
        if port and done.shown:
            done.url = f"http://{mongod.HOST}:{port}/datasets/{dataset.name}"
            _serve(port, done, opened)
            done.take(sync.pull(workspace, dataset))
    return done


def _pull_pending(workspace: Workspace, done: Reviewed) -> pd.DataFrame:
    """Pull before the push replaces the dataset; return the tags that could not be taken."""
    try:
        dataset = sync.current(workspace)
    except DataError as fault:
        if pushed.read(workspace):
            done.notes.append(str(fault).partition("\n")[0])
        return sync.no_tags()
    done.take(sync.pull(workspace, dataset))
    return sync.tagged(dataset)


def _count(done: Reviewed, what: queue.Queue, shown: set[str]) -> None:
    there = what.images["image_id"].isin(shown)
    lists = what.images.loc[there, "lists"].explode().value_counts()
    done.shown = {name: int(lists[name]) for name in queue.LISTS if name in lists}
    done.totals = {name: what.totals[name] for name in queue.LISTS if what.totals.get(name)}
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
