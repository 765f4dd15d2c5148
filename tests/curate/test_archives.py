"""Archives: read in place, by every thread the same; links, escapes and bombs refused."""

import contextlib
import errno
import io
import stat
import tarfile
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate import archives

Files = dict[str, bytes]


def zipped(files: Files) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return data.getvalue()


def tarred(files: Files, mode: str = "") -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode=f"w:{mode}") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return data.getvalue()


def packed(kind: str, files: Files) -> bytes:
    return zipped(files) if kind == "zip" else tarred(files, kind.removeprefix("tar"))


def opened(kind: str, data: bytes) -> archives.Archive:
    return archives.open_archive(kind[:3], lambda: io.BytesIO(data), len(data))


KINDS = ("zip", "tar", "targz", "tarbz2", "tarxz")
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0/\\:"), min_size=1)


@pytest.mark.parametrize("kind", KINDS)
def test_members_are_read_in_any_order_by_any_thread(kind: str) -> None:
    files = {f"deep/{n}.jpg": bytes([n]) * (700 + n) for n in range(40)}
    archive = opened(kind, packed(kind, files))
    assert {name: member.size for name, member in archive.members.items()} == {
        name: len(content) for name, content in files.items()
    }
    wrong: list[str] = []

    def read(names: list[str]) -> None:
        wrong.extend(name for name in names if archive.read(name) != files[name])

    orders = [list(files), list(files)[::-1], sorted(files, key=hash)]
    threads = [threading.Thread(target=read, args=(names,)) for names in orders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@given(st.dictionaries(NAMES.filter(lambda n: n.strip(".")), st.binary(max_size=600), max_size=6))
@settings(max_examples=40, deadline=None)
def test_any_names_and_contents_come_back(files: Files) -> None:
    for kind in ("zip", "targz"):
        archive = opened(kind, packed(kind, files))
        assert archive.fault is None
        assert {name: archive.read(name) for name in archive.members} == files


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["../up.jpg", "a/../../up.jpg", "/etc/passwd", "C:\\a.jpg",
                                  "..\\up.jpg", "a/.."])  # fmt: skip
def test_names_that_lead_out_are_refused_and_neighbours_are_not(kind: str, name: str) -> None:
    archive = opened(kind, packed(kind, {"a.jpg": b"good", name: b"bad", "z.jpg": b"good"}))
    assert len(archive.members) == 3
    assert archive.read("a.jpg") == archive.read("z.jpg") == b"good"
    with pytest.raises(OSError, match="leads out") as caught:
        archive.read(name)
    assert caught.value.errno == errno.EPERM


@pytest.mark.parametrize("name", ["..a.jpg", "a..jpg", "a/...jpg", "b/.hidden"])
def test_dots_in_a_name_lead_nowhere(name: str) -> None:
    assert opened("zip", zipped({name: b"good"})).read(name) == b"good"


@pytest.mark.parametrize("type_", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE,
                                   tarfile.CHRTYPE, tarfile.GNUTYPE_SPARSE])  # fmt: skip
def test_links_and_devices_in_a_tar_are_refused(type_: bytes) -> None:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        info = tarfile.TarInfo("a.jpg")
        info.type, info.linkname = type_, "/etc/passwd"
        tar.addfile(info)
        info = tarfile.TarInfo("b.jpg")
        info.size = 4
        tar.addfile(info, io.BytesIO(b"good"))
    archive = opened("tar", data.getvalue())
    assert archive.read("b.jpg") == b"good"
    with pytest.raises(OSError, match="special member"):
        archive.read("a.jpg")


def test_links_in_a_zip_are_refused() -> None:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        info = zipfile.ZipInfo("a.jpg")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(info, "/etc/passwd")
    with pytest.raises(OSError, match="special member"):
        opened("zip", data.getvalue()).read("a.jpg")


def test_encrypted_members_are_refused() -> None:
    data = bytearray(zipped({"a.jpg": b"secret"}))
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + flags] |= 1
    with pytest.raises(OSError, match="encrypted"):
        opened("zip", bytes(data)).read("a.jpg")


def test_a_member_of_a_bomb_is_refused_before_it_is_unpacked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(archives, "RATIO_FROM", 1000)
    archive = opened("zip", zipped({"bomb": bytes(1_000_000), "flat": bytes(1000)}))
    assert archive.read("flat") == bytes(1000)
    with pytest.raises(OSError, match="times its size") as caught:
        archive.read("bomb")
    assert caught.value.errno == errno.EFBIG


