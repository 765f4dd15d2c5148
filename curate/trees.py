"""What lies below a source: a folder, glob, archive, address or single file, as a list of entries.

Listing opens archives, for their members are entries like files; it reads no image.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from curate import archives, places
from curate.errors import SourceError
from curate.recipes import MEDIA
from curate.workspace import FILENAME, FOLDERS

_OURS = frozenset({*FOLDERS, FILENAME, "report.html"})  # what a workspace keeps for itself
_MAGIC = re.compile(r"[*?\[]")
MAX_PLACE = 1024  # characters of a place that are read, from its end
MAX_TEXT = 256 << 20  # bytes; the largest label list known, of CelebA-Spoof, is 70 MB


@dataclass(frozen=True, slots=True)
class Entry:
    """One file found."""

    place: str  # `/`-joined, from up to two folders above the source on
    uri: str
    size: int  # bytes
    mtime_ns: int


@dataclass(frozen=True)
class Tree:
    """A source and what lies below it, in the order in which it is best read."""

    uri: str
    entries: list[Entry] = field(repr=False)

    @cached_property
    def _others(self) -> dict[str, str]:
        """Place -> uri of what is no image or video by its name."""
        return {e.place: e.uri for e in self.entries if suffix(e.place) not in MEDIA}

    def read_text(self, place: str) -> str | None:
        """Return the text at a place, None if there is none or it cannot be read."""
        uri = self._others.get(place)
        if uri is None:
            return None
        try:
            if places.stat(uri)[0] > MAX_TEXT:
                return None
            return places.read_bytes(uri).decode("utf-8-sig", "replace")
        except OSError:
            return None


def suffix(place: str) -> str:
    """Return the suffix of a place, in lower case."""
    return PurePosixPath(place).suffix.lower()


def tree(source: str) -> Tree:
    """Return the tree of one source as the user named it.

    Raises:
        SourceError: there is no such thing, or the address cannot be listed.
        MissingExtra: an address needs a module that is not installed.
    """
    if places.is_remote(source):
        return _remote(source)
    try:
        return _local(source)
    except OSError as error:
        raise SourceError(
            f"{source!r:.200} cannot be looked at: {error.strerror}.\n"
            "Next: check its name and its rights"
        ) from error


def _local(source: str) -> Tree:
    path = places.path_of(source)
    if not source or not path.exists():
        if _MAGIC.search(source):
            return _globbed(source)
        raise SourceError(
            f"{source or repr(source)} does not exist.\nNext: name a folder of images, or one image"
        )
    here = path.resolve() if path.is_dir() else path.parent.resolve() / path.name
    return Tree(places.uri_of(here), _entries(files(here), here))


def files(source: Path) -> Iterator[Path]:
    """Yield the files below ``source`` in order, or itself; nothing hidden, no workspace's own.

    A folder that cannot be listed is yielded itself.
    """
    if not source.is_dir():
        yield source
        return
    visited: set[tuple[int, int]] = set()
    shut: list[Path] = []
    for folder, folders, names in os.walk(
        source, followlinks=True, onerror=lambda error: shut.append(Path(error.filename))
    ):
        yield from _emptied(shut)
        if _seen(folder, visited):  # a link that leads back
            folders.clear()
            continue
        ours = _OURS if Path(folder, FILENAME).is_file() else frozenset()
        hidden = {name for name in (*folders, *names) if name.startswith(".") or name in ours}
        folders[:] = sorted(set(folders) - hidden)
        yield from (Path(folder, name) for name in sorted(set(names) - hidden))
    yield from _emptied(shut)


def _seen(folder: str, visited: set[tuple[int, int]]) -> bool:
    try:
        here = os.stat(folder)  # noqa: PTH116
    except OSError:  # it vanished meanwhile
        return True
    known = (here.st_dev, here.st_ino) in visited
    visited.add((here.st_dev, here.st_ino))
    return known


def _emptied(paths: list[Path]) -> Iterator[Path]:
    while paths:
        yield paths.pop()


def _entries(found: Iterable[Path], source: Path) -> list[Entry]:
    """Return the entries of files in the order of their uri, archives opened."""
    above = source.parts[-2:] if source.is_dir() else source.parts[-4:-1]
    base = str(source if source.is_dir() else source.parent)
    uris = sorted(places.uri_of(path) for path in found)  # text, a third of the memory of paths
    return [
        entry
        for uri in uris
        for entry in _opened(_place(above, str(places.path_of(uri))[len(base) :]), uri)
    ]


def _opened(place: str, uri: str, known: tuple[int, int] | None = None) -> Iterator[Entry]:
    """Yield the entry of a file; of an archive, those of its members and of what is lost of it."""
    try:
        size, mtime_ns = known or places.stat(uri)
        kind = _archive_kind(place, uri)
        archive = places.archive(kind, uri) if kind else None
    except OSError:
        yield Entry(place, uri, *(known or (0, 0)))
        return
    if kind is None or archive is None:
        yield Entry(place, uri, size, mtime_ns)
        return
    inside = archives.stem(place)
    for name, member in archive.members.items():
        there = _place([inside], name.replace("\\", "/"))
        yield Entry(there, places.member_uri(kind, name, uri), member.size, mtime_ns)
    if archive.fault:
        yield Entry(inside, places.member_uri(kind, "", uri), 0, mtime_ns)


def _archive_kind(place: str, uri: str) -> str | None:
    if archives.stem(place) == place:
        return None
    with places.open_binary(uri) as file:
        return archives.kind_of(place, file.read(archives.HEAD))


def _place(above: Sequence[str], below: str) -> str:
    """Return a place: text on one line that any table can hold, and any pattern be tried on."""
    text = "/".join((*above, below.strip("/")))[-MAX_PLACE:].lstrip("/").replace("\n", "\\n")
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _globbed(pattern: str) -> Tree:
    """Return the files that a pattern fits, and those below the folders that it fits."""
    whole = os.path.abspath(pattern)  # noqa: PTH100  (a Path would not keep what `**` means)
    root = Path(_root(whole)).resolve()
    if not root.is_dir():
        raise SourceError(
            f"{pattern} fits nothing: {root} is no folder.\nNext: check the part before the *"
        )
    fits = _fitting(f"{root}/{whole[len(_root(whole)) :].lstrip('/')}")
    found = (path for path in files(root) if fits(str(path)))
    return Tree(places.uri_of(root), _entries(found, root))


def _root(pattern: str) -> str:
    """Return the folder before the first name with a wildcard."""
    magic = _MAGIC.search(pattern)
    return pattern[: magic.start()].rpartition("/")[0] or "/" if magic else pattern


def _fitting(pattern: str) -> Callable[[str], object]:
    """Return the function that tells whether a path, or a folder above it, fits a glob.

    `*` and `?` stay within a name, `**/` is any folders or none, `[a-z]` one character.
    """
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[!?[^\]/]+\])", pattern)
    meaning = {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    regex = "".join(
        meaning.get(part) or (part.replace("[!", "[^") if part[:1] == "[" else re.escape(part))
        for part in parts
    )
    return re.compile(f"{regex}(?:/.*)?", re.DOTALL).fullmatch


def _remote(address: str) -> Tree:
    """Return what lies below an address, or the one file there; wildcards as in a local glob."""
    system = places.filesystem(address)
    magic = _MAGIC.search(address)
    top = _root(address) if magic else address.rstrip("/")
    fits = _fitting(_bare(address)) if magic else lambda name: True
    try:
        found = dict(_walked(system, top))
    except places.remote_faults() as error:
        said = str(error) or type(error).__name__
        said = "nothing is there" if said.strip("/") == _bare(address) else said
        raise SourceError(
            f"{address} cannot be listed: {said}.\n"
            "Next: check the address, and that its service lets you in"
        ) from error
    base = _bare(top).split("/")
    if single := [_bare(uri) for uri in found] == [_bare(top)]:
        base = base[:-1]
    above, skip = base[-3:] if single else base[-2:], len("/".join(base))
    return Tree(
        top,
        [
            entry
            for uri in sorted(found)
            if fits(_bare(uri))
            for entry in _opened(_place(above, _bare(uri)[skip:]), uri, found[uri])
        ],
    )


def _bare(address: str) -> str:
    return address.partition("://")[2].strip("/")


def _walked(system: Any, top: str) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield uri, and bytes and time, of each file below; a folder at a time, for memory."""
    if system.isfile(top):
        yield _described(system, system.info(top))
        return
    for _, folders, found in system.walk(top, detail=True, on_error="raise"):
        for name in [name for name in folders if name.startswith(".")]:
            del folders[name]
        for name, info in found.items():
            if name and not name.startswith("."):
                yield _described(system, info)
    system.invalidate_cache()  # it holds a kilobyte for each file


def _described(system: Any, info: dict[str, Any]) -> tuple[str, tuple[int, int]]:
    known = int(info.get("size") or 0), places.changed_ns(info)
    return system.unstrip_protocol(info["name"]), known
