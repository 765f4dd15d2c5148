"""Cards: TOML files that say what a zero-shot model wants to see and what its answers mean.

Shipped cards lie in `labeling/cards/`, a workspace's own in its `cards/`; of the same name, the
workspace's count. Weights are never shipped. Reading a card loads no model: zero_shot.py does.
"""

import hashlib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, StringConstraints, ValidationError, model_validator

from curate import assets, schema
from curate.config import Section
from curate.errors import AssetError, ConfigError
from curate.workspace import Workspace

SHIPPED = Path(__file__).parent / "cards"

Name: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
Filename: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[^/\\]+$")]
Sha256: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Task: TypeAlias = Literal["liveness", "eyes", "occlusion"]
Probability: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Three: TypeAlias = tuple[float, float, float]


class Weights(Section):
    """The file of the model."""

    file: Filename
    format: Literal["onnx", "torchscript", "state_dict"]
    architecture: Literal["", "minifasnet"] = ""  # of a state dict: the module that builds it
    sha256: Sha256 | None = None

    @model_validator(mode="after")
    def _architecture_where_needed(self) -> "Weights":
        if (self.format == "state_dict") != bool(self.architecture):
            raise ValueError("architecture belongs to format state_dict, and only to that")
        return self


class Input(Section):
    """What the model is shown, from the upright RGB image and the box of its face."""

    # shift: the box grown by `scale`, moved into the frame; zero: a square of `scale` times the
    # longer side, black where it leaves the frame; whole: the image itself
    crop: Literal["shift", "zero", "whole"]
    scale: Annotated[float, Field(ge=0.5, le=10)] | None = None
    size: Annotated[int, Field(ge=8, le=1024)]  # pixels of the square
    colours: Literal["RGB", "BGR"]
    white: Literal[1, 255]  # the value of a pixel that is full on
    mean: Three = (0.0, 0.0, 0.0)  # taken off each channel, in the order of `colours`
    std: Three = (1.0, 1.0, 1.0)

    @model_validator(mode="after")
    def _scale_where_needed(self) -> "Input":
        if (self.crop == "whole") == (self.scale is not None):
            raise ValueError("crop shift and zero need a scale, crop whole has none")
        if min(self.std) <= 0:
            raise ValueError("std must be above 0")
        return self


class Output(Section):
    """What the model answers."""

    values: Literal["logits", "probabilities"]
    classes: tuple[str, ...]  # of each output: a class of the task; attack: of no type it tells


class Selftest(Section):
    """A picture that `zero_shot.picture` draws, and what the model makes of it."""

    seed: Annotated[int, Field(ge=0, lt=2**32)]
    expected: Annotated[dict[str, Probability], Field(min_length=1)]  # in the words of `classes`


