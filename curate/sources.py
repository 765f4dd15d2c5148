r"""Files on disk to items with what their place says: recipes, folders, labels, subjects, clips.

A recipe is `datasets/<name>/recipe.toml`: rules tried in order, each a pattern over the path (its
last components, with `/`), whose named groups `class`, `subject`, `clip` and `split` are looked up
or taken as they are:

    description = "..."
    [[rule]]
    pattern = '(?P<split>train|test)/(?P<class>normal|spoof)/(?P<subject>\d+)_\d+\.jpe?g'
    [classes.normal]
    label = "bonafide"
    [classes.spoof]
    label = "attack"
    attack_type = "unknown"
    [splits]
    train = "train"
"""

import os
import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import quote_from_bytes, unquote_to_bytes

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from curate import config, schema
from curate.errors import SourceError
from curate.workspace import FOLDERS, Workspace

PLAIN = "folder"  # the source of files that no recipe explains
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".mpo"}
_OURS = frozenset({*FOLDERS, config.FILENAME, "report.html"})  # what a workspace keeps for itself
AUTO_SHARE = 0.9  # `auto` takes the recipe that explains at least this share of the image files


class Rule(BaseModel):
    """One pattern over the end of a path."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    pattern: str

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
        return value


class Label(BaseModel):
    """What a class folder means."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    label: Annotated[str, Field(pattern=f"^({schema.BONAFIDE}|{schema.ATTACK})$")]
    attack_type: str = ""

    @field_validator("attack_type")
    @classmethod
    def _known(cls, value: str) -> str:
        if value and value not in schema.ATTACK_TYPES:
            raise ValueError(f"unknown attack type; known: {schema.ATTACK_TYPES}")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> "Label":
        if (self.label == schema.ATTACK) != bool(self.attack_type):
            raise ValueError("an attack needs an attack_type (`unknown` if so), bona fide has none")
        return self


