"""Manifests: CSV, TSV and Parquet tables that name images and say what they show.

    path,label,attack_type,subject,clip,split
    a.jpg,attack,print,ann,,train

Only the path is needed (a column `uri`, `path`, `file`, `image`, `image_path` or `filename`); a
relative one counts from the manifest's folder, and may be written with backslashes. `task` and
`part` say what a label is about (else liveness); an image with several labels has several rows, one
after the other.
"""

import csv
import io
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import PurePosixPath
from typing import Any, BinaryIO, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from curate import places, schema
from curate.errors import SourceError
from curate.recipes import Given

SUFFIXES = (".csv", ".tsv", ".parquet")
PATHS = ("uri", "path", "file", "image", "image_path", "filename")
COLUMNS = ("label", "attack_type", "task", "part", "subject", "clip", "split")
WORDS = {**schema.CLASSES_OF, "liveness": (schema.BONAFIDE, schema.ATTACK)}

Meaning: TypeAlias = Callable[[str], tuple[Given, ...] | None]  # of a recipe's class words
Cells: TypeAlias = dict[str, str]


@dataclass(frozen=True, slots=True)
class Row:
    """What a manifest says of one image."""

    uri: str
    path: str  # as the manifest has it
    labels: tuple[Given, ...]
    subject: str | None
    clip: str | None
    split: str | None


def is_manifest(name: str) -> bool:
    """Whether a name is that of a manifest."""
    return name.lower().endswith(SUFFIXES)


def rows(uri: str, meaning: Meaning) -> Iterator[Row]:
    """Yield what the manifest at ``uri`` says, in its order, reading as it goes.

    Args:
        uri: the manifest.
        meaning: the labels that a word of the label column gives, None where it is no word of the
            recipe; asked first.

    Raises:
        SourceError: it does not read, or a line is wrong: which, why, and what is allowed.
    """
    done: set[str] = set()
    for image, group in groupby(_lines(uri), key=lambda line: _uri(line[1]["path"], uri)):
        lines = list(group)
        if image in done:
            why = "named before; rows of an image stand together"
            raise _wrong(uri, lines[0][0], "path", lines[0][1]["path"], why)
        done.add(image)
        yield _row(uri, image, lines, meaning)


def _row(uri: str, image: str, lines: Sequence[tuple[int, Cells]], meaning: Meaning) -> Row:
    labels = {label: None for line, cells in lines for label in _labels(uri, line, cells, meaning)}
    said = {name: _one(uri, lines, name) for name in ("subject", "clip", "split")}
    if said["split"] not in (None, *schema.SPLITS):
        raise _wrong(uri, lines[0][0], "split", said["split"], f"allowed: {_or(schema.SPLITS)}")
    path = lines[0][1]["path"]
    return Row(image, path, tuple(labels), said["subject"], said["clip"], said["split"])


def _one(uri: str, lines: Sequence[tuple[int, Cells]], name: str) -> str | None:
    """Return what the rows of one image say in a column, in which they must agree."""
    words: dict[str, None] = {}
    for line, cells in lines:
        if cells[name]:
            words[cells[name]] = None
        if len(words) > 1:
            raise _wrong(uri, line, name, cells[name], f"the row before says {next(iter(words))!r}")
    return next(iter(words), None)


def _labels(uri: str, line: int, cells: Cells, meaning: Meaning) -> tuple[Given, ...]:
    word = cells["label"] or (schema.ATTACK if cells["attack_type"] else "")
    if not word:
        return ()
    task, part = cells["task"] or "liveness", cells["part"]
    mapped = meaning(word)
    if mapped is not None and not cells["task"]:
        return mapped
    if task not in WORDS:
        raise _wrong(uri, line, "task", task, f"allowed: {_or(WORDS)}")
    if part not in schema.PARTS_OF[task]:
        raise _wrong(uri, line, "part", part, f"allowed for {task}: {_or(schema.PARTS_OF[task])}")
    if word not in WORDS[task]:
        raise _wrong(uri, line, "label", word, _hint(task, word))
    return (Given(task, part, word, _attack_type(uri, line, word, cells["attack_type"])),)


def _attack_type(uri: str, line: int, word: str, named: str) -> str:
    if named and word != schema.ATTACK:
        raise _wrong(uri, line, "attack_type", named, f"but its label is {word!r}, no attack")
    if named and named not in schema.ATTACK_TYPES:
        raise _wrong(uri, line, "attack_type", named, f"allowed: {_or(schema.ATTACK_TYPES)}")
    return named or ("unknown" if word == schema.ATTACK else "")


def _hint(task: str, word: str) -> str:
    allowed = f"allowed for {task}: {_or(WORDS[task])}"
    if word.strip("-").replace(".", "").isdigit():
        return (
            f"{allowed}. Public sets disagree on what a number means; a recipe can say it, with "
            f"[classes.{word}], and --recipe NAME"
        )
    return f"{allowed}, or the classes of a recipe (--recipe NAME)"


