"""Files made to hurt: none stops the batch, each has its reason, its neighbours are untouched."""

import io
import os
import struct
import threading
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import simplejpeg
from PIL import Image

from curate import places, schema
from curate.workspace import open_at

ORIENTATION = 0x0112


@pytest.fixture
def good(draw_portrait: Callable) -> dict[str, bytes]:
    return {f"good{n}.jpg": simplejpeg.encode_jpeg(draw_portrait(n), 92) for n in range(3)}


@pytest.fixture
def ingested(curate: Callable, tmp_path: Path, good: dict[str, bytes]) -> Callable:
    """Ingest files among good neighbours; return the rows of `images` by file name."""

    def run(files: dict[str, bytes], code: int = 0) -> pd.DataFrame:
        folder = tmp_path / "mined"
        folder.mkdir(exist_ok=True)
        for name, data in (good | files).items():
            (folder / name).write_bytes(data)
        return rows(curate, folder, tmp_path / "ws", good, code)

    return run


def rows(
    curate: Callable, folder: Path, root: Path, good: dict[str, bytes], code: int = 0
) -> pd.DataFrame:
    done = curate("ingest", folder, "--recipe", "class-folders", "--json")
    assert done.code == code, done.err
    images = open_at(root).catalogue.read("images")
    images["name"] = images["uri"].map(places.name_of)
    named = images.set_index("name")
    assert named.loc[list(good), "status"].isin(["kept", "duplicate"]).all()  # of a flipped one
    left_out = named[named["status"] == "quarantined"]
    assert set(left_out["reason"]) <= set(schema.REASONS)
    return named


def encoded(rgb: np.ndarray, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, kind, **options)
    return file.getvalue()


