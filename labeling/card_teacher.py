"""Cards as teachers: what their models make of images, computed once and kept on disk."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate import crops, engine, schema
from curate.embeddings import Cache
from curate.engine import Track
from labeling.cards import Card, Shelf
from labeling.zero_shot import Floats, Image, Model

BATCH = 16  # images in one forward pass
PART = 512  # images whose scores a kill may cost


class CardTeacher:
    """The models of one card, their probabilities averaged."""

    def __init__(
        self, card: Card, models: Sequence[Model], cache: Path, *, threads: int, track: Track
    ) -> None:
        """Teach with the loaded ``models`` of ``card``; scores are kept under ``cache``."""
        self.name = card.name
        self._card = card
        self._models = models
        self._cache = cache
        self._threads = threads
        self._track = track

    def probabilities(self, units: pd.DataFrame) -> NDArray[np.float64]:
        """Return (N, C) over the classes of the task for units as `logits` takes them.

        A row of NaN where there is no face to judge, or the card does not judge that part.
        """
        found = self._logits(units)
        each = [model.probabilities(rows) for model, rows in zip(self._models, found, strict=True)]
        mean: NDArray[np.float64] = np.mean(each, axis=0)
        known = [self._parts(model) for model in self._models]
        mean[~units["part"].isin(set.intersection(*known)).to_numpy()] = np.nan
        return mean

    def logits(self, units: pd.DataFrame) -> Floats:
        """Return (N, K) logits of all models side by side; a row of NaN where there is no face.

        ``units`` are rows of `images` with a `part`.

        Raises:
            SourceError: an original is gone.
        """
        return np.hstack(self._logits(units))

    def _logits(self, units: pd.DataFrame) -> list[Floats]:
        return logits(self._models, units, self._cache, threads=self._threads, track=self._track)

    def _parts(self, model: Model) -> set[str]:
        return set(model.card.parts or schema.PARTS_OF[self._card.task])


def load(shelf: Shelf, name: str, cache: Path, *, threads: int, track: Track) -> CardTeacher:
    """Return the teacher of one card, its models loaded and self-tested.

    Raises:
        ConfigError: no card has that name.
        AssetError: weights are missing, altered, do not load or fail the self-test.
    """
    card = shelf.card(name)
    models = [Model(net, shelf.weights(net)) for net in shelf.nets(card)]
    return CardTeacher(card, models, cache, threads=threads, track=track)


def logits(
    models: Sequence[Model], units: pd.DataFrame, cache: Path, *, threads: int, track: Track
) -> list[Floats]:
    """Return (N, K) logits of each model for ``units``; a row of NaN where there is no face.

    An image is read once for all ``models`` that have not seen it; at most PART scores and a few
    images are in memory at a time beside the result. What a model made of an image is kept in
    ``cache``/scores-<card>-<mark>, in half precision.

    Raises:
        SourceError: an original is gone.
    """
    caches = [Cache(cache / f"scores-{model.card.name}-{model.mark}") for model in models]
    images = units[_judged(models, units)].drop_duplicates("image_id")
    have = set.intersection(*(each.ids() for each in caches))
    missing = images[~images["image_id"].isin(have)]
    found = track(_stream(models, missing, threads), len(missing), "zero-shot scores")
    for part in engine.batched(found, PART):
        for place, each in enumerate(caches):
            each.add({image_id: scores[place] for image_id, scores in part})
    judged = images["image_id"]
    return [_spread(model, each, units, judged) for model, each in zip(models, caches, strict=True)]


def _judged(models: Sequence[Model], units: pd.DataFrame) -> NDArray[np.bool_]:
    """Tell which units show what the models look at: a face, but where all look at the whole."""
    if all(model.card.input.crop == "whole" for model in models):
        return np.ones(len(units), bool)
    return units["face"].map(crops.given).to_numpy(bool)


def _stream(
    models: Sequence[Model], images: pd.DataFrame, threads: int
) -> Iterator[tuple[str, list[Floats]]]:
    """Yield each image's id and its (K,) logits of each model."""
    rows = (
        row
        for start in range(0, len(images), PART)
        for row in images.iloc[start : start + PART].to_dict("records")
    )
    shown = engine.mapped(lambda row: _squares(models, row), rows, threads=threads)
    for batch in engine.batched(shown, BATCH):
        seen = [
            model.logits([squares[place] for _, squares in batch])
            for place, model in enumerate(models)
        ]
        for row, (image_id, _) in enumerate(batch):
            yield image_id, [scores[row] for scores in seen]


def _squares(models: Sequence[Model], row: crops.Row) -> tuple[str, list[Image]]:
    """Return an image's id and what each model wants of it, cut from the full picture."""
    rgb, _ = crops.read_upright(row)
    x, y, width, height = crops.listed(row["face"]) or (0, 0, *rgb.shape[1::-1])
    box = float(x), float(y), float(width), float(height)
    return str(row["image_id"]), [model.crop(rgb, box) for model in models]


def _spread(model: Model, cache: Cache, units: pd.DataFrame, judged: "pd.Series[Any]") -> Floats:
    """Return the (N, K) scores of all ``units``; ``judged`` are the ids of the images with some."""
    found = np.full((len(units), len(model.card.output.classes)), np.nan, np.float32)
    if len(judged):
        row = pd.Index(judged).get_indexer(pd.Index(units["image_id"]))
        found[row >= 0] = cache.matrix(judged.tolist())[row[row >= 0]]
    return found
