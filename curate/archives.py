"""Zip and tar files read in place: which members they hold, and the bytes of one.

Nothing is ever unpacked to disk, so a name that leads out of an archive leads nowhere. Such members
are refused all the same, as are links, devices, encrypted ones and bombs.
"""

import bz2
import errno
import gzip
import lzma
import stat
import struct
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO, Protocol, TypeAlias, cast

MAX_MEMBER = 512 << 20  # bytes; 100 megapixels of 24-bit BMP are 300 MB
MAX_RATIO = 200  # unpacked over packed; photographs stay below 2, text below 20
RATIO_FROM = 16 << 20  # bytes unpacked from which the ratio counts: a blank BMP is no bomb
SUFFIXES = {
    **dict.fromkeys((".zip",), "zip"),
    **dict.fromkeys((".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz"), "tar"),
}
HEAD = 512  # bytes that `kind_of` wants to see
MAX_HEADER = 1 << 20  # bytes of a tar's header; a name that fills it is no name
PADDING = 1 << 20  # bytes after a tar's last member; tar itself writes 10 KiB

Fault: TypeAlias = tuple[int, str]  # errno and words, as OSError takes them
ESCAPES: Fault = (errno.EPERM, "its name leads out of the archive")
LINK: Fault = (errno.EPERM, "a link, device or other special member")
ENCRYPTED: Fault = (errno.EPERM, "encrypted")
TOO_BIG: Fault = (errno.EFBIG, f"more than {MAX_MEMBER >> 20} MiB unpacked")
BOMB: Fault = (errno.EFBIG, f"unpacks to more than {MAX_RATIO} times its size")

_UNPACK: dict[bytes, Callable[[BinaryIO], BinaryIO]] = {
    b"\x1f\x8b": lambda file: cast(BinaryIO, gzip.GzipFile(fileobj=file)),
    b"BZh": lambda file: cast(BinaryIO, bz2.BZ2File(file)),
    b"\xfd7zXZ\x00": lambda file: cast(BinaryIO, lzma.LZMAFile(file)),  # noqa: SIM115
}
_DAMAGE = (  # what a damaged archive makes the standard library raise, found by flipping bytes
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    struct.error,
    ValueError,
    NotImplementedError,
    OverflowError,
    KeyError,
    IndexError,
    RecursionError,
    MemoryError,
)


@dataclass(frozen=True, slots=True)
class Member:
    """One file in an archive."""

    size: int  # bytes, unpacked
    offset: int  # of its content in the unpacked tar; unused for zip
    fault: Fault | None  # why it is not read


class Archive(Protocol):
    """An archive that is open; any thread may read."""

    members: dict[str, Member]  # in the order in which reading is cheapest
    fault: Fault | None  # what keeps the rest of it from being read

    def read(self, name: str) -> bytes:
        """Return the bytes of a member.

        Raises:
            OSError: it is not there, refused or damaged.
        """
        ...


def kind_of(name: str, head: bytes) -> str | None:
    """Return "zip" or "tar" where the suffix and the first HEAD bytes both say so."""
    kind = next((kind for suffix, kind in SUFFIXES.items() if name.lower().endswith(suffix)), None)
    if kind == "zip":
        return kind if head.startswith((b"PK\x03\x04", b"PK\x05\x06")) else None
    if kind == "tar":
        return kind if head.startswith(tuple(_UNPACK)) or head[257:262] == b"ustar" else None
    return None


def stem(name: str) -> str:
    """Return a name without its archive suffix."""
    longest = max((s for s in SUFFIXES if name.lower().endswith(s)), key=len, default="")
    return name[: len(name) - len(longest)]


def open_archive(kind: str, opened: Callable[[], BinaryIO], size: int) -> Archive:
    """Open an archive.

    Args:
        kind: "zip" or "tar".
        opened: gives a new seekable file object over the archive each time.
        size: bytes of the archive.

    Raises:
        OSError: the file itself cannot be opened; damage inside is the archive's `fault`.
    """
    return Zip(opened(), size) if kind == "zip" else Tar(opened, size)