def bomb(width: int, height: int) -> bytes:
    """Return a PNG of a few hundred bytes that claims so many pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(b"\0" * 1000)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def test_truncated_at_every_64th_byte(ingested: Callable, good: dict[str, bytes]) -> None:
    whole = good["good0.jpg"]
    cut = {f"cut{at}.jpg": whole[:at] for at in range(0, len(whole) - 2, 64)}
    images = ingested(cut)
    mine = images.loc[[name for name in cut if name in images.index]]
    assert len(mine) == len(cut)
    assert (mine["status"] == "quarantined").all()
    assert set(mine["reason"]) <= {"empty", "truncated", "corrupt", "not_an_image"}


def test_bytes_flipped_anywhere_stop_nothing(ingested: Callable, good: dict[str, bytes]) -> None:
    whole, rng = good["good1.jpg"], np.random.default_rng(0)
    flipped = {}
    for n, at in enumerate(rng.integers(2, len(whole), 60)):
        data = bytearray(whole)
        data[at] ^= 1 << int(rng.integers(8))
        flipped[f"flip{n}.jpg"] = bytes(data)
    images = ingested(flipped)
    assert set(flipped) <= set(images.index)


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("empty.jpg", b"", "empty"),
        ("page.jpg", b"<!DOCTYPE html><html></html>", "not_an_image"),
        ("zeros.jpg", b"\0" * 5000, "not_an_image"),
        ("bomb.png", bomb(60_000, 60_000), "too_large"),
        ("wide.png", bomb(2_000_000_000, 1), "too_large"),
        ("dot.png", encoded(np.zeros((1, 1, 3), np.uint8), "PNG"), "no_face"),
        ("line.png", encoded(np.zeros((1, 3000, 3), np.uint8), "PNG"), "no_face"),
        ("flat.jpg", encoded(np.full((300, 300, 3), 128, np.uint8), "JPEG"), "no_face"),
    ],
)
def test_what_is_no_usable_image_says_why(
    ingested: Callable, name: str, data: bytes, reason: str
) -> None:
    assert ingested({name: data}).loc[name, "reason"] == reason


def test_pictures_of_every_kind_are_read_whatever_they_are_called(
    ingested: Callable, draw_portrait: Callable
) -> None:
    portraits = iter([draw_portrait(n) for n in range(10, 30)])

    def shown(kind: str, mode: str = "RGB", **options: object) -> bytes:
        file = io.BytesIO()
        Image.fromarray(next(portraits)).convert(mode).save(file, kind, **options)
        return file.getvalue()

    files = {
        "png_called.jpg": shown("PNG"),
        "jpeg_called.png": shown("JPEG"),
        "no_suffix": shown("JPEG"),
        "cmyk.jpg": shown("JPEG", "CMYK"),
        "gray.jpg": shown("JPEG", "L"),
        "alpha.png": shown("PNG", "RGBA"),
        "palette.png": shown("PNG", "P"),
        "photo.webp": shown("WEBP"),
        "photo.bmp": shown("BMP"),
        "photo.tif": shown("TIFF"),
        "progressive.jpg": shown("JPEG", progressive=True),
    }
    sixteen = np.asarray(Image.fromarray(next(portraits)).convert("L")).astype(np.uint16) * 257
    files["sixteen.png"] = encoded(sixteen, "PNG")
    frames = [Image.fromarray(next(portraits)) for _ in range(3)]
    moving = io.BytesIO()
    frames[0].save(moving, "WEBP", save_all=True, append_images=frames[1:], duration=100)
    files["animated.webp"] = moving.getvalue()
    images = ingested(files).loc[list(files)]
    assert dict(images["reason"]) == dict.fromkeys(files, "")
    assert set(images["turn"]) <= {0, -1}  # drawn faces do not always convince


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_applied(
    ingested: Callable, draw_portrait: Callable, orientation: int
) -> None:
    back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # PIL's transposes that undo each tag
    picture = Image.fromarray(draw_portrait(9))
    if orientation > 1:
        picture = picture.transpose(Image.Transpose(back[orientation]))
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=95, exif=exif)
    row = ingested({"tagged.jpg": file.getvalue()}).loc["tagged.jpg"]
    assert (row["exif_orientation"], row["turn"]) == (orientation, 0)
    assert (row["width"], row["height"]) == (320, 400)


def test_names_that_break_lines_quotes_and_encodings(
    curate: Callable, tmp_path: Path, draw_portrait: Callable, good: dict[str, bytes]
) -> None:
    folder = tmp_path / "mined"
    folder.mkdir()
    names = [
        b"new\nline.jpg",
        b"quo'te\".jpg",
        b"per%cent%20.jpg",
        b"hash#frame=3.jpg",
        b"two::colons.jpg",
        b"-dash.jpg",
        b" space .jpg",
        b"\xff\xfe.jpg",
        "\u00fc\u6f22.jpg".encode(),
    ]
    for n, name in enumerate(names):
        data = simplejpeg.encode_jpeg(draw_portrait(40 + n), 90)
        Path(os.fsdecode(bytes(folder) + b"/" + name)).write_bytes(data)
    for name, data in good.items():
        (folder / name).write_bytes(data)
    images = rows(curate, folder, tmp_path / "ws", good)
    assert len(images) == len(names) + len(good)
    assert (images["status"] == "kept").all()
    again = curate("ingest", folder, "--recipe", "class-folders", "--json")
    assert again.json["new"] == 0


def test_what_is_no_file_or_may_not_be_read(
    curate: Callable, tmp_path: Path, good: dict[str, bytes]
) -> None:
    folder = tmp_path / "mined"
    folder.mkdir()
    for name, data in good.items():
        (folder / name).write_bytes(data)
    os.mkfifo(folder / "pipe.jpg")
    (folder / "dangling.jpg").symlink_to(folder / "nowhere.jpg")
    (folder / "loop").symlink_to(folder)
    locked = folder / "locked.jpg"
    locked.write_bytes(good["good0.jpg"][:-2])
    locked.chmod(0)
    images = rows(curate, folder, tmp_path / "ws", good)
    assert images.loc["pipe.jpg", "reason"] == "unreadable"
    assert images.loc["dangling.jpg", "reason"] == "unreadable"
    if os.geteuid():  # root reads everything
        assert images.loc["locked.jpg", "reason"] == "unreadable"
    assert len(images) == len(good) + 3


def test_files_that_vanish_or_change_while_they_are_read(
    curate: Callable, tmp_path: Path, draw_portrait: Callable, good: dict[str, bytes]
) -> None:
    folder = tmp_path / "mined"
    folder.mkdir()
    for name, data in good.items():
        (folder / name).write_bytes(data)
    fickle = [folder / f"fickle{n}.jpg" for n in range(40)]
    one, other = (simplejpeg.encode_jpeg(draw_portrait(n), 90) for n in (60, 61))
    for file in fickle:
        file.write_bytes(one)
    stop = threading.Event()

    def disturb() -> None:
        n = 0
        while not stop.is_set():
            file = fickle[n % len(fickle)]
            if n % 3 == 0:
                file.unlink(missing_ok=True)
            else:
                file.write_bytes(other if n % 3 == 1 else one[: len(one) // 2])
            n += 1

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        images = rows(curate, folder, tmp_path / "ws", good)
    finally:
        stop.set()
        thread.join()
    assert set(good) <= set(images.index)


def test_archives_that_try_to_escape(
    curate: Callable, tmp_path: Path, good: dict[str, bytes]
) -> None:
    folder = tmp_path / "mined"
    folder.mkdir()
    with zipfile.ZipFile(folder / "evil.zip", "w") as archive:
        for name, data in good.items():
            archive.writestr(name, data)
        archive.writestr("../escaped.jpg", good["good0.jpg"][:-1] + b"x")
        archive.writestr("/etc/escaped.jpg", good["good0.jpg"][:-1] + b"y")
        archive.writestr("huge.png", bomb(60_000, 60_000))
    before = sorted(path for path in tmp_path.rglob("*") if "ws" not in path.parts)
    images = rows(curate, folder, tmp_path / "ws", good)
    assert (images.loc[images.index.str.startswith("escaped"), "status"] == "quarantined").all()
    assert images.loc["huge.png", "reason"] == "too_large"
    assert sorted(path for path in tmp_path.rglob("*") if "ws" not in path.parts) == before
