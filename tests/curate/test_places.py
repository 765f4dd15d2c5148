"""Uris: every name survives, every place is read, what cannot be read says why."""

import errno
import hashlib
import io
import os
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate import places
from curate.errors import MissingExtra, SourceError

fsspec = pytest.importorskip("fsspec")
NAMES = st.text(min_size=1, max_size=30).filter(lambda text: "\0" not in text)


@given(st.binary(min_size=1, max_size=30).filter(lambda b: b"\0" not in b and b"/" not in b))
def test_any_file_name_survives_as_a_uri(name: bytes) -> None:
    path = Path(os.fsdecode(b"/x/" + name))
    uri = places.uri_of(path)
    uri.encode("utf-8")
    assert places.path_of(uri) == path


@pytest.mark.parametrize(
    "name",
    [
        "plain.jpg", "two\nlines.jpg", "it's \"quoted\".jpg", "a.mp4#frame=3", "a::b.jpg",
        "zip:", "%41.jpg", "caf\udce9.jpg", "#.jpg", "naïve ☃.jpg",
    ],
)  # fmt: skip
def test_a_file_of_any_name_is_read(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"here")
    uri = places.uri_of(tmp_path / name)
    assert places.read_bytes(uri) == b"here"
    assert places.stat(uri) == (4, (tmp_path / name).stat().st_mtime_ns)


@pytest.mark.parametrize("name", ["a.jpg", "a::b#c%41.jpg", "two\nlines.jpg", "../up.jpg", "/abs"])
def test_the_name_of_a_member_survives_beside_any_container(tmp_path: Path, name: str) -> None:
    for container in ("a.zip", "b::c.zip", "d#frame=1", "caf\udce9.zip"):
        with zipfile.ZipFile(tmp_path / container, "w") as archive:
            archive.writestr(zipfile.ZipInfo("x"), b"decoy")
            archive.writestr("there", b"in")
        uri = places.member_uri("zip", name, places.uri_of(tmp_path / container))
        with pytest.raises(OSError, match="no such member"):
            places.read_bytes(uri)
        inside = places.member_uri("zip", "there", places.uri_of(tmp_path / container))
        assert places.read_bytes(inside) == b"in"


@given(NAMES, NAMES)
def test_members_and_frames_nest_without_doubt(name: str, container: str) -> None:
    name, container = (text.encode("utf-8", "replace").decode() for text in (name, container))
    plain = places.uri_of(Path("/x") / container)
    uri = places.frame_uri(places.member_uri("zip", name, plain), 7)
    assert places._FRAME.fullmatch(uri)[2] == "7"
    member = places._MEMBER.fullmatch(places._FRAME.fullmatch(uri)[1])
    assert (places._name(member[2]), member[3]) == (name, plain)


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("/x/a.jpg", "a.jpg"), ("file:///x/caf%E9.jpg", "caf\\xe9.jpg"), ("s3://b/a.jpg", "a.jpg"),
        ("zip://deep/a%3A.jpg::/x/y.zip", "a:.jpg"), ("/x/v.mp4#frame=7", "v.mp4#frame=7"),
        ("tar://deep/v.mp4::/x/y.tar#frame=7", "v.mp4#frame=7"),
    ],
)  # fmt: skip
def test_the_name_that_people_are_shown(uri: str, name: str) -> None:
    assert places.name_of(uri) == name


def test_a_fifo_and_a_folder_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    for path in (tmp_path / "pipe.jpg", tmp_path):
        with pytest.raises(OSError, match="not a regular file") as caught:
            places.read_bytes(str(path))
        assert places.reason_of(caught.value) == "unreadable"