def test_a_packed_tar_that_is_a_bomb_is_listed_up_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "RATIO_FROM", 2000)
    files = {"a": b"good", "bomb": bytes(4_000_000), "never": b"x"}
    archive = opened("targz", tarred(files, "gz"))
    assert list(archive.members) == ["a"]
    assert archive.fault == archives.BOMB
    assert archive.read("a") == b"good"
    with pytest.raises(OSError, match="times its size"):
        archive.read("")


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_size_is_limited_to_the_byte(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_MEMBER", 100)
    archive = opened(kind, packed(kind, {"fits": bytes(100), "not": bytes(101)}))
    assert len(archive.read("fits")) == 100
    with pytest.raises(OSError, match="MiB unpacked"):
        archive.read("not")


def test_a_member_that_lies_about_its_size_gives_no_more_than_it_says() -> None:
    data = bytearray(zipped({"a": bytes(5000)}))
    at = data.index(b"PK\x01\x02") + 24
    data[at : at + 4] = (50).to_bytes(4, "little")
    archive = opened("zip", bytes(data))
    with pytest.raises(OSError, match="CRC") as caught:
        archive.read("a")
    assert caught.value.errno == errno.EBADMSG


@pytest.mark.parametrize("kind", KINDS)
def test_cut_anywhere_an_archive_lists_what_is_whole_and_says_what_is_lost(kind: str) -> None:
    files = {f"{n}": bytes([n]) * 900 for n in range(8)}
    whole = packed(kind, files)
    told = 0
    for end in range(0, len(whole) - 1, 64):
        archive = opened(kind, whole[:end])
        for name in archive.members:
            try:
                assert archive.read(name) == files[name]
            except OSError:
                told += 1
        told += archive.fault is not None
        if archive.fault:
            with pytest.raises(OSError, match="."):
                archive.read("")
    assert told > 0


@pytest.mark.parametrize("kind", KINDS)
@given(st.data())
@settings(max_examples=60, deadline=None)
def test_flipped_bits_raise_nothing_but_os_errors(kind: str, data: st.DataObject) -> None:
    whole = bytearray(packed(kind, {"a": b"one" * 99, "b": b"two" * 300}))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at] ^= 1 << data.draw(st.integers(0, 7))
    archive = opened(kind, bytes(whole))
    for name in [*archive.members, ""]:
        with contextlib.suppress(OSError):
            assert isinstance(archive.read(name), bytes)


@given(st.binary(max_size=2000))
@settings(max_examples=100, deadline=None)
def test_noise_raises_nothing_but_os_errors(noise: bytes) -> None:
    for kind in ("zip", "tar"):
        for head in (b"", b"PK\x03\x04", b"\x1f\x8b\x08\x00"):
            archive = opened(kind, head + noise)
            for name in archive.members:
                with pytest.raises(OSError, match="."):
                    archive.read(name)


def test_a_broken_header_amid_a_tar_is_told() -> None:
    whole = bytearray(tarred({"a": b"x" * 512, "b": b"y" * 512, "c": b"z" * 512}))
    whole[1024:1100] = b"\xff" * 76
    archive = opened("tar", bytes(whole))
    assert list(archive.members) == ["a"]
    assert archive.fault is not None


def test_of_two_members_of_one_name_the_later_counts() -> None:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for content in (b"old", b"newer"):
            info = tarfile.TarInfo("a")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    archive = opened("tar", data.getvalue())
    assert archive.read("a") == b"newer"


