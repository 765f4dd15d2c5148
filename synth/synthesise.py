"""The stage of `curate synth`: what is wanted and not there yet is made, as one run."""

from dataclasses import asdict, dataclass

import pandas as pd

from curate import labels, runs, schema
from curate.errors import DataError
from curate.usable import usable_images
from curate.workspace import Workspace
from synth import make, plan


@dataclass(frozen=True)
class Synthesised:
    """What one synth run made, or would make."""

    run_id: str
    parents: int
    wanted: int
    kept: dict[str, int]  # kind -> images
    quarantined: int


def synthesise(here: Workspace, attacks: list[str], per_image: int, dry_run: bool) -> Synthesised:
    """Make what is wanted and not there yet, and record it as one run.

    Raises:
        DataError: there is no bona fide training image to start from.
    """
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
