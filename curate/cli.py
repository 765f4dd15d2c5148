"""The command table. Commands are named as strings and loaded on use, so `--help` is instant."""

import atexit
import difflib
import errno
import gc
import importlib
from pathlib import Path
from typing import Any

import click

from curate import __version__
from curate.errors import CurateError

FULL_OR_READ_ONLY = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}

COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("curate.commands:init", "Make a workspace here."),
    "ingest": ("curate.ingest_cli:ingest", "Quarantine, upright, de-duplicate, split."),
    "softlabel": ("labeling.cli:softlabel", "A teacher labels what it is sure of; the rest waits."),
    "teachers": ("labeling.teachers_cli:teachers", "Who can label; what one makes of an image."),
    "issues": ("labeling.issues_cli:issues", "Find trusted labels that are probably wrong."),
    "audit": ("labeling.audit_cli:audit", "Bound the errors of accepted labels by a sample."),
    "review": ("curate.review.cli:review", "Look, accept, reject, relabel in the FiftyOne App."),
    "synth": ("synth.cli:synth", "Simulate attacks on bona fide training images."),
    "retrain": (
        "training.cli:retrain",
        "Train a challenger; promote it only if nothing got worse.",
    ),
    "evaluate": ("training.cli:evaluate", "Measure a model on the frozen test split."),
    "predict": ("training.cli:predict", "Score images with the champion, one JSON line each."),
    "report": ("curate.commands:report", "Write one HTML page that a manager can read."),
    "status": ("curate.commands:status", "What is here, what waits, what to do next."),
    "undo": ("curate.commands:undo", "Take a run back; its rows become invisible."),
    "forget": ("curate.commands:forget", "Erase a person: rows, embeddings, synthetic images."),
    "models": ("curate.commands:models", "Fetch the model files that curate needs."),
    "sample": ("synth.cli:sample", "Draw the demo's generated faces, with a truth file."),
    "demo": ("curate.commands:demo", "Walk the whole road on generated faces."),
}

# Everything is freed at exit, and would be searched for cycles before: a sixth of a second.
atexit.register(gc.freeze)


class Table(click.Group):
    """A group that imports a command when it is called, and prints its help from the table."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in the order of the road."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command; None where there is no such verb."""
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name][0].split(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; for an unknown one, name the closest."""
        close = difflib.get_close_matches(args[0], COMMANDS, n=1)
        if args[0] not in COMMANDS and close:
            ctx.fail(f"No such command {args[0]!r}. Did you mean {close[0]!r}?")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table without importing any command."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; turn what a person should read into one message and an exit code."""
        try:
            return super().invoke(ctx)
        except CurateError as error:
            click.secho("Error: ", fg="red", bold=True, nl=False, err=True)
            click.echo(str(error), err=True)
            ctx.exit(error.exit_code)
        except OSError as error:
            if error.errno not in FULL_OR_READ_ONLY:
                raise
            where = f" ({error.filename})" if error.filename else ""
            click.secho("Error: ", fg="red", bold=True, nl=False, err=True)
            click.echo(
                f"cannot write{where}: {error.strerror}.\nNext: free some space or choose another "
                "--workspace, then run the same command again; nothing half-written is visible",
                err=True,
            )
            ctx.exit(1)
        except KeyboardInterrupt:
            click.echo("\nStopped. Nothing is lost: the same command goes on from here.", err=True)
            ctx.exit(130)


@click.group(cls=Table, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="curate")
@click.option(
    "--workspace",
    "root",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="CURATE_WORKSPACE",
    metavar="DIR",
    help="The workspace. Default: the nearest parent folder with a curate.toml.",
)
@click.pass_context
def main(ctx: click.Context, root: Path | None) -> None:
    """Mined face images in, a trusted training set and promoted liveness models out."""
    ctx.obj = root
