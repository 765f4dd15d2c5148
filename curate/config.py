"""curate.toml: every setting, its default and its range. Unknown keys are errors."""

import json
import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from curate.errors import ConfigError

Share = Annotated[float, Field(ge=0, le=1)]
CropScale = Annotated[float, Field(ge=1, le=6)]  # side of the crop over side of the face
Count = Annotated[int, Field(ge=1)]
KeepRule = Literal["upright", "largest_face", "sharpest", "largest_file", "earliest"]


class Section(BaseModel):
    """A table of curate.toml: frozen, and closed to keys we do not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Ingest(Section):
    """How duplicates are proposed and confirmed."""

    radius: Annotated[int, Field(ge=0, le=8)] = 8  # bits of 64 within which two hashes are joined
    similarity: Share = 0.99  # agreement of the aligned pixels from which a candidate is a copy
    hashes: Literal["fast", "exact"] = "fast"  # from the scaled decode, or from every pixel
    quality: bool = True  # whether blur, exposure and the like are measured
    keep: tuple[KeepRule, ...] = ("upright", "largest_face", "sharpest", "earliest")
    yunet: str = ""  # a YuNet .onnx file to find faces with, instead of the detector pulled


class Splits(Section):
    """Shares of a source that declares no split of its own."""

    train: Share = 0.7
    dev: Share = 0.1
    test: Share = 0.2

    @model_validator(mode="after")
    def _sum_to_one(self) -> "Splits":
        if abs(self.train + self.dev + self.test - 1) > 1e-6:
            raise ValueError("train + dev + test must be 1")
        return self


class Softlabel(Section):
    """The teachers: frozen features of crops under linear heads, and model files with a card."""

    backbone: str = "tf_efficientnet_lite0"
    crop_scales: Annotated[tuple[CropScale, ...], Field(min_length=1)] = (1.5, 2.7)
    image_size: Annotated[int, Field(ge=32, le=1024)] = 224  # pixels
    folds: Annotated[int, Field(ge=2, le=20)] = 5
    weights: str = ""  # a folder of model files that cards describe


class Retrain(Section):
    """The challenger and how long it learns."""

    backbone: str = "tf_efficientnet_lite0"
    crop_scale: CropScale = 2.7
    image_size: Annotated[int, Field(ge=32, le=1024)] = 160
    epochs: Count = 6
    batch_size: Count = 32
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 3e-4


class Review(Section):
    """Where the FiftyOne App listens, on loopback."""

    port: Annotated[int, Field(ge=1024, le=65535)] = 5151


class Config(Section):
    """All of curate.toml."""

    seed: Annotated[int, Field(ge=0)] = 0
    threads: Annotated[int, Field(ge=0)] = 0  # 0: one per core
    ingest: Ingest = Ingest()
    splits: Splits = Splits()
    softlabel: Softlabel = Softlabel()
    retrain: Retrain = Retrain()
    review: Review = Review()


def read(file: Path) -> Config:
    """Read curate.toml.

    Raises:
        ConfigError: it is not TOML, or holds an unknown key or a value out of range.
    """
    try:
        return Config.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        once = " (each [section] may stand only once)" if "twice" in str(error) else ""
        raise ConfigError(f"{file} is not TOML: {error}{once}.\nNext: mend that line") from error
    except ValidationError as error:
        raise ConfigError(f"{file}: {_faults(error)}") from error


def override(config: Config, section: str, **values: object) -> Config:
    """Return ``config`` with the values that are not None put into ``section``.

    Raises:
        ConfigError: a value is out of range.
    """
    given = {key: value for key, value in values.items() if value is not None}
    tree = config.model_dump()
    tree[section] |= given
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(_faults(error)) from error


def default_text() -> str:
    """Return a curate.toml that says the defaults, every line commented out."""
    lines = ["# Settings of this curate workspace. Uncomment a line to change its value.\n"]
    for key, value in Config().model_dump().items():
        if not isinstance(value, dict):
            lines.append(f"# {key} = {value}")
            continue
        lines.append(f"\n[{key}]")
        # What JSON writes for these values is TOML too.
        lines += [f"# {name} = {json.dumps(item)}" for name, item in value.items()]
    return "\n".join(lines) + "\n"


def _faults(error: ValidationError) -> str:
    parts = []
    for fault in error.errors():
        place = ".".join(str(step) for step in fault["loc"]) or "splits"
        if fault["type"] == "extra_forbidden":
            parts.append(f"unknown key {place!r}; known: {', '.join(_known(place))}")
        else:
            parts.append(f"{place} = {fault['input']!r}: {fault['msg']}")
    return "; ".join(parts)


def _known(place: str) -> list[str]:
    model: type[BaseModel] = Config
    for step in place.split(".")[:-1]:
        model = type(getattr(model(), step))
    return sorted(model.model_fields)
