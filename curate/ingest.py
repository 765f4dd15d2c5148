"""Ingest: files to rows of `images`, `labels`, `pairs` and `splits`.

    read (threads, staged) -> one row per content -> bursts -> join -> judge -> split -> keep best

Nothing here writes before everything is known; then five appends and the runs row make it visible.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from curate import bursts, engine, forget, reading, runs, schema, siblings, tables
from curate.engine import Track
from curate.reading import Known
from curate.relate import relate
from curate.snapshot import NONE, Numbers, Snapshot
from curate.sources import Item
from curate.staging import Staging
from curate.workspace import Workspace


@dataclass(frozen=True)
class Wish:
    """What the user asked for beside the files."""

    trusted: bool = False  # the labels that come with the files
    faces: bool = True  # look for faces; without, images are only hashed
    burst: bursts.Policy = bursts.Policy()
    dry_run: bool = False


@dataclass(frozen=True)
class Ingested:
    """What one ingest did, or would do."""

    run_id: str
    files: int
    new: int
    counts: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    issues: dict[str, int] = field(default_factory=dict)  # of quality, among the images kept

    @property
    def unusable(self) -> int:
        """New images that no policy put aside: there is nothing in them to use."""
        policy = ("contamination", "thinned")
        return sum(self.reasons.values()) - sum(self.reasons.get(why, 0) for why in policy)


@dataclass(frozen=True)
class Batch:
    """The rows one ingest adds."""

    images: pd.DataFrame
    labels: pd.DataFrame
    pairs: pd.DataFrame
    splits: pd.DataFrame
    places: pd.DataFrame
    forgotten: int = 0  # files left out: `curate forget` erased what they show
    faceless: int = 0  # files on record in which no face was ever looked for

    @property
    def adds(self) -> bool:
        """Whether there is anything to write."""
        return any(len(frame) for frame in (self.images, self.labels, self.places))

    @property
    def counts(self) -> dict[str, int]:
        """How many rows of which kind."""
        statuses = self.images["status"].value_counts().to_dict()
        kinds = self.pairs["kind"].value_counts().to_dict()
        used = self.images["status"] != "quarantined"
        return {
            "images": len(self.images),
            **{status: int(statuses.get(status, 0)) for status in schema.IMAGE_STATUSES},
            "turned": int(((self.images["turn"] > 0) & used).sum()),
            "mirrored": int(((self.images["mirror"] == "yes") & used).sum()),
            "undecided": int(((self.images["turn"] < 0) & self.images["face"].notna()).sum()),
            "exact_copies": self._copies(),
            "recapture_pairs": int(kinds.get("recapture", 0)),
            "labels_learnt_late": self._late_labels(),
            "without_subject": self._without_subject(),
            "forgotten": self.forgotten,
            "never_looked_for_faces": self.faceless,
            **{
                f"split_{name}": int((self.splits["split"] == name).sum()) for name in schema.SPLITS
            },
        }

    def _copies(self) -> int:
        """Count new places of contents; one that merely says more of an image is none."""
        own = set(self.images[["image_id", "uri"]].itertuples(index=False, name=None))
        found = set(self.places[["image_id", "uri"]].itertuples(index=False, name=None))
        return len(found - own)

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

    @property
    def issues(self) -> dict[str, int]:
        """Quality issue -> count over the images kept."""
        kept = self.images[self.images["status"] == "kept"]
        counted = {name: int(kept[f"{name}_issue"].fillna(False).sum()) for name in schema.QUALITY}
        return {name: count for name, count in counted.items() if count}


def ingest(workspace: Workspace, items: Sequence[Item], wish: Wish, track: Track) -> Ingested:
    """Bring ``items`` into the catalogue as one run; a second time, with nothing new, as none.

    Raises:
        AssetError: the face detector's file is missing.
        WorkspaceError: the workspace cannot be written.
    """
    files = len({item.uri for item in items})
    inputs = {
        "files": files,
        "trusted": wish.trusted,
        "faces": wish.faces,
        "burst": wish.burst.name,
        "sources": sorted({item.source for item in items}),
    }
    with runs.start(workspace, "ingest", inputs) as run, _staging(workspace, wish) as staging:
        batch = _batch(workspace, items, staging, wish, track)
        run.counts = batch.counts
        run.recorded = not wish.dry_run and batch.adds
        if run.recorded:
            for table in ("images", "places", "labels", "pairs", "splits"):
                run.append(table, getattr(batch, table))
        staging.clear()
    run_id, new = run.run_id if run.recorded else "", len(batch.images)
    return Ingested(run_id, files, new, batch.counts, batch.reasons, batch.issues)


@contextmanager
def _staging(workspace: Workspace, wish: Wish) -> Iterator[Staging]:
    """Yield where records are staged: in the workspace, for a dry run in a passing folder."""
    settings = workspace.config.ingest
    how = runs.fingerprint(wish.faces, settings.hashes, settings.quality, settings.yunet)
    name = f"ingest-{how}"
    if not wish.dry_run:
        yield Staging(workspace.root / "runs" / name)
        return
    with tempfile.TemporaryDirectory(prefix="curate-dry-run-") as folder:
        yield Staging(Path(folder) / name)


def _batch(
    workspace: Workspace, items: Sequence[Item], staging: Staging, wish: Wish, track: Track
) -> Batch:
    catalogue, config = workspace.catalogue, workspace.config
    marks = forget.marks(catalogue)
    everything = items
    gone = {item.uri for item in everything if _named_as_forgotten(item, marks)}
    items = [item for item in everything if item.uri not in gone]
    files = reading.files_of(items)
    snapshot = Snapshot(catalogue)
    known = Known.of(snapshot, files["uri"], marks)
    detect = reading.detector(config) if wish.faces else None
    files["image_id"], records = reading.read(items, known, staging, detect, config, track)
    files = files[~files["image_id"].isin(list(marks))].reset_index(drop=True)
    number = snapshot.find(files["image_id"])
    on_record = (number != NONE) & (number < snapshot.images)
    faceless = _never_looked_at(snapshot, number[on_record]) if wish.faces else 0
    given = _label_rows(files, number, snapshot, wish.trusted)
    images = _one_row_per_content(files[~on_record], records)
    del known, records  # of a million images they take some hundred MB
    places = _new_places(files, images, snapshot)
    if images.empty:
        images, pairs, splits = (tables.empty(name) for name in ("images", "pairs", "splits"))
        left_out = len(everything) - len(files)
        return Batch(images, given, pairs, splits, places, left_out, faceless)
    images = siblings.told_apart(images, wish.burst, threads=engine.threads(config.threads))
    related = relate(config, snapshot, images, places, given, track)
    return Batch(
        related.images,
        given,
        related.pairs,
        related.splits,
        places,
        len(everything) - len(files),
        faceless,
    )


def _named_as_forgotten(item: Item, marks: set[str]) -> bool:
    return bool(marks) and item.subject is not None and forget.mark_of(item.subject) in marks


def _never_looked_at(snapshot: Snapshot, numbers: Numbers) -> int:
    """Count the files, by the numbers of their images, on record since an ingest --no-faces."""
    rows = np.unique(numbers)
    seen = snapshot.take("images", rows, ["status", "shows", "face"])
    faceless = seen["face"].isna() & (seen["status"] == "kept") & (seen["shows"] != "eye")
    return int(np.isin(numbers, rows[faceless.to_numpy(bool)]).sum())


def _one_row_per_content(fresh: pd.DataFrame, records: pd.DataFrame) -> pd.DataFrame:
    """Fold files of the same bytes into one row with several places; test beats dev beats train."""
    uris = fresh.drop_duplicates(["image_id", "uri"]).groupby("image_id")["uri"].agg(list)
    official = fresh.groupby("image_id")["official_split"].agg(_strictest)
    first = fresh.drop_duplicates("image_id").drop(columns="labels").set_index("image_id")
    seen = records.reindex(first.index).drop(columns=list(first.columns), errors="ignore")
    images = pd.concat([first, seen], axis=1).assign(
        also_at=pd.Series([uris[row][1:] for row in first.index], first.index, dtype=object),
        official_split=official.reindex(first.index),
        origin="mined",
    )
    images = images.reset_index().reindex(columns=tables.TABLES["images"].names)
    return _face_as_given(images)


def _face_as_given(images: pd.DataFrame) -> pd.DataFrame:
    """Take the box that the source gives for the face where the detector saw none."""
    lost = (images["reason"] == "no_face") & images["given_box"].notna()
    if not lost.any():
        return images
    size = images.loc[lost, ["width", "height", "width", "height"]].to_numpy(np.float32)
    boxes = np.stack(images.loc[lost, "given_box"].to_list()).astype(np.float32) * size
    face = images["face"].astype(object)
    face[lost] = pd.Series(list(boxes), images.index[lost])
    return images.assign(
        face=face,
        status=images["status"].mask(lost, "kept"),
        reason=images["reason"].mask(lost, ""),
    )


def _strictest(splits: pd.Series) -> str | None:
    declared = set(splits.dropna())
    return next((name for name in ("test", "dev", "train") if name in declared), None)


def _new_places(files: pd.DataFrame, images: pd.DataFrame, snapshot: Snapshot) -> pd.DataFrame:
    """Return a row of `places` for each file whose image stands elsewhere, or says more by now."""
    columns = ["image_id", "uri", "source", "subject", "clip", "official_split"]
    known = [
        reading.at_places(snapshot, table, files["uri"], columns) for table in ("images", "places")
    ]
    there = pd.concat([images[columns], *known])
    seen = set(there[columns].astype("object").fillna("").itertuples(index=False, name=None))
    mine = files[columns].astype("object").fillna("").itertuples(index=False, name=None)
    new = files[[place not in seen for place in mine]]
    return new.reindex(columns=tables.TABLES["places"].names).drop(columns="run_id")


def _label_rows(
    files: pd.DataFrame, number: Numbers, snapshot: Snapshot, trusted: bool
) -> pd.DataFrame:
    """Return the rows of `labels` that these files give and that are not there yet."""
    rows = [
        (image_id, given.task, given.part, given.label, given.attack_type, source)
        for image_id, source, labels in zip(
            files["image_id"], files["source"], files["labels"], strict=True
        )
        for given in labels
    ]
    columns = [name for name in tables.TABLES["labels"].names if name != "run_id"]
    said = ["image_id", "task", "part", "label", "attack_type", "source"]
    given = pd.DataFrame(rows, columns=said, dtype=object).drop_duplicates()
    given = given.assign(trusted=trusted)[columns]
    theirs = np.isin(snapshot.numbers("labels", "image_id"), number[number != NONE])
    existing = snapshot.take("labels", np.flatnonzero(theirs), columns)
    if given.empty or existing.empty:
        return given.reset_index(drop=True)
    both = given.merge(existing[columns], how="left", on=columns, indicator=True)
    return both.loc[both["_merge"] == "left_only", columns].reset_index(drop=True)
