"""`curate softlabel`: a teacher labels what it is sure of and passes the rest to review."""

from dataclasses import asdict, dataclass

import click
import numpy as np
import pandas as pd

from curate import groups, labels, runs, schema, show
from curate.errors import ConfigError, DataError, require
from curate.options import dry_run_option, emit, json_option, task_option, with_workspace
from curate.usable import usable_images
from curate.workspace import Workspace


@dataclass(frozen=True)
class Labelled:
    """What one softlabel run did, or would do."""

    run_id: str
    trusted: int
    pool: int
    accepted: dict[str, int]  # label -> images
    review: dict[str, int]  # reason -> images
    teacher: dict[str, object]


@click.command()
@click.option(
    "--threshold",
    type=float,
    default=0.9,
    show_default=True,
    help="Confidence from which a label is accepted.",
)
@task_option
@dry_run_option
@json_option
@with_workspace
def softlabel(here: Workspace, threshold: float, task: str, dry_run: bool, as_json: bool) -> None:
    """Let a teacher label what it is sure of; the rest waits for review.

    The teacher is a linear head on frozen image features, fitted on the trusted training images and
    calibrated out of fold. It never labels a person it was fitted on except out of fold.
    """
    if task != "liveness":
        raise ConfigError(
            f"no teacher for task {task!r} yet; only liveness.\n"
            "Next: curate softlabel --task liveness"
        )
    if not 0.5 < threshold < 1:
        raise ConfigError(
            f"--threshold {threshold} must lie between 0.5 and 1.\nNext: --threshold 0.9"
        )
    require("torch", "timm", "sklearn")
    done = label(here, threshold, dry_run)
    emit(asdict(done), as_json, lambda: _show(done, threshold, dry_run))


def label(here: Workspace, threshold: float, dry_run: bool) -> Labelled:
    """Fit the teacher, label the pool, and record the rows as one run.

    Raises:
        DataError: no trusted labels, one class only, or nothing to label.
    """
    from labeling import features, softlabel, teachers

    settings = here.config.softlabel
    inputs: dict[str, object] = {"threshold": threshold}
    with runs.start(here, "softlabel", inputs) as run:
        learn, pool, known = _learn_and_pool(here)
        mark = runs.fingerprint(
            [settings.model_dump(), threshold, here.config.seed],
            sorted(zip(pool.index, pool["group"], strict=True)),
            sorted(zip(learn.index, learn["group"], learn["class"], strict=True)),
            sorted(known.items()),
        )
        inputs |= {"fingerprint": mark}
        if earlier := runs.repeats(here, "softlabel", mark):
            run.recorded = False
            rows = _rows_of(here, earlier)
            return _counted("", rows, len(learn), len(pool), {"repeats": earlier})
        both = pd.concat([learn, pool])
        values = features.features(here, both, settings, show.track)
        trusted = values[: len(learn)]
        group = both["group"].to_numpy(dtype=object)
        fitted = teachers.fit(
            trusted, learn["class"].to_numpy(dtype=object), group[: len(learn)],
            folds=settings.folds, seed=here.config.seed,
        )  # fmt: skip
        probs = softlabel.as_liveness(fitted.label(values, group), fitted.classes)
        rows = softlabel.decide(both.index, probs, known, learn.index, threshold)
        about = {
            "classes": list(fitted.classes),
            "temperature": round(fitted.temperature, 3),
            "strength": fitted.strength,
            "folds": len(fitted.heads),
            "out_of_fold_accuracy": _accuracy(probs[: len(learn)], learn["class"]),
        }
        run.recorded = not dry_run
        done = _counted(run.run_id if run.recorded else "", rows, len(learn), len(pool), about)
        run.counts = {key: value for key, value in asdict(done).items() if key != "run_id"}
        if run.recorded:
            run.append("soft_labels", rows)
    return done


def _learn_and_pool(here: Workspace) -> tuple[pd.DataFrame, pd.DataFrame, pd.Series]:
    """Return the trusted training images with their class, the images to label, and given keys.

    Both frames have `group`: images that share a subject, clip, copy, recapture pair or parent.
    """
    images = usable_images(here.catalogue)
    mined = images[images["origin"] != "synthetic"]
    group = groups.of_catalogue(here.catalogue, labels.best_keys(here.catalogue))
    # Named by a mined member, so that synthetic children come and go without a new name.
    group = group.reindex(mined.index)
    mined = mined.assign(group=mined["image_id"].groupby(group).transform("min"))
    resolved = labels.resolved(here.catalogue)
    trusted = resolved[resolved["basis"] != "soft"]
    split = here.catalogue.split_of()
    learn = mined[mined.index.isin(trusted.index) & (split.reindex(mined.index) == "train")]
    if learn.empty:
        raise DataError(
            "no trusted training image: a teacher has nothing to learn from.\n"
            "Next: curate ingest LABELLED_FOLDER --trust given, or label some in curate review"
        )
    word = trusted["attack_type"].where(trusted["label"] == schema.ATTACK, schema.BONAFIDE)
    word = word.where(word != "", "unknown")
    learn = learn.assign(**{"class": word.reindex(learn.index)})
    decisions = labels.decided(here.catalogue, "liveness")
    settled = decisions.loc[
        (decisions["label"] != "") | (decisions["action"] == "reject"), "image_id"
    ]
    pool = mined[~mined.index.isin(trusted.index) & ~mined.index.isin(settled)]
    given = labels.given_keys(here.catalogue)
    return learn, pool, given[given.index.isin(mined.index)]


def _accuracy(probs: np.ndarray, classes: pd.Series) -> float:
    right = (probs[:, 0] >= 0.5) == (classes == schema.BONAFIDE).to_numpy()
    return round(float(right.mean()), 4)


def _rows_of(here: Workspace, run_id: str) -> pd.DataFrame:
    soft = here.catalogue.read("soft_labels")
    return soft[soft["run_id"] == run_id]


def _counted(
    run_id: str, rows: pd.DataFrame, trusted: int, pool: int, teacher: dict[str, object]
) -> Labelled:
    accepted = rows[rows["status"] == "accepted"]
    reasons = rows.loc[rows["status"] == "review", "reason"].value_counts()
    return Labelled(
        run_id=run_id,
        trusted=trusted,
        pool=pool,
        accepted={
            str(k): int(v) for k, v in pd.Series(labels.words(accepted)).value_counts().items()
        },
        review={str(k): int(v) for k, v in reasons.items()},
        teacher=teacher,
    )


def _show(done: Labelled, threshold: float, dry_run: bool) -> None:
    accepted, review = sum(done.accepted.values()), sum(done.review.values())
    rows = [(f"accepted as {name}", count) for name, count in done.accepted.items()]
    rows += [(f"review: {reason}", count) for reason, count in done.review.items()]
    verb = (
        "Would be labelled"
        if dry_run
        else f"Soft labels: run {done.run_id}"
        if done.run_id
        else "Nothing new"
    )
    share = f"{accepted / done.pool:.0%}" if done.pool else "0 %"
    show.table(
        f"{verb}: {accepted} of {done.pool} accepted ({share}) at {threshold}", ("", "images"), rows
    )
    show.facts("Teacher", {"trusted training images": done.trusted, **done.teacher})
    show.next_steps(
        f"curate review   {review} images wait" if review else "", "curate synth", "curate retrain"
    )