class Recipe(BaseModel):
    """How one known source is read."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str = ""
    description: str
    rule: tuple[Rule, ...]
    classes: dict[str, Label] = {}
    splits: dict[str, Annotated[str, Field(pattern="^(train|dev|test)$")]] = {}

    @property
    def says(self) -> int:
        """How many things the first rule reads off a path."""
        return len(re.compile(self.rule[0].pattern).groupindex) if self.rule else 0

    def read(self, place: str) -> dict[str, str | None] | None:
        """Return label, attack_type, subject, clip and split of a path; None if no rule fits."""
        for rule in self.rule:
            if found := re.search(rf"(?:^|/){rule.pattern}$", place, re.IGNORECASE):
                return self._fields(found.groupdict())
        return None

    def _fields(self, groups: dict[str, str | None]) -> dict[str, str | None]:
        meaning = self.classes.get((groups.get("class") or "").lower())
        split = (groups.get("split") or "").lower()
        return {
            "label": meaning.label if meaning else None,
            "attack_type": meaning.attack_type if meaning else "",
            "subject": _named(self.name, groups.get("subject")),
            "clip": _named(f"{self.name}/{groups.get('class')}", groups.get("clip")),
            "split": self.splits.get(split),
        }


@dataclass(frozen=True)
class Item:
    """One file found, and what its place says of it."""

    path: Path
    uri: str
    size: int
    mtime_ns: int
    source: str
    label: str | None
    attack_type: str
    subject: str | None
    clip: str | None
    split: str | None


def uri_of(path: Path) -> str:
    """Return an absolute path as text; a name that is not UTF-8 as a percent-coded file: URI."""
    text = str(path)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return "file://" + quote_from_bytes(os.fsencode(text))
    return text


def path_of(uri: str) -> Path:
    """Return the path that `uri_of` made this text from."""
    if uri.startswith("file://"):
        return Path(os.fsdecode(unquote_to_bytes(uri[len("file://") :])))
    return Path(uri)


def load_recipes(workspace: Workspace) -> dict[str, Recipe]:
    """Return the recipes of the checkout, over which those of the workspace win.

    Raises:
        SourceError: a recipe.toml is wrong.
    """
    folders = (Path(__file__).parent.parent / "datasets", workspace.root / "datasets")
    files = [file for folder in folders for file in sorted(folder.glob("*/recipe.toml"))]
    return {file.parent.name: _load(file) for file in files}


def scan(sources: Sequence[Path], recipe: Recipe | None) -> list[Item]:
    """Return the files under ``sources`` in the order of their uri, each once.

    Raises:
        SourceError: a source is missing.
    """
    require_present(sources)
    found: dict[str, Item] = {}
    for source in sources:
        here = source.resolve() if source.is_dir() else source.parent.resolve() / source.name
        for path in files(here):
            item = _item(path, _place(path, here), recipe)
            found.setdefault(item.uri, item)
    return [found[uri] for uri in sorted(found)]


def require_present(sources: Sequence[Path]) -> None:
    """Check that each source is there.

    Raises:
        SourceError: one is not.
    """
    for source in sources:
        if not source.exists():
            raise SourceError(
                f"{source} does not exist.\nNext: name a folder of images, or one image"
            )


def choose(sources: Sequence[Path], recipes: dict[str, Recipe]) -> tuple[Recipe | None, str]:
    """Return the recipe that explains most of the image files (None: too few), and why."""
    folders = [source.resolve() for source in sources]
    places = [_place(path, folder) for folder in folders for path in files(folder)]
    images = [place for place in places if Path(place).suffix.lower() in IMAGE_SUFFIXES]
    if not images or not recipes:
        return None, "no image file by name; read as a plain folder without labels"
    shares = {
        name: sum(recipe.read(place) is not None for place in images) / len(images)
        for name, recipe in recipes.items()
    }
    # Of recipes that explain as much, the one that says more (a subject, a split) is the closer.
    best = max(shares, key=lambda name: (shares[name], recipes[name].says))
    says = f"recipe {best} explains {shares[best]:.0%} of {len(images)} image files"
    if shares[best] < AUTO_SHARE:
        return None, (
            f"read as a plain folder without labels; the closest {says}, of the {AUTO_SHARE:.0%} "
            f"needed (to use it all the same: --recipe {best})"
        )
    return recipes[best], says


def _load(file: Path) -> Recipe:
    try:
        recipe = Recipe.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, ValidationError, OSError) as error:
        raise SourceError(f"{file}: {error}\nNext: mend the recipe") from error
    return recipe.model_copy(update={"name": file.parent.name})


def files(source: Path) -> Iterator[Path]:
    """Yield the files below ``source`` in order, or itself; nothing hidden, no workspace's own."""
    if not source.is_dir():
        yield source
        return
    visited: set[tuple[int, int]] = set()
    for folder, folders, names in os.walk(source, followlinks=True):
        here = Path(folder).stat()
        if (here.st_dev, here.st_ino) in visited:  # a link that leads back
            folders.clear()
            continue
        visited.add((here.st_dev, here.st_ino))
        ours = _OURS if Path(folder, config.FILENAME).is_file() else frozenset()
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and name not in ours
        )
        for name in sorted(names):
            if not name.startswith(".") and name not in ours:
                yield Path(folder, name)


def _place(path: Path, source: Path) -> str:
    """Return the path from two folders above on: `live/0001/a.jpg` of source `live/0001`."""
    above = source.parts[-2:] if source.is_dir() else source.parts[-4:-1]
    below = path.relative_to(source).parts if source.is_dir() else (path.name,)
    return "/".join((*above, *below)).lstrip("/")


def _item(path: Path, place: str, recipe: Recipe | None) -> Item:
    fields = (recipe.read(place) if recipe else None) or {}
    size, mtime_ns = _size_and_time(path)
    return Item(
        path=path,
        uri=uri_of(path),
        size=size,
        mtime_ns=mtime_ns,
        source=recipe.name if recipe else PLAIN,
        label=fields.get("label"),
        attack_type=fields.get("attack_type") or "",
        subject=fields.get("subject"),
        clip=fields.get("clip"),
        split=fields.get("split"),
    )


def _size_and_time(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except OSError:
        return 0, 0
    return stat.st_size, stat.st_mtime_ns


def _named(source: str, name: str | None) -> str | None:
    return f"{source}/{name}" if name else None
