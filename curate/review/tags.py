"""Tags a person gave in the App, turned into decisions. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from curate import labels, schema
from curate.review.queue import DECIDED

REFINES = labels.key(schema.ATTACK, "unknown")
LABEL_TAGS = {
    schema.BONAFIDE: schema.BONAFIDE,
    schema.ATTACK: REFINES,
    **{name: labels.key(schema.ATTACK, name) for name in schema.ATTACK_TYPES},
}
ACCEPT = "the label in question is right: the soft one shown, or the one an issue doubts"
LEGENDS = {
    schema.LIVENESS: {
        "accept": ACCEPT,
        "reject": "leave this image out of training",
        "keep": "put a duplicate or quarantined image back in",
        schema.BONAFIDE: "it is bona fide, whatever the soft label says",
        "print, replay_phone, ...": f"it is that attack ({', '.join(schema.ATTACK_TYPES)})",
        schema.ATTACK: "it is an attack of a type you cannot name",
    },
    "eyes": {
        "accept": ACCEPT,
        "reject": "leave this eye out of training: nobody can tell",
        "open": "the eye is open, whatever the soft label says",
        "closed": "its lid is down",
        "blocked": "something hides it: glasses, hair, a hand, the edge of the picture",
    },
    "occlusion": {
        "accept": ACCEPT,
        "reject": "leave this region out of training: nobody can tell",
        "clear": "what is outlined is bare, whatever the soft label says",
        "blocked": "something covers it: a mask, glasses, hair, a hand",
    },
}
Decision = tuple[str, str, str]  # action, label, attack_type


@dataclass(frozen=True)
class Judged:
    """What the tags come to; units are named by image_id and part as one word.

    Attributes:
        decisions: queue.DECIDED: only what differs from what stood.
        taken: unit -> the tags that say something, whether or not it is new.
        problems: unit -> why its tags, or one of them, could not be taken.
    """

    decisions: pd.DataFrame
    taken: dict[str, list[str]] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)


class Undecided(ValueError):
    """Tags that say nothing, or two things at once."""


def label_tags(task: str) -> dict[str, str]:
    """Return tag -> label, as labels.key writes it, of the tags that name a label of ``task``."""
    if task == schema.LIVENESS:
        return LABEL_TAGS
    return {name: name for name in schema.CLASSES_OF[task]}


def vocabulary(task: str) -> frozenset[str]:
    """Return every tag that means something for ``task``; parts of a face cannot be put back in."""
    actions = ["accept", "reject", *(["keep"] if task == schema.LIVENESS else [])]
    return frozenset([*actions, *label_tags(task)])


def judge(tagged: pd.DataFrame, standing: pd.DataFrame, task: str = schema.LIVENESS) -> Judged:
    """Return the decisions in ``tagged``: image_id, part, tags, label (as labels.key, or None).

    ``standing`` is `queue.decided`: the latest decision of each unit.
    """
    before = {row[0] + row[1]: (row[2], row[3], row[4]) for row in standing.to_numpy().tolist()}
    known_tags, meaning = vocabulary(task), label_tags(task)
    rows: list[tuple[str, str, str, str, str]] = []
    taken: dict[str, list[str]] = {}
    problems: dict[str, str] = {}
    columns = tagged[["image_id", "part", "tags", "label"]]
    for image_id, part, tags, label in columns.to_numpy().tolist():
        unit = image_id + part
        words = {tag: tag.strip().lower() for tag in tags}
        known = {tag: word for tag, word in words.items() if word in known_tags}
        if strange := sorted(set(words) - set(known)):
            problems[unit] = f"unknown tag {', '.join(map(repr, strange))}"
        if not known:
            continue
        try:
            decision = decide(set(known.values()), label, before.get(unit), meaning)
        except Undecided as fault:
            problems[unit] = str(fault)
            continue
        taken[unit] = sorted(known)
        if decision != before.get(unit):
            rows.append((image_id, part, *decision))
    return Judged(pd.DataFrame(rows, columns=DECIDED), taken, problems)


def decide(
    words: set[str], soft: object, before: Decision | None, meaning: Mapping[str, str]
) -> Decision:
    """Return the decision that ``words`` (of `vocabulary`) make about one unit.

    ``meaning`` is `label_tags`, ``soft`` the label in question, ``before`` the decision that stood.

    `accept` keeps the label it accepts, so a later teacher cannot change what was accepted. A label
    given to an image that was put back leaves it in, and putting it back leaves its label.

    Raises:
        Undecided: they contradict each other, or accept what is not there.
    """
    named = {meaning[word] for word in words if word in meaning}
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
    return judged.decisions.assign(task=task, reviewer=reviewer, at=at)


def summary(problems: Mapping[str, str], limit: int = 5) -> Sequence[str]:
    """Return one line per kind of problem, most frequent first, at most ``limit``."""
    counts = pd.Series(list(problems.values()), dtype="object").value_counts()
    lines = [f"{count} image{'s' * (count > 1)}: {why}" for why, count in counts.items()]
    more = [f"... and {len(lines) - limit} more kinds"] if len(lines) > limit else []
    return lines[:limit] + more
