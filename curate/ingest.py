"""Ingest: files to rows of `images`, `labels`, `pairs` and `splits`.

    scan -> examine (threads, staged) -> one row per content -> join -> judge -> split -> keep best

Nothing here writes before everything is known; then five appends and the runs row make it visible.
"""

import hashlib
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from curate import __version__, assets, engine, labels, runs, schema
from curate.examine import HASH_MODE, examine
from curate.faces import FaceDetector
from curate.relate import relate
from curate.sources import Item
from curate.staging import Staging
from curate.workspace import Workspace

Track = Callable[[Iterator[dict[str, Any]], int, str], Iterator[dict[str, Any]]]


@dataclass(frozen=True)
class Ingested:
    """What one ingest did, or would do."""

    run_id: str
    files: int
    new: int
    counts: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)

    @property
    def unusable(self) -> int:
        """New images that no policy put aside: there is nothing in them to use."""
        return sum(self.reasons.values()) - self.reasons.get("contamination", 0)


def ingest(
    workspace: Workspace, items: Sequence[Item], *, trusted: bool, dry_run: bool, track: Track
) -> Ingested:
    """Bring ``items`` into the catalogue as one run; a second time, with nothing new, as none.

    Raises:
        AssetError: the face detector's file is missing.
        WorkspaceError: the workspace cannot be written.
    """
    inputs = {"files": len(items), "trusted": trusted, "sources": sorted({i.source for i in items})}
    with runs.start(workspace, "ingest", inputs) as run:
        staging = Staging(workspace.root / "runs" / f"ingest-{__version__}-{HASH_MODE}")
        rows = _examined(workspace, items, None if dry_run else staging, track)
        batch = _batch(workspace, rows, trusted)
        run.counts = batch.counts
        run.recorded = not dry_run and batch.adds
        if run.recorded:
            for table in ("images", "places", "labels", "pairs", "splits"):
                run.append(table, getattr(batch, table))
        if not dry_run:
            staging.clear()
    new = len(batch.images)
    return Ingested(
        run.run_id if run.recorded else "", len(items), new, batch.counts, batch.reasons
    )


@dataclass(frozen=True)
class Batch:
    """The rows one ingest adds."""

    images: pd.DataFrame
    labels: pd.DataFrame
    pairs: pd.DataFrame
    splits: pd.DataFrame
    places: pd.DataFrame

    @property
    def adds(self) -> bool:
        """Whether there is anything to write."""
        return any(len(frame) for frame in (self.images, self.labels, self.places))

    @property
    def counts(self) -> dict[str, int]:
        """How many rows of which kind."""
        statuses = self.images["status"].value_counts().to_dict()
        kinds = self.pairs["kind"].value_counts().to_dict()
        turned = (self.images["turn"] > 0) & (self.images["status"] != "quarantined")
        return {
            "images": len(self.images),
            **{status: int(statuses.get(status, 0)) for status in schema.IMAGE_STATUSES},
            "turned": int(turned.sum()),
            "undecided": int(((self.images["turn"] < 0) & self.images["face"].notna()).sum()),
            "exact_copies": len(self.places),
            "recapture_pairs": int(kinds.get("recapture", 0)),
            "labels_learnt_late": self._late_labels(),
            "without_subject": self._without_subject(),
            **{
                f"split_{name}": int((self.splits["split"] == name).sum()) for name in schema.SPLITS
            },
        }

    def _without_subject(self) -> int:
        """Count images put into dev or test although nobody knows whose they are."""
        guarded = self.splits.loc[self.splits["split"] != "train", "image_id"]
        nobody = self.images["subject"].isna() & self.images["image_id"].isin(guarded)
        return int(nobody.sum())

    def _late_labels(self) -> int:
        """Count trusted labels of images that earlier runs brought."""
        late = self.labels["trusted"].astype(bool) & ~self.labels["image_id"].isin(
            self.images["image_id"]
        )
        return int(late.sum())

    @property
    def reasons(self) -> dict[str, int]:
        """Reason -> count over the quarantined images."""
        quarantined = self.images[self.images["status"] == "quarantined"]
        return {str(k): int(v) for k, v in quarantined["reason"].value_counts().items()}


def _examined(
    workspace: Workspace, items: Sequence[Item], staging: Staging | None, track: Track
) -> pd.DataFrame:
    """Return one record per item: known from the catalogue, staged by a killed run, or new."""
    known = _known_files(workspace)
    unchanged = {
        (uri, size, mtime_ns): {"image_id": image_id}
        for image_id, uri, size, mtime_ns in known.itertuples(index=False)
    }
    earlier = staging.load() if staging else {}
    have = {_key(item): unchanged.get(_key(item)) or earlier.get(_key(item)) for item in items}
    missing = [item for item in items if have[_key(item)] is None]
    if missing:
        work = _worker(FaceDetector(assets.path("face_landmarker")), set(known["image_id"]))
        threads = engine.threads(workspace.config.threads)
        results = engine.mapped(work, missing, threads=threads)
        try:
            for item, record in zip(missing, track(results, len(missing), "reading"), strict=True):
                have[_key(item)] = record
                if staging and "status" in record:
                    staging.add(record)
        finally:
            if staging:
                staging.flush()
    return pd.DataFrame([_place_columns(item) | (have[_key(item)] or {}) for item in items])


