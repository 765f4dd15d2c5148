"""`curate teachers`: who can label images, and what they make of one."""

from pathlib import Path
from typing import Any

import click

from curate import schema, show
from curate.options import emit, json_option

LEAST_SHOWN = 0.005  # smaller probabilities are left out of the table


@click.group()
def teachers() -> None:
    """Show who can label images, and try them on one.

    Zero-shot models are described by cards: TOML files, shipped or in the workspace's folder
    `cards`. Weights are looked for beside the card, in `cards`, in the folder that [softlabel]
    weights of curate.toml names, and where `curate models pull` puts model files.
    """


@teachers.command("list")
@json_option
@click.pass_obj
def list_teachers(root: Path | None, as_json: bool) -> None:
    """List them; of cards the task, whether weights are here and else how to get them, licence."""
    from labeling import trial

    result = trial.listed(trial.around(root).shelf)
    emit(result, as_json, lambda: _show_list(result))


@teachers.command("try")
@click.argument("image", type=click.Path(path_type=Path))
@click.option("--teacher", "name", help="Default: every card whose weights are here.")
@click.option(
    "--task", type=click.Choice(schema.TASKS), help="Default: the card's own, else liveness."
)
@json_option
@click.pass_obj
def try_one(
    root: Path | None, image: Path, name: str | None, task: str | None, as_json: bool
) -> None:
    """Print what teachers make of IMAGE, in probabilities of the classes of their task.

    A teacher that learns is fitted on the workspace's trusted labels, and judges an image it learnt
    from out of fold. Nothing about IMAGE is kept.
    """
    from labeling import trial

    result = trial.tried(trial.around(root), image, name, task)
    emit(result, as_json, lambda: _show_tried(result))


def _show_list(result: dict[str, Any]) -> None:
    rows = result["cards"]
    show.facts("Teachers", result["built_in"])
    show.table(
        "Zero-shot models, by card",
        ("name", "task", "weights", "licence"),
        [
            (row["name"], row["task"], "here" if row["here"] else "missing", row["licence"])
            for row in rows
        ],
    )
    missing = {row["name"]: row["obtain"] for row in rows if not row["here"]}
    if missing:
        show.facts("To get weights", missing)
    show.next_steps("curate teachers try IMAGE" if len(missing) < len(rows) else "")


def _show_tried(result: dict[str, Any]) -> None:
    said = [
        (line["teacher"], line["part"], _likely(line["probabilities"], result["task"]))
        for line in result["teachers"]
    ]
    show.table(f"{result['image']}: {result['task']}", ("teacher", "part", "probability"), said)


def _likely(probabilities: dict[str, float], task: str) -> str:
    """Return the classes in words, the likeliest first."""
    ranked = sorted(probabilities.items(), key=lambda pair: -pair[1])
    return ", ".join(f"{_word(name, task)} {p:.3f}" for name, p in ranked if p >= LEAST_SHOWN)


def _word(name: str, task: str) -> str:
    attack = task == schema.LIVENESS and name != schema.BONAFIDE
    return f"{schema.ATTACK}/{name}" if attack else name
