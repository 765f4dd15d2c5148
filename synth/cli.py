"""`curate synth`: simulated attacks on bona fide images; `curate sample`: the demo's set."""

from dataclasses import asdict, dataclass
from pathlib import Path

import click
import pandas as pd

from curate import labels, runs, schema, show
from curate.errors import ConfigError, DataError
from curate.options import dry_run_option, emit, json_option, with_workspace
from curate.usable import usable_images
from curate.workspace import Workspace
from synth import plan


@dataclass(frozen=True)
class Synthesised:
    """What one synth run made, or would make."""

    run_id: str
    parents: int
    wanted: int
    kept: dict[str, int]  # kind -> images
    quarantined: int


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
def synth(here: Workspace, attack: str, per_image: int, dry_run: bool, as_json: bool) -> None:
    """Simulate attacks on the bona fide training images.

    Each parent also gives a bona fide copy through the same simulated camera, so that the camera is
    no clue. Synthetic images only ever train; dev and test stay real.
    """
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


def synthesise(here: Workspace, attacks: list[str], per_image: int, dry_run: bool) -> Synthesised:
    """Make what is wanted and not there yet, and record it as one run.

    Raises:
        DataError: there is no bona fide training image to start from.
    """
    from synth import make

    inputs = {"attacks": attacks, "per_image": per_image, "seed": here.config.seed}
    with runs.start(here, "synth", inputs) as run:
        parents = _parents(here)
        everything = plan.wishes(list(parents.index), attacks, per_image, here.config.seed)
        wanted = plan.unmet(everything, here.catalogue.read("images", ["uri", "origin"]))
        run.recorded = bool(wanted) and not dry_run
        if not run.recorded:
            return Synthesised("", len(parents), len(wanted), {}, 0)
        made = make.make(here, wanted, parents)
        kept = made[made["status"] == "kept"]
        counts = {str(kind): int(n) for kind, n in kept["kind"].value_counts().items()}
        done = Synthesised(run.run_id, len(parents), len(wanted), counts, len(made) - len(kept))
        run.counts = {key: value for key, value in asdict(done).items() if key != "run_id"}
        run.append("images", made.drop(columns="kind"))
        run.append("labels", make.label_rows(made))
        run.append("splits", kept[["image_id"]].assign(split="train"))
    return done


def _parents(here: Workspace) -> pd.DataFrame:
    images = usable_images(here.catalogue)
    resolved = labels.resolved(here.catalogue)
    split = here.catalogue.split_of()
    bonafide = resolved.index[resolved["label"] == schema.BONAFIDE]
    real = images[images["origin"] != "synthetic"]
    parents = real[real.index.isin(bonafide) & (split.reindex(real.index) == "train")]
    if parents.empty:
        raise DataError(
            "no bona fide training image to start from.\n"
            "Next: curate ingest LABELLED_FOLDER --trust given, or curate softlabel"
        )
    return parents


def _attacks(names: str) -> list[str]:
    from synth.attacks import ATTACKS

    chosen = [name.strip() for name in names.split(",") if name.strip()]
    if unknown := [name for name in chosen if name not in ATTACKS] or (not chosen and ["nothing"]):
        raise ConfigError(
            f"--attack: cannot simulate {', '.join(unknown)}; known: {', '.join(ATTACKS)}"
        )
    return sorted(set(chosen))


def _show(done: Synthesised, dry_run: bool) -> None:
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
