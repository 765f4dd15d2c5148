"""Catalogue to FiftyOne and back: push pictures and views, pull decisions.

Each task has a dataset of its own, one sample per unit: nothing tagged in one is lost when another
is shown. A push builds a new dataset and then names it in review/pushed.json, which is the moment
it counts; a push that is killed before leaves the old one standing. Pulling only ever appends.
"""

import getpass
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import fiftyone as fo
import fiftyone.core.odm.database as database
import fiftyone.factory.repo_factory as repositories
import pandas as pd
from fiftyone import ViewField as F

from curate import engine, runs, show
from curate.engine import Track
from curate.errors import DataError
from curate.review import pushed, queue, tags, thumbs
from curate.review.queue import Queue
from curate.workspace import Workspace

PREFIX = "review-"
TEXTS = ("image_id", "part", "decision", "given", "soft_status", "attack_type", "teacher", "status",
         "reason", "group", "subject", "split", "source", "origin", "uri", "accepts")  # fmt: skip
NUMBERS = {"p_bonafide": fo.FloatField, "turn": fo.IntField, "rank": fo.IntField}
OF_IMAGES = ("p_bonafide", "attack_type", "group")  # fields that samples of a part lack
OF_PARTS = ("part",)  # and those that only they have
INDEXED = ("image_id", "part", "soft.label", "soft.confidence", "lists", "group", "decision",
           "given", "status", "subject", "split", "source", "teacher", "p_bonafide",
           "rank")  # fmt: skip
