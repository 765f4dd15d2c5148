"""`curate softlabel`: a teacher labels what it is sure of and passes the rest to review."""

import json
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

import click

from curate import schema, show
from curate.errors import ConfigError, DataError, GateRefused, require
from curate.options import dry_run_option, emit, json_option, with_workspace

if TYPE_CHECKING:
    from curate.workspace import Workspace
    from labeling.exam import Wish
    from labeling.softlabel import Labelled

NEEDED = ("torch", "timm", "sklearn")
DEFAULT = 0.9
TUNED = "fine-tuned"
_MORE = (
    "Next: curate ingest LABELLED_IMAGES_OF_NEW_PEOPLE --trust given ([splits] dev in curate.toml "
    "is the share that goes to dev)"
)


@click.command()
@click.option(
    "--threshold",
    type=float,
    metavar="P",
    help=f"Accept labels from this confidence on. Default: {DEFAULT}.",
)
@click.option(
    "--max-error",
    type=float,
    metavar="E",
    help="Instead: accept what keeps the share of wrong labels below E, certified on dev.",
)
@click.option(
    "--confidence",
    type=float,
    default=0.95,
    show_default=True,
    metavar="P",
    help="How surely the bounds hold.",
)
@click.option(
    "--certify",
    type=click.Choice(["overall", "directions"]),
    default="overall",
    show_default=True,
    help="What must keep E: all accepted labels together, or each direction and attack type too.",
)
@click.option(
    "--teacher",
    default="",
    metavar="NAME",
    help="See curate teachers list. Default: stack where a card's weights are here, else fitted.",
)
@click.option(
    "--fine-tune", is_flag=True, help="Same as --teacher fine-tuned: minutes, not seconds."
)
@click.option(
    "--task", type=click.Choice(schema.TASKS), help="Default: every task that has trusted labels."
)
@click.option(
    "--explain",
    metavar="IMAGE",
    help="Show how this image came to its labels instead: a path, or the start of its id.",
)
@dry_run_option
@json_option
@with_workspace
def softlabel(
    here: "Workspace",
    threshold: float | None,
    max_error: float | None,
    confidence: float,
    certify: str,
    teacher: str,
    fine_tune: bool,
    task: str | None,
    explain: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Let a teacher label what it is sure of; the rest waits for review.

    A teacher never labels a person it learnt from except out of fold. Every bound is measured on
    the trusted images of dev, one frame of a clip; it holds while the images to be labelled are
    drawn as those were. Exit code 3: no certificate, nothing accepted, earlier labels stand.
    """
    if explain:
        _explain(here, explain, as_json)
        return
    if threshold is not None and max_error is not None:
        raise click.UsageError("--threshold and --max-error exclude each other: choose one.")
    if certify == "directions" and max_error is None:
        raise click.UsageError("--certify says what must keep --max-error: give that too.")
    if fine_tune and teacher not in ("", TUNED):
        raise click.UsageError(f"--fine-tune and --teacher {teacher} exclude each other.")
    teacher = TUNED if fine_tune else teacher
    _check_shares(max_error, confidence)
    tasks = [task] if task else _labelled_tasks(here)
    for name in tasks:
        _check_threshold(DEFAULT if threshold is None else threshold, name)
    require(*NEEDED)
    from labeling.exam import Wish
    from labeling.softlabel import softlabel as stage

    if max_error is None and threshold is None:
        threshold = DEFAULT
    refused, failed, asked = [], [], []
    for name in tasks:
        wish = Wish(name, teacher, threshold, max_error, confidence,
                    certify == "directions", dry_run)  # fmt: skip
        try:
            done = stage(here, wish, show.track)
        except DataError as error:
            failed.append(error)  # one task's lack of labels is no reason to leave out the others
            continue
        emit(asdict(done), as_json, partial(_show, done, wish))
        refused += [f"{name}: {done.refused}"] if done.refused else []
        asked += [f"curate review{show.for_task(name)} --queue audit"] if done.audit else []
    if failed:
        raise failed[0]
    if refused:
        raise GateRefused(
            "; ".join(refused)
            + ".\nNothing was accepted; labels of earlier runs stand.\n"
            + (f"Next: {', '.join(asked)}" if asked else _MORE)
            + ", or curate softlabel --threshold 0.9 and then curate audit"
        )


def _show(done: "Labelled", wish: "Wish") -> None:
    accepted, review = sum(done.accepted.values()), sum(done.review.values())
    rows = [(f"accepted as {name}", count) for name, count in done.accepted.items()]
    rows += [(f"review: {reason}", count) for reason, count in done.review.items()]
    verb = (
        "Would be labelled"
        if wish.dry_run
        else f"Soft labels: run {done.run_id}"
        if done.run_id
        else "Nothing new"
    )
    share = f"{accepted / done.pool:.0%}" if done.pool else "0%"
    task = show.for_task(done.task)
    at = f" at {done.threshold:.4g}" if done.threshold else ""
    show.table(
        f"{verb}: {done.task}, {accepted} of {done.pool} accepted ({share}){at}",
        ("", "units"),
        rows,
    )
    if done.bounds:
        _show_bounds(done, wish)
    show.facts("Teacher", {"trusted training units": done.trusted, **done.teacher})
    for note in done.notes:
        show.note(note[0].upper() + note[1:] + ".")
    show.next_steps(
        f"curate review{task}   {review} wait" if review and not done.refused else "",
        f"curate review{task} --queue audit   {done.audit} to label first" if done.audit else "",
        f"curate audit{task} --n 300   a bound that needs no dev"
        if accepted and not done.refused
        else "",
        "curate retrain" if done.task == schema.LIVENESS and not done.refused else "",
    )


def _show_bounds(done: "Labelled", wish: "Wish") -> None:
    rows = [
        (
            bound["of"],
            bound["accepted"],
            bound["wrong"],
            "none" if bound["at_most"] is None else f"{bound['at_most']:.1%}",
        )
        for bound in done.bounds
    ]
    show.table(
        f"How wrong accepted labels may be, at {wish.confidence:.0%} confidence, by dev",
        ("of", "presentations", "wrong", "at most"),
        rows,
    )
    if done.bounds[0]["at_most"] is not None:
        show.note(
            "These bounds hold if the images labelled are drawn as those of dev were: the same "
            "cameras, attacks and mix of both; and if dev's own labels are right. A type of attack "
            "that dev lacks is in no bound."
        )


def _labelled_tasks(here: "Workspace") -> list[str]:
    """Return the tasks that have a trusted label or a decision."""
    given = here.catalogue.read("labels", ["task", "trusted"])
    decided = here.catalogue.read("decisions", ["task", "label"])
    known = {*given.loc[given["trusted"], "task"], *decided.loc[decided["label"] != "", "task"]}
    found = [task for task in schema.TASKS if task in known]
    if not found:
        raise DataError(
            "no trusted training image: a teacher has nothing to learn from.\n"
            "Next: curate ingest LABELLED_FOLDER --trust given; or --task and a --teacher that "
            "learns nothing: a card, geometry, champion"
        )
    return found


def _check_threshold(threshold: float, task: str) -> None:
    least = 1 / (2 if task == schema.LIVENESS else len(schema.CLASSES_OF[task]))
    if not least < threshold < 1:
        raise ConfigError(
            f"--threshold {threshold} must lie between {least:.3g} and 1 for {task}.\n"
            "Next: --threshold 0.9"
        )


def _check_shares(max_error: float | None, confidence: float) -> None:
    if max_error is not None and not 0 < max_error < 0.5:
        raise ConfigError(
            f"--max-error {max_error} must lie between 0 and 0.5.\nNext: --max-error 0.02"
        )
    if not 0.5 <= confidence < 1:
        raise ConfigError(
            f"--confidence {confidence} must lie between 0.5 and 1.\nNext: --confidence 0.95"
        )


def _explain(here: "Workspace", image: str, as_json: bool) -> None:
    from labeling.explain import history

    found = history(here, image)
    if as_json:
        click.echo(json.dumps(found, default=str))
        return
    show.facts(str(found["uri"]), {"image_id": found["image_id"], **found["now"]})
    columns = ("when", "who", "said", "sure", "counts")
    show.table("What was said about it, oldest first", columns, [
        tuple(event[name] for name in columns) for event in found["events"]
    ])  # fmt: skip