def test_a_file_that_is_gone_or_shut_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        places.read_bytes(str(tmp_path / "gone.jpg"))
    (tmp_path / "dangling.jpg").symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError):
        places.read_bytes(str(tmp_path / "dangling.jpg"))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda path: path.write_bytes(b"abcd"), id="grows"),
        pytest.param(lambda path: os.truncate(path, 1), id="shrinks"),
        pytest.param(lambda path: os.utime(path, (1, 1)), id="is touched"),
        pytest.param(lambda path: (path.unlink(), path.write_bytes(b"abc")), id="is replaced"),
        pytest.param(lambda path: path.unlink(), id="vanishes"),
    ],
)
def test_a_file_that_changes_while_being_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], Any]
) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"abc")
    os.utime(path, (5, 5))
    plain = os.fdopen

    class Changing(io.BufferedReader):
        def read(self, size: int | None = -1, /) -> bytes:
            data = super().read(size)
            change(path)
            return data

    def fdopen(descriptor: int, mode: str) -> io.BufferedReader:
        return Changing(plain(descriptor, mode, buffering=0))

    monkeypatch.setattr(os, "fdopen", fdopen)
    with pytest.raises(OSError, match="changed while being read|No such file"):
        places.read_bytes(str(path))


def test_a_file_larger_than_any_image_is_refused_one_of_just_that_size_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "MAX_BYTES", 10)
    (tmp_path / "a").write_bytes(b"x" * 10)
    assert len(places.read_bytes(str(tmp_path / "a"))) == 10
    (tmp_path / "a").write_bytes(b"x" * 11)
    with pytest.raises(OSError, match="more than") as caught:
        places.read_bytes(str(tmp_path / "a"))
    assert places.reason_of(caught.value) == "too_large"


@pytest.mark.parametrize(
    ("number", "reason"),
    [(errno.EFBIG, "too_large"), (errno.EPERM, "refused"), (errno.EACCES, "unreadable"),
     (errno.EBADMSG, "corrupt"), (errno.ENODATA, "truncated")],
)  # fmt: skip
def test_reasons_are_told_apart(number: int, reason: str) -> None:
    assert places.reason_of(OSError(number, "x")) == reason


def test_bytes_are_known_by_their_sha256(tmp_path: Path) -> None:
    assert places.image_id("/x/a.jpg", b"abc") == hashlib.sha256(b"abc").hexdigest()


def test_addresses_are_read_through_fsspec(tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe("/places/a.jpg", b"far")
    assert places.is_remote("memory://places/a.jpg")
    assert places.read_bytes("memory://places/a.jpg") == b"far"
    size, changed = places.stat("memory://places/a.jpg")
    assert size == 3
    assert changed > 0
    with pytest.raises(FileNotFoundError):
        places.read_bytes("memory://places/b.jpg")


def test_an_archive_behind_an_address_is_read_in_place() -> None:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("deep/a.jpg", b"far in")
    fsspec.filesystem("memory").pipe("/places/a.zip", data.getvalue())
    uri = places.member_uri("zip", "deep/a.jpg", "memory://places/a.zip")
    assert places.read_bytes(uri) == b"far in"


def test_an_address_of_no_known_kind_says_what_is_known() -> None:
    with pytest.raises(SourceError, match="s3://bucket"):
        places.filesystem("nonsense://x")


def test_an_address_without_fsspec_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"curate\[remote\]"):
        places.filesystem("s3://bucket")


def test_one_archive_serves_many_threads(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for n in range(100):
            archive.writestr(f"{n}", str(n) * 1000)
    uris = [places.member_uri("zip", str(n), str(tmp_path / "a.zip")) for n in range(100)]
    wrong: list[str] = []

    def read() -> None:
        wrong.extend(
            u for n, u in enumerate(uris) if places.read_bytes(u) != str(n).encode() * 1000
        )

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_an_archive_that_changes_is_read_anew(tmp_path: Path) -> None:
    file = tmp_path / "a.zip"
    uri = places.member_uri("zip", "a", str(file))
    for n in range(3):
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("a", str(n))
        os.utime(file, (n, n))
        assert places.read_bytes(uri) == str(n).encode()


def test_names_that_no_file_can_have_are_os_errors(tmp_path: Path) -> None:
    nested = "zip://a.jpg::zip://b.zip::" + str(tmp_path / "c.zip")
    for uri in (f"{tmp_path}/a\0b.jpg", "file://%00", "zip://a.jpg::\0", nested):
        for ask in (places.stat, places.read_bytes):
            with pytest.raises(OSError):  # noqa: PT011  (which one is the system's choice)
                ask(uri)