class Zip:
    """A zip file; one directory and one file object serve all threads."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        """Read the directory of ``file``, and close it when nobody needs it any more."""
        self._file = file
        self.members: dict[str, Member] = {}
        self.fault: Fault | None = None
        try:
            self._zip = zipfile.ZipFile(file)
        except (*_DAMAGE, OSError) as error:
            self.fault = _damage(error)
            return
        left = max(size * MAX_RATIO, RATIO_FROM)  # members may share their bytes: a bomb of many
        for info in self._zip.infolist():
            if info.is_dir():
                continue
            fault = _zip_fault(info)
            left -= 0 if fault else info.file_size
            if left < 0:
                self.fault = BOMB
                return
            self.members[info.filename] = Member(info.file_size, 0, fault)

    def __del__(self) -> None:
        """Close the file."""
        self._file.close()

    def read(self, name: str) -> bytes:
        """Return the bytes of a member."""
        _checked(self, name)
        try:
            return self._zip.read(name)  # it refuses what is longer than stated, or fails the CRC
        except NotImplementedError as error:  # Windows packs what is larger than 2 GB its own way
            raise OSError(errno.ENOTSUP, str(error), name) from error
        except (*_DAMAGE, RuntimeError) as error:
            raise OSError(*_damage(error)) from error


class Tar:
    """A tar file, packed or not; one index for all, and for each thread a stream going forward."""

    def __init__(self, opened: Callable[[], BinaryIO], size: int) -> None:
        """List the members, which unpacks the whole once."""
        self._opened = opened
        self._here = threading.local()
        self.members: dict[str, Member] = {}
        self.fault: Fault | None = None
        most = max(size * MAX_RATIO, RATIO_FROM)
        stream = _Stream(opened())
        try:
            for name, member in _listed(stream.unpacked):
                if member.offset + member.size > most:
                    self.fault = BOMB
                    return
                self.members.pop(name, None)  # of two of one name the later counts
                self.members[name] = member
        except (*_DAMAGE, OSError) as error:
            self.fault = _damage(error)

    def read(self, name: str) -> bytes:
        """Return the bytes of a member; in the order of `members` nothing is unpacked twice."""
        member = _checked(self, name)
        try:
            if not hasattr(self._here, "stream"):
                self._here.stream = _Stream(self._opened())
            self._here.stream.unpacked.seek(member.offset)
            data: bytes = self._here.stream.unpacked.read(member.size)
        except _DAMAGE as error:
            raise OSError(*_damage(error)) from error
        if len(data) < member.size:
            raise OSError(errno.ENODATA, "the archive ends early")
        return data


class _Stream:
    """The unpacked content of a tar file; closes what it opened."""

    def __init__(self, file: BinaryIO) -> None:
        head = file.read(8)
        file.seek(0)
        self._file = file
        unpack = next((u for magic, u in _UNPACK.items() if head.startswith(magic)), None)
        self.unpacked = unpack(file) if unpack else file

    def __del__(self) -> None:
        self.unpacked.close()
        self._file.close()


class _Headers:
    """What tarfile sees of a tar: a header that states gigabytes is not read into memory."""

    def __init__(self, unpacked: BinaryIO) -> None:
        self._unpacked, self.seek, self.tell = unpacked, unpacked.seek, unpacked.tell

    def read(self, size: int) -> bytes:
        if size > MAX_HEADER:
            raise tarfile.ReadError(f"a header of {size} bytes; what follows is lost")
        return self._unpacked.read(size)


def _listed(unpacked: BinaryIO) -> Iterator[tuple[str, Member]]:
    """Yield name and member of what a tar holds, folders aside."""
    headers, at = cast(BinaryIO, _Headers(unpacked)), -1
    with tarfile.open(fileobj=headers, mode="r:", errors="surrogateescape") as tar:
        while (info := tar.next()) is not None:
            tar.members = []  # type: ignore[attr-defined]  # else it keeps a kilobyte for each
            if info.size < 0 or tar.offset <= at:  # or it would go round for ever
                raise tarfile.ReadError("a negative size; what follows is lost")
            at = tar.offset
            if not info.isdir():
                yield info.name, Member(info.size, info.offset_data, _tar_fault(info))
        unpacked.seek(tar.offset)
        if unpacked.read(tarfile.BLOCKSIZE).strip(b"\0"):
            raise tarfile.ReadError("a broken header; what follows is lost")
        _check_sum(unpacked)


def _check_sum(unpacked: BinaryIO) -> None:
    """Read to the end of a tar, where the checksum of what is packed stands.

    What follows it is nothing to us: xz pads its files, and tar ignores what others append.
    """
    try:
        unpacked.read(PADDING)
    except EOFError:
        return
    except gzip.BadGzipFile as error:
        if "Not a gzipped" not in str(error):
            raise


def _checked(archive: Archive, name: str) -> Member:
    member = archive.members.get(name)
    fault = member.fault if member else archive.fault or (errno.ENOENT, "no such member")
    if member is None or fault is not None:
        raise OSError(*cast(Fault, fault), name)
    return member


def _zip_fault(info: zipfile.ZipInfo) -> Fault | None:
    mode = stat.S_IFMT(info.external_attr >> 16)
    if info.flag_bits & 1:
        return ENCRYPTED
    if mode not in (0, stat.S_IFREG):
        return LINK
    if info.file_size > max(RATIO_FROM, info.compress_size * MAX_RATIO):
        return BOMB
    return _name_or_size(info.filename, info.file_size)


def _tar_fault(info: tarfile.TarInfo) -> Fault | None:
    if not info.isreg() or info.issparse():
        return LINK
    return _name_or_size(info.name, info.size)


def _name_or_size(name: str, size: int) -> Fault | None:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or name[1:2] == ":":
        return ESCAPES
    return TOO_BIG if size > MAX_MEMBER else None


def _damage(error: BaseException) -> Fault:
    ends = isinstance(error, EOFError) or "unexpected end" in str(error)
    return (errno.ENODATA, "the archive ends early") if ends else (errno.EBADMSG, str(error))
