"""Uris: where an image lies, and its bytes from there.

/abs/olute/path                   a file
file:///caf%E9.jpg                a file whose name is not UTF-8, or would read as one of these
zip://MEMBER::CONTAINER           a member of an archive, its name percent-coded; also tar://
CONTAINER#frame=12                a frame of a video, numbered as decoded, as a BMP file
s3://bucket/key                   whatever fsspec knows
"""

import errno
import hashlib
import os
import re
import stat as modes
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.parse import quote_from_bytes, unquote_to_bytes

from curate import archives, video
from curate.archives import Archive
from curate.errors import MissingExtra, SourceError, require

MAX_BYTES = archives.MAX_MEMBER  # of one image file
_FRAME = re.compile(r"(.*)#frame=(\d+)", re.DOTALL)
_MEMBER = re.compile(r"(zip|tar)://(.*?)::(.*)", re.DOTALL)
_REMOTE = re.compile(r"(?!file:|zip:|tar:)([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_REASONS = {
    errno.EFBIG: "too_large",
    errno.EBADMSG: "corrupt",
    errno.ENODATA: "truncated",
    errno.EPERM: "refused",
    errno.ENOTSUP: "unsupported",
}
_OPENING = threading.Lock()


class _Here(threading.local):
    """The video that a thread reads, frame after frame."""

    key: tuple[str, int, int] | None = None
    reader: video.Reader


_HERE = _Here()


def uri_of(path: Path) -> str:
    """Return an absolute path as text; one that is not UTF-8, or ambiguous, percent-coded."""
    text = str(path)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return "file://" + quote_from_bytes(os.fsencode(text))
    return "file://" + quote_from_bytes(os.fsencode(text)) if _FRAME.fullmatch(text) else text


def path_of(uri: str) -> Path:
    """Return the path that `uri_of` made this text from."""
    if uri.startswith("file://"):
        return Path(os.fsdecode(unquote_to_bytes(uri[len("file://") :])))
    return Path(uri)


def member_uri(kind: str, name: str, container: str) -> str:
    """Return the uri of a member of a "zip" or "tar"; name "" is what is lost of a broken one."""
    return f"{kind}://{quote_from_bytes(name.encode('utf-8', 'surrogateescape'))}::{container}"


def frame_uri(container: str, number: int) -> str:
    """Return the uri of a frame of a video."""
    return f"{container}#frame={number}"


def name_of(uri: str) -> str:
    """Return the last name of a uri, for people: of the file, the member, the video and frame."""
    if frame := _FRAME.fullmatch(uri):
        return f"{name_of(frame[1])}#frame={frame[2]}"
    member = _MEMBER.fullmatch(uri)
    name = Path(_name(member[2])).name if member else path_of(uri).name
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def is_remote(text: str) -> bool:
    """Whether a text is an address that fsspec is to read."""
    return _REMOTE.match(text) is not None


def stat(uri: str) -> tuple[int, int]:
    """Return bytes and time of change in ns: of the file that must change if the content does.

    That is the container for a frame; for a member, its own bytes and the container's time.

    Raises:
        OSError: there is no such file.
    """
    if frame := _FRAME.fullmatch(uri):
        return _container(frame[1])
    if member := _MEMBER.fullmatch(uri):
        found = archive(member[1], member[3]).members.get(_name(member[2]))
        return found.size if found else 0, _container(member[3])[1]
    if is_remote(uri):
        return _remote_stat(uri)
    result = _file(uri).stat()
    return result.st_size, result.st_mtime_ns


def read_bytes(uri: str) -> bytes:
    """Return the bytes of an image file, wherever it lies.

    Raises:
        OSError: it cannot be read, is no regular file, is larger than MAX_BYTES, is a member we
            refuse, or changed meanwhile; `reason_of` says it in a word.
        MissingExtra: it takes a module that is not installed.
    """
    if frame := _FRAME.fullmatch(uri):
        return _frame(frame[1], int(frame[2]))
    if member := _MEMBER.fullmatch(uri):
        return archive(member[1], member[3]).read(_name(member[2]))
    if is_remote(uri):
        with _as_os_error(uri), open_binary(uri) as file:
            return _at_most(MAX_BYTES, file.read(MAX_BYTES + 1), uri)
    with open_binary(uri) as file:
        before = os.fstat(file.fileno())
        size = min(before.st_size, MAX_BYTES)
        data = _at_most(size, file.read(size + 1), uri)
    if (len(data), before.st_mtime_ns) != stat(uri):
        raise OSError(errno.EAGAIN, "changed while being read", uri)
    return data