class Net(Section):
    """One model under its card."""

    name: Name
    task: Task
    licence: str
    obtain: str  # where the weights come from, for people
    parts: tuple[str, ...] = ()  # the parts of the task that it judges; none named: all
    weights: Weights
    input: Input
    output: Output
    selftest: Annotated[tuple[Selftest, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _our_words(self) -> "Net":
        said = {*self.output.classes, *(word for test in self.selftest for word in test.expected)}
        known = words(self.task)
        if bad := sorted(said - set(known)):
            raise ValueError(f"{bad} are no classes of {self.task}; known: {', '.join(known)}")
        if len(set(self.output.classes)) < 2:
            raise ValueError("output.classes must name two different classes or more")
        if bad := sorted(set(self.parts) - set(schema.PARTS_OF[self.task])):
            raise ValueError(f"{bad} are no parts of {self.task}: {schema.PARTS_OF[self.task]}")
        return self


class Ensemble(Section):
    """Several cards of one task whose probabilities are averaged."""

    name: Name
    task: Task
    licence: str
    obtain: str
    members: Annotated[tuple[Name, ...], Field(min_length=2)]


Card: TypeAlias = Net | Ensemble


@dataclass(frozen=True)
class Shelf:
    """Cards by name, and the folders in which their weights are looked for.

    Attributes:
        cards: name -> card.
        files: name -> the TOML file it was read from.
        folders: searched after the folder of the card itself, in this order.
    """

    cards: Mapping[str, Card]
    files: Mapping[str, Path]
    folders: tuple[Path, ...]

    def card(self, name: str) -> Card:
        """Return one card.

        Raises:
            ConfigError: there is none of that name.
        """
        if name not in self.cards:
            raise ConfigError(
                f"no card is called {name!r}; known: {', '.join(self.cards)}.\n"
                "Next: curate teachers list"
            )
        return self.cards[name]

    def nets(self, card: Card) -> list[Net]:
        """Return the models behind ``card``: itself, or the members of an ensemble."""
        if isinstance(card, Net):
            return [card]
        return [net for net in map(self.card, card.members) if isinstance(net, Net)]

    def find(self, net: Net) -> Path | None:
        """Return the weights of ``net``, None where no folder holds the file."""
        folders = (self.files[net.name].parent, *self.folders)
        files = (folder / net.weights.file for folder in folders)
        return next((file for file in files if file.is_file()), None)

    def weights(self, net: Net) -> Path:
        """Return the weights of ``net``, checked.

        Raises:
            AssetError: no folder holds them, or they are not the file that the card names.
        """
        file = self.find(net)
        if file is None:
            folders = ", ".join(str(folder) for folder in self.folders)
            raise AssetError(
                f"card {net.name}: its weights {net.weights.file} lie neither beside "
                f"{self.files[net.name]} nor in {folders}.\nNext: {net.obtain}, and put the file "
                "into one of these folders"
            )
        if net.weights.sha256 and (got := digest(file)) != net.weights.sha256:
            raise AssetError(
                f"{file} is not the file of card {net.name}: its sha256 is {got}, the card expects "
                f"{net.weights.sha256}.\nNext: {net.obtain}, or correct sha256 in "
                f"{self.files[net.name]}"
            )
        return file

    def available(self, task: str | None = None) -> list[Card]:
        """Return the cards, of ``task`` or of all, whose weights are all here."""
        return [
            card
            for card in self.cards.values()
            if task in (None, card.task) and all(map(self.find, self.nets(card)))
        ]


def words(task: str) -> tuple[str, ...]:
    """Return the words that a card of ``task`` may use for its classes."""
    extra = (schema.ATTACK,) if task == schema.LIVENESS else ()
    return (*schema.CLASSES_OF[task], *extra)


def shelf(workspace: Path | None = None, weights: Sequence[Path] = ()) -> Shelf:
    """Return the shipped cards and those in ``workspace``/cards, which win by name.

    Weights are looked for beside the card, in ``workspace``/cards, in each folder of ``weights``
    and in `assets.folder()`.

    Raises:
        ConfigError: a card cannot be read, two of a folder share a name, or an ensemble names what
            is no card of one model of its task.
    """
    own = [workspace / "cards"] if workspace else []
    files: dict[str, Path] = {}
    cards: dict[str, Card] = {}
    for folder in (SHIPPED, *own):
        for file in sorted(folder.glob("*.toml")):
            card = read(file)
            if (other := files.get(card.name)) and other.parent == folder:
                raise ConfigError(
                    f"{file} and {other} are both called {card.name!r}.\nNext: rename one of them"
                )
            cards[card.name], files[card.name] = card, file
    found = Shelf(cards, files, (*own, *weights, assets.folder()))
    for card in cards.values():
        _check_members(found, card)
    return found


def of_workspace(here: Workspace) -> Shelf:
    """Return the shelf of a workspace; its [softlabel] weights name one more folder."""
    named = here.config.softlabel.weights
    return shelf(here.root, [here.root / Path(named).expanduser()] if named else [])


def read(file: Path) -> Card:
    """Read one card.

    Raises:
        ConfigError: it is not TOML, a key is unknown or missing, or a value is not allowed.
    """
    try:
        tree = tomllib.loads(file.read_text(encoding="utf-8"))
        return (Ensemble if "members" in tree else Net).model_validate(tree)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"card {file} is not TOML: {error}.\nNext: mend that line") from error
    except ValidationError as error:
        faults = "; ".join(_fault(dict(fault)) for fault in error.errors())
        raise ConfigError(f"card {file}: {faults}.\nNext: mend it; {_keys(tree)}") from error


def digest(file: Path) -> str:
    """Return the sha256 of a file, hex."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _check_members(found: Shelf, card: Card) -> None:
    if isinstance(card, Net):
        return
    for name in card.members:
        member = found.cards.get(name)
        if not isinstance(member, Net) or member.task != card.task:
            raise ConfigError(
                f"card {found.files[card.name]}: member {name!r} is no card of one {card.task} "
                f"model.\nNext: name some of {', '.join(_singles(found, card.task))}"
            )


def _singles(found: Shelf, task: str) -> list[str]:
    return [one.name for one in found.cards.values() if isinstance(one, Net) and one.task == task]


def _fault(fault: Mapping[str, object]) -> str:
    """Return one of pydantic's faults in words."""
    steps = fault["loc"]
    place = ".".join(map(str, steps)) if isinstance(steps, tuple) else ""
    if fault["type"] == "extra_forbidden":
        return f"unknown key {place!r}"
    if fault["type"] == "missing":
        return f"missing key {place!r}"
    said = str(fault["msg"]).removeprefix("Value error, ")
    return f"{place} = {fault['input']!r}: {said}" if place and steps else said


def _keys(tree: Mapping[str, object]) -> str:
    """Return the keys that a card may have."""
    if "members" in tree:
        return f"keys: {', '.join(Ensemble.model_fields)}"
    tables: dict[str, type[Section]] = {
        "weights": Weights,
        "input": Input,
        "output": Output,
        "[selftest]": Selftest,
    }
    inner = "; ".join(f"[{name}] {', '.join(kind.model_fields)}" for name, kind in tables.items())
    return f"keys: {', '.join(Net.model_fields)}; {inner}"
