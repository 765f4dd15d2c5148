"""From items to what is known of each file: on record, staged by a killed run, or examined now."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate import assets, engine, places
from curate.config import Config
from curate.engine import Track
from curate.examine import examine
from curate.faces import FaceDetector
from curate.orient import Detect
from curate.snapshot import NONE, Snapshot, Texts
from curate.sources import Item
from curate.staging import KEY, Staging
from curate.yunet import YuNetDetector

NOTHING = {"turn": -1, "mirror": "no", "exif_orientation": 1}


@dataclass(frozen=True)
class Known:
    """What the catalogue has of these files: their rows by place, and the ids of all contents.

    What was forgotten counts as known: it is not looked at again.
    """

    files: pd.DataFrame
    snapshot: Snapshot
    forgotten: frozenset[str]

    @classmethod
    def of(cls, snapshot: Snapshot, uris: pd.Series, forgotten: set[str]) -> "Known":
        """Read the places among ``uris``."""
        columns = ["image_id", *KEY]
        images = at_places(snapshot, "images", uris, [*columns, "reason"])
        readable = images[images["reason"] != "unreadable"]  # those get another try each time
        files = pd.concat([readable[columns], at_places(snapshot, "places", uris, columns)])
        return cls(files, snapshot, frozenset(forgotten))

    def knows(self, ids: Texts) -> NDArray[np.bool_]:
        """Return (N,) bool: the content is on record, or forgotten."""
        numbers = self.snapshot.find(ids)
        seen = (numbers != NONE) & (numbers < self.snapshot.images)
        known: NDArray[np.bool_] = seen | np.array([each in self.forgotten for each in ids], bool)
        return known


def at_places(
    snapshot: Snapshot, table: str, uris: pd.Series, columns: Sequence[str]
) -> pd.DataFrame:
    """Return the rows of `images` or `places` that lie at one of ``uris``."""
    there = among(snapshot.table(table, ["uri"])["uri"], uris)
    return snapshot.take(table, np.flatnonzero(there), columns)


def among(values: pa.ChunkedArray, wanted: pd.Series) -> NDArray[np.bool_]:
    """Return (N,) bool: the value is one of ``wanted``."""
    found = pc.is_in(values, pa.array(wanted, pa.string()))
    return np.asarray(found, dtype=bool)


def files_of(items: Sequence[Item]) -> pd.DataFrame:
    """Return one row per item: its place and what that says; `labels` are tuples of Given."""
    return pd.DataFrame(
        {
            "uri": [item.uri for item in items],
            "bytes": np.array([item.size for item in items], np.int64),
            "mtime_ns": np.array([item.mtime_ns for item in items], np.int64),
            "source": [item.source for item in items],
            "subject": pd.Series([item.subject for item in items], dtype=object),
            "clip": pd.Series([item.clip for item in items], dtype=object),
            "official_split": pd.Series([item.split for item in items], dtype=object),
            "shows": [item.shows for item in items],
            "given_box": pd.Series([item.box for item in items], dtype=object),
            "labels": pd.Series([item.labels for item in items], dtype=object),
        }
    )


def read(
    items: Sequence[Item],
    known: Known,
    staging: Staging,
    detect: Detect | None,
    config: Config,
    track: Track,
) -> tuple[pd.Series, pd.DataFrame]:
    """Return the image_id of each item, and the columns of `images` of contents not on record.

    What is examined is staged at once, so a killed run goes on where it stopped and only a part of
    the records is ever held as Python objects. The result has one row per content.
    """
    key = pd.MultiIndex.from_arrays(
        [[i.uri for i in items], [i.size for i in items], [i.mtime_ns for i in items]]
    )
    ids = _by_place(known.files).reindex(key)
    staged = staging.rows([*KEY, "image_id"]).to_pandas()
    ids = ids.fillna(_by_place(staged).reindex(key))
    missing = np.flatnonzero(ids.isna()).tolist()
    work = _worker(known, detect, config)
    results = engine.mapped(
        work, [items[n] for n in missing], threads=engine.threads(config.threads)
    )
    found: list[str] = []
    try:
        for record in track(results, len(missing), "reading"):
            found.append(record["image_id"])
            if "status" in record:
                staging.add(record)
    finally:
        staging.flush()
    image_ids = ids.to_numpy(object)
    image_ids[missing] = found
    return pd.Series(image_ids), _records(staging, set(image_ids[~known.knows(image_ids)]))


def _by_place(files: pd.DataFrame) -> pd.Series:
    by_place = files.set_index(list(KEY))["image_id"]
    once: pd.Series = by_place[~by_place.index.duplicated()]
    return once


def _records(staging: Staging, wanted: set[str]) -> pd.DataFrame:
    rows: pd.DataFrame = staging.rows().drop_columns(list(KEY[:1])).to_pandas()
    rows = rows[rows["image_id"].isin(list(wanted))].drop_duplicates("image_id")
    return rows.set_index("image_id")


def _worker(
    known: Known, detect: Detect | None, config: Config
) -> Callable[[Item], dict[str, Any]]:
    settings = config.ingest

    def work(item: Item) -> dict[str, Any]:
        place = {"uri": item.uri, "bytes": item.size, "mtime_ns": item.mtime_ns}
        try:
            data = places.read_bytes(item.uri)
            image_id = places.image_id(item.uri, data)
        except OSError as error:
            name = hashlib.sha256(item.uri.encode()).hexdigest()
            fault = {"image_id": name, "status": "quarantined", "reason": places.reason_of(error)}
            return NOTHING | fault | place
        if known.knows([image_id])[0]:
            return {"image_id": image_id}
        seen = examine(
            data,
            detect if item.shows == "face" else None,
            mode=settings.hashes,
            judge=settings.quality,
        )
        return seen | {"image_id": image_id} | place

    return work


def detector(config: Config) -> Detect:
    """Return what finds faces: YuNet where curate.toml names its file, else what was pulled.

    Raises:
        AssetError: the file is missing.
    """
    if config.ingest.yunet:
        return YuNetDetector(Path(config.ingest.yunet)).detect
    return FaceDetector(assets.path("face_landmarker")).detect
