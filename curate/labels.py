"""What an image's label is: decision over trusted given label over accepted soft label."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate import schema, tables
from curate.catalogue import Catalogue
from curate.snapshot import NONE, Snapshot

CONFLICT = "conflict"
UNKNOWN = f"{schema.ATTACK}/unknown"
FIRST_WORDS = (schema.BONAFIDE, CONFLICT, UNKNOWN)
LIVE, CLASH, VAGUE = range(3)  # their codes
Codes = NDArray[np.int64]
Flags = NDArray[np.bool_]


class Said:
    """What was said about each image for one task, or one part of a face in it.

    Every array is (snapshot.total,), in the order of the snapshot's numbers; label keys are codes
    into `words`, NONE where nothing was said.
    """

    def __init__(self, snapshot: Snapshot, task: str = schema.LIVENESS, part: str = "") -> None:
        """Read labels, soft labels and decisions, and weigh them."""
        self.words = list(FIRST_WORDS)
        columns = ["image_id", "task", "part", "label", "attack_type"]
        given = _of(task, part, snapshot.read("labels", [*columns, "trusted"]))
        given = given.assign(word=self._coded(given))
        decisions = snapshot.read("decisions", [*columns, "action", "at"])
        self.decisions = latest(_of(task, part, decisions))
        soft = snapshot.read("soft_labels", [*columns, "status", "reason", "run_id"])
        soft = _latest_soft(_of(task, part, soft), snapshot.images)

        self.decided = self._spread(snapshot.total, self.decisions, self._coded(self.decisions))
        everyone = _one_each(snapshot.total, given)
        self.trusted = _one_each(snapshot.total, given[given["trusted"].astype(bool)])
        self.given = np.where(self.decided != NONE, self.decided, everyone)
        self.soft_rows = self._spread(snapshot.total, soft, soft.index.to_numpy())
        in_use = (soft["status"] == "accepted") | soft["image_id"].isin(self._those("accept"))
        self.in_review = soft.loc[soft["status"] == "review", "image_id"].to_numpy()
        self.soft = self._spread(snapshot.total, soft[in_use], self._coded(soft[in_use]))
        self.rejected = np.zeros(snapshot.total, bool)
        self.rejected[self._those("reject")] = True

    @cached_property
    def resolved(self) -> Codes:
        """The label of every image that has one; see `resolved`."""
        trusted = np.where(self.trusted == NONE, self.soft, self.trusted)
        found = np.where(self.decided != NONE, self.decided, trusted)
        return np.where(self.rejected | (found == CLASH), NONE, found)

    @cached_property
    def best(self) -> Codes:
        """The label believed, trusted or not; see `best_keys`."""
        found = np.where(self.given != NONE, self.given, self.resolved)
        return np.where(self.rejected, NONE, found)

    def kept_back(self) -> Codes:
        """Return the numbers of the images that a person put back."""
        return self._those("keep")

    def _those(self, action: str) -> Codes:
        return self.decisions.loc[self.decisions["action"] == action, "image_id"].to_numpy()

    def _coded(self, frame: pd.DataFrame) -> Codes:
        """Return the code of each row's label; NONE where it has none."""
        return coded(frame, self.words)

    @staticmethod
    def _spread(total: int, frame: pd.DataFrame, values: Codes) -> Codes:
        spread = np.full(total, NONE)
        spread[frame["image_id"].to_numpy()] = values
        return spread


def key(label: str, attack_type: str) -> str:
    """Return a label as one word: `bonafide`, `attack/print`."""
    return f"{label}/{attack_type}" if attack_type else label


