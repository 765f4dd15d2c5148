"""The stage of `curate issues`: trusted labels against a model that has not seen them."""

import operator
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate import labels, runs, schema
from curate.engine import Track
from curate.workspace import Workspace
from labeling import issues, teachers
from labeling.consensus import Consensus, reconcile
from labeling.features import features, views
from labeling.fitted import kind_of
from labeling.head import SCORES, OneSided
from labeling.units import classes, gather

BY = ["image_id", "part"]
COLUMNS = ["image_id", "task", "part", "label", "attack_type", "quality", "issue", "suggested",
           "rank"]  # fmt: skip


@dataclass(frozen=True)
class Found:
    """What one run found, or would find.

    Attributes:
        issues: "given -> suggested" -> units.
        disputed: units on which annotators contradict each other and nobody has settled it.
        annotators: reviewer or source -> quality in [0, 1]; only those that share units.
    """

    run_id: str
    task: str
    judged: int
    issues: dict[str, int]
    disputed: int
    annotators: dict[str, float]


def find(here: Workspace, task: str, *, dry_run: bool, track: Track) -> Found:
    """Judge the trusted labels of ``task`` and record the rows as one run.

    Raises:
        DataError: no trusted label, one class only, or a class of one group.
        SourceError: an original is gone.
        AssetError: the backbone's weights are not here.
    """
    inputs: dict[str, object] = {"task": task}
    with runs.start(here, "issues", inputs) as run:
        units = trusted_units(here, task)
        votes = _votes(here, task, units)
        mark = runs.fingerprint(
            [task, here.config.softlabel.model_dump(), here.config.seed],
            teachers.made_of(here, "stack", task),
            sorted(units[["unit", "class", "basis", "group", "clip_id"]].to_numpy(str).tolist()),
            sorted(votes.to_numpy(str).tolist()),
        )
        inputs["fingerprint"] = mark
        if earlier := runs.repeats(here, "issues", mark, task=task):
            run.recorded = False
            return _again(here, earlier)
        rows, probabilities = _judged(here, task, units, track)
        votes = votes[votes["unit"].isin(rows.index)]
        rows, consensus = _reconciled(rows, probabilities, votes, task)
        run.recorded = not dry_run
        done = _counted(run.run_id if run.recorded else "", task, _table(rows, task), consensus)
        run.counts = {key: value for key, value in asdict(done).items() if key != "run_id"}
        if run.recorded:
            run.append("issues", _table(rows, task))
    return done


def evidence(
    here: Workspace, units: pd.DataFrame, task: str, track: Track
) -> dict[str, NDArray[np.float32]]:
    """Return name -> (N, D): features of ``units``, and scores of cards whose weights are here.

    Networks trained elsewhere know nothing of the labels here, so they see through wrong ones.
    """
    seen = features(here, units, views(here.config.softlabel, task), track)
    scores = teachers.scores_of_cards(here, task, track)
    return seen if scores is None else seen | {SCORES: scores(units)}


def trusted_units(here: Workspace, task: str) -> pd.DataFrame:
    """Return the units of train and dev with a trusted label, as labeling.units has them.

    Units whose trusted labels contradict each other are there too, with the class "".
    """
    found = gather(here, task)
    torn = found.given.reindex(found.pool.index) == labels.CONFLICT
    units = pd.concat([found.learn, found.certify, found.pool[torn.to_numpy()]])
    said = {name: units[name].fillna("") for name in ("class", "basis")}
    return units.assign(unit=units.index, **said)


