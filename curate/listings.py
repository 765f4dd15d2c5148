"""What the text files of a source say of its images: label lists, and boxes beside the images.

Grammar and precedence: recipes.py.
"""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from curate.errors import SourceError

ReadText = Callable[[str], str | None]
Box = tuple[float, float, float, float]
GROUPS = ("class", "class2", "subject", "clip", "split")  # what a pattern may read


def lower(words: object) -> object:
    """Return a table of a recipe with its words in lower case, for they are compared so."""
    if not isinstance(words, dict):
        return words
    return {str(word).lower(): meaning for word, meaning in words.items()}


def _compiles(value: str) -> str:
    try:
        groups = set(re.compile(value).groupindex)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from error
    if unknown := sorted(groups - {*GROUPS, "path"}):
        raise ValueError(f"unknown groups {unknown}; known: {', '.join((*GROUPS, 'path'))}")
    return value


Pattern = Annotated[str, AfterValidator(_compiles)]


class Part(BaseModel):
    """A part of a recipe: no unknown key, never changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Listing(Part):
    """A text file that says more of many files: one per line, or a JSON {path: [values]}."""

    file: Pattern
    line: Pattern | None = None
    index: int | None = None
    words: Annotated[dict[str, str], BeforeValidator(lower)] = {}
    under: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _one_way(self) -> "Listing":
        if (self.line is None) == (self.index is None):
            raise ValueError("say either line (a pattern) or index (of the values in a JSON file)")
        if self.line and not {"path", "subject"} & set(re.compile(self.line).groupindex):
            raise ValueError("line needs a group `path` or `subject`")
        return self


class Beside(Part):
    """A text file beside each image that holds the box of its face."""

    beside: str
    size: float = Field(gt=0)


@dataclass(frozen=True, slots=True)
class Said:
    """What one line of a list says: the class word of the recipe, and names as they stand."""

    word: str | None
    subject: str | None
    clip: str | None
    split: str | None


@dataclass(frozen=True)
class Table:
    """A list, read: by path (lower case, slashes) and by subject (without leading zeros)."""

    folder: str  # where the list lies, lower case, ends with "/"
    paths: Mapping[str, Said]
    subjects: Mapping[str, Said]


def at_end(pattern: str) -> re.Pattern[str]:
    """Return the pattern to search for at the end of a path, from the start of a name on."""
    return re.compile(rf"(?:^|/)(?:{pattern})\Z", re.IGNORECASE)


def class_word(groups: Mapping[str, str | None]) -> str:
    """Return the class word of what a pattern found: its two parts, lower case, by a space."""
    return " ".join(filter(None, (groups.get("class"), groups.get("class2")))).lower()


def tables(listings: Sequence[Listing], names: Sequence[str], read_text: ReadText) -> list[Table]:
    """Return the lists found among ``names``, read.

    Raises:
        SourceError: one cannot be read, or holds no line of the form that the recipe gives.
    """
    found = []
    for listing in listings:
        pattern = at_end(listing.file)
        for name in names:
            if match := pattern.search(name):
                found.append(_table(listing, name, match.groupdict(), read_text))
    return found


def said(among: Sequence[Table], place: str, subject: str | None) -> list[Said]:
    """Return what the lists say of a place: those in a folder above it, else any."""
    if not among:
        return []
    keys = _keys(place.lower())
    hits = [(table, hit) for table in among if (hit := _hit(table, keys, subject))]
    near = [hit for table, hit in hits if f"{place.lower()}/".startswith(table.folder)]
    return near or [hit for _, hit in hits]


def box(of: Beside, place: str, read_text: ReadText) -> Box | None:
    """Return the box of the file beside an image as fractions of the image, cut to it.

    None where the file is absent, holds no four numbers, or nothing of its box is in the image.
    """
    text = read_text(str(PurePosixPath(place).with_suffix("")) + of.beside)
    numbers = re.split(r"[\s,]+", (text or "").strip())[:4]
    try:
        x, y, width, height = (float(number) / of.size for number in numbers)
    except ValueError:
        return None
    if not all(map(math.isfinite, (x, y, width, height))):
        return None
    left, top = max(x, 0.0), max(y, 0.0)
    right, bottom = min(x + width, 1.0), min(y + height, 1.0)
    return (left, top, right - left, bottom - top) if left < right and top < bottom else None


def _table(
    listing: Listing, name: str, file: Mapping[str, str | None], read_text: ReadText
) -> Table:
    text = read_text(name)
    if text is None:
        raise SourceError(f"{name}: this list cannot be read as text.\nNext: mend it or move it")
    paths: dict[str, Said] = {}
    subjects: dict[str, Said] = {}
    seen: dict[Said, Said] = {}  # half a million lines say few different things: one object each
    for groups in _lines(listing, name, text.lstrip("\ufeff")):
        groups = dict.fromkeys((*GROUPS, "path")) | dict(file) | groups
        path, subject, raw = groups["path"], groups["subject"], class_word(groups)
        word = listing.words.get(raw, raw) or None
        one = Said(word, subject if path else None, groups["clip"], groups["split"])
        one = seen.setdefault(one, one)
        if path:
            for folder in listing.under or ("",):
                paths[_key(f"{folder}/{path}")] = one
        elif subject:
            subjects[_number(subject)] = one
    if not paths and not subjects:
        raise SourceError(
            f"{name}: no line of this list has the form {listing.line or '{path: [values]}'}.\n"
            "Next: mend the list, or the [[list]] of the recipe"
        )
    return Table(name.lower().rpartition("/")[0] + "/", paths, subjects)


def _lines(listing: Listing, name: str, text: str) -> Iterator[dict[str, str | None]]:
    if listing.line is not None:
        pattern = re.compile(listing.line, re.IGNORECASE)
        found = (pattern.fullmatch(line.strip()) for line in text.split("\n"))
        yield from (match.groupdict() for match in found if match)
        return
    try:
        for path, values in json.loads(text).items():
            yield {"path": path, "class": str(values[listing.index])}
    except (ValueError, AttributeError, TypeError, LookupError) as error:
        raise SourceError(
            f"{name}: not a JSON object of lists with a value {listing.index}: {error}.\n"
            "Next: mend the list, or move it away to go without"
        ) from error


def _key(path: str) -> str:
    parts = path.lower().replace("\\", "/").split("/")
    return "/".join(part for part in parts if part not in {"", "."})


def _keys(place: str) -> list[str]:
    """Return the ways a list may name a place, longest first: as it is, stem, folder of frames."""
    parts = place.split("/")
    stem = parts[-1].rpartition(".")[0]
    tails = ["/".join(parts[start:]) for start in range(len(parts))]
    stems = ["/".join((*parts[start:-1], stem)) for start in range(len(parts))] if stem else []
    folders = ["/".join(parts[start:-1]) for start in range(len(parts) - 1)]
    return [*tails, *stems, *folders]


def _hit(table: Table, keys: Sequence[str], subject: str | None) -> Said | None:
    if table.subjects and subject:
        return table.subjects.get(_number(subject))
    return next((table.paths[key] for key in keys if key in table.paths), None)


def _number(subject: str) -> str:
    return subject.lower().lstrip("0")