def open_binary(uri: str) -> BinaryIO:
    """Open anything but a frame for reading and seeking; a member is held in memory.

    Raises:
        OSError: as `read_bytes`.
    """
    if _MEMBER.fullmatch(uri):
        return BytesIO(read_bytes(uri))
    if is_remote(uri):
        with _as_os_error(uri):
            return cast(BinaryIO, filesystem(uri).open(uri, "rb"))
    # Without O_NONBLOCK a FIFO would wait for a writer.
    descriptor = os.open(_file(uri), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not modes.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", uri)
    return os.fdopen(descriptor, "rb")


def image_id(uri: str, data: bytes) -> str:
    """Return the sha256 by which the image of ``uri`` is known.

    That is of its bytes; for a frame, which may be drawn otherwise by another decoder, of
    "<sha256 of the video>#<number>".
    """
    if frame := _FRAME.fullmatch(uri):
        whole = _sha256(frame[1], *_container(frame[1]))
        data = f"{whole}#{frame[2]}".encode()
    return hashlib.sha256(data).hexdigest()


def reason_of(error: OSError) -> str:
    """Return the word of schema.REASONS for what `read_bytes` raised."""
    return _REASONS.get(error.errno or 0, "unreadable")


def archive(kind: str, container: str) -> Archive:
    """Return an archive opened, the last few of which are kept so.

    Raises:
        OSError: its file cannot be opened, or is itself a member of one.
    """
    if _MEMBER.fullmatch(container):
        raise OSError(errno.EPERM, "an archive in an archive is not opened", container)
    with _OPENING:  # else each thread would list it
        return _archive(kind, container, *_container(container))


def filesystem(address: str) -> Any:
    """Return the fsspec filesystem of an address.

    Raises:
        MissingExtra: fsspec, or what it needs for such addresses, is not installed.
        SourceError: it knows no such addresses.
    """
    require("fsspec", extra="remote")
    import fsspec  # an extra, loaded only where there is an address

    scheme = address.split("://")[0].lower()
    try:
        return fsspec.filesystem(scheme)
    except ImportError as error:
        raise MissingExtra(f"{address}: {error}\nNext: pip install 'curate[remote]'") from error
    except ValueError as error:
        raise SourceError(
            f"{address}: no way to read {scheme}:// addresses ({error}).\n"
            "Next: give a folder, or an address that fsspec knows, like s3://bucket/prefix"
        ) from error


def changed_ns(info: dict[str, Any]) -> int:
    """Return the time of change in ns of what an fsspec filesystem says of a file, 0 if nothing."""
    for name in ("LastModified", "mtime", "last_modified", "updated", "created"):
        value: Any = info.get(name)
        if isinstance(value, datetime):
            return int(value.timestamp() * 1e9)
        if isinstance(value, int | float):
            return int(value * 1e9)
    return 0


def remote_faults() -> tuple[type[Exception], ...]:
    """Return what reading an address may raise: each service brings its own, if loaded at all."""
    own = [("botocore.exceptions", "BotoCoreError"), ("botocore.exceptions", "ClientError"),
           ("aiohttp", "ClientError")]  # fmt: skip
    loaded = [getattr(sys.modules[module], name) for module, name in own if module in sys.modules]
    return (OSError, ValueError, *loaded)


@contextmanager
def _as_os_error(uri: str) -> Iterator[None]:
    try:
        yield
    except OSError:
        raise
    except remote_faults() as error:
        raise OSError(errno.EIO, str(error), uri) from error


def _file(uri: str) -> Path:
    path = path_of(uri)
    if "\0" in str(path):  # a manifest may say so; the system would raise a ValueError
        raise OSError(errno.EINVAL, "no file has such a name", uri)
    return path


def _at_most(size: int, data: bytes, uri: str) -> bytes:
    if len(data) <= size:
        return data
    if size == MAX_BYTES:
        raise OSError(errno.EFBIG, f"more than {MAX_BYTES >> 20} MiB", uri)
    raise OSError(errno.EAGAIN, "changed while being read", uri)


def _container(uri: str) -> tuple[int, int]:
    return _asked_once(uri) if is_remote(uri) else stat(uri)


@lru_cache(maxsize=64)
def _asked_once(uri: str) -> tuple[int, int]:
    """Return `stat` of a far container, which each of its members would ask for again."""
    return stat(uri)


def _remote_stat(uri: str) -> tuple[int, int]:
    with _as_os_error(uri):
        info = filesystem(uri).info(uri)
    return int(info.get("size") or 0), changed_ns(info)


def _name(coded: str) -> str:
    return unquote_to_bytes(coded).decode("utf-8", "surrogateescape")


@lru_cache(maxsize=4)
def _archive(kind: str, container: str, size: int, mtime_ns: int) -> Archive:
    return archives.open_archive(kind, lambda: open_binary(container), size)


@lru_cache(maxsize=256)
def _sha256(uri: str, size: int, mtime_ns: int) -> str:
    with open_binary(uri) as file:
        return hashlib.file_digest(cast(BytesIO, file), "sha256").hexdigest()


def _frame(container: str, number: int) -> bytes:
    key = (container, *_container(container))
    if _HERE.key != key or _HERE.reader.position > number:
        _HERE.key, _HERE.reader = None, video.Reader(open_binary(container))
    try:
        data = _HERE.reader.frame(number)
    except OSError:
        _HERE.key = None  # a decoder that failed does not go on
        raise
    _HERE.key = key
    return data