def judge(
    here: Workspace,
    units: pd.DataFrame,
    sources: dict[str, NDArray[np.float32]],
    task: str,
    seed: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return ``units`` with quality, issue, suggested and rank, and their probabilities (N, C).

    The units are of one kind of part. Of liveness all frames of a clip are judged together; an eye
    may open and close within one. A class of one group cannot be judged out of fold: its labels
    are no issues, and their quality is null.
    """
    people = units.groupby("class")["group"].nunique().drop("", errors="ignore")
    lone = people.index[people < 2] if (people >= 2).sum() >= 2 else people.index[:0]
    unasked = units["class"].isin(lone)
    found = issues.find(
        sources,
        units["class"].mask(unasked, "").to_numpy(object),
        units["clip_id" if task == schema.LIVENESS else "unit"].to_numpy(object),
        units["group"].to_numpy(object),
        unasked=unasked.to_numpy(),
        alike=_alike(task),
        folds=here.config.softlabel.folds,
        seed=seed,
    )
    columns = list(schema.CLASSES_OF[task])
    probabilities = pd.DataFrame(found.probabilities, units.index, list(found.names))
    judged = units.assign(**{str(name): found.units[name].to_numpy() for name in found.units})
    return (
        judged.assign(quality=judged["quality"].mask(unasked)),
        probabilities.reindex(columns=columns, fill_value=0.0),
    )


def _judged(
    here: Workspace, task: str, units: pd.DataFrame, track: Track
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Judge the units kind by kind: each has a model of its own; a region of one class has none."""
    parts, faults = [], []
    sources = evidence(here, units, task, track)  # of all kinds: cards are loaded once
    kinds = units.groupby(units["part"].map(lambda part: kind_of(task, part))).indices
    for _, rows in sorted(kinds.items()):
        mine = {name: values[rows] for name, values in sources.items()}
        try:
            parts.append(judge(here, units.iloc[rows], mine, task, here.config.seed))
        except OneSided as fault:
            faults.append(fault)
    if not parts:
        raise faults[0]
    judged, probabilities = (pd.concat(frames) for frames in zip(*parts, strict=True))
    decided = judged["basis"] == "decision"  # outranks every model; only other people doubt it
    return judged.assign(issue=judged["issue"] & ~decided), probabilities


def _reconciled(
    rows: pd.DataFrame, probabilities: pd.DataFrame, votes: pd.DataFrame, task: str
) -> tuple[pd.DataFrame, Consensus | None]:
    """Return ``rows`` in which what annotators disagree about is an issue, and their consensus."""
    found = reconcile(votes, probabilities)
    if found is not None:
        names = np.array(schema.CLASSES_OF[task], object)
        torn = found.units[found.units["disputed"]]
        standing = rows.loc[torn.index, "class"]
        agreed = names[torn["class"].to_numpy()]
        second = _other_vote(votes, standing)
        settled = (standing == agreed) & ~torn["tie"]
        rows.loc[torn.index, "issue"] = ~settled
        rows.loc[torn.index, "quality"] = torn["quality"].where(
            standing == agreed, 1 - torn["quality"]
        )
        rows.loc[torn.index, "suggested"] = np.where(standing == agreed, second, agreed)
    order = np.lexsort((rows["rank"], ~rows["issue"].to_numpy(bool)))
    rank = np.empty(len(rows), np.int64)
    rank[order] = np.arange(len(rows))
    return rows.assign(rank=rank), found


def _other_vote(votes: pd.DataFrame, standing: "pd.Series[str]") -> "pd.Series[str]":
    """Return the first vote on each unit that is not its standing class."""
    mine = votes[votes["unit"].isin(standing.index)]
    against = mine[mine["word"] != standing.reindex(mine["unit"]).to_numpy()]
    return against.groupby("unit")["word"].first().reindex(standing.index)


def _votes(here: Workspace, task: str, units: pd.DataFrame) -> pd.DataFrame:
    """Return unit, annotator, word, class: reviewers where one decided, else the sources."""
    decisions = here.catalogue.read("decisions").query("task == @task and label != ''")
    decisions = decisions.sort_values("at", kind="stable").drop_duplicates(
        [*BY, "reviewer"], keep="last"
    )
    given = here.catalogue.read("labels").query("task == @task")
    every = pd.concat(
        [decisions.assign(annotator=decisions["reviewer"]), given.assign(annotator=given["source"])]
    )
    every = every.assign(unit=every["image_id"] + every["part"], word=classes(every, task))
    by_person = every["reviewer"].notna()
    every = every[by_person | ~every["unit"].isin(every.loc[by_person, "unit"])]
    every = every[every["unit"].isin(units.index)].drop_duplicates(["unit", "annotator", "word"])
    named = every.loc[~every["word"].isin(["unknown", schema.BONAFIDE]), "unit"]
    every = every[(every["word"] != "unknown") | ~every["unit"].isin(named)]
    again = every.groupby(["unit", "annotator"]).cumcount()
    column = every["word"].map(list(schema.CLASSES_OF[task]).index)
    twice = every["annotator"] + (again + 1).astype(str).radd(" ").where(again > 0, "")
    found = every.assign(annotator=twice, **{"class": column})
    return found[["unit", "annotator", "word", "class"]].reset_index(drop=True)


def _key(task: str, word: str) -> str:
    """Return a class as labels.key writes it."""
    if task != schema.LIVENESS or word in ("", schema.BONAFIDE):
        return word
    return labels.key(schema.ATTACK, word)


def _alike(task: str) -> Callable[[str, str], bool]:
    """Return what tells whether two classes may both be right: an attack, and one of any type."""
    if task != schema.LIVENESS:
        return operator.eq
    return lambda one, other: not labels.differs(_key(task, one), _key(task, other))


def _table(rows: pd.DataFrame, task: str) -> pd.DataFrame:
    """Return ``rows`` as rows of `issues`."""
    word = rows["class"]
    liveness = task == schema.LIVENESS
    attack = liveness & ~word.isin(["", schema.BONAFIDE])
    said = word.mask(attack, schema.ATTACK).mask(word == "", labels.CONFLICT)
    return rows.assign(
        task=task,
        label=said,
        attack_type=word.where(attack, ""),
        suggested=[_key(task, name) for name in rows["suggested"]],
    )[COLUMNS].sort_values("rank", ignore_index=True)


def _counted(run_id: str, task: str, rows: pd.DataFrame, consensus: Consensus | None) -> Found:
    doubted = rows[rows["issue"].astype(bool)]
    said = pd.Series(labels.words(doubted), dtype=object) + " -> " + doubted["suggested"].to_numpy()
    return Found(
        run_id=run_id,
        task=task,
        judged=len(rows),
        issues={str(name): int(count) for name, count in said.value_counts().items()},
        disputed=0 if consensus is None else int(consensus.units["disputed"].sum()),
        annotators={} if consensus is None else _rounded(consensus.annotators),
    )


def _rounded(quality: "pd.Series[float]") -> dict[str, float]:
    return {str(name): round(float(value), 3) for name, value in quality.items()}


def _again(here: Workspace, earlier: str) -> Found:
    """Return what the run ``earlier`` found."""
    counts = next(row["counts"] for row in runs.of_verb(here, "issues") if row["run_id"] == earlier)
    return Found(run_id="", **counts)
