"""`curate synth`: simulated attacks on bona fide images; `curate sample`: the demo's set."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from curate import show
from curate.errors import ConfigError
from curate.options import dry_run_option, emit, json_option, with_workspace

if TYPE_CHECKING:
    from curate.workspace import Workspace
    from synth.synthesise import Synthesised


@click.command()
@click.option(
    "--attack",
    default="print,replay_phone",
    show_default=True,
    metavar="TYPES",
    help="Attack types, with commas.",
)
@click.option(
    "--per-image",
    default=1,
    show_default=True,
    type=click.IntRange(1, 20),
    help="Images per parent and type.",
)
@dry_run_option
@json_option
@with_workspace
def synth(here: "Workspace", attack: str, per_image: int, dry_run: bool, as_json: bool) -> None:
    """Simulate attacks on the bona fide training images.

    Each parent also gives a bona fide copy through the same simulated camera, so that the camera is
    no clue. Synthetic images only ever train; dev and test stay real.
    """
    from synth.synthesise import synthesise

    done = synthesise(here, _attacks(attack), per_image, dry_run)
    emit(asdict(done), as_json, lambda: _show(done, dry_run))


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--seed", default=0, show_default=True)
def sample(folder: Path, seed: int) -> None:
    """Draw the generated sample set of the demo into FOLDER, with its truth file."""
    from synth.sample import make_sample

    counts = make_sample(folder, seed=seed)
    show.facts(f"Sample in {folder}", counts)


def _attacks(names: str) -> list[str]:
    from synth.attacks import ATTACKS

    chosen = [name.strip() for name in names.split(",") if name.strip()]
    if unknown := [name for name in chosen if name not in ATTACKS] or (not chosen and ["nothing"]):
        raise ConfigError(
            f"--attack: cannot simulate {', '.join(unknown)}; known: {', '.join(ATTACKS)}"
        )
    return sorted(set(chosen))


def _show(done: "Synthesised", dry_run: bool) -> None:
    if not done.run_id:
        verb = "Would be made" if dry_run else "Nothing new: everything wanted is there"
        show.facts(verb, {"bona fide parents": done.parents, "images": done.wanted})
        return
    rows = {f"{kind} kept": count for kind, count in done.kept.items()}
    show.facts(
        f"Synthetic images: run {done.run_id}",
        {"bona fide parents": done.parents, **rows, "no face left": done.quarantined},
    )
    show.next_steps("curate retrain")
