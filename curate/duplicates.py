"""Which near pairs are copies of one picture, which are recaptures, and which copy is kept.

An attack made by printing or replaying a selfie is itself a near duplicate of that selfie, so a
label that differs always stands between two images, and so does a pixel that does not agree.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate.labels import differs

# Of two pictures, as a whole. 4 of 1440 copies, laid on their originals, have less; 7 % of 960
# simulated recaptures have more, and of those MOST_DRIFT keeps out all. No live and print of one
# person (2274 pairs) came above 0.91, no two real people above 0.93, no two of 5000 generated ones
# above 0.97.
SIMILAR = 0.99
WORST_PATCH = 0.7  # of its worst sixteenth
# Grey levels by which colours drift apart past any tone curve (`tones.cast`): 99 % of copies
# by 1.8, of two copies of one picture by 2.7, half of simulated recaptures by more than 8.
MOST_CAST = 2.8
# Pixels by which parts of a pair lie apart (`rigid.drift`). 5 of 1440 copies have more; of 219
# neighbours of a burst 218 have over .67, the other is 4 frames of a person who does not stir.
# Those 960 recaptures have .52 and more; one of the sample's has .4995, or .4517 the other way.
MOST_DRIFT = 0.45
UNPLACED = 0.995  # similarity, where the drift cannot be told: patches of eyes, burnt pictures
# Both, where the state of the face cannot be read. Stricter ones tell little: of faces with closed
# eyes put in 0.997 and 0.9 let 50 to 80 % pass and lost 6 to 13 % of copies; 0.985 and 0.7 let 61
# to 89 % pass and lose 2 % at most.
UNREAD = 0.99, 0.8
# 80 % of simulated recaptures agree by more (86 % by more than 0.8); live and print of one person
# taken apart do not, but 112 of 12.5 million pairs of generated people.
RECAPTURED = 0.9
EQUAL, DIFFERENT, UNKNOWN = 1, 0, -1
KEEP = ("upright", "largest_face", "sharpest", "largest_file", "earliest")  # the copy kept

Confirm = Callable[[NDArray[np.int64]], NDArray[np.bool_]]  # rows of pairs -> which are duplicates


def judge(
    pairs: pd.DataFrame, images: pd.DataFrame, *, min_similarity: float = SIMILAR
) -> pd.DataFrame:
    """Return ``pairs`` with a column `kind`.

    ``pairs`` have a, b, similarity, worst_patch, cast, drift (nan: unknown) and same_state.
    ``images``, indexed by image_id, has subject, label_key ("bonafide", "attack/print"; null where
    unknown) and state ({(task, part): label} of eyes and occlusion, null where unknown).

    Two known and different subjects: candidate. Else contradicting labels: recapture where the
    pictures are alike (RECAPTURED), never merged, and candidate where not. Else duplicate where the
    whole reaches ``min_similarity`` and the worst patch WORST_PATCH, the parts lie apart by at most
    MOST_DRIFT (or, if that is unknown, the whole reaches UNPLACED), the colours by MOST_CAST, no
    label of eyes or occlusion contradicts, and the face is in the same state (True), or that is
    unknown (None) and both reach UNREAD. Else candidate.
    """
    facts = images[["subject", "label_key"]]
    a, b = (facts.reindex(pairs[side]).reset_index(drop=True) for side in ("a", "b"))
    contradict = contradicting(pairs, images["label_key"])
    similarity = pairs["similarity"].to_numpy(float)
    state = pairs["same_state"].to_numpy(object)
    same = np.equal(state, True).astype(bool) | (pd.isna(state) & alike(pairs, *UNREAD))
    drift = pairs["drift"].to_numpy(float)
    apart = (drift > MOST_DRIFT) | (np.isnan(drift) & ~alike(pairs, UNPLACED))
    tinted = pairs["cast"].to_numpy(float) > MOST_CAST
    kind = np.select(
        [
            _compare(a, b, "subject") == DIFFERENT,
            contradict & (similarity >= RECAPTURED),
            alike(pairs, min_similarity)
            & same
            & ~(contradict | apart | tinted | _states_differ(pairs, images)),
        ],
        ["candidate", "recapture", "duplicate"],
        "candidate",
    )
    judged: pd.DataFrame = pairs.assign(kind=kind.astype(object))
    return judged


def alike(
    pairs: pd.DataFrame, min_similarity: float, min_patch: float = WORST_PATCH
) -> NDArray[np.bool_]:
    """Tell which pairs agree by their pixels, as a whole and in every patch."""
    whole = pairs["similarity"].to_numpy(float) >= min_similarity
    agree: NDArray[np.bool_] = whole & (pairs["worst_patch"].to_numpy(float) >= min_patch)
    return agree


def contradicting(pairs: pd.DataFrame, label_key: "pd.Series[str]") -> NDArray[np.bool_]:
    """Tell which pairs (a, b) bear labels that contradict each other."""
    keys = (label_key.reindex(pairs[side]).to_numpy(object) for side in ("a", "b"))
    return np.fromiter(map(differs, *keys), bool, len(pairs))


def _states_differ(pairs: pd.DataFrame, images: pd.DataFrame) -> NDArray[np.bool_]:
    states = (images["state"].reindex(pairs[side]).to_numpy(object) for side in ("a", "b"))
    return np.fromiter(map(other_state, *states), bool, len(pairs))


def other_state(a: object, b: object) -> bool:
    """Tell whether two states, {(task, part): label}, say different things of one part."""
    if not isinstance(a, dict) or not isinstance(b, dict):
        return False
    return any(b.get(part, label) != label for part, label in a.items())


def of_one_clip(pairs: pd.DataFrame, images: pd.DataFrame) -> NDArray[np.bool_]:
    """Tell which pairs are frames of one clip: it says already that they belong together."""
    clips = images[["clip"]]
    a, b = (clips.reindex(pairs[side]).reset_index(drop=True) for side in ("a", "b"))
    return np.asarray(_compare(a, b, "clip") == EQUAL)


def _compare(a: pd.DataFrame, b: pd.DataFrame, column: str) -> NDArray[np.int8]:
    """Return EQUAL or DIFFERENT where both values are known, else UNKNOWN."""
    known = (a[column].notna() & b[column].notna()).to_numpy(bool)
    equal = a[column].to_numpy(object) == b[column].to_numpy(object)
    return np.where(known, np.where(equal, EQUAL, DIFFERENT), UNKNOWN).astype(np.int8)


def keep_best(images: pd.DataFrame, pairs: pd.DataFrame, confirm: Confirm) -> "pd.Series[str]":
    """Return image_id -> the image kept in its place, itself where it is kept.

    ``images``, indexed by image_id, stand in the order of `keep_order`, and have known (kept or
    merged by an earlier run), label_key, state, clip, and cluster (of the known ones, null:
    itself). ``pairs``
    have a and b; ``confirm`` tells of rows of them which are duplicates, and is asked as little as
    possible, for comparing is what costs: first for all that might join the very first, and so on.

    Known images keep their cluster. The others come in their order, and each joins the first kept
    image with which it forms a duplicate pair itself, never through a third, unless its label or
    state contradicts one that is already there, or a frame of its clip is; else it is kept.
    """
    state = _Shelf(images)
    partners = _earlier_partners(images.index, pairs)
    new = [image for image in images.index if image not in state.home]
    waiting = {image: partners[image] for image in new if image in partners}
    for image in new:
        if image not in waiting:
            state.settle(image, image)
    while waiting:
        asked = {image: state.next_of(image, ahead) for image, ahead in waiting.items()}
        rows = np.array([row for row in asked.values() if row is not None], dtype=np.int64)
        answer = dict(zip(rows.tolist(), confirm(rows), strict=True)) if len(rows) else {}
        for image, row in asked.items():
            _advance(state, waiting, image, bool(answer.get(row)) if row is not None else None)
    return pd.Series(state.home, dtype=object)


class _Shelf:
    """Who is kept so far, and what each cluster holds."""

    def __init__(self, images: pd.DataFrame) -> None:
        self.home: dict[str, str] = {}
        self.members: dict[str, list[tuple[object, object, object]]] = {}
        columns = (images[name] for name in ("label_key", "state", "clip"))
        self.said = dict(zip(images.index, zip(*columns, strict=True), strict=True))
        known = images[images["known"].astype(bool)]
        clusters = known["cluster"] if "cluster" in known else pd.Series(None, known.index, object)
        for image, cluster in clusters.items():
            self.settle(str(image), str(image) if pd.isna(cluster) else cluster)

    def settle(self, image: str, home: str) -> None:
        """Put ``image`` into the cluster of ``home``."""
        self.home[image] = home
        self.members.setdefault(home, []).append(self.said[image])

    def admits(self, star: str, image: str) -> bool:
        """Tell whether nothing in the cluster of ``star`` keeps ``image`` out."""
        label, state, clip = self.said[image]
        return not any(
            differs(label, other) or other_state(state, shown) or (clip == frame and _said(clip))
            for other, shown, frame in self.members[star]
        )

    def next_of(self, image: str, ahead: list[tuple[str, int]]) -> int | None:
        """Drop from ``ahead`` those that ``image`` cannot join; return the row to ask, if any."""
        while ahead:
            star, row = ahead[0]
            if star not in self.home:
                return None
            if self.home[star] == star and self.admits(star, image):
                return row
            ahead.pop(0)
        return None


def _said(clip: object) -> bool:
    return isinstance(clip, str)


def _advance(
    state: _Shelf,
    waiting: dict[str, list[tuple[str, int]]],
    image: str,
    answer: bool | None,
) -> None:
    """Settle ``image`` if its partners so far decide it; ``answer`` is that of the first of them.

    A label may have come to the cluster in this very round: then the next one is asked.
    """
    ahead = waiting[image]
    if answer:
        star = ahead[0][0]
        if not state.admits(star, image):
            return
        state.settle(image, star)
    elif answer is False:
        ahead.pop(0)
        return
    elif ahead:
        return
    else:
        state.settle(image, image)
    del waiting[image]


def _earlier_partners(
    order: "pd.Index[str]", pairs: pd.DataFrame
) -> dict[str, list[tuple[str, int]]]:
    """Return of each image its partners that come before it, in order, with the row of the pair."""
    place = pd.Series(np.arange(len(order)), order)
    a, b = (place.reindex(pairs[side]).to_numpy(float) for side in ("a", "b"))
    rows = np.flatnonzero(~np.isnan(a) & ~np.isnan(b))
    first, second = np.minimum(a, b)[rows].astype(int), np.maximum(a, b)[rows].astype(int)
    partners: dict[str, list[tuple[str, int]]] = {}
    for n in np.lexsort((rows, first, second)):
        partners.setdefault(order[second[n]], []).append((order[first[n]], int(rows[n])))
    return partners


def keep_order(images: pd.DataFrame, policy: Sequence[str] = KEEP) -> "pd.Index[str]":
    """Return the image_ids, best copy first.

    ``images``, indexed by image_id, has known, and what ``policy`` names, the most important first:
    "upright" (before turned or mirrored, before undecided) turn and mirror; "largest_face"
    face_area; "sharpest" sharpness; "largest_file" bytes; "earliest" order. Known images come
    before new ones; the smaller image_id decides at last.
    """
    ranked = pd.DataFrame({"known": ~images["known"].astype(bool)}, index=images.index)
    ranked = ranked.assign(**{name: _RANKS[name](images) for name in policy}, name=images.index)
    return ranked.sort_values(list(ranked.columns)).index


def _lie(images: pd.DataFrame) -> "pd.Series[int]":
    repaired = ((images["turn"] != 0) | (images["mirror"] == "yes")).astype(int)
    return repaired.mask(images["turn"] == -1, 2)


_RANKS: dict[str, Callable[[pd.DataFrame], "pd.Series"]] = {
    "upright": _lie,
    "largest_face": lambda images: -images["face_area"].fillna(0),
    "sharpest": lambda images: -images["sharpness"].fillna(0),
    "largest_file": lambda images: -images["bytes"],
    "earliest": lambda images: images["order"],
}
