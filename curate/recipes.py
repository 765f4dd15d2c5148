r"""What the place of a file says of it: labels, subject, clip, split, box. Read off by recipes.

A recipe is `datasets/<name>/recipe.toml`. Words and paths are compared without regard to case.

    description = "..."                 one line
    skip = ['.+/(?:depth|ir)/.+']       files to leave out: patterns over the end of a path
    [[rule]]                            tried in order, the first that fits counts
    pattern = '(?P<split>train|test)/(?P<class>normal|spoof)/(?P<subject>\d+)_\d+\.jpe?g'
    shows = "eye"                       the images are eye patches ("face" if absent)
    [classes.normal]                    what a class word means, for one task or more
    label = "bonafide"
    [classes.spoof]
    label = "attack"
    attack_type = "unknown"
    [classes.closed]
    eyes = { left_eye = "closed" }
    [classes.mask]
    occlusion = { nose = "blocked", mouth = "blocked" }
    [splits]                            what a split word means
    train = "train"
    [[list]]                            a text file that says more of many files
    file = '(?P<split>train|test)_list\.txt'
    line = '(?P<path>\S+) (?P<class>[01])'   or: index = 40, of a JSON {path: [values]}
    words = { "1" = "normal", "0" = "spoof" }     what its class words are called in [classes]
    under = ["raw"]                     the folder that its paths start in, where they leave it out
    [box]                               a text file beside each image: x y w h ...
    beside = "_BB.txt"                  in place of the image's suffix
    size = 224                          the width and height of the frame the numbers are in

A pattern fits the end of a path: whole names, joined with `/`. Its groups are `class` (and `class2`
where two places make the class: the word is both, joined by a space), `subject`, `clip` and
`split`. A line of a list has a `path` besides (how a place ends, with or without its
suffix, or the folder of its frames; backslashes are slashes) or goes by `subject` alone.

What a list says of subject, clip and split outranks the path. Labels must agree: an image that one
says is bona fide and another an attack gets no liveness label at all; `unknown` yields to a type.
"""

import random
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from curate import listings, schema
from curate.errors import SourceError
from curate.listings import Beside, Box, Listing, Part, Pattern, ReadText, Said
from curate.workspace import Workspace

AUTO_SHARE = 0.9  # `auto` takes a recipe that explains at least this share of the media files
AUTO_SAMPLE = 2000  # measured on so many of them, drawn at random
IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".mpo", ".heic", ".heif"}
)
VIDEO_SUFFIXES = frozenset({".avi", ".mov", ".mp4", ".m4v", ".mkv", ".webm", ".mpg", ".mpeg"})

Shows = Literal["face", "eye"]


@dataclass(frozen=True)
class Given:
    """One label that came with an image, in the words of schema.py."""

    task: str
    part: str
    label: str
    attack_type: str


@dataclass(frozen=True)
class Fields:
    """What a recipe reads off a place; ``box`` is x, y, w, h as fractions of the image."""

    labels: tuple[Given, ...]
    subject: str | None
    clip: str | None
    split: str | None
    shows: Shows
    box: Box | None


SKIP = Fields((), None, None, None, "face", None)  # `is SKIP`: the recipe leaves this file out
MEDIA = IMAGE_SUFFIXES | VIDEO_SUFFIXES
_SPLIT = Annotated[str, Field(pattern=f"^({'|'.join(schema.SPLITS)})$")]
_EYE = Literal["left_eye", "right_eye", "eye"]  # `eye`: a patch that does not say which
_REGION = Literal["left_eye", "right_eye", "nose", "mouth", "chin", "forehead"]


class Rule(Part):
    """One pattern over the end of a path."""

    pattern: Pattern
    shows: Shows = "face"


