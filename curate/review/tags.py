"""Tags a person gave in the App, turned into decisions. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from curate import labels, schema

REFINES = labels.key(schema.ATTACK, "unknown")
LABEL_TAGS = {
    schema.BONAFIDE: schema.BONAFIDE,
    schema.ATTACK: REFINES,
    **{name: labels.key(schema.ATTACK, name) for name in schema.ATTACK_TYPES},
}
LEGEND = {
    "accept": "the label in question is right: the soft one shown, or the one an issue doubts",
    "reject": "leave this image out of training",
    "keep": "put a duplicate or quarantined image back in",
    schema.BONAFIDE: "it is bona fide, whatever the soft label says",
    "print, replay_phone, ...": f"it is that attack ({', '.join(schema.ATTACK_TYPES)})",
    schema.ATTACK: "it is an attack of a type you cannot name",
}
VOCABULARY = frozenset({"accept", "reject", "keep", *LABEL_TAGS})
Decision = tuple[str, str, str]  # action, label, attack_type


@dataclass(frozen=True)
class Judged:
    """What the tags come to.

    Attributes:
        decisions: image_id, action, label, attack_type: only what differs from what stood.
        taken: image_id -> the tags that say something, whether or not it is new.
        problems: image_id -> why its tags, or one of them, could not be taken.
    """

    decisions: pd.DataFrame
    taken: dict[str, list[str]] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)


class Undecided(ValueError):
    """Tags that say nothing, or two things at once."""


def judge(tagged: pd.DataFrame, standing: pd.DataFrame) -> Judged:
    """Return the decisions in ``tagged`` (image_id, tags, label as labels.key writes it or None).

    ``standing`` is `labels.decided`: the latest decision of each image.
    """
    before = {row[0]: (row[1], row[2], row[3]) for row in standing.to_numpy().tolist()}
    rows: list[tuple[str, str, str, str]] = []
    taken: dict[str, list[str]] = {}
    problems: dict[str, str] = {}
    for image_id, tags, label in tagged[["image_id", "tags", "label"]].to_numpy().tolist():
        words = {tag: tag.strip().lower() for tag in tags}
        known = {tag: word for tag, word in words.items() if word in VOCABULARY}
        if strange := sorted(set(words) - set(known)):
            problems[image_id] = f"unknown tag {', '.join(map(repr, strange))}"
        if not known:
            continue
        try:
            decision = decide(set(known.values()), label, before.get(image_id))
        except Undecided as fault:
            problems[image_id] = str(fault)
            continue
        taken[image_id] = sorted(known)
        if decision != before.get(image_id):
            rows.append((image_id, *decision))
    columns = ["image_id", "action", "label", "attack_type"]
    return Judged(pd.DataFrame(rows, columns=columns), taken, problems)


def decide(words: set[str], soft: object, before: Decision | None) -> Decision:
    """Return the decision that ``words`` (of VOCABULARY) make about one image.

    `accept` keeps the label it accepts, so a later teacher cannot change what was accepted. A label
    given to an image that was put back leaves it in, and putting it back leaves its label.

    Raises:
        Undecided: they contradict each other, or accept what is not there.
    """
    named = {LABEL_TAGS[word] for word in words if word in LABEL_TAGS}
    if "reject" in words and len(words) > 1:
        raise Undecided(f"reject contradicts {', '.join(sorted(words - {'reject'}))}")
    if "accept" in words and not isinstance(soft, str):
        raise Undecided("accept: no one label is in question; tag the label itself")
    if "accept" in words:
        named.add(str(soft))
    if len(named) > 1 and schema.BONAFIDE not in named:
        named.discard(REFINES)
    if len(named) > 1:
        raise Undecided(f"two labels: {', '.join(sorted(named))}")
    if "reject" in words:
        return "reject", "", ""
    stood_action, stood_label, stood_type = before or ("", "", "")
    if not named:
        return "keep", stood_label, stood_type
    (word,) = named
    label, _, attack_type = word.partition("/")
    if "keep" in words or stood_action == "keep":
        return "keep", label, attack_type
    return "accept" if "accept" in words and word == soft else "relabel", label, attack_type


def rows(judged: Judged, *, task: str, reviewer: str, at: str) -> pd.DataFrame:
    """Return the rows of `decisions` to append, run_id aside."""
    return judged.decisions.assign(task=task, part="", reviewer=reviewer, at=at)


def summary(problems: Mapping[str, str], limit: int = 5) -> Sequence[str]:
    """Return one line per kind of problem, most frequent first, at most ``limit``."""
    counts = pd.Series(list(problems.values()), dtype="object").value_counts()
    lines = [f"{count} image{'s' * (count > 1)}: {why}" for why, count in counts.items()]
    more = [f"... and {len(lines) - limit} more kinds"] if len(lines) > limit else []
    return lines[:limit] + more