def _uri(path: str, manifest: str) -> str:
    """Return the uri of a path in a manifest."""
    if path.startswith(("file://", "zip://", "tar://")) or places.is_remote(path):
        return path
    slashed = path.replace("\\", "/")
    if places.is_remote(manifest) and not path.startswith("/"):
        return f"{manifest.rpartition('/')[0]}/{PurePosixPath(slashed)}"
    folder = places.path_of(manifest).parent
    if "\\" in path and not os.path.lexists(folder / path):
        path = slashed
    return places.uri_of(folder / os.path.normpath(folder / path))


def _lines(uri: str) -> Iterator[tuple[int, Cells]]:
    """Yield number and cells of each line; a cell that is not there is ""."""
    try:
        with places.open_binary(uri) as file:
            yield from (_parquet if uri.lower().endswith(".parquet") else _text)(uri, file)
    except (OSError, csv.Error, pa.ArrowException) as error:
        raise SourceError(f"{uri}: {error}\nNext: give a CSV or Parquet file") from error


def _text(uri: str, file: BinaryIO) -> Iterator[tuple[int, Cells]]:
    with io.TextIOWrapper(file, "utf-8-sig", "surrogateescape", newline="") as text:
        header = text.readline(1 << 20)
        separator = max(",;\t", key=header.count)
        names = _known(uri, next(csv.reader([header], delimiter=separator), []))
        reader = csv.reader(text, delimiter=separator, strict=True)
        while (cells := _next(uri, reader)) is not None:
            if any(cells):
                line = reader.line_num + 1
                yield line, _cells(uri, line, names, cells)


def _next(uri: str, reader: Any) -> list[str] | None:
    """Return the cells of the next line, None after the last; a quote left open is an error."""
    try:
        cells: list[str] | None = next(reader, None)
    except csv.Error as error:
        raise SourceError(
            f"{uri}, line {reader.line_num + 1}: {error}.\n"
            "Next: mend the line (is a quote left open?), and ingest again"
        ) from error
    return cells


def _parquet(uri: str, file: BinaryIO) -> Iterator[tuple[int, Cells]]:
    table = pq.ParquetFile(file)
    names = _known(uri, table.schema_arrow.names)
    wanted = [name for name in table.schema_arrow.names if _plain(name) in names]
    _check_types(uri, table.schema_arrow)
    line = 0
    for batch in table.iter_batches(columns=wanted):
        columns = [column.to_pylist() for column in batch.select(wanted).columns]
        for values in zip(*columns, strict=True):
            line += 1
            cells = [_text_of(value) for value in values]
            yield line, _cells(uri, line, [_plain(name) for name in wanted], cells)


def _check_types(uri: str, columns: pa.Schema) -> None:
    for column in columns:
        if _plain(column.name) in (*PATHS, *COLUMNS) and pa.types.is_nested(column.type):
            raise SourceError(
                f"{uri}: column {column.name!r} holds {column.type}, not one text.\n"
                "Next: write it as a plain column, or take it out"
            )


def _text_of(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    return "" if value is None else str(value)


def _known(uri: str, header: Sequence[str]) -> list[str]:
    """Return the header's names as we compare them, of which one must be the path."""
    names = [_plain(name) for name in header]
    paths = [name for name in PATHS if name in names]
    if len(paths) != 1:
        found = f"columns {', '.join(paths)} all name a path" if paths else "no column names a path"
        raise SourceError(
            f"{uri}: {found}; the header is {list(header)}.\nNext: keep one of {_or(PATHS)}"
        )
    return names


def _cells(uri: str, line: int, names: Sequence[str], values: Sequence[str]) -> Cells:
    if not "".join(values).isprintable():  # cheap, and most lines are
        _check_letters(uri, line, names, values)
    given = dict(zip(names, (value.strip() for value in values), strict=False))
    path = next((v for n, v in zip(names, values, strict=False) if n in PATHS), "")
    if not path:
        raise _wrong(uri, line, "path", path, "every line must name an image")
    return {name: given.get(name, "") for name in COLUMNS} | {"path": path}


def _check_letters(uri: str, line: int, names: Sequence[str], values: Sequence[str]) -> None:
    """Refuse bytes that are no UTF-8 but in a path, where they may be the name of a file."""
    for name, value in zip(names, values, strict=False):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            if name in PATHS and "://" not in value:
                continue
            why = 'not UTF-8 (save the table as "CSV UTF-8")'
            raise _wrong(uri, line, name, value, why) from error


def _plain(name: str) -> str:
    return name.strip().lower()


def _or(words: object) -> str:
    return ", ".join(repr(word) for word in words)  # type: ignore[attr-defined]


def _wrong(uri: str, line: int, column: str, value: object, why: str) -> SourceError:
    return SourceError(
        f"{uri}, line {line}: {column} {value!r}: {why}.\nNext: mend the line, and ingest again"
    )
