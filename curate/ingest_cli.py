"""`curate ingest`: its options, the summary of what was done, and what to do next."""

import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from curate import schema, show
from curate.errors import SourceError
from curate.options import dry_run_option, emit, json_option, opened

if TYPE_CHECKING:
    from curate.bursts import Policy
    from curate.ingest import Ingested, Wish
    from curate.sources import Item
    from curate.workspace import Workspace

NOTES = {
    "labels_learnt_late": (
        "{n} of these trusted labels are for images that were already split, as training images. "
        "Splits are frozen, so they cannot reach dev or test; curate ingest --resplit draws all "
        "of them anew."
    ),
    "without_subject": (
        "No subject is known for {n} images of dev and test: one person may sit on both sides of "
        "the split, and figures on it may flatter. A recipe that reads the subject off the path "
        "mends this (see the README); undo this run and ingest again with it."
    ),
    "forgotten": "{n} files were left out: curate forget erased what they show.",
    "never_looked_for_faces": (
        "{n} of these files are on record from an ingest with --no-faces, and stay so: to look for "
        "their faces, curate undo that run first."
    ),
}


class BurstPolicy(click.ParamType):  # type: ignore[type-arg]
    """keep, best or thin:N."""

    name = "keep|best|thin:N"

    def convert(self, value: Any, param: Any, ctx: Any) -> "Policy":
        """Read the policy or say what it may be."""
        from curate import bursts

        try:
            return value if isinstance(value, bursts.Policy) else bursts.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command()
@click.argument("src", nargs=-1)
@click.option(
    "--recipe", default="auto", show_default=True, help="How the folders are read: NAME or auto."
)
@click.option(
    "--trust",
    type=click.Choice(["given", "none"]),
    help="Whether labels that came with the data are trusted. Default: given for a named recipe.",
)
@click.option(
    "--burst",
    type=BurstPolicy(),
    default="keep",
    show_default=True,
    help="Frames of one clip: all, the best one, or N of them and those around a blink.",
)
@click.option(
    "--fps",
    type=click.FloatRange(min=0, min_open=True),
    default=2.0,  # as video.Sampling
    show_default=True,
    help="Frames of a video a second that become images; those around a blink always do.",
)
@click.option(
    "--no-faces", is_flag=True, help="Only hash and de-duplicate; nothing can be trained on it."
)
@click.option("--resplit", is_flag=True, help="Draw train, dev and test anew over all on record.")
@dry_run_option
@json_option
@click.pass_obj
def ingest(
    root: Path | None, src: tuple[str, ...], recipe: str, trust: str | None, burst: "Policy",
    fps: float, no_faces: bool, resplit: bool, dry_run: bool, as_json: bool,
) -> None:  # fmt: skip
    """Bring images in: quarantine, upright, de-duplicate, split without leaks.

    SRC are folders (searched to any depth), files, 'globs', archives, videos, manifests or
    addresses like s3://bucket/prefix. Nothing there is changed, moved or deleted; every decision is
    a row that `curate undo` takes back.
    """
    if not src and not resplit:
        raise click.UsageError("name a folder of images, or --resplit")
    from curate import ingest as stage
    from curate import intake, sources

    trees = sources.trees(src)
    here = _workspace_or_new(root, dry_run)
    result: dict[str, Any] = {}
    if src:
        trusted = (trust or ("given" if recipe != "auto" else "none")) == "given"
        wish = stage.Wish(trusted=trusted, faces=not no_faces, burst=burst, dry_run=dry_run)
        chosen = intake.recipe(here, trees, recipe, trust)
        items = intake.items(here, trees, chosen, fps=fps, faces=wish.faces)
        if not items:
            raise SourceError(f"no files under {', '.join(src)}.\nNext: name a folder of images")
        done = stage.ingest(here, items, wish, show.track)
        result = asdict(done)
        if not as_json:
            _show_ingested(here, done, items, wish)
    if resplit:
        drawn = intake.resplit(here, dry_run)
        result |= {"resplit": drawn}
        if not as_json:
            _show_resplit(drawn)
    emit(result, as_json, lambda: None)
    if src:
        _check_usable(done, no_faces)


