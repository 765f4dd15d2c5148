"""The verbs retrain, evaluate and predict. Each parses, makes one call, and shows."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from curate import schema, show
from curate.errors import ConfigError, DataError, GateRefused, require
from curate.options import dry_run_option, emit, json_option, task_option, with_workspace

if TYPE_CHECKING:
    from curate.champions import Model
    from curate.workspace import Workspace

NEEDED = ("torch", "timm", "lightning_fabric", "safetensors")

model_option = click.option(
    "--model", "number", type=int, metavar="N", help="Number of the model. Default: the champion."
)


@click.command()
@task_option
@click.option("--backbone", help="timm's name of the network. Default: retrain.backbone.")
@click.option("--epochs", type=int, help="Passes over the training images.")
@dry_run_option
@json_option
@with_workspace
def retrain(
    here: "Workspace",
    task: str,
    backbone: str | None,
    epochs: int | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Train a challenger; promote it only if no kind of error rose.

    It learns from every labelled image of split train, balanced over attack types. Its threshold
    is fixed on dev, its errors are counted on the frozen test. Stopped or killed, the same command
    goes on at the last whole epoch. Exit code 3: not promoted.
    """
    _supported(task)
    require(*NEEDED, "albumentations")
    from curate import config, groups
    from curate.workspace import Workspace
    from training import retrain as stage

    chosen = config.override(here.config, "retrain", backbone=backbone, epochs=epochs)
    workspace = Workspace(here.root, chosen)
    done = stage.retrain(workspace, task, dry_run=dry_run, track=show.track)
    if unknown := groups.without_subject(here.catalogue):
        show.note(
            f"No subject is known for {unknown} images of dev and test: one person may sit on both "
            "sides of the split, and these figures may flatter."
        )
    emit(_plain(done), as_json, lambda: _show_outcome(done))
    if done.facts and not done.facts["promoted"]:
        raise GateRefused(
            f"model {done.facts['model']} is not promoted: {'; '.join(done.facts['reasons'])}. "
            f"Model {done.facts['compared_with']} stays champion.\n"
            f"Next: look at {done.folder}, add images of what rose, then curate retrain"
        )


@click.command()
@task_option
@model_option
@json_option
@with_workspace
def evaluate(here: "Workspace", task: str, number: int | None, as_json: bool) -> None:
    """Measure a model on the frozen test split, at the threshold fixed on dev when it was made."""
    _supported(task)
    found = _model(here, task, number)
    require(*NEEDED)
    from training import data, registry
    from training import retrain as stage

    saved = registry.load(found)
    test = data.frames(here.catalogue, task, needs=("test",)).test
    report = stage.report(here, saved.net, test, saved.threshold, show.track).to_dict()
    title = f"Model {found.number} on the frozen test split"
    result = {"task": task, "model": found.number, "folder": str(found.folder), **report}
    emit(result, as_json, lambda: _show_report(title, report))


@click.command()
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True, type=click.Path())
@task_option
@model_option
@with_workspace
def predict(here: "Workspace", images: tuple[str, ...], task: str, number: int | None) -> None:
    """Score IMAGE files with the champion, one JSON line each; a bad file is a line with an error.

    score is in [0, 1], 1 = bona fide; label is bonafide from the threshold on. turn: the degrees
    clockwise that bring the image upright, -1 where that is undecided.
    """
    _supported(task)
    found = _model(here, task, number)
    require(*NEEDED)
    from curate import assets, engine
    from curate.faces import FaceDetector
    from training import predict as stage
    from training import registry

    detector = FaceDetector(assets.path("face_landmarker"))
    saved = registry.load(found)
    threads = engine.threads(here.config.threads)
    scored = 0
    for line in stage.predict(saved, detector, _files(images), threads=threads):
        click.echo(json.dumps(line))
        scored += "score" in line
    if not scored:
        raise DataError(
            f"none of the {len(images)} images could be scored; each line says why.\n"
            "Next: name image files that show a face"
        )


def _files(images: tuple[str, ...]) -> list[Path]:
    """Return each image as named, and the files of each folder."""
    from curate.trees import files

    paths = (Path(one) for one in images)
    return [file for path in paths for file in (files(path) if path.is_dir() else [path])]


def _supported(task: str) -> None:
    if task != schema.LIVENESS:
        raise ConfigError(
            f"task {task!r} cannot be trained yet; only liveness can.\n"
            "Next: leave out --task, or say --task liveness"
        )


def _model(here: "Workspace", task: str, number: int | None) -> "Model":
    from curate import champions

    if number is None:
        return champions.require_champion(here, task)
    known = {model.number: model for model in champions.models(here, task)}
    if number not in known:
        have = ", ".join(map(str, known)) or "none yet"
        raise DataError(f"there is no {task} model {number}; known: {have}.\nNext: curate status")
    return known[number]


def _plain(done: Any) -> dict[str, Any]:
    rows = [
        {
            "what": row.what,
            "before": row.before.to_dict(),
            "after": row.after.to_dict(),
            "rises": row.rises,
        }
        for row in done.rows
    ]
    return {
        "status": done.status,
        "run_id": done.run_id,
        "folder": done.folder,
        "trained_on": done.trained_on,
        "model": done.facts,
        "gate": rows,
    }


def _show_outcome(done: Any) -> None:
    if done.status == "unchanged":
        click.echo(
            f"Nothing new to learn: model {done.facts['model']} ({done.run_id}) comes of the same "
            "images, labels, settings and code."
        )
        show.next_steps("curate evaluate", "curate report")
        return
    rows = [(kind, basis, n) for kind, by in done.trained_on.items() for basis, n in by.items()]
    title = "Would train on" if done.status == "dry run" else "Trained on"
    show.table(title, ("class", "label rests on", "images"), rows)
    if done.status == "dry run":
        return
    show.note(f"threshold {done.facts['threshold']:.6g}, EER on dev {done.facts['dev_eer']:.4f}")
    _show_report(f"Model {done.facts['model']} on the frozen test split", done.facts["metrics"])
    if done.rows:
        _show_gate(done)
    if done.status == "promoted":
        click.echo(f"Promoted: {done.folder} ({'; '.join(done.facts['reasons'])}).")
        show.next_steps("curate predict IMAGE", "curate report")


def _show_gate(done: Any) -> None:
    from training.card import rate_cells

    cells = []
    for row in done.rows:
        before, after = rate_cells(row.before.to_dict()), rate_cells(row.after.to_dict())
        cells.append((row.what, before[0], after[0], after[2], "ROSE" if row.rises else ""))
    against = f"model {done.facts['compared_with']}"
    show.table(
        f"Gate: against {against}, same images", ("error", against, "new", "errors / n", ""), cells
    )


def _show_report(title: str, report: dict[str, Any]) -> None:
    from training.card import number, percent, rate_cells

    errors = [("BPCER", report["bpcer"])]
    errors += [(f"APCER {kind}", rate) for kind, rate in report["apcer"].items()]
    columns = ("error", "rate", "95 % interval", "errors / n")
    show.table(title, columns, [(name, *rate_cells(rate)) for name, rate in errors])
    figures = {
        "APCER max": percent(report["apcer_max"]),
        "ACER": percent(report["acer"]),
        "EER (pooled)": percent(report["eer"]),
        "accuracy": percent(report["accuracy"]),
        "precision (bona fide)": percent(report["precision"]),
        "recall (bona fide)": percent(report["recall"]),
        "F1 (bona fide)": percent(report["f1"]),
        "ROC-AUC": number(report["roc_auc"]),
    }
    show.facts(f"At threshold {report['threshold']:.6g}", figures)