ON_THUMBNAIL = ("part", "tags", "soft", "given", "decision", "reasons")
SIDEBAR = {
    "decide": ("tags", "part", "decision", "soft", "p_bonafide", "given", "reasons", "soft_status",
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
    problems: dict[str, str] = field(default_factory=dict)  # unit -> why not taken


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


def current(workspace: Workspace, task: str) -> fo.Dataset:
    """Return the dataset that was pushed last for ``task``.

    Raises:
        DataError: nothing was pushed, or MongoDB no longer holds what was.
    """
    last = pushed.require(workspace, task)
    dataset = fo.load_dataset(last.dataset) if fo.dataset_exists(last.dataset) else None
    if dataset is None or dataset.info.get("generation") != last.generation:
        raise DataError(
            f"the MongoDB of {workspace.root} does not hold what was pushed at {last.at} "
            f"({last.dataset}, {last.images} images): it was lost or replaced. Decisions already "
            "pulled are in the catalogue; tags that were not are gone.\n"
            f"Next: curate review{show.for_task(task)}   pushes anew"
        )
    dataset.reload()
    return dataset


def push(
    workspace: Workspace, what: Queue, task: str, *, track: Track, pending: pd.DataFrame
) -> fo.Dataset:
    """Show ``what`` of ``task`` in a new dataset, carrying ``pending`` tags over."""
    media = workspace.root / "review" / "media" / task
    threads = engine.threads(workspace.config.threads)
    shown = what.units[thumbs.write(what.units, media, task, threads=threads, track=track)]
    generation = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    dataset = _declared(f"{PREFIX}{task}-{generation}", generation, task)
    units = pending["image_id"] + pending["part"]
    carried = dict(zip(units, pending["tags"], strict=True))
    dataset.add_samples(
        [_sample(row, media, carried, task) for _, row in shown.iterrows()],
        dynamic=False, validate=False, progress=False,
    )  # fmt: skip
    _arrange(dataset, task)
    pushed.write(workspace, task, dataset.name, generation, len(shown))
    current = {one.dataset for one in pushed.every(workspace).values()}
    for name in fo.list_datasets(f"{PREFIX}*"):
        if name not in current:
            fo.delete_dataset(name)
    thumbs.tidy(shown, media, task)
    return dataset


def units(dataset: fo.Dataset) -> set[str]:
    """Return the units shown, by image_id and part as one word."""
    return set(map("".join, zip(dataset.values("image_id"), _parts(dataset), strict=True)))


def tagged(dataset: fo.Dataset) -> pd.DataFrame:
    """Return id (FiftyOne's), image_id, part, tags (list of str) and label, of samples with tags.

    The label is the one in question: that doubted by `curate issues` where there is one, else the
    soft label.
    """
    view = dataset.match(F("tags").length() > 0)
    columns = ["id", "image_id", "tags", "soft.label", "accepts"]
    rows = pd.DataFrame(dict(zip(columns, view.values(columns), strict=True)), dtype="object")
    label = rows["accepts"].where(rows["accepts"].notna(), rows["soft.label"])
    return rows[columns[:3]].assign(part=_parts(view), label=label)


def _parts(samples: fo.Dataset | fo.DatasetView) -> list[str]:
    named = samples.has_field("part")
    return [part or "" for part in samples.values("part")] if named else [""] * len(samples)


def no_tags() -> pd.DataFrame:
    """Return what `tagged` returns of a dataset without tags."""
    columns = ("id", "image_id", "tags", "part", "label")
    return pd.DataFrame({name: [] for name in columns}, dtype="object")


def pull(workspace: Workspace, dataset: fo.Dataset, task: str) -> Pulled:
    """Append what the tags of ``dataset`` decide and the catalogue does not know yet."""
    found = tagged(dataset)
    if found.empty:
        return Pulled()
    with runs.start(workspace, "review", {"dataset": dataset.name, "task": task}) as run:
        judged = tags.judge(found, queue.decided(workspace.catalogue, task), task)
        at = datetime.now(UTC).isoformat(timespec="microseconds")
        run.append("decisions", tags.rows(judged, task=task, reviewer=_reviewer(), at=at))
        run.recorded = not judged.decisions.empty
        counts = judged.decisions["action"].value_counts()
        run.counts = {str(action): int(count) for action, count in counts.items()}
    # After the run is on record: were we killed between, the next pull finds nothing new to add.
    standing = queue.decision_words(queue.decided(workspace.catalogue, task))
    _settle(dataset, judged, found["id"].set_axis(found["image_id"] + found["part"]), standing)
    run_id = run.run_id if run.recorded else ""
    return Pulled(run_id, run.counts, judged.problems)


def _settle(
    dataset: fo.Dataset, judged: tags.Judged, samples: pd.Series, standing: pd.Series
) -> None:
    """Take off exactly the tags that were taken, and show what they came to instead.

    ``samples`` are the ids of the samples by unit, ``standing`` what was decided about each.
    """
    by_tag: dict[str, list[str]] = {}
    for unit, words in judged.taken.items():
        for word in words:
            by_tag.setdefault(word, []).append(samples[unit])
    for word, ids in by_tag.items():
        dataset.select(ids).untag_samples(word)
    decided = {samples[unit]: f"decided: {standing[unit]}" for unit in judged.taken}
    dataset.set_values("decision", decided, key_field="id")


def _declared(name: str, generation: str, task: str) -> fo.Dataset:
    """Make an empty dataset whose fields are declared: others could not be filtered by."""
    dataset = fo.Dataset(name, persistent=True)
    dataset.info["generation"] = generation
    dataset.save()
    dataset.add_sample_field("soft", fo.EmbeddedDocumentField, embedded_doc_type=fo.Classification)
    for listed in ("lists", "reasons"):
        dataset.add_sample_field(listed, fo.ListField, subfield=fo.StringField)
    for field_name in _known((*TEXTS, *NUMBERS), task):
        dataset.add_sample_field(field_name, NUMBERS.get(field_name, fo.StringField))
    return dataset


def _known(fields: Iterable[str], task: str) -> list[str]:
    """Return those of ``fields`` that samples of ``task`` have."""
    lacking = OF_IMAGES if queue.of_parts(task) else OF_PARTS
    return [name for name in fields if name not in lacking]


def _sample(row: pd.Series, media: Path, carried: dict[str, list[str]], task: str) -> fo.Sample:
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
        tags=carried.get(row["image_id"] + row["part"], []),
        soft=soft and fo.Classification(label=soft, confidence=float(row["confidence"])),
        lists=row["lists"],
        reasons=row["reasons"],
        **{name: known[name] for name in _known(known, task)},
    )


def _arrange(dataset: fo.Dataset, task: str) -> None:
    """Save the views, index what is filtered by, and lay out the sidebar."""
    for path in _known(INDEXED, task):
        dataset.create_index(path)
    for name, text in queue.lists_of(task).items():
        view = dataset.match(F("lists").contains(name))
        if len(view):
            ordered = view.sort_by(ORDER[name])
            dataset.save_view(name, ordered, description=text, color=COLOURS[name])
    config = dataset.app_config
    config.active_fields = fo.ActiveFields(paths=_known(ON_THUMBNAIL, task))
    config.sidebar_groups = [
        fo.SidebarGroupDocument(name=name, paths=_known(paths, task), expanded=name != "identity")
        for name, paths in SIDEBAR.items()
    ]
    dataset.save()


def _reviewer() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container may run under a uid that has no name
        return f"uid {os.getuid()}"
