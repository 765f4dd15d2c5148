"""What is on record, as an ingest asks it: by number, the new images numbered as well."""

import numpy as np
import pandas as pd
import pyarrow as pa

from curate import groups, labels, schema, splits
from curate.labels import Codes, Said
from curate.snapshot import NONE, Numbers, Snapshot, Texts

LIVENESS = schema.TASKS[0]
HASHES = ["turn", "phash", "canonical", "face_phash", "face_dhash"]
_LABEL = ["image_id", "task", "part", "label", "attack_type"]


class Record:
    """A snapshot, and the new rows of `images` and `labels` on top of it.

    Numbers below `snapshot.total` are those of the snapshot; then come new ids it never named.
    """

    def __init__(self, snapshot: Snapshot, new: Texts, given: pd.DataFrame) -> None:
        """Number the ids ``new``; ``given`` are the new rows of `labels`."""
        self.snapshot, self._given = snapshot, given
        numbers = snapshot.find(new)
        unnamed = numbers == NONE
        self.total = snapshot.total + int(unnamed.sum())
        numbers[unnamed] = np.arange(snapshot.total, self.total)
        self._new = pd.Series(numbers, pd.Index(new, dtype=object))
        self.said = Said(snapshot)
        self.words = self.said.words
        self.word = self._words()

    def find(self, ids: Texts) -> Numbers:
        """Return the numbers of ``ids``, all of which are on record or new."""
        new = self._new.reindex(np.asarray(ids, object))
        return np.where(new.isna(), self.snapshot.find(ids), new.fillna(NONE)).astype(np.int64)

    def padded(self, values: Codes) -> Codes:
        """Return (total,) ``values`` of the snapshot's numbers, NONE for the new ones."""
        return np.append(values, np.full(self.total - len(values), NONE))

    def comparable(self) -> pd.DataFrame:
        """Return the images that new ones are compared with, the kept ones first.

        Columns: HASHES, lists left in Arrow, and image_id, which is the number.
        """
        seen = self.snapshot.table("images", ["phash", "face", "status", "origin"])
        there = seen["phash"].is_valid().to_numpy()
        words = seen.select(["status", "origin"]).to_pandas()
        fit = seen["face"].is_valid().to_numpy() | (words["status"] != "quarantined").to_numpy()
        there = there & fit & (words["origin"] != "synthetic").to_numpy()
        kept = (words["status"] == "kept").to_numpy()
        rows = np.concatenate([np.flatnonzero(there & kept), np.flatnonzero(there & ~kept)])
        del seen
        hashes = self.snapshot.table("images", HASHES).take(pa.array(rows))
        frame: pd.DataFrame = hashes.to_pandas(types_mapper=_arrow_lists)
        return frame.assign(image_id=rows)

    def company(self, near: Numbers) -> Numbers:
        """Return the images on record among ``near``, and every copy of their clusters."""
        home = self.padded(groups.homes(self.snapshot))
        member = np.zeros(self.total + 1, bool)  # the last one is NONE's
        member[home[near]] = True
        member[NONE] = False
        with_us = member[home]
        with_us[near] = True
        origin = self.snapshot.read("images", ["origin"])["origin"]
        mined = (origin != "synthetic").to_numpy()
        return np.flatnonzero(with_us[: self.snapshot.images] & mined)

    def label_keys(self, numbers: Numbers) -> np.ndarray:
        """Return (N,) object: the label key of any given label, see `labels.given_keys`."""
        return self._said(self.word[numbers])

    def homes(self, numbers: Numbers) -> np.ndarray:
        """Return (N,) object: the id of the copy kept, None outside clusters."""
        home = self.padded(groups.homes(self.snapshot))[numbers]
        found = np.full(len(home), None, object)
        found[home != NONE] = self.snapshot.ids(home[home != NONE]).to_numpy(object)
        return found

    def states(self, numbers: Numbers) -> np.ndarray:
        """Return (N,) object: what labels say of eyes and covers, see `labels.states`."""
        said = self._labels_of(numbers)
        given = self._given.assign(image_id=self.find(self._given["image_id"]))
        both = pd.concat([said, given[_LABEL]])
        found: np.ndarray = labels.states(both).reindex(numbers).to_numpy(object)
        return found

    def strata(self) -> np.ndarray:
        """Return (total,) object: the trusted label of each image, one of liveness first."""
        rows = self.snapshot.read("labels", [*_LABEL, "trusted"])
        given = self._given.assign(image_id=self.find(self._given["image_id"]))
        columns = []
        for each in (rows, given):
            each = each[each["trusted"].astype(bool)]
            task = each["task"].map(schema.TASKS.index).to_numpy(np.int64)
            columns.append((each["image_id"].to_numpy(), task, labels.coded(each, self.words)))
        number, task, code = (np.concatenate(each) for each in zip(*columns, strict=True))
        order = task.argsort(kind="stable")[::-1]
        found = np.full(self.total, NONE)
        found[number[order]] = code[order]  # the first one counts
        return self._said(found)

    def groups(self, new: pd.DataFrame, places: pd.DataFrame, pairs: pd.DataFrame) -> np.ndarray:
        """Return (total,) object: the group of each image, as `splits.assign` takes it.

        ``new`` are the images to add, ``places`` and ``pairs`` (a, b, kind, similarity) new rows,
        with ids. A group with a new image bears its smallest id, as in `groups.grouped`.
        """
        columns = list(groups.PAIR_COLUMNS)
        pairs = pairs[columns].assign(**{side: self.find(pairs[side]) for side in ("a", "b")})
        before = self.snapshot.read("pairs", columns).astype({"kind": object})
        number = self.find(new["image_id"])
        component = groups.components(
            self.total,
            groups.belongings(self.snapshot, self._numbered(new), self._numbered(places)),
            pd.concat([before, pairs], ignore_index=True),
            self.word,
            self.words,
        )
        group = component.astype(object)
        theirs = np.zeros(self.total, bool)
        theirs[component[number]] = True
        members = np.flatnonzero(theirs[component])
        group[members] = splits.smallest(self._ids(members), component[members])
        return group

    def _said(self, codes: Codes) -> np.ndarray:
        found: np.ndarray = np.array([*self.words, None], object)[codes]
        return found

    def _numbered(self, rows: pd.DataFrame) -> pd.DataFrame:
        ids = {name: self._maybe(rows[name]) for name in ("image_id", "parent_id") if name in rows}
        return rows[["subject", "clip"]].assign(**ids)

    def _maybe(self, ids: pd.Series) -> Numbers:
        said = ids.notna().to_numpy()
        found = np.full(len(ids), NONE)
        found[said] = self.find(ids[said])
        return found

    def _ids(self, numbers: Numbers) -> np.ndarray:
        found = np.empty(len(numbers), object)
        old = numbers < self.snapshot.total
        found[old] = self.snapshot.ids(numbers[old]).to_numpy(object)
        names = pd.Series(self._new.index, self._new.to_numpy())
        found[~old] = names.reindex(numbers[~old]).to_numpy(object)
        return found

    def _words(self) -> Codes:
        """Return (total,) the code of each image's given label, with the new rows of `labels`."""
        word = self.padded(self.said.given)
        mine = self._given[(self._given["task"] == LIVENESS) & ~self._given["part"].astype(bool)]
        mine = mine.assign(image_id=self.find(mine["image_id"]))
        said = self._labels_of(np.unique(mine["image_id"]))
        said = said[(said["task"] == LIVENESS) & ~said["part"].fillna("").astype(bool)]
        keys = labels.keys(pd.concat([said, mine[_LABEL]], ignore_index=True))
        keys = keys[self.padded(self.said.decided)[keys.index] == NONE]
        self.words += [key for key in keys.unique() if key not in self.words]
        word[keys.index] = [self.words.index(key) for key in keys]
        return word

    def _labels_of(self, numbers: Numbers) -> pd.DataFrame:
        """Return the rows of `labels` on record of these images, with numbers."""
        image = self.snapshot.numbers("labels", "image_id")
        wanted = np.zeros(self.total, bool)
        wanted[numbers] = True
        rows = np.flatnonzero(wanted[image])
        found = self.snapshot.take("labels", rows, _LABEL[1:])
        return found.assign(image_id=image[rows])[_LABEL]


def _arrow_lists(kind: pa.DataType) -> pd.ArrowDtype | None:
    """Lists in a frame are an object each: a million of 8 hashes take 64 MB here, 300 MB there."""
    return pd.ArrowDtype(kind) if pa.types.is_list(kind) else None
