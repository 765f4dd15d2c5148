"""`curate review`: parse, one call, show. Nothing heavy is imported before the command runs."""

import os
import sys
import webbrowser
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from curate import show
from curate.errors import require
from curate.options import emit, json_option, with_workspace
from curate.review import pushed, queue, tags
from curate.workspace import Workspace

if TYPE_CHECKING:
    from curate.review.session import Reviewed


@click.command()
@click.option("--pull", is_flag=True, help="Only bring decisions back; push and open nothing.")
@click.option(
    "--queue",
    "only",
    type=click.Choice([name for name in queue.LISTS if name != "tagged"]),
    help="Show this list alone. Default: all of them.",
)
@click.option("--no-app", is_flag=True, help="Push, but do not open the App.")
@click.option(
    "--port",
    type=click.IntRange(1024, 65535),
    help="Where the App listens on 127.0.0.1. Default: [review] port of curate.toml.",
)
@json_option
@with_workspace
def review(
    here: Workspace, pull: bool, only: str | None, no_app: bool, port: int | None, as_json: bool
) -> None:
    """Look, accept, reject, relabel in the FiftyOne App; decisions come back when you close it.

    In the App: select images, press the tag button, type a tag (they are listed when it opens).
    Decisions are appended to the catalogue, outrank every other label from the next command on,
    and `curate undo` takes them back.
    """
    if pull:
        pushed.require(here)
    show.note("starting FiftyOne and its MongoDB ...")
    require("fiftyone")
    from curate.review import session

    if pull:
        done = session.pull(here)
    else:
        done = session.review(
            here,
            port=0 if no_app else port or here.config.review.port,
            track=show.track,
            opened=lambda done: _invite(done, as_json),
            only=only or "",
        )
    emit(asdict(done), as_json, lambda: _show(done, pull, only or ""))


def _invite(done: "Reviewed", as_json: bool) -> None:
    """Say where the App is and which tags it understands; open it where there is a screen."""
    first = f"{done.url}?view={next(iter(done.shown))}"
    lines = ["", f"The App is open: {first}", "", "Other views:"]
    lines += [
        f"  ?view={name:<12} {count:>6,}  {queue.LISTS[name]}" for name, count in done.shown.items()
    ]
    lines += ["", "Select images, press the tag button, type one of:"]
    lines += [f"  {tag:<26} {meaning}" for tag, meaning in tags.LEGEND.items()]
    lines += ["", "Ctrl-C closes the App and brings the decisions back."]
    click.echo("\n".join(lines), err=as_json)
    if sys.platform == "darwin" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        webbrowser.open(first)


def _show(done: "Reviewed", pull: bool, only: str) -> None:
    if done.shown and not done.url:
        rows = [(name, n, done.totals[name], queue.LISTS[name]) for name, n in done.shown.items()]
        show.table("Pushed", ("view", "shown", "of", ""), rows)
    if not done.shown and not pull:
        every = "no image waits, none was merged, turned or set aside"
        click.echo(f"Nothing to review: {f'the list {only} is empty' if only else every}.")
    if done.unreadable or done.gone:
        show.facts(
            "Cannot be shown",
            {"quarantined, unreadable": done.unreadable, "original gone since": done.gone},
        )
    if done.decisions:
        show.facts("Decisions brought back", done.decisions)
    elif pull or done.url:
        click.echo("No new decisions.")
    for line in [*done.notes, *(f"not taken: {line}" for line in tags.summary(done.problems))]:
        show.note(line)
    show.next_steps(
        "curate review   opens the App on these views" if done.shown and not done.url else "",
        "curate review   shows what was not taken as view 'tagged'" if done.problems else "",
        *(f"curate undo {run}   takes these decisions back" for run in done.runs),
    )
