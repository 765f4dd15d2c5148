"""`curate issues`: which trusted labels are probably wrong, best looked at in which order."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from curate import show
from curate.errors import require
from curate.options import dry_run_option, emit, json_option, task_option, with_workspace

if TYPE_CHECKING:
    from curate.workspace import Workspace
    from labeling.doubts import Found


@click.command()
@task_option
@dry_run_option
@json_option
@with_workspace
def issues(here: "Workspace", task: str, dry_run: bool, as_json: bool) -> None:
    """Find trusted labels that are probably wrong, and rank them for review.

    Every label of train and dev is compared with a model that has not seen it, clip by clip. Labels
    are only doubted, never changed: a person decides in curate review --queue issues. What a person
    has decided is doubted only where reviewers contradict each other.
    """
    require("torch", "timm", "sklearn", "cleanlab")
    from labeling.doubts import find

    done = find(here, task, dry_run=dry_run, track=show.track)
    emit(asdict(done), as_json, lambda: _show(done, dry_run))


def _show(done: "Found", dry_run: bool) -> None:
    issues = sum(done.issues.values())
    verb = "Would be doubted" if dry_run else f"Issues: run {done.run_id}"
    verb = verb if done.run_id or dry_run else "Nothing new"
    title = f"{verb}: {issues} of {done.judged} trusted {done.task} labels"
    show.table(title, ("label -> suggested", "units"), list(done.issues.items()))
    if done.annotators:
        show.facts(
            f"Annotators who share units (quality), {done.disputed} units in dispute",
            done.annotators,
        )
    show.next_steps(
        f"curate review{show.for_task(done.task)} --queue issues   {issues} labels, the surest "
        "errors first"
        if issues
        else "",
        f"curate undo {done.run_id}   takes this back" if done.run_id else "",
    )