def _workspace_or_new(root: Path | None, dry_run: bool) -> "Workspace":
    """Open the workspace named or above, else make one; for a dry run, one that is thrown away."""
    from curate import workspace as workspaces

    place = root or workspaces.nearest(Path.cwd()) or Path.cwd()
    if (place / workspaces.FILENAME).is_file():
        return opened(place)
    if dry_run:
        passing = tempfile.TemporaryDirectory(prefix="curate-dry-run-")
        return workspaces.create(Path(click.get_current_context().with_resource(passing)))
    show.note(f"no workspace {'there' if root else 'above'}; making one in {place.absolute()}")
    return workspaces.create(place)


def _show_resplit(drawn: dict[str, Any]) -> None:
    run_id = drawn["run_id"]
    counts = {name: count for name, count in drawn.items() if name != "run_id"}
    show.facts(f"Splits drawn anew: {run_id}" if run_id else "Would be drawn", counts)
    show.note("models trained before may have seen what is in dev and test now: retrain them")


def _check_usable(done: "Ingested", no_faces: bool) -> None:
    if done.new == done.files and done.unusable == done.new:
        what = "an image" if no_faces else "an image with a face"
        raise SourceError(
            f"none of the {done.new} new files is {what}: {done.reasons}.\n"
            "Next: look at them with curate report, or name another folder"
        )


def _show_ingested(
    here: "Workspace", done: "Ingested", items: "Sequence[Item]", wish: "Wish"
) -> None:
    if not (done.run_id or wish.dry_run):
        left_out = done.counts["forgotten"]
        click.echo(f"Nothing new: {done.files - left_out} of {done.files} files are on record.")
        _show_notes(done)
        return
    if wish.dry_run:
        show.table(
            "How files are read (the first of each class)",
            ("file", "label", "subject", "clip", "split"),
            _first_of_each_class(items),
        )
    title = "Would be ingested" if wish.dry_run else f"Ingested: run {done.run_id}"
    show.facts(title, {"files": done.files, "new images": done.new, **_words(done.counts)})
    _show_notes(done)
    if done.reasons:
        rows = [
            (reason, count, schema.REASONS.get(reason, ""))
            for reason, count in done.reasons.items()
        ]
        show.table("Quarantined (originals stay where they are)", ("reason", "n", ""), rows)
    if done.issues:
        show.facts("Quality issues among the images kept", _words(done.issues))
    if done.new and not wish.trusted and any(item.labels for item in items):
        show.note("labels not trusted (--trust given trusts them): nothing goes to dev or test")
    if done.run_id:
        from curate.status import overview

        step = overview(here).next_steps[0] if done.unusable < done.new else ""
        show.next_steps(step, f"curate undo {done.run_id}   takes this back")


def _show_notes(done: "Ingested") -> None:
    for name, text in NOTES.items():
        if done.counts.get(name):
            show.note(text.format(n=done.counts[name]))


def _first_of_each_class(items: "Sequence[Item]") -> list[tuple[object, ...]]:
    first: dict[tuple[object, ...], Item] = {}
    for item in items:
        first.setdefault((item.labels, item.split), item)
    return [
        (i.uri, _said(i) or "-", i.subject or "-", i.clip or "-", i.split or "-")
        for i in first.values()
    ]


def _said(item: "Item") -> str:
    """Return the labels of an item in a few words."""
    return ", ".join(
        " ".join(word for word in (given.part, given.label, given.attack_type) if word)
        for given in item.labels
    )


def _words(counts: dict[str, int]) -> dict[str, int]:
    return {name.replace("_", " "): count for name, count in counts.items() if name != "images"}