def test_reading_a_packed_tar_in_order_unpacks_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {f"{n}": bytes([n]) * 5000 for n in range(50)}
    data = tarred(files, "gz")
    archive = opened("targz", data)
    taken = 0

    class Counting(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            nonlocal taken
            taken += len(got := super().read(size))
            return got

    monkeypatch.setattr(archive, "_opened", lambda: Counting(data))
    assert all(archive.read(name) == files[name] for name in archive.members)
    assert taken <= 2 * len(data)


@pytest.mark.parametrize(
    ("name", "head", "kind"),
    [
        ("a.zip", b"PK\x03\x04", "zip"), ("a.ZIP", b"PK\x05\x06", "zip"),
        ("a.zip", b"\xff\xd8", None), ("a.jpg", b"PK\x03\x04", None),
        ("a.tar", b"\0" * 257 + b"ustar", "tar"), ("a.tgz", b"\x1f\x8b", "tar"),
        ("a.tar.xz", b"\xfd7zXZ\0", "tar"), ("a.tar", b"\xff\xd8", None),
        ("a.gz", b"\x1f\x8b", None),
    ],
)  # fmt: skip
def test_an_archive_is_one_by_name_and_by_content(name: str, head: bytes, kind: str | None) -> None:
    assert archives.kind_of(name, head) == kind


@pytest.mark.parametrize(
    ("name", "stem"), [("a.tar.gz", "a"), ("x/a.b.zip", "x/a.b"), ("a.jpg", "a.jpg"), (".zip", "")]
)
def test_the_stem_of_an_archive(name: str, stem: str) -> None:
    assert archives.stem(name) == stem


@pytest.mark.parametrize("kind", KINDS)
def test_files_are_closed_with_the_archive(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(packed(kind, {"a": b"x"}))
    handles = []

    def opener() -> io.BufferedReader:
        handles.append(file.open("rb"))
        return handles[-1]

    reads: Callable[[], bytes]
    archive = archives.open_archive(kind[:3], opener, file.stat().st_size)
    reads = archive.__class__.read.__get__(archive, archive.__class__)
    thread = threading.Thread(target=reads, args=("a",))
    thread.start()
    thread.join()
    del archive, reads, thread
    assert all(handle.closed for handle in handles)


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


def test_a_negative_size_does_not_send_the_listing_round_for_ever() -> None:
    good = tarred({"a.jpg": b"here"})[:1024]
    backwards = bytearray(header("b.jpg", 0))
    backwards[124:136] = b"\xff" * 10 + b"\xfe\x00"  # -512, to the header itself
    backwards[148:156] = b"%06o\0 " % sum(backwards[:148] + b" " * 8 + backwards[156:])
    archive = opened("tar", good + bytes(backwards) + bytes(1024))
    assert archive.read("a.jpg") == b"here"
    assert archive.fault is not None
    assert archive.fault[0] == errno.EBADMSG


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
def test_a_header_of_gigabytes_is_not_read_into_memory(kind: bytes) -> None:
    good = tarred({"a.jpg": b"here"})[:1024]
    asked = []

    class File(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            asked.append(size)
            return super().read(size)

    data = good + header("long", 4 << 30, kind) + bytes(4096)
    archive = archives.open_archive("tar", lambda: File(data), len(data))
    assert list(archive.members) == ["a.jpg"]
    assert archive.fault is not None
    assert max(size or 0 for size in asked) <= max(archives.MAX_HEADER, archives.PADDING)


def test_headers_upon_headers_are_damage_not_a_crash() -> None:
    longs = (header("long", 4, tarfile.GNUTYPE_LONGNAME) + b"name".ljust(512, b"\0")) * 3000
    archive = opened("tar", tarred({"a.jpg": b"here"})[:1024] + longs + bytes(1024))
    assert archive.read("a.jpg") == b"here"
    assert archive.fault is not None


@pytest.mark.parametrize("at", [-8, -100])
def test_a_packed_tar_that_fails_its_checksum_says_so_and_is_read(at: int) -> None:
    data = bytearray(tarred({"a.jpg": bytes(range(256)) * 40, "b.jpg": b"there"}, "gz"))
    data[at] ^= 0xFF
    archive = opened("targz", bytes(data))
    assert archive.fault is not None
    assert at != -8 or archive.read("b.jpg") == b"there"


@pytest.mark.parametrize(
    ("packing", "after"), [("gz", b"scribbled"), ("xz", bytes(8)), ("gz", b"")]
)
def test_what_follows_a_packed_tar_is_no_fault(packing: str, after: bytes) -> None:
    archive = opened(f"tar{packing}", tarred({"a.jpg": b"here"}, packing) + after)
    assert archive.fault is None
    assert archive.read("a.jpg") == b"here"


def test_a_zip_of_many_members_that_share_their_bytes_is_listed_up_to_its_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = bytearray(zipped({"a.bmp": bytes(9000), "b.jpg": b"here"}))
    end = data.rfind(b"PK\5\6")
    start = int.from_bytes(data[end + 16 : end + 20], "little")
    entry = data[start : start + 46 + len("a.bmp")]
    more = b"".join(bytes(entry).replace(b"a.bmp", b"%05d" % n) for n in range(50))
    data[end + 8 : end + 16] = (52).to_bytes(2, "little") * 2 + (end - start + len(more)).to_bytes(
        4, "little"
    )
    whole = bytes(data[:end] + more + data[end:])
    monkeypatch.setattr(archives, "MAX_RATIO", 20)
    monkeypatch.setattr(archives, "RATIO_FROM", 9000)
    archive = opened("zip", whole)
    assert archive.fault == archives.BOMB
    assert 2 <= len(archive.members) <= 2 + 20 * len(whole) / 9000
    assert archive.read("b.jpg") == b"here"


def test_a_way_of_packing_that_python_does_not_know_is_no_damage() -> None:
    data = bytearray(zipped({"a.jpg": b"here"}))
    for magic, at in ((b"PK\3\4", 8), (b"PK\1\2", 10)):
        data[data.find(magic) + at] = 9  # Deflate64, as Windows packs large files
    with pytest.raises(OSError, match="not supported") as caught:
        opened("zip", bytes(data)).read("a.jpg")
    assert caught.value.errno == errno.ENOTSUP
