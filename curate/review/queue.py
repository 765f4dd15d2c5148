"""Which images a person should look at, and why. Frames in, one frame out; no FiftyOne here."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from curate import labels, schema
from curate.catalogue import Catalogue

TASK = "liveness"
SAMPLE = 2000  # images of a list other than the queue: more than a person looks at in a sitting
SHORT = 12  # hex digits that name an image where people read
LISTS = {
    "queue": "waits for a person: soft labels to review, contradictory labels, turn undecided",
    "duplicates": "each duplicate beside the copy that is kept",
    "recapture": "same picture, different label: kept apart, both stay",
    "turned": "brought upright by ingest",
    "quarantined": "set aside by ingest, with the reason",
    "tagged": "tags that could not be taken last time",
}

IMAGE_COLUMNS = ["image_id", "uri", "source", "subject", "origin", "status", "turn", "mirror",
                 "width", "height"]  # fmt: skip
SOFT_COLUMNS = ["confidence", "teacher"]


@dataclass(frozen=True)
class Queue:
    """The images to show.

    Attributes:
        images: one row per image: IMAGE_COLUMNS, `lists` and `reasons` (lists of str), `group`
            (what lies together: cluster or recapture pair), `label` (soft, as labels.key writes
            it), `attack_type`, `confidence`, `p_bonafide`, `soft_status`, `teacher`, `given`,
            `split`, `decision`; unknown text is None, unknown numbers are NaN.
        totals: list -> how many images of the catalogue belong in it, shown or not.
        unreadable: quarantined images that cannot be shown at all.
    """

    images: pd.DataFrame
    totals: dict[str, int]
    unreadable: int


def build(catalogue: Catalogue, *, also: Iterable[str] = (), sample: int = SAMPLE) -> Queue:
    """Return what to review. ``also`` are images to show anyway, because they carry tags.

    Of every list but the queue at most ``sample`` images come, whole groups, undecided ones first;
    which ones hangs on their ids alone, so the same come again.
    """
    images = catalogue.read("images").set_index("image_id", drop=False)
    pairs = catalogue.read("pairs")
    pairs = pairs[pairs["a"].isin(images.index) & pairs["b"].isin(images.index)]
    decisions = labels.decided(catalogue, TASK).set_index("image_id")
    readable = images["width"].notna()
    members = {
        "queue": _waiting(catalogue, images, set(decisions.index)),
        "duplicates": _duplicates(images, pairs[pairs["kind"] == "duplicate"]),
        "recapture": _recaptures(pairs[pairs["kind"] == "recapture"]),
        "turned": _turned(images),
        "quarantined": _quarantined(images),
        "tagged": _members({name: "its tags are undecided" for name in also}),
    }
    members = {
        k: rows[rows["image_id"].isin(images.index[readable])] for k, rows in members.items()
    }
    totals = {name: rows["image_id"].nunique() for name, rows in members.items()}
    shown = {
        name: rows if name in ("queue", "tagged") else _sampled(rows, decisions.index, sample)
        for name, rows in members.items()
    }
    chosen = _one_row_per_image(shown)
    return Queue(_described(catalogue, images, chosen, decisions), totals, int((~readable).sum()))


def _waiting(catalogue: Catalogue, images: pd.DataFrame, decided: set[str]) -> pd.DataFrame:
    """Members of the queue, undecided by a person: soft labels, contradictions, turns."""
    soft = labels.latest_soft(catalogue, TASK)
    soft = soft[soft["status"] == "review"]
    given = labels.given_keys(catalogue, TASK)
    undecided = images[(images["turn"] < 0) & (images["status"] == "kept")]
    rows = pd.concat(
        [
            _members(
                dict.fromkeys(given.index[given == labels.CONFLICT], "given labels contradict")
            ),
            _members(
                dict(zip(soft["image_id"], soft["reason"].replace("", "unsure"), strict=True))
            ),
            _members(dict.fromkeys(undecided["image_id"], "which way is up is undecided")),
        ]
    )
    return rows[~rows["image_id"].isin(decided)]


def _duplicates(images: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    clusters = {
        image_id: cluster
        for row in pairs.itertuples(index=False)
        for image_id, cluster in ((row.a, row.cluster), (row.b, row.cluster), (row.cluster,) * 2)
    }
    status = images["status"].reindex(clusters.keys())
    sizes = pd.Series(clusters)[(status == "duplicate").to_numpy()].value_counts()
    reasons = {}
    for image_id, cluster in clusters.items():
        if status[image_id] == "duplicate":
            reasons[image_id] = f"duplicate of {cluster[:SHORT]}"
        elif image_id == cluster and image_id in sizes:
            reasons[image_id] = f"kept, {sizes[image_id]} duplicates"
    return _members(reasons, {image_id: clusters[image_id] for image_id in reasons})


def _recaptures(pairs: pd.DataFrame) -> pd.DataFrame:
    """Members of recapture pairs; pairs that share an image lie together."""
    names = pd.unique(pd.concat([pairs["a"], pairs["b"]]))
    at = pd.Series(np.arange(len(names)), index=names)
    a, b = at[pairs["a"]].to_numpy(), at[pairs["b"]].to_numpy()
    _, component = connected_components(
        coo_array((np.ones(len(a), dtype=np.int8), (a, b)), shape=(len(names), len(names)))
    )
    groups = pd.Series(names).groupby(component).transform("min") if len(names) else []
    other = {row.b: row.a for row in pairs.itertuples(index=False)}
    other |= {row.a: row.b for row in pairs.itertuples(index=False)}
    reasons = {name: f"recapture pair with {other[name][:SHORT]}" for name in names}
    return _members(reasons, dict(zip(names, groups, strict=True)))


def _turned(images: pd.DataFrame) -> pd.DataFrame:
    rows = images[(images["turn"] > 0) & (images["status"] != "quarantined")]
    return _members(
        {name: f"turned {turn} degrees clockwise" for name, turn in rows["turn"].items()}
    )


def _quarantined(images: pd.DataFrame) -> pd.DataFrame:
    rows = images.loc[images["status"] == "quarantined", "reason"]
    return _members({name: schema.REASONS.get(why, why) for name, why in rows.items()})


def _members(reasons: dict[str, str], groups: dict[str, str] | None = None) -> pd.DataFrame:
    groups = groups or {}
    rows = [(name, why, groups.get(name, "")) for name, why in reasons.items()]
    return pd.DataFrame(rows, columns=["image_id", "reason", "group"], dtype="object")


def _sampled(rows: pd.DataFrame, decided: pd.Index, sample: int) -> pd.DataFrame:
    """Return whole groups, in the order of their (random) ids, up to ``sample`` images."""
    group = rows["group"].where(rows["group"] != "", rows["image_id"])
    done = rows["image_id"].isin(decided).groupby(group).transform("any")
    order = rows.assign(by=group, done=done).sort_values(["done", "by"], kind="stable")
    last = order.groupby(["done", "by"], sort=True)["image_id"].transform("size")
    ends = last.where(~order.duplicated(["done", "by"]), 0).cumsum()
    return rows.loc[order.index[(ends <= sample).to_numpy()]]


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
    splits = catalogue.read("splits").set_index("image_id")["split"]
    words = soft["label"] + soft["attack_type"].radd("/").where(soft["attack_type"] != "", "")
    rows = rows.assign(
        label=words,
        attack_type=soft["attack_type"].replace("", None),
        soft_status=soft["status"],
        p_bonafide=[
            probs[0] if isinstance(probs, np.ndarray) else np.nan for probs in soft["probs"]
        ],
        given=labels.keys(_given(catalogue)).reindex(rows.index),
        split=splits[~splits.index.duplicated()].reindex(rows.index),
        decision=_decision_words(decisions).reindex(rows.index),
        group=rows["group"].str[:SHORT].replace("", None),
        **{name: soft[name] for name in SOFT_COLUMNS},
    )
    return rows.reset_index(drop=True)


def _given(catalogue: Catalogue) -> pd.DataFrame:
    given = catalogue.read("labels")
    return given.loc[given["task"] == TASK, ["image_id", "label", "attack_type"]]


def _decision_words(decisions: pd.DataFrame) -> pd.Series:
    """Return `reject`, `keep`, `attack/print`, `keep attack/print`: what stands, in tag words."""
    words = [
        " ".join(
            part
            for part in (
                row.action if row.action in ("reject", "keep") or not row.label else "",
                labels.key(row.label, row.attack_type) if row.label else "",
            )
            if part
        )
        for row in decisions.itertuples()
    ]
    return pd.Series(words, index=decisions.index, dtype="object")
