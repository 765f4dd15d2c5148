"""What the user names to items: trees and manifests listed, a recipe bound, videos sampled."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import PurePosixPath
from typing import TypeAlias

from curate import engine, manifests, places, recipes, video
from curate.manifests import Row
from curate.recipes import SKIP, Fields, Given, Recipe
from curate.trees import Entry, Tree, suffix, tree
from curate.video import Sampling

PLAIN = "folder"  # the source of files that no recipe explains
# Beside images that a recipe explains, such files are its lists and boxes, not images to look at.
NOTES = frozenset(
    {".txt", ".csv", ".tsv", ".json", ".xml", ".md", ".lst", ".face", ".tag", ".mat", ".npy"}
    | {".npz", ".pdf", ".html", ".yaml", ".yml", ".toml", ".log", ".m", ".py", ".sh", ".doc"}
)
NOTHING = Fields((), None, None, None, "face", None)

Told: TypeAlias = tuple[Entry, str, Fields]  # a file, its source, and what is said of it


@dataclass(frozen=True, slots=True)
class Item:
    """One image found, and what its place says of it."""

    uri: str
    size: int  # of the file, in bytes; for a frame, of the video
    mtime_ns: int
    source: str
    labels: tuple[Given, ...]
    subject: str | None
    clip: str | None
    split: str | None
    shows: str  # "face" or "eye"
    box: tuple[float, float, float, float] | None  # x, y, w, h as fractions of the image


def trees(sources: Sequence[str]) -> list[Tree]:
    """Return the trees of what the user named, in an order that is not theirs but always the same.

    Args:
        sources: folders, files, globs, archives, manifests, addresses.

    Raises:
        SourceError: one is not there.
        MissingExtra: an address or a video needs a module that is not installed.
    """
    return sorted((tree(source) for source in sources), key=lambda each: each.uri)


def choose(listed: Sequence[Tree], known: Mapping[str, Recipe]) -> tuple[Recipe | None, str]:
    """Return the recipe that explains most of the images, None if none does, and why."""
    if all(_manifest(each) for each in listed):
        return None, "read as the manifest says"
    names = [entry.place for each in listed for entry in each.entries]

    def read_text(place: str) -> str | None:
        return next((text for each in listed if (text := each.read_text(place)) is not None), None)

    return recipes.choose(names, read_text, known)


def scan(
    listed: Sequence[Tree],
    recipe: Recipe | None,
    *,
    sampling: Sampling = Sampling(),  # noqa: B008  (frozen)
    threads: int = 1,
) -> Iterator[Item]:
    """Yield the items of trees, each once: tree by tree, by uri, members as archives hold them.

    An image of which two manifests say different things is there twice: both count.

    Args:
        listed: as `trees` gave them.
        recipe: how places are read, if at all.
        sampling: which frames of videos are items.
        threads: by how many videos are looked through.

    Raises:
        SourceError: a manifest, or a list that the recipe reads, is wrong.
    """
    named = [each for each in listed if _manifest(each)]  # what they say outranks a folder
    told = dict.fromkeys(item for each in named for item in _items(each, recipe, sampling, threads))
    yield from told
    seen = {item.uri for item in told} | {each.entries[0].uri for each in named}
    for each in (each for each in listed if not _manifest(each)):
        for item in _items(each, recipe, sampling, threads):
            if item.uri not in seen:
                seen.add(item.uri)
                yield item


def _items(each: Tree, recipe: Recipe | None, sampling: Sampling, threads: int) -> Iterator[Item]:
    told = (_by_manifest if _manifest(each) else _by_place)(each, recipe)
    work = partial(_expanded, sampling=sampling)
    return chain.from_iterable(engine.mapped(work, told, threads=threads))


def _manifest(each: Tree) -> bool:
    return len(each.entries) == 1 and manifests.is_manifest(each.uri)


def _by_place(each: Tree, recipe: Recipe | None) -> Iterator[Told]:
    """Yield each entry and what the recipe says of its place."""
    if recipe is None:
        yield from ((entry, PLAIN, NOTHING) for entry in each.entries)
        return
    read = recipes.bind(recipe, [entry.place for entry in each.entries], each.read_text)
    for entry in each.entries:
        fields = read(entry.place)
        if fields is SKIP or (fields is None and suffix(entry.place) in NOTES):
            continue
        yield entry, recipe.name, fields or NOTHING


def _by_manifest(each: Tree, recipe: Recipe | None) -> Iterator[Told]:
    """Yield each image of a manifest and what it says of it; what it leaves out says the recipe."""
    read = recipes.bind(recipe, [], lambda place: None) if recipe else lambda place: None
    source = recipe.name if recipe else PurePosixPath(each.uri).parent.name or PLAIN

    def meaning(word: str) -> tuple[Given, ...] | None:
        found = recipe.classes.get(word.lower()) if recipe else None
        return found.given if found else None

    for row in manifests.rows(each.entries[0].uri, meaning):
        fields = read(row.path.replace("\\", "/").lstrip("/")) or NOTHING
        if fields is not SKIP:
            yield _entry(row), source, _outranked(fields, row, source)


def _entry(row: Row) -> Entry:
    try:
        return Entry(row.path, row.uri, *places.stat(row.uri))
    except OSError:  # it is an item all the same, and will be on record as unreadable
        return Entry(row.path, row.uri, 0, 0)


def _outranked(fields: Fields, row: Row, source: str) -> Fields:
    return replace(
        fields,
        labels=row.labels or fields.labels,
        subject=_named(source, row.subject) or fields.subject,
        clip=_named(source, row.clip) or fields.clip,
        split=row.split or fields.split,
    )


def _named(source: str, name: str | None) -> str | None:
    """Return "<source>/<name>"; a name that says a source already stays as it is."""
    return name if not name or "/" in name else f"{source}/{name}"


def _expanded(told: Told, *, sampling: Sampling) -> list[Item]:
    """Return the item of an image, or those of the frames of a video."""
    entry, source, fields = told
    if suffix(entry.place) not in video.SUFFIXES:
        return [_item(entry.uri, told)]
    fields = fields if fields.clip else replace(fields, clip=entry.uri)
    return [
        _item(places.frame_uri(entry.uri, number), (entry, source, fields))
        for number in _frames(entry.uri, sampling)
    ]


def _frames(uri: str, sampling: Sampling) -> list[int]:
    try:
        return video.frames_to_keep(places.open_binary(uri), sampling.fps, sampling.closed)
    except OSError:
        return [0]  # cannot be read, and that will be its reason


def _item(uri: str, told: Told) -> Item:
    entry, source, said = told
    return Item(
        uri=uri,
        size=entry.size,
        mtime_ns=entry.mtime_ns,
        source=source,
        labels=said.labels,
        subject=said.subject,
        clip=said.clip,
        split=said.split,
        shows=said.shows,
        box=said.box,
    )