class Meaning(Part):
    """What a class word means: for liveness, for the eyes, for the regions of the face."""

    label: Literal["bonafide", "attack"] | None = None
    attack_type: str = ""
    eyes: dict[_EYE, Literal["open", "closed", "blocked"]] = {}
    occlusion: dict[_REGION, Literal["clear", "blocked"]] = {}

    @field_validator("attack_type")
    @classmethod
    def _known(cls, value: str) -> str:
        if value and value not in schema.ATTACK_TYPES:
            raise ValueError(f"unknown attack type; known: {schema.ATTACK_TYPES}")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> "Meaning":
        if (self.label == schema.ATTACK) != bool(self.attack_type):
            raise ValueError("an attack needs an attack_type (`unknown` if so), bona fide has none")
        if not self.given:
            raise ValueError("say at least one of label, eyes, occlusion")
        return self

    @property
    def given(self) -> tuple[Given, ...]:
        """The labels that the word gives."""
        live = [Given("liveness", "", self.label, self.attack_type)] if self.label else []
        eyes = [Given("eyes", part, label, "") for part, label in self.eyes.items()]
        regions = [Given("occlusion", part, label, "") for part, label in self.occlusion.items()]
        return (*live, *eyes, *regions)


class Recipe(Part):
    """How one known source is read."""

    name: str = ""
    description: str
    skip: tuple[Pattern, ...] = ()
    rule: tuple[Rule, ...] = ()
    classes: Annotated[dict[str, Meaning], BeforeValidator(listings.lower)] = {}
    splits: Annotated[dict[str, _SPLIT], BeforeValidator(listings.lower)] = {}
    listing: Annotated[tuple[Listing, ...], Field(alias="list")] = ()
    box: Beside | None = None

    @model_validator(mode="after")
    def _reads(self) -> "Recipe":
        if not self.rule and not self.listing:
            raise ValueError("a recipe needs at least one [[rule]] or [[list]]")
        return self


def load_recipes(workspace: Workspace) -> dict[str, Recipe]:
    """Return the recipes of the checkout, over which those of the workspace win.

    Raises:
        SourceError: a recipe.toml is wrong.
    """
    folders = (Path(__file__).parent.parent / "datasets", workspace.root / "datasets")
    files = [file for folder in folders for file in sorted(folder.glob("*/recipe.toml"))]
    return {file.parent.name: _load(file) for file in files}