def coded(frame: pd.DataFrame, words: list[str]) -> Codes:
    """Return (N,) the place of each row's `key` in ``words``, which grows; NONE without a label."""
    label, labels = pd.factorize(frame["label"])
    kind, kinds = pd.factorize(frame["attack_type"])
    width = len(kinds) + 1
    both, pairs = pd.factorize(label * width + kind + 1)
    place = []
    for pair in pairs.tolist():
        said = "" if pair < 0 else str(labels[pair // width])
        said = key(said, str(kinds[pair % width - 1]) if pair % width else "")
        words += [said] if said and said not in words else []
        place.append(words.index(said) if said else NONE)
    return np.array([*place, NONE])[both]


def words(frame: pd.DataFrame) -> np.ndarray:
    """Return (N,) object: `key` of each row's `label` and `attack_type`."""
    known: list[str] = []
    codes = coded(frame, known)
    return np.array([*known, None], object)[codes]


def keys(given: pd.DataFrame) -> pd.Series:
    """Return image_id -> key over rows with `label`, `attack_type`; several keys become `conflict`.

    `attack/unknown` beside a known attack type is no conflict: the known one says more.
    """
    known = list(FIRST_WORDS)
    number, ids = pd.factorize(given["image_id"])
    rows = pd.DataFrame({"image_id": number, "word": coded(given, known)})
    found = np.array(known, object)[_one_each(len(ids), rows)]
    by_id: pd.Series = pd.Series(found, pd.Index(ids, name="image_id"), dtype="object")
    return by_id


def latest(decisions: pd.DataFrame) -> pd.DataFrame:
    """Return the latest of the rows of `decisions` for each image."""
    ordered = decisions.sort_values("at", kind="stable")
    return ordered.drop_duplicates("image_id", keep="last")


def final(decisions: pd.DataFrame) -> Flags:
    """Return (N,) which `decisions` settle what their unit shows, or that it is not used.

    Those with a label, those that reject, and those that accept, whether or not they say what. One
    that merely puts an image back (`keep` without a label) leaves its label open, so that a soft
    label or a contradiction still waits for a person.
    """
    labelled = decisions["label"].notna() & (decisions["label"] != "")
    found: Flags = (labelled | decisions["action"].isin(["accept", "reject"])).to_numpy(bool)
    return found


def states(given: pd.DataFrame) -> "pd.Series[Any]":
    """Return image_id -> {(task, part): label} over rows of `labels` about eyes and occlusion."""
    said = given[given["task"] != schema.TASKS[0]]
    found: dict[str, dict[tuple[str, str], str]] = {}
    columns = (said[name] for name in ("image_id", "task", "part", "label"))
    for image_id, task, part, label in zip(*columns, strict=True):
        found.setdefault(image_id, {})[task, part] = label
    return pd.Series(found, dtype=object)


def decided(catalogue: Catalogue, task: str, part: str = "") -> pd.DataFrame:
    """Return the latest decision of each image: image_id, action, label, attack_type."""
    decisions = _of(task, part, catalogue.read("decisions"))
    return latest(decisions)[["image_id", "action", "label", "attack_type"]]


def given_keys(
    catalogue: Catalogue,
    task: str = schema.LIVENESS,
    part: str = "",
    *,
    extra: pd.DataFrame | None = None,
) -> pd.Series:
    """Return image_id -> label key from every given label, trusted or not; decisions outrank them.

    Only a barrier to merging: an untrusted label says that two images differ, not what they are.
    """
    columns = ["image_id", "label", "attack_type"]
    given = _of(task, part, catalogue.read("labels", [*columns, "task", "part"]))[columns]
    if extra is not None and not extra.empty:
        given = pd.concat([given, _of(task, part, extra)[columns]])
    relabelled = decided(catalogue, task, part).query("label != ''")[columns]
    known = keys(given)
    both: pd.Series = pd.concat(
        [known[~known.index.isin(relabelled["image_id"])], keys(relabelled)]
    )
    return both


def resolved(catalogue: Catalogue, task: str = schema.LIVENESS, part: str = "") -> pd.DataFrame:
    """Return the label of every image that has one, indexed by image_id.

    Columns: label, attack_type, basis (decision | given | soft), p_bonafide in [0, 1] (of tasks
    other than liveness: of their first class). Images a person rejected, and images whose trusted
    labels contradict each other, have none.
    """
    snapshot = Snapshot(catalogue)
    said = Said(snapshot, task, part)
    word = said.resolved
    found = np.flatnonzero(word != NONE)
    parts = np.array([one.partition("/") for one in said.words], object)[word[found]]
    basis = np.where(said.trusted != NONE, "given", "soft").astype(object)
    basis[said.decided != NONE] = "decision"
    p_bonafide = (parts[:, 0] == schema.CLASSES_OF[task][0]).astype(float)
    by_soft = basis[found] == "soft"
    probs = snapshot.table("soft_labels", ["probs"]).column("probs")
    rows = pa.array(said.soft_rows[found[by_soft]])
    p_bonafide[by_soft] = pc.list_element(probs.take(rows), 0).to_numpy()
    columns = {
        "label": parts[:, 0],
        "attack_type": parts[:, 2],
        "basis": basis[found],
        "p_bonafide": p_bonafide,
    }
    return pd.DataFrame(columns, snapshot.ids(found))


def latest_soft(catalogue: Catalogue, task: str, part: str = "") -> pd.DataFrame:
    """Return the soft label that the latest standing run gave each visible image.

    A doubt about a trusted label counts only while the last run still has it.
    """
    snapshot = Snapshot(catalogue)
    rows = np.sort(Said(snapshot, task, part).soft_rows)
    found = snapshot.table("soft_labels", tables.TABLES["soft_labels"].names)
    frame: pd.DataFrame = _plain(found.take(pa.array(rows[rows != NONE]))).to_pandas()
    return frame


def soft_units(catalogue: Catalogue, task: str) -> pd.DataFrame:
    """Return `latest_soft` of all parts, by image_id and part as one word."""
    parts = schema.PARTS_OF[task]
    rows = [latest_soft(catalogue, task, part).assign(part=part) for part in parts]
    soft = pd.concat([some for some in rows if len(some)] or rows[:1])
    return soft.set_axis((soft["image_id"] + soft["part"]).astype(object))


def best_keys(catalogue: Catalogue, task: str = schema.LIVENESS) -> pd.Series:
    """Return image_id -> label key: given (trusted or not) or decided, else the soft label in use.

    Images that a person rejected have none.
    """
    snapshot = Snapshot(catalogue)
    said = Said(snapshot, task)
    found = np.flatnonzero(said.best != NONE)
    word = np.array(said.words, object)[said.best[found]]
    return pd.Series(word, snapshot.ids(found), dtype="object")


def differs(a: object, b: object) -> bool:
    """Return whether two label keys say different things; a missing one says nothing.

    A conflict is unlike everything, another conflict too: nobody knows what either shows.
    """
    if not isinstance(a, str) or not isinstance(b, str):
        return False
    if a == b:
        return a == CONFLICT
    both_attacks = a.startswith(schema.ATTACK) and b.startswith(schema.ATTACK)
    return not (both_attacks and UNKNOWN in (a, b))


def apart(a: Codes, b: Codes, words: Sequence[str]) -> Flags:
    """Return `differs` for each two codes into ``words``."""
    every = [*words, None]  # the last one is NONE's
    table = np.array([[differs(one, other) for other in every] for one in every])
    found: Flags = table[a, b]
    return found


def _plain(rows: pa.Table) -> pa.Table:
    """Return ``rows`` with dictionaries written out as text."""
    types = [
        field.with_type(pa.string()) if pa.types.is_dictionary(field.type) else field
        for field in rows.schema
    ]
    return rows.cast(pa.schema(types))


def _of(task: str, part: str, rows: pd.DataFrame) -> pd.DataFrame:
    mine = (rows["task"] == task) & ((rows["part"] == part) | (rows["part"].isna() & (part == "")))
    return rows if mine.all() else rows[mine]


def _latest_soft(soft: pd.DataFrame, images: int) -> pd.DataFrame:
    """Return the rows of `latest_soft`, visible images being the numbers below ``images``."""
    soft = soft[soft["image_id"] < images]
    if soft.empty:
        return soft
    last = max(soft["run_id"].cat.remove_unused_categories().cat.categories)
    stale = (soft["reason"] == schema.DOUBTED) & (soft["run_id"] != last)
    last_of_each: pd.DataFrame = soft[~stale].drop_duplicates("image_id", keep="last")
    return last_of_each


def _one_each(total: int, rows: pd.DataFrame) -> Codes:
    """Return (total,) the one word of each image; CLASH where it has several, see `keys`."""
    image, word = rows["image_id"].to_numpy(), rows["word"].to_numpy()
    found = np.full(total, NONE)
    found[image] = word
    several = np.unique(image[found[image] != word])
    if len(several):
        odd = rows[np.isin(image, several)].drop_duplicates(["image_id", "word"])
        live = odd.loc[odd["word"] == LIVE, "image_id"]
        known = odd[odd["word"] != VAGUE].drop_duplicates("image_id", keep=False)
        found[several] = CLASH
        found[known["image_id"]] = known["word"]
        found[live] = CLASH
    return found
