"""What gets one label each: an image, or an eye or a region of the face in it.

Every frame here has a row per unit: all columns of `images`, and

- part: "" for liveness, else one of schema.PARTS_OF[task];
- group: units that share a person, clip, copy, recapture pair or parent; never on both sides of a
  fold, and never labelled by a teacher that learnt from one of them;
- clip_id: the clip, else the image itself: what counts as one presentation;
- class and basis (given or decision) where the label is known: `bonafide` or the attack type for
  liveness, else one of schema.CLASSES_OF[task].
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from curate import groups, labels, schema
from curate.catalogue import Catalogue
from curate.errors import DataError
from curate.usable import usable_images
from curate.workspace import Workspace


@dataclass(frozen=True)
class Units:
    """The units of one task, indexed by image_id and part as one word.

    Attributes:
        learn: units of train with a trusted label or a decision.
        certify: likewise of dev; no teacher ever learns from them.
        pool: units of train to be labelled: nothing trusted is known, nobody decided.
        given: unit -> label key that came with the data, trusted or not, over all of them.
    """

    task: str
    learn: pd.DataFrame
    certify: pd.DataFrame
    pool: pd.DataFrame
    given: "pd.Series[str]"

    @cached_property
    def every(self) -> pd.DataFrame:
        """All three, one after the other."""
        return pd.concat([self.learn, self.certify, self.pool])


def gather(here: Workspace, task: str, *, learning: bool = True) -> Units:
    """Return the units of ``task``, for a teacher that learns from them, or for one that does not.

    Raises:
        DataError: no training image has a trusted label, and the teacher is to learn.
    """
    every = images(here.catalogue)
    given = {part: labels.given_keys(here.catalogue, task, part) for part in schema.PARTS_OF[task]}
    shown = _shown(every, task, given)
    every = pd.concat([_of_part(here.catalogue, shown[part], task, part) for part in given])
    said = pd.concat([word.set_axis(word.index + part) for part, word in given.items()])
    known, split = every["class"].notna(), every["split"]
    learn = every[known & (split == "train")]
    if learn.empty and learning:
        raise DataError(
            f"no training image has a trusted {task} label: a teacher has nothing to learn from.\n"
            "Next: curate ingest LABELLED_FOLDER --trust given; a card, geometry and champion are "
            "teachers that learn nothing"
        )
    taught = every["part"].isin(_taught(learn, task) if learning else schema.PARTS_OF[task])
    pool = every[taught & ~known & ~every["settled"] & ~split.isin(["dev", "test"])]
    certify = every[known & (split == "dev")]
    units = learn.index.union(certify.index).union(pool.index)
    return Units(task, learn, certify, pool, said[units.get_indexer(said.index) >= 0])


def images(catalogue: Catalogue) -> pd.DataFrame:
    """Return the usable images that are not synthetic, with group, clip_id and split."""
    usable = usable_images(catalogue)
    mined = usable[usable["origin"] != "synthetic"]
    group = groups.of_catalogue(catalogue, labels.best_keys(catalogue)).reindex(mined.index)
    # Named by a mined member, so that synthetic children come and go without a new name.
    return mined.assign(
        group=mined["image_id"].groupby(group).transform("min"),
        clip_id=mined["clip"].fillna(mined["image_id"]),
        split=catalogue.split_of().reindex(mined.index),
    )


def _shown(
    images: pd.DataFrame, task: str, given: "dict[str, pd.Series[str]]"
) -> dict[str, pd.DataFrame]:
    """Return part -> the images that show it: a patch of an eye shows what its label names."""
    patch = images["shows"] == "eye"
    faces = images[~patch & images["face"].notna()]
    if task != schema.LIVENESS:  # parts are found by landmarks
        faces = faces[faces["landmarks"].notna()]
    if task != "eyes":
        return dict.fromkeys(given, faces)
    patches = images[patch]
    sides = {part: patches[patches.index.isin(word.index)] for part, word in given.items()}
    named = sides["left_eye"].index.union(sides["right_eye"].index)
    return {
        "left_eye": pd.concat([faces, sides["left_eye"]]),
        "right_eye": pd.concat([faces, sides["right_eye"]]),
        "eye": patches[~patches.index.isin(named)],
    }


def _of_part(catalogue: Catalogue, shown: pd.DataFrame, task: str, part: str) -> pd.DataFrame:
    """Return the units of ``part``."""
    resolved = labels.resolved(catalogue, task, part)
    known = resolved[resolved["basis"] != "soft"]
    decisions = labels.decided(catalogue, task, part)
    final = labels.final(decisions)
    units = shown.assign(
        part=part,
        **{"class": classes(known, task).reindex(shown.index)},
        basis=known["basis"].reindex(shown.index),
        settled=shown.index.isin(decisions.loc[final, "image_id"]),
    )
    return units.set_axis(units.index + part)


def _taught(learn: pd.DataFrame, task: str) -> set[str]:
    """Return the parts of which labels are known: one eye stands for all, a region for itself."""
    return set(schema.PARTS_OF[task]) if task == "eyes" else set(learn["part"])


def classes(known: pd.DataFrame, task: str) -> "pd.Series[str]":
    """Return the class of rows with `label` and `attack_type`."""
    if task != schema.LIVENESS:
        return known["label"]
    word = known["attack_type"].where(known["label"] == schema.ATTACK, schema.BONAFIDE)
    return word.where(word != "", "unknown")


def one_per_clip(units: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return one unit, drawn at random, of each clip: its frames and parts err together."""
    order = np.random.default_rng(seed).permutation(len(units))
    return units.iloc[order].drop_duplicates("clip_id").sort_index()