def _load(file: Path) -> Recipe:
    try:
        recipe = Recipe.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
    except ValidationError as error:
        raise SourceError(
            f"{file}: {'; '.join(_faults(error))}.\n"
            "Next: mend these keys; curate/recipes.py begins with the grammar"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise SourceError(f"{file}: {error}\nNext: mend the file, or take it away") from error
    return recipe.model_copy(update={"name": file.parent.name})


def _faults(error: ValidationError) -> Iterator[str]:
    for fault in error.errors():
        key = ".".join(map(str, fault["loc"])) or "the whole"
        yield f"{key}: {fault['msg'].removeprefix('Value error, ')} (got {fault['input']!r:.80})"


def bind(
    recipe: Recipe, names: Sequence[str], read_text: ReadText
) -> Callable[[str], Fields | None]:
    """Return the function that reads a place by ``recipe``: its fields, `SKIP`, or None.

    Args:
        recipe: how.
        names: every place below the source, `/`-joined, with up to two folders above it; the
            lists of the recipe are looked for among them, and read now.
        read_text: the text of the file at a place, None where there is none.

    Raises:
        SourceError: a list is there but does not read as the recipe says.
    """
    skip = [listings.at_end(pattern) for pattern in recipe.skip]
    rules = [(listings.at_end(rule.pattern), rule.shows) for rule in recipe.rule]
    others = [name for name in names if _suffix(name) not in MEDIA] if recipe.listing else []
    tables = listings.tables(recipe.listing, others, read_text)

    def read(place: str) -> Fields | None:
        if any(pattern.search(place) for pattern in skip):
            return SKIP
        found, shows = _first(rules, place)
        listed = found or _suffix(place) in MEDIA  # a list names stems, and notes have stems too
        said = listings.said(tables, place, found.get("subject")) if listed else []
        if not found and not said:
            return None
        box = listings.box(recipe.box, place, read_text) if recipe.box else None
        return _fields(recipe, found, said, shows, box)

    return read


def choose(
    names: Sequence[str], read_text: ReadText, recipes: Mapping[str, Recipe]
) -> tuple[Recipe | None, str]:
    """Return the recipe that says most of the images and videos (None: none fits), and why.

    Args:
        names: as for `bind`.
        read_text: as for `bind`.
        recipes: by name.

    A recipe whose list is there but does not read is not taken: it may be a list of another source.
    """
    media: list[str] = []
    notes: list[str] = []
    for name in names:
        (media if _suffix(name) in MEDIA else notes).append(name)
    plain = "read as a plain folder without labels"
    if not media or not recipes:
        return None, f"no image or video by its name; {plain}"
    sample = random.Random(0).sample(media, min(len(media), AUTO_SAMPLE))
    scores: dict[str, tuple[float, float]] = {}
    for name, recipe in recipes.items():
        try:
            read = bind(recipe.model_copy(update={"box": None}), notes, read_text)
        except SourceError as error:
            plain += f" (not by {name}: {str(error).partition(chr(10))[0].rstrip('.')})"
        else:
            scores[name] = _score(read, sample)
    fits = [name for name, (share, told) in scores.items() if share >= AUTO_SHARE and told > 0]
    files = f"{len(media):,} images and videos"
    if not fits:
        return None, f"{plain}: {_closest(scores)} of {files}; {AUTO_SHARE:.0%} are needed"
    # Of recipes that fit, the one that says more of each file; then the one of fewer words.
    best = max(fits, key=lambda name: (*scores[name][::-1], -len(recipes[name].classes)))
    others = ", ".join(sorted(set(fits) - {best}))
    more = f", and says more of each than {others}" if others else ""
    return recipes[best], f"recipe {best} explains {scores[best][0]:.0%} of {files}{more}"


def _score(read: Callable[[str], Fields | None], places: Sequence[str]) -> tuple[float, float]:
    """Return the share of places explained, and how many things are said of each."""
    fields = [found for place in places if (found := read(place)) is not None]
    told = sum(
        sum((bool(each.labels), bool(each.subject), bool(each.clip), bool(each.split)))
        for each in fields
    )
    return len(fields) / len(places), told / len(places)


def _closest(scores: Mapping[str, tuple[float, float]]) -> str:
    top = sorted((-share, name) for name, (share, _) in scores.items() if share > 0)[:3]
    if not top:
        return "no recipe explains any (0%)"
    shares = ", ".join(f"{name} {-share:.0%}" for share, name in top)
    return f"no recipe explains enough (the closest: {shares}; to use one: --recipe {top[0][1]})"


def _suffix(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    return f".{suffix.lower()}" if stem and dot and "/" not in suffix else ""


def _first(
    rules: Iterable[tuple[re.Pattern[str], Shows]], place: str
) -> tuple[dict[str, str | None], Shows]:
    for pattern, shows in rules:
        if found := pattern.search(place):
            return dict.fromkeys(listings.GROUPS) | found.groupdict(), shows
    return {}, "face"


def _fields(
    recipe: Recipe,
    found: Mapping[str, str | None],
    said: Sequence[Said],
    shows: Shows,
    box: Box | None,
) -> Fields:
    words = [listings.class_word(found), *(each.word for each in said)]
    given = [
        each for word in words if word in recipe.classes for each in recipe.classes[word].given
    ]
    home = "/".join(filter(None, (recipe.name, found.get("class"))))  # shots of two classes are two
    split = _only(each.split for each in said) or found.get("split")
    return Fields(
        labels=tuple(_agreed(given)),
        subject=_named(recipe.name, _only(each.subject for each in said) or found.get("subject")),
        clip=_named(home, _only(each.clip for each in said) or found.get("clip")),
        split=recipe.splits.get((split or "").lower()),
        shows=shows,
        box=box,
    )


def _agreed(given: Iterable[Given]) -> Iterator[Given]:
    """Yield one label for each task and part on which all agree; a known type over `unknown`."""
    heard: dict[tuple[str, str], list[Given]] = {}
    for each in given:
        heard.setdefault((each.task, each.part), []).append(each)
    for each, *rest in heard.values():
        if any(other.label != each.label for other in rest):
            continue
        types = {other.attack_type for other in (each, *rest)}
        known = types - {"unknown"}
        yield replace(each, attack_type=known.pop() if len(known) == 1 else "unknown")


def _only(values: Iterable[str | None]) -> str | None:
    """Return the one value that is said, None where there is none or more than one."""
    different = {value for value in values if value}
    return different.pop() if len(different) == 1 else None


def _named(source: str, name: str | None) -> str | None:
    return f"{source}/{name}" if name else None
