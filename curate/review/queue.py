"""What a person should look at, and why. Frames in, one frame out; no FiftyOne here.

One row is one unit: an image for liveness, one part of the face in it (schema.PARTS_OF) for the
other tasks. Frames are indexed by image_id and part as one word.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from curate import labels, schema
from curate.catalogue import Catalogue
from curate.review import ingested
from curate.review.ingested import SHORT, members
from curate.review.lists import LISTS

SAMPLE = 2000  # images of a list about ingest: more than a person looks at in a sitting
ASKED = "unlike what the teacher was certified on: label it"
ABOUT_LABELS = ("queue", "issues", "audit", "tagged")  # lists of every task, never sampled

IMAGE_COLUMNS = ["image_id", "uri", "also_at", "bytes", "mtime_ns", "source", "subject", "origin",
                 "status", "reason", "turn", "mirror", "width", "height", "shows", "face",
                 "face_score", "landmarks"]  # fmt: skip
DECIDED = ["image_id", "part", "action", "label", "attack_type"]


@dataclass(frozen=True)
class Queue:
    """The units to show.

    Attributes:
        units: one row per unit: IMAGE_COLUMNS, `part` ("" for liveness), `lists` and `reasons`
            (lists of str), `group` (what lies together: cluster or recapture pair), `label` (soft,
            as labels.key writes it), `attack_type`, `confidence`, `p_bonafide` (of liveness),
            `soft_status`, `teacher`, `given`, `split`, `decision`, `accepts` (the label that is in
            question, of issues) and `rank` (0 first, of issues); unknown text is None, unknown
            numbers are NaN.
        totals: list -> how many units of the catalogue belong in it, shown or not.
        unreadable: quarantined images that cannot be shown at all.
    """

    units: pd.DataFrame
    totals: dict[str, int]
    unreadable: int


def of_parts(task: str) -> bool:
    """Tell whether ``task`` labels parts of a face, not whole images."""
    return schema.PARTS_OF[task] != ("",)


def lists_of(task: str) -> dict[str, str]:
    """Return the lists that there are of ``task``, and what each one holds."""
    if not of_parts(task):
        return LISTS
    queue = LISTS["queue"].replace(", turn undecided", "")
    return {name: LISTS[name] for name in ABOUT_LABELS} | {"queue": queue}


def build(
    catalogue: Catalogue,
    task: str = schema.LIVENESS,
    *,
    also: Iterable[tuple[str, str]] = (),
    sample: int = SAMPLE,
    only: str = "",
) -> Queue:
    """Return what to review. ``also`` are (image_id, part) to show anyway: they carry tags.

    ``only`` is the one list to show beside those, "" shows all. Of every list about ingest at most
    ``sample`` images come, whole groups, undecided ones first; which ones hangs on their ids alone,
    so the same come again.
    """
    images = catalogue.read("images").set_index("image_id", drop=False)
    decisions = decided(catalogue, task)
    soft = labels.soft_units(catalogue, task)
    issues = _issues(catalogue, task)
    tagged = pd.DataFrame(list(also), columns=["image_id", "part"])
    readable = images["width"].notna()
    found = {
        "queue": _waiting(_given(catalogue, task), soft, _undecided(images, task), decisions),
        "issues": members(issues["image_id"], _doubts(issues), parts=issues["part"]),
        "audit": _audited(catalogue, task, decisions),
        **(_about_ingest(catalogue, images) if not of_parts(task) else {}),
        "tagged": members(tagged["image_id"], "its tags are undecided", parts=tagged["part"]),
    }
    found = {
        name: rows[rows["image_id"].isin(images.index[readable])]
        for name, rows in found.items()
        if name in (only or name, "tagged")
    }
    shown = {
        name: rows if name in ABOUT_LABELS else ingested.sampled(rows, decisions.index, sample)
        for name, rows in found.items()
    }
    chosen = _one_row_per_unit(shown)
    rows = _described(catalogue, task, images.loc[chosen["image_id"]].set_axis(chosen.index), soft)
    rows = rows.join(chosen.drop(columns="image_id"))
    asked = issues.reindex(rows.index)
    rows = rows.assign(
        group=rows["group"].str[:SHORT].replace("", None),
        decision=decision_words(decisions).reindex(rows.index),
        accepts=asked["asked"],
        rank=asked["rank"],
    )
    totals = {name: rows.index.nunique() for name, rows in found.items()}
    return Queue(rows.reset_index(drop=True), totals, int((~readable).sum()))


def decided(catalogue: Catalogue, task: str) -> pd.DataFrame:
    """Return the latest decision of each unit: DECIDED."""
    rows = _of_task(catalogue, "decisions", task).sort_values("at", kind="stable")
    latest: pd.DataFrame = rows.loc[~rows.index.duplicated(keep="last"), DECIDED]
    return latest


def decision_words(decisions: pd.DataFrame) -> pd.Series:
    """Return `reject`, `keep`, `attack/print`, `keep attack/print`: what stands, in tag words."""
    action = decisions["action"].where(decisions["action"].isin(["reject", "keep"]), "")
    return (action + " " + _words(decisions).fillna("").astype(str)).str.strip()


def _of_task(catalogue: Catalogue, table: str, task: str) -> pd.DataFrame:
    """Return the rows of ``table`` about ``task``, by unit."""
    rows = catalogue.read(table).query("task == @task")
    rows = rows.assign(part=rows["part"].astype(object).fillna(""))
    return rows.set_axis((rows["image_id"] + rows["part"]).astype(object))


def _given(catalogue: Catalogue, task: str) -> pd.DataFrame:
    """Return image_id, part and `given`, the key of all labels that came with it, of each unit."""
    rows = _of_task(catalogue, "labels", task)
    given = labels.keys(rows.assign(image_id=rows.index))
    return rows.loc[~rows.index.duplicated(), ["image_id", "part"]].assign(given=given)


def _undecided(images: pd.DataFrame, task: str) -> pd.DataFrame:
    """Return the members whose turn is undecided, which is asked with liveness alone."""
    waits = (images["turn"] < 0) & (images["status"] == "kept") & (not of_parts(task))
    return members(images.index[waits], "which way is up is undecided")


def _waiting(
    given: pd.DataFrame, soft: pd.DataFrame, turns: pd.DataFrame, decisions: pd.DataFrame
) -> pd.DataFrame:
    """Return members of the queue: soft labels and contradictions that no person settled, turns.

    A turn is settled by any decision: whoever put the image back has seen it.
    """
    torn = given[given["given"] == labels.CONFLICT]
    soft = soft[soft["status"] == "review"]
    why = soft["reason"].replace("", "unsure")
    rows = [
        members(torn["image_id"], "given labels contradict", parts=torn["part"]),
        members(soft["image_id"], why, parts=soft["part"]),
    ]
    said = pd.concat(rows)
    waiting = said[~said.index.isin(decisions.index[labels.final(decisions)])]
    return pd.concat([waiting, turns[~turns.index.isin(decisions.index)]])


def _issues(catalogue: Catalogue, task: str) -> pd.DataFrame:
    """Return the issues of the latest run that nobody decided since, by unit and in order.

    Columns of `issues`, and `asked`: the label in question, None where given labels contradict.
    """
    found = _latest_run(_of_task(catalogue, "issues", task))
    found = found[found["issue"].astype(bool)].sort_values("rank")
    if found.empty:
        return found.assign(asked=None)
    runs = catalogue.runs_standing().set_index("run_id")
    decisions = _of_task(catalogue, "decisions", task)
    final = decisions[labels.final(decisions)]
    since = final.index[final["at"] > runs.loc[found["run_id"].iloc[0], "started"]]
    found = found[~found.index.isin(since)]
    asked = _words(found)
    return found.assign(asked=asked.where(asked != labels.CONFLICT, None))


def _doubts(issues: pd.DataFrame) -> "pd.Series[str]":
    """Return what is wrong with the labels of `_issues`, in words."""
    said = ("label " + issues["asked"].astype(object)).fillna("given labels contradict").astype(str)
    quality = issues["quality"].map("{:.2f}".format).astype(str)
    # The App cuts off what is long, so what to look for comes first.
    return "perhaps " + issues["suggested"] + ": " + said + ", quality " + quality


def _audited(catalogue: Catalogue, task: str, decisions: pd.DataFrame) -> pd.DataFrame:
    """Members of the latest audit that nobody decided, and what the shift alarm asked for."""
    rows = _of_task(catalogue, "audits", task)
    asked = rows["label"] == ""
    rows = pd.concat([_latest_run(rows[asked]), _latest_run(rows[~asked])])
    rows = rows[~rows.index.isin(decisions.index[labels.final(decisions)])]
    why = ("audit of accepted label " + _words(rows)).where(rows["label"] != "", ASKED)
    return members(rows["image_id"], why, parts=rows["part"])


def _latest_run(rows: pd.DataFrame) -> pd.DataFrame:
    latest: pd.DataFrame = rows[rows["run_id"] == rows["run_id"].max()]
    return latest


def _about_ingest(catalogue: Catalogue, images: pd.DataFrame) -> dict[str, pd.DataFrame]:
    pairs = catalogue.read("pairs")
    pairs = pairs[pairs["a"].isin(images.index) & pairs["b"].isin(images.index)]
    return {
        "duplicates": ingested.duplicates(images, pairs),
        "recapture": ingested.recaptures(pairs),
        "turned": ingested.turned(images),
        "quarantined": ingested.quarantined(images),
    }


def _one_row_per_unit(shown: dict[str, pd.DataFrame]) -> pd.DataFrame:
    every = pd.concat([rows.assign(list=name) for name, rows in shown.items()])
    by_unit = every.groupby(level=0, sort=False)
    return pd.DataFrame(
        {
            "image_id": by_unit["image_id"].first(),
            "part": by_unit["part"].first(),
            "lists": by_unit["list"].agg(lambda names: list(dict.fromkeys(names))),
            "reasons": by_unit["reason"].agg(list),
            "group": by_unit["group"].max(),
        }
    )


def _described(
    catalogue: Catalogue, task: str, images: pd.DataFrame, soft: pd.DataFrame
) -> pd.DataFrame:
    """Join what the App shows and filters by to ``images``, the image of each unit."""
    rows = images[IMAGE_COLUMNS]
    soft = soft.reindex(rows.index)
    probs = np.array([np.nan if np.isscalar(row) else row[0] for row in soft["probs"]], dtype=float)
    return rows.assign(
        label=_words(soft),
        attack_type=soft["attack_type"].replace("", None),
        confidence=soft["confidence"],
        p_bonafide=np.nan if of_parts(task) else probs,
        soft_status=soft["status"],
        teacher=soft["teacher"],
        given=_given(catalogue, task)["given"].reindex(rows.index),
        split=catalogue.split_of().reindex(rows["image_id"]).to_numpy(),
    )


def _words(rows: pd.DataFrame) -> pd.Series:
    """Return `labels.words` of each row by its name, None where it has no label."""
    return pd.Series(labels.words(rows), rows.index, dtype="object")
