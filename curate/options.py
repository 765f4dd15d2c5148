"""Options and arguments that several commands share; imported by every `--help`, so light."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from curate import schema

if TYPE_CHECKING:
    from curate.workspace import Workspace

Command = Callable[..., Any]

json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Say what would be done; write nothing."
)
task_option = click.option(
    "--task", type=click.Choice(schema.TASKS), default=schema.TASKS[0],
    show_default=True, help="What is labelled.",
)  # fmt: skip


def with_workspace(command: Command) -> Command:
    """Give a command the opened workspace as its first argument."""

    @click.pass_context
    @functools.wraps(command)
    def wrapped(ctx: click.Context, /, *args: Any, **kwargs: Any) -> Any:
        return command(opened(ctx.obj), *args, **kwargs)

    return wrapped


def opened(root: Path | None) -> "Workspace":
    """Open the workspace named, else the nearest one above the current folder.

    Raises:
        WorkspaceError: there is none.
    """
    from curate import workspace as workspaces

    return workspaces.open_at(root or workspaces.nearest(Path.cwd()) or Path.cwd())


def emit(result: dict[str, Any], as_json: bool, for_people: Callable[[], None]) -> None:
    """Print ``result`` as one JSON object on stdout, or let ``for_people`` print it."""
    if as_json:
        click.echo(json.dumps(result, default=str))
    else:
        for_people()