def _known_files(workspace: Workspace) -> pd.DataFrame:
    """Return image_id, uri, bytes, mtime_ns of every file on record that could be read."""
    columns = ["image_id", "uri", "bytes", "mtime_ns"]
    images = workspace.catalogue.read("images", [*columns, "reason"])
    readable = images[images["reason"] != "unreadable"]  # those get another try each time
    return pd.concat([readable[columns], workspace.catalogue.read("places", columns)])


def _worker(detector: FaceDetector, known: set[str]) -> Callable[[Item], dict[str, Any]]:
    def work(item: Item) -> dict[str, Any]:
        place = {"uri": item.uri, "bytes": item.size, "mtime_ns": item.mtime_ns}
        try:
            data = _read(item)
        except OSError:
            name = hashlib.sha256(item.uri.encode()).hexdigest()
            return place | _unreadable(name)
        image_id = hashlib.sha256(data).hexdigest()
        if image_id in known:
            return {"image_id": image_id}
        return examine(data, detector.detect) | place

    return work


def _read(item: Item) -> bytes:
    if not stat.S_ISREG(item.path.stat().st_mode):
        raise OSError("not a regular file")  # reading a FIFO would wait for ever
    return item.path.read_bytes()


def _unreadable(image_id: str) -> dict[str, Any]:
    nothing = {"turn": -1, "mirror": "no", "exif_orientation": 1}
    return {"image_id": image_id, "status": "quarantined", "reason": "unreadable"} | nothing


def _place_columns(item: Item) -> dict[str, Any]:
    return {
        "uri": item.uri,
        "bytes": item.size,
        "mtime_ns": item.mtime_ns,
        "source": item.source,
        "subject": item.subject,
        "clip": item.clip,
        "official_split": item.split,
        "label": item.label,
        "attack_type": item.attack_type,
    }


def _key(item: Item) -> tuple[str, int, int]:
    return item.uri, item.size, item.mtime_ns


def _batch(workspace: Workspace, rows: pd.DataFrame, trusted: bool) -> Batch:
    catalogue = workspace.catalogue
    known = catalogue.read("images")
    given = _label_rows(rows, catalogue.read("labels"), trusted)
    fresh = rows[~rows["image_id"].isin(known["image_id"])]
    images = _one_row_per_content(fresh)
    on_record = catalogue.read("places")
    places = _new_places(rows, pd.concat([known, images, on_record]))
    if fresh.empty:
        nothing = {name: schema.empty(name) for name in ("images", "pairs", "splits")}
        return Batch(labels=given, places=places, **nothing)
    keys = labels.given_keys(catalogue, extra=given)
    related = relate(workspace, images, known, pd.concat([on_record, places]), keys, given)
    return Batch(related.images, given, related.pairs, related.splits, places)


def _one_row_per_content(fresh: pd.DataFrame) -> pd.DataFrame:
    """Fold files of the same bytes into one row with several places; test beats dev beats train."""
    uris = fresh.groupby("image_id")["uri"].agg(list)
    official = fresh.groupby("image_id")["official_split"].agg(_strictest)
    images = fresh.drop_duplicates("image_id").drop(columns=["label", "attack_type"])
    images = images.assign(
        also_at=[uris[row][1:] for row in images["image_id"]],
        official_split=images["image_id"].map(official),
        origin="mined",
    )
    return images.reindex(columns=schema.TABLES["images"].names).reset_index(drop=True)


def _strictest(splits: pd.Series) -> str | None:
    declared = set(splits.dropna())
    return next((name for name in ("test", "dev", "train") if name in declared), None)


def _new_places(rows: pd.DataFrame, on_record: pd.DataFrame) -> pd.DataFrame:
    """Return a row of `places` for each file whose image stands elsewhere, or says more by now."""
    columns = ["image_id", "uri", "source", "subject", "clip", "official_split"]
    seen = set(on_record[columns].astype("object").fillna("").itertuples(index=False, name=None))
    mine = rows[columns].astype("object").fillna("").itertuples(index=False, name=None)
    new = rows[[place not in seen for place in mine]]
    return new.reindex(columns=schema.TABLES["places"].names).drop(columns="run_id")


def _label_rows(rows: pd.DataFrame, existing: pd.DataFrame, trusted: bool) -> pd.DataFrame:
    given = rows[rows["label"].notna()]
    given = given[["image_id", "label", "attack_type", "source"]].drop_duplicates()
    given = given.assign(task="liveness", part="", trusted=trusted)
    columns = [name for name in schema.TABLES["labels"].names if name != "run_id"]
    both = given.merge(existing[columns], how="left", on=columns, indicator=True)
    return both.loc[both["_merge"] == "left_only", columns].reset_index(drop=True)
