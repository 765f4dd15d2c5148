"""Catalogue to FiftyOne and back: push images and views, pull decisions.

Each push builds a dataset of its own and then names it in review/pushed.json, which is the moment
it counts; a push that is killed before leaves the old one standing. Pulling only ever appends.
"""

import getpass
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.core.odm.database as database
import fiftyone.factory.repo_factory as repositories
import pandas as pd
from fiftyone import ViewField as F

from curate import engine, labels, runs
from curate.errors import DataError
from curate.review import pushed, queue, tags, thumbs
from curate.review.queue import LISTS, TASK, Queue
from curate.workspace import Workspace

PREFIX = "review-"
TEXTS = ("image_id", "decision", "given", "soft_status", "attack_type", "teacher", "status",
         "reason", "group", "subject", "split", "source", "origin", "uri", "accepts")  # fmt: skip
FIELDS: dict[str, type[Any]] = dict.fromkeys(TEXTS, fo.StringField) | {
    "p_bonafide": fo.FloatField,
    "turn": fo.IntField,
    "rank": fo.IntField,
}
INDEXED = ("image_id", "soft.label", "soft.confidence", "lists", "group", "decision", "given",
           "status", "subject", "split", "source", "teacher", "p_bonafide", "rank")  # fmt: skip
ON_THUMBNAIL = ("tags", "soft", "given", "decision", "reasons")
SIDEBAR = {
    "decide": ("tags", "decision", "soft", "p_bonafide", "given", "reasons", "soft_status",
               "accepts", "rank"),
    "where it comes from": ("status", "reason", "group", "subject", "split", "source", "origin",
                            "turn", "attack_type", "teacher", "lists"),
    "identity": ("image_id", "uri", "id", "filepath", "metadata", "created_at",
                 "last_modified_at"),
}  # fmt: skip
TOGETHER = [("group", 1), ("status", -1)]  # a group lies together, the copy that is kept first
ORDER = {"queue": "soft.confidence", "issues": "rank", "audit": "image_id",
         "duplicates": TOGETHER, "recapture": TOGETHER, "turned": "turn", "quarantined": "reason",
         "tagged": "soft.confidence"}  # fmt: skip
COLOURS = {"queue": "yellow", "issues": "pink", "audit": "purple", "duplicates": "blue",
           "recapture": "red", "turned": "green", "quarantined": "gray",
           "tagged": "orange"}  # fmt: skip


@dataclass(frozen=True)
class Pulled:
    """What came back from the App."""

    run_id: str = ""
    decisions: dict[str, int] = field(default_factory=dict)  # action -> new decisions
    problems: dict[str, str] = field(default_factory=dict)  # image_id -> why not taken


@contextmanager
def connected(uri: str) -> Iterator[None]:
    """Let FiftyOne, and the servers it starts, use the mongod at ``uri``; let go at the end.

    FiftyOne has no public way to let go. Without it, it looks for the stopped mongod for 30 s when
    Python exits, and a second review in the same process talks to the first one's.
    """
    os.environ["FIFTYONE_DATABASE_URI"] = uri
    fo.config.database_uri = uri
    try:
        yield
    finally:
        database._disconnect()
        repositories._db = None
        repositories.RepositoryFactory.repos.clear()


def current(workspace: Workspace) -> fo.Dataset:
    """Return the dataset that was pushed last.

    Raises:
        DataError: nothing was pushed, or MongoDB no longer holds what was.
    """
    last = pushed.require(workspace)
    dataset = fo.load_dataset(last.dataset) if fo.dataset_exists(last.dataset) else None
    if dataset is None or dataset.info.get("generation") != last.generation:
        raise DataError(
            f"the MongoDB of {workspace.root} does not hold what was pushed at {last.at} "
            f"({last.dataset}, {last.images} images): it was lost or replaced. Decisions already "
            "pulled are in the catalogue; tags that were not are gone.\n"
            "Next: curate review   pushes anew"
        )
    dataset.reload()
    return dataset


def push(
    workspace: Workspace, what: Queue, *, track: thumbs.Track, pending: pd.DataFrame
) -> fo.Dataset:
    """Show ``what`` in a new dataset, carrying ``pending`` tags over."""
    media = workspace.root / "review" / "media"
    threads = engine.threads(workspace.config.threads)
    shown = what.images[thumbs.write(what.images, media, threads=threads, track=track)]
    generation = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    dataset = _declared(PREFIX + generation, generation)
    carried = dict(zip(pending["image_id"], pending["tags"], strict=True))
    dataset.add_samples(
        [_sample(row, media, carried) for _, row in shown.iterrows()],
        dynamic=False, validate=False, progress=False,
    )  # fmt: skip
    _arrange(dataset)
    pushed.write(workspace, dataset.name, generation, len(shown))
    for name in fo.list_datasets(f"{PREFIX}*"):
        if name != dataset.name:
            fo.delete_dataset(name)
    return dataset


