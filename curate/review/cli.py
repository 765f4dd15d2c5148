"""`curate review`: parse, one call, show. Nothing heavy is imported before the command runs."""

import os
import sys
import webbrowser
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from curate import schema, show
from curate.errors import require
from curate.options import emit, json_option, with_workspace
from curate.review.lists import LISTS

if TYPE_CHECKING:
    from curate.review.session import Reviewed
    from curate.workspace import Workspace


@click.command()
@click.option(
    "--task",
    type=click.Choice(schema.TASKS),
    help="What is looked at. Default: liveness; with --pull, all that was pushed.",
)
@click.option("--pull", is_flag=True, help="Only bring decisions back; push and open nothing.")
@click.option(
    "--queue",
    "only",
    type=click.Choice([name for name in LISTS if name != "tagged"]),
    help="Show this list alone. Default: all of them. Of eyes and occlusion: queue, issues, audit.",
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
    here: "Workspace",
    task: str | None,
    pull: bool,
    only: str | None,
    no_app: bool,
    port: int | None,
    as_json: bool,
) -> None:
    """Look, accept, reject, relabel in the FiftyOne App; decisions come back when you close it.

    Of eyes and occlusion each eye or region is a picture of its own. In the App: select images,
    press the tag button, type a tag (they are listed when it opens). Decisions are appended to the
    catalogue, outrank every other label from the next command on, and `curate undo` takes them
    back.
    """
    from curate.review import pushed, queue

    if only and only not in queue.lists_of(task or schema.LIVENESS):
        raise click.UsageError(f"--queue {only} is of whole images: leave out --task {task}.")
    pulled = ([task] if task else list(pushed.every(here)) or [schema.LIVENESS]) if pull else []
    for name in pulled:
        pushed.require(here, name)
    show.note("starting FiftyOne and its MongoDB ...")
    require("fiftyone")
    from curate.review import session

    task = task or schema.LIVENESS
    if pull:
        done = session.pull(here, pulled)
    else:
        done = session.review(
            here,
            task,
            port=0 if no_app else port or here.config.review.port,
            track=show.track,
            opened=lambda done: _invite(done, task, as_json),
            only=only or "",
        )
    emit(asdict(done), as_json, lambda: _show(done, task, pull, only or ""))


def _invite(done: "Reviewed", task: str, as_json: bool) -> None:
    """Say where the App is and which tags it understands; open it where there is a screen."""
    from curate.review import queue, tags

    first = f"{done.url}?view={next(iter(done.shown))}"
    lines = ["", f"The App is open: {first}", "", "Other views:"]
    lines += [
        f"  ?view={name:<12} {count:>6,}  {queue.lists_of(task)[name]}"
        for name, count in done.shown.items()
    ]
    lines += ["", "Select images, press the tag button, type one of:"]
    lines += [f"  {tag:<26} {meaning}" for tag, meaning in tags.LEGENDS[task].items()]
    lines += ["", "Ctrl-C closes the App and brings the decisions back."]
    click.echo("\n".join(lines), err=as_json)
    if sys.platform == "darwin" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        webbrowser.open(first)


def _show(done: "Reviewed", task: str, pull: bool, only: str) -> None:
    from curate.review import queue, tags

    if done.shown and not done.url:
        lists = queue.lists_of(task)
        rows = [(name, n, done.totals[name], lists[name]) for name, n in done.shown.items()]
        show.table("Pushed", ("view", "shown", "of", ""), rows)
    if not done.shown and not pull:
        every = "no image waits, none was merged, turned or set aside"
        if queue.of_parts(task):
            every = f"no label of {task} waits, is doubted or audited"
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
        f"curate review{show.for_task(task)}   opens the App on these views"
        if done.shown and not done.url
        else "",
        *(
            f"curate review{show.for_task(name)}   shows what was not taken as view 'tagged'"
            for name in done.undecided
        ),
        *(f"curate undo {run}   takes these decisions back" for run in done.runs),
    )
