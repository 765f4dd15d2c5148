"""`curate audit`: how wrong accepted labels are, by a random sample that people decide."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from curate import show
from curate.errors import ConfigError, GateRefused
from curate.options import dry_run_option, emit, json_option, task_option, with_workspace

if TYPE_CHECKING:
    from curate.workspace import Workspace
    from labeling.audit import Audited


@click.command()
@task_option
@click.option(
    "--n", type=click.IntRange(min=1), default=300, show_default=True, help="Labels to draw."
)
@click.option(
    "--max-error",
    type=float,
    default=0.02,
    show_default=True,
    help="Share of wrong labels above which the run is withdrawn.",
)
@click.option("--confidence", type=float, default=0.95, show_default=True, help="Of the bound.")
@dry_run_option
@json_option
@with_workspace
def audit(
    here: "Workspace",
    task: str,
    n: int,
    max_error: float,
    confidence: float,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Draw a random sample of accepted soft labels; once decided, certify them or take them back.

    First call: the sample goes to `curate review --queue audit`. Call again when all are decided:
    the bound holds whatever the labels' source, shift or not. Exit code 3: too many were wrong, and
    the softlabel run is withdrawn.
    """
    for name, value in (("max-error", max_error), ("confidence", confidence)):
        if not 0 < value < 1:
            default = 0.02 if name == "max-error" else 0.95
            raise ConfigError(
                f"--{name} {value} must lie between 0 and 1.\nNext: --{name} {default}"
            )
    from labeling.audit import Terms
    from labeling.audit import audit as stage

    done = stage(here, task, Terms(n, max_error, confidence), dry_run=dry_run)
    emit(asdict(done), as_json, lambda: _show(done))
    if done.state == "withdrawn":
        raise GateRefused(
            f"{done.wrong} of {done.sample} audited labels are wrong, so up to {done.bound:.1%} of "
            f"all are, more than {done.max_error:.1%}: {done.of} "
            f"{'would be' if dry_run else 'is'} withdrawn, and an earlier softlabel run counts "
            "again where one stands.\n"
            f"Next: curate softlabel{show.for_task(task)} --threshold 0.99: it now learns from "
            "what you decided"
        )


def _show(done: "Audited") -> None:
    title = {
        "drawn": f"Audit drawn: {done.sample} of {done.accepted} accepted labels",
        "waiting": f"Audit waits: {done.decided} of {done.sample} are decided",
        "certified": f"Certified: at most {done.bound or 0:.1%} of the accepted labels are wrong",
        "withdrawn": "Withdrawn: too many of the accepted labels are wrong",
    }[done.state]
    show.facts(
        title,
        {
            "softlabel run": done.of,
            "accepted": done.accepted,
            "sample": done.sample,
            "decided": done.decided,
            "wrong": done.wrong,
            "allowed": f"{done.max_error:.1%} at {done.confidence:.0%} confidence",
        },
    )
    task, waits = show.for_task(done.task), done.state in ("drawn", "waiting")
    show.next_steps(
        f"curate review{task} --queue audit   then curate audit{task} again" if waits else "",
        f"curate undo {done.drawn}   draws anew, under other terms" if waits and done.drawn else "",
        "curate retrain" if done.state == "certified" else "",
    )