def tagged(dataset: fo.Dataset) -> pd.DataFrame:
    """Return image_id, tags (list of str) and the label in question, of the samples with tags.

    That is the label doubted by `curate issues` where there is one, else the soft label.
    """
    view = dataset.match(F("tags").length() > 0)
    columns = ["image_id", "tags", "soft.label", "accepts"]
    rows = pd.DataFrame(dict(zip(columns, view.values(columns), strict=True)), dtype="object")
    label = rows["accepts"].where(rows["accepts"].notna(), rows["soft.label"])
    return rows[columns[:2]].assign(label=label)


def no_tags() -> pd.DataFrame:
    """Return what `tagged` returns of a dataset without tags."""
    return pd.DataFrame({"image_id": [], "tags": [], "label": []}, dtype="object")


def pull(workspace: Workspace, dataset: fo.Dataset) -> Pulled:
    """Append what the tags of ``dataset`` decide and the catalogue does not know yet."""
    found = tagged(dataset)
    if found.empty:
        return Pulled()
    with runs.start(workspace, "review", {"dataset": dataset.name}) as run:
        judged = tags.judge(found, labels.decided(workspace.catalogue, TASK))
        at = datetime.now(UTC).isoformat(timespec="microseconds")
        run.append("decisions", tags.rows(judged, task=TASK, reviewer=_reviewer(), at=at))
        run.recorded = not judged.decisions.empty
        counts = judged.decisions["action"].value_counts()
        run.counts = {str(action): int(count) for action, count in counts.items()}
    # After the run is on record: were we killed between, the next pull finds nothing new to add.
    standing = labels.decided(workspace.catalogue, TASK).set_index("image_id")
    _settle(dataset, judged, queue.decision_words(standing))
    run_id = run.run_id if run.recorded else ""
    return Pulled(run_id, run.counts, judged.problems)


def _settle(dataset: fo.Dataset, judged: tags.Judged, standing: pd.Series) -> None:
    """Take off exactly the tags that were taken, and show what they came to instead."""
    by_tag: dict[str, list[str]] = {}
    for image_id, words in judged.taken.items():
        for word in words:
            by_tag.setdefault(word, []).append(image_id)
    for word, ids in by_tag.items():
        dataset.select_by("image_id", ids).untag_samples(word)
    view = dataset.select_by("image_id", list(judged.taken), ordered=True)
    words = [f"decided: {standing[image_id]}" for image_id in view.values("image_id")]
    view.set_values("decision", words)


def _declared(name: str, generation: str) -> fo.Dataset:
    """Make an empty dataset whose fields are declared: others could not be filtered by."""
    dataset = fo.Dataset(name, persistent=True)
    dataset.info["generation"] = generation
    dataset.save()
    dataset.add_sample_field("soft", fo.EmbeddedDocumentField, embedded_doc_type=fo.Classification)
    for listed in ("lists", "reasons"):
        dataset.add_sample_field(listed, fo.ListField, subfield=fo.StringField)
    for field_name, kind in FIELDS.items():
        dataset.add_sample_field(field_name, kind)
    return dataset


def _sample(row: pd.Series, media: Path, carried: dict[str, list[str]]) -> fo.Sample:
    known = {name: None if pd.isna(row[name]) else row[name] or None for name in TEXTS}
    known["turn"] = int(row["turn"])
    known["p_bonafide"] = None if pd.isna(row["p_bonafide"]) else float(row["p_bonafide"])
    known["rank"] = None if pd.isna(row["rank"]) else int(row["rank"])
    # On a thumbnail they stand side by side without their names.
    for name, said in (("given", "given"), ("decision", "decided")):
        known[name] = known[name] and f"{said}: {known[name]}"
    soft = None if pd.isna(row["label"]) else row["label"]
    return fo.Sample(
        filepath=str(media / thumbs.name(row)),
        tags=carried.get(row["image_id"], []),
        soft=soft and fo.Classification(label=soft, confidence=float(row["confidence"])),
        lists=row["lists"],
        reasons=row["reasons"],
        **known,
    )


def _arrange(dataset: fo.Dataset) -> None:
    """Save the views, index what is filtered by, and lay out the sidebar."""
    for path in INDEXED:
        dataset.create_index(path)
    for name, text in LISTS.items():
        view = dataset.match(F("lists").contains(name))
        if len(view):
            ordered = view.sort_by(ORDER[name])
            dataset.save_view(name, ordered, description=text, color=COLOURS[name])
    config = dataset.app_config
    config.active_fields = fo.ActiveFields(paths=list(ON_THUMBNAIL))
    config.sidebar_groups = [
        fo.SidebarGroupDocument(name=name, paths=list(paths), expanded=name != "identity")
        for name, paths in SIDEBAR.items()
    ]
    dataset.save()


def _reviewer() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container may run under a uid that has no name
        return f"uid {os.getuid()}"
