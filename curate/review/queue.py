"""Which images a person should look at, and why. Frames in, one frame out; no FiftyOne here."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from curate import labels, schema
from curate.catalogue import Catalogue

TASK = "liveness"
SAMPLE = 2000  # images of a list other than the queue: more than a person looks at in a sitting
ASKED = "unlike what the teacher was certified on: label it"
SHORT = 12  # hex digits that name an image where people read
LISTS = {
    "queue": "waits for a person: soft labels to review, contradictory labels, turn undecided",
    "issues": "trusted labels that are probably wrong, the best worth a look first",
    "audit": "random accepted labels: deciding all of them says how many are wrong",
    "duplicates": "each duplicate beside the copy that is kept",
    "recapture": "same picture, different label: kept apart, both stay",
    "turned": "brought upright by ingest",
    "quarantined": "set aside by ingest, with the reason",
    "tagged": "tags that could not be taken last time",
}
WHOLE = ("queue", "issues", "audit", "tagged")  # lists that are never sampled

IMAGE_COLUMNS = ["image_id", "uri", "also_at", "bytes", "mtime_ns", "source", "subject", "origin",
                 "status", "reason", "turn", "mirror", "width", "height"]  # fmt: skip


@dataclass(frozen=True)
class Queue:
    """The images to show.

    Attributes:
        images: one row per image: IMAGE_COLUMNS, `lists` and `reasons` (lists of str), `group`
            (what lies together: cluster or recapture pair), `label` (soft, as labels.key writes
            it), `attack_type`, `confidence`, `p_bonafide`, `soft_status`, `teacher`, `given`,
            `split`, `decision`, `accepts` (the label that is in question, of issues) and `rank`
            (0 first, of issues); unknown text is None, unknown numbers are NaN.
        totals: list -> how many images of the catalogue belong in it, shown or not.
        unreadable: quarantined images that cannot be shown at all.
    """

    images: pd.DataFrame
    totals: dict[str, int]
    unreadable: int


def build(
    catalogue: Catalogue, *, also: Iterable[str] = (), sample: int = SAMPLE, only: str = ""
) -> Queue:
    """Return what to review. ``also`` are images to show anyway, because they carry tags.

    ``only`` is the one list to show beside those, "" shows all. Of every list but the first three
    at most ``sample`` images come, whole groups, undecided ones first;
    which ones hangs on their ids alone, so the same come again.
    """
    images = catalogue.read("images").set_index("image_id", drop=False)
    pairs = catalogue.read("pairs")
    pairs = pairs[pairs["a"].isin(images.index) & pairs["b"].isin(images.index)]
    decisions = labels.decided(catalogue, TASK).set_index("image_id")
    issues = _issues(catalogue)
    readable = images["width"].notna()
    members = {
        "queue": _waiting(catalogue, images, decisions.index),
        "issues": _members(issues.index, _doubts(issues)),
        "audit": _audited(catalogue, decisions),
        "duplicates": _duplicates(images, pairs[pairs["kind"] == "duplicate"]),
        "recapture": _recaptures(pairs[pairs["kind"] == "recapture"]),
        "turned": _turned(images),
        "quarantined": _quarantined(images),
        "tagged": _members(list(also), "its tags are undecided"),
    }
    members = {
        name: rows[rows["image_id"].isin(images.index[readable])]
        for name, rows in members.items()
        if name in (only or name, "tagged")
    }
    totals = {name: rows["image_id"].nunique() for name, rows in members.items()}
    shown = {
        name: rows if name in WHOLE else _sampled(rows, decisions.index, sample)
        for name, rows in members.items()
    }
    chosen = _one_row_per_image(shown)
    rows = _described(catalogue, images, chosen, decisions)
    asked = issues.reindex(rows["image_id"])
    rows = rows.assign(accepts=asked["asked"].to_numpy(), rank=asked["rank"].to_numpy())
    return Queue(rows, totals, int((~readable).sum()))


def _waiting(catalogue: Catalogue, images: pd.DataFrame, decided: pd.Index) -> pd.DataFrame:
    """Members of the queue, undecided by a person: soft labels, contradictions, turns."""
    soft = labels.latest_soft(catalogue, TASK)
    soft = soft[soft["status"] == "review"]
    given = labels.given_keys(catalogue, TASK)
    undecided = images[(images["turn"] < 0) & (images["status"] == "kept")]
    rows = [
        _members(given.index[given == labels.CONFLICT], "given labels contradict"),
        _members(soft["image_id"], soft["reason"].replace("", "unsure")),
        _members(undecided.index, "which way is up is undecided"),
    ]
    return pd.concat(rows, ignore_index=True).query("image_id not in @decided")


def _issues(catalogue: Catalogue) -> pd.DataFrame:
    """Return the issues of the latest run that nobody decided since, by image_id and in order.

    Columns of `issues`, and `asked`: the label in question, None where given labels contradict.
    """
    found = _latest_run(catalogue.read("issues").query("task == @TASK"))
    found = found[found["issue"].astype(bool)].sort_values("rank")
    if found.empty:
        return found.assign(asked=None).set_index("image_id")
    runs = catalogue.runs_standing().set_index("run_id")
    final = _final(catalogue.read("decisions").query("task == @TASK"))
    since = final.loc[final["at"] > runs.loc[found["run_id"].iloc[0], "started"], "image_id"]
    found = found[~found["image_id"].isin(since)].set_index("image_id")
    asked = pd.Series(labels.words(found), found.index, dtype="object")
    return found.assign(asked=asked.where(asked != labels.CONFLICT, None))


def _doubts(issues: pd.DataFrame) -> "pd.Series[str]":
    """Return what is wrong with the labels of `_issues`, in words."""
    said = ("label " + issues["asked"].astype(object)).fillna("given labels contradict")
    quality = issues["quality"].map("{:.2f}".format)
    return said + ", quality " + quality + ", perhaps " + issues["suggested"]


def _audited(catalogue: Catalogue, decisions: pd.DataFrame) -> pd.DataFrame:
    """Members of the latest audit that nobody decided, and what the shift alarm asked for."""
    rows = catalogue.read("audits").query("task == @TASK")
    asked = rows["label"] == ""
    rows = pd.concat([_latest_run(rows[asked]), _latest_run(rows[~asked])])
    rows = rows[~rows["image_id"].isin(_final(decisions).index)]
    why = ("audit of accepted label " + _words(rows)).where(rows["label"] != "", ASKED)
    return _members(rows["image_id"], why)


def _latest_run(rows: pd.DataFrame) -> pd.DataFrame:
    latest: pd.DataFrame = rows[rows["run_id"] == rows["run_id"].max()]
    return latest


def _final(decisions: pd.DataFrame) -> pd.DataFrame:
    """Return the decisions that say what an image shows, or that it is not used."""
    return decisions[(decisions["label"] != "") | (decisions["action"] == "reject")]


def _duplicates(images: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """Members of duplicate clusters: the duplicates and the copy kept."""
    rows = pd.DataFrame(
        {
            "image_id": pd.concat([pairs["cluster"], pairs["a"], pairs["b"]]),
            "cluster": pd.concat([pairs["cluster"]] * 3),
        }
    ).drop_duplicates("image_id", ignore_index=True)
    duplicate = (images["status"].reindex(rows["image_id"]) == "duplicate").to_numpy()
    kept = (rows["image_id"] == rows["cluster"]) & rows["cluster"].isin(
        rows.loc[duplicate, "cluster"]
    )
    reason = ("duplicate of " + rows["cluster"].str[:SHORT]).where(~kept, "the copy that is kept")
    rows, reason = rows[duplicate | kept], reason[duplicate | kept]
    return _members(rows["image_id"], reason, rows["cluster"])


def _recaptures(pairs: pd.DataFrame) -> pd.DataFrame:
    """Members of recapture pairs; pairs that share an image lie together."""
    names = np.unique(pairs[["a", "b"]].to_numpy(dtype=str))
    a, b = np.searchsorted(names, pairs[["a", "b"]].to_numpy(dtype=str)).T
    links = coo_array((np.ones(len(a)), (a, b)), shape=(len(names), len(names)))
    component = connected_components(links)[1] if len(names) else np.zeros(0, dtype=int)
    first = pd.Series(names).groupby(component).transform("min")
    return _members(names, "pictured the same, labelled differently", first)


def _turned(images: pd.DataFrame) -> pd.DataFrame:
    rows = images[(images["turn"] > 0) & (images["status"] != "quarantined")]
    return _members(rows.index, "turned " + rows["turn"].astype(str) + " degrees clockwise")


def _quarantined(images: pd.DataFrame) -> pd.DataFrame:
    rows = images[images["status"] == "quarantined"]
    words = rows["reason"].map(lambda why: f"{why}: {schema.REASONS.get(why, '')}".strip(": "))
    return _members(rows.index, words)


def _members(ids: Any, reasons: Any, groups: Any = "") -> pd.DataFrame:
    columns = {"image_id": ids, "reason": reasons, "group": groups}
    plain = {k: v if isinstance(v, str) else np.asarray(v) for k, v in columns.items()}
    return pd.DataFrame(plain, index=range(len(ids)), dtype="object")


def _sampled(rows: pd.DataFrame, decided: pd.Index, sample: int) -> pd.DataFrame:
    """Return the first ``sample`` images in the order of their (random) ids, and whole groups."""
    group = rows["group"].where(rows["group"] != "", rows["image_id"])
    done = rows["image_id"].isin(decided).groupby(group).transform("any")
    by = [done.rename("done"), group.rename("by")]
    sizes = rows["image_id"].groupby(by).transform("size")
    order = pd.concat(by, axis=1).sort_values(["done", "by"], kind="stable")
    firsts = sizes[order.index].where(~order.duplicated(), 0)
    begins = firsts.cumsum() - sizes[order.index]
    return rows.loc[order.index[(begins < sample).to_numpy()]]


def _one_row_per_image(shown: dict[str, pd.DataFrame]) -> pd.DataFrame:
    every = pd.concat([rows.assign(list=name) for name, rows in shown.items()], ignore_index=True)
    by_image = every.groupby("image_id", sort=False)
    return pd.DataFrame(
        {
            "lists": by_image["list"].agg(lambda names: list(dict.fromkeys(names))),
            "reasons": by_image["reason"].agg(list),
            "group": by_image["group"].max(),
        }
    )


def _described(
    catalogue: Catalogue, images: pd.DataFrame, chosen: pd.DataFrame, decisions: pd.DataFrame
) -> pd.DataFrame:
    """Join what the App shows and filters by to the chosen images."""
    rows = images.loc[chosen.index, IMAGE_COLUMNS].join(chosen)
    soft = labels.latest_soft(catalogue, TASK).set_index("image_id").reindex(rows.index)
    given = catalogue.read("labels").query("task == @TASK")
    split = catalogue.split_of()
    probs = np.array([np.nan if np.isscalar(row) else row[0] for row in soft["probs"]], dtype=float)
    rows = rows.assign(
        group=rows["group"].str[:SHORT].replace("", None),
        label=_words(soft),
        attack_type=soft["attack_type"].replace("", None),
        confidence=soft["confidence"],
        p_bonafide=probs,
        soft_status=soft["status"],
        teacher=soft["teacher"],
        given=labels.keys(given).reindex(rows.index),
        split=split.reindex(rows.index),
        decision=decision_words(decisions).reindex(rows.index),
    )
    return rows.reset_index(drop=True)


def _words(rows: pd.DataFrame) -> pd.Series:
    """Return `label` and `attack_type` as labels.key writes them."""
    words: pd.Series = rows["label"] + rows["attack_type"].radd("/").where(
        rows["attack_type"] != "", ""
    )
    return words


def decision_words(decisions: pd.DataFrame) -> pd.Series:
    """Return `reject`, `keep`, `attack/print`, `keep attack/print`: what stands, in tag words."""
    action = decisions["action"].where(decisions["action"].isin(["reject", "keep"]), "")
    return (action + " " + _words(decisions)).str.strip()
