"""Videos: frames by number and by time, blinks kept, turned upright, damage told."""

import contextlib
import hashlib
import io
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate import places, video
from curate.crops import read_stored
from curate.decode import decode
from curate.errors import ConfigError, MissingExtra, SourceError

av = pytest.importorskip("av")
QUARTER = struct.pack(">9i", 0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)  # ISO 14496-12, 8.3.2


def film(n: int, *, rate: int = 25, codec: str = "ffv1", kind: str = "matroska") -> bytes:
    """Return a video whose frame i is of gray 4 * i, with white at its left."""
    data = io.BytesIO()
    with av.open(data, "w", format=kind) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height = 64, 48
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.gop_size = 5
        for number in range(n):
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return data.getvalue()


def picture(number: int) -> np.ndarray:
    rgb = np.full((48, 64, 3), 4 * number % 200, np.uint8)
    rgb[:, :8] = 255
    return rgb


def gray_of(bmp: bytes) -> float:
    return float(np.median(decode(bmp).rgb))


def kept(data: bytes, fps: float = 100, closed: Any = None) -> list[int]:
    return video.frames_to_keep(io.BytesIO(data), fps, closed)


def test_frames_come_by_number_as_upright_bmp_files() -> None:
    reader = video.Reader(io.BytesIO(film(12)))
    for number in (0, 1, 5, 5, 11):
        bmp = reader.frame(number)
        assert bmp.startswith(b"BM")
        assert abs(gray_of(bmp) - 4 * number) <= 2
    assert decode(bmp).rgb.shape == (48, 64, 3)


def test_a_frame_is_the_same_however_it_is_reached(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    path.write_bytes(film(30))
    uris = [places.frame_uri(str(path), n) for n in range(30)]
    forward = [places.read_bytes(uri) for uri in uris]
    assert [places.read_bytes(uri) for uri in reversed(uris)] == forward[::-1]
    assert len(set(forward)) == 30


def test_frames_in_order_are_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.mkv"
    path.write_bytes(film(20))
    started = []
    plain = video.Reader
    monkeypatch.setattr(video, "Reader", lambda file: started.append(1) or plain(file))
    for number in (0, 3, 3, 19):
        places.read_bytes(places.frame_uri(str(path), number))
    assert len(started) == 1
    places.read_bytes(places.frame_uri(str(path), 2))
    assert len(started) == 2


def test_a_frame_is_known_by_its_video_and_number(tmp_path: Path) -> None:
    data = film(3)
    for name in ("a.mkv", "b.mkv"):
        (tmp_path / name).write_bytes(data)
    first, second = (places.frame_uri(str(tmp_path / name), 1) for name in ("a.mkv", "b.mkv"))
    name = hashlib.sha256(f"{hashlib.sha256(data).hexdigest()}#1".encode()).hexdigest()
    assert places.image_id(first, b"any") == places.image_id(second, b"other") == name
    assert places.stat(first) == places.stat(str(tmp_path / "a.mkv"))


def test_the_frame_of_a_row_is_read_while_its_video_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    path.write_bytes(data := film(6))
    uri = places.frame_uri(str(path), 3)
    size, mtime_ns = places.stat(uri)
    row = {"uri": uri, "image_id": places.image_id(uri, b""), "bytes": size, "mtime_ns": mtime_ns}
    assert abs(float(np.median(read_stored(row).rgb)) - 12) <= 2
    os.utime(path, (1, 1))  # another time, but the same video
    assert read_stored(row).width == 64
    path.write_bytes(film(7))
    with pytest.raises(SourceError, match="another content"):
        read_stored(row)
    path.rename(tmp_path / "b.mkv")
    with pytest.raises(SourceError, match="readable at ingest"):
        read_stored(row)
    elsewhere = places.frame_uri(str(tmp_path / "b.mkv"), 3)
    (tmp_path / "b.mkv").write_bytes(data)
    assert read_stored(row | {"also_at": [elsewhere]}).width == 64


@pytest.mark.parametrize(
    ("fps", "numbers"),
    [(5, [0, 5, 10, 15]), (25, [*range(20)]), (1000, [*range(20)]), (0.1, [0]),
     (10, [0, 3, 5, 8, 10, 13, 15, 18])],
)  # fmt: skip
def test_frames_are_taken_at_the_rate_asked_for(fps: float, numbers: list[int]) -> None:
    assert kept(film(20), fps) == numbers


@given(
    st.lists(st.floats(0.001, 0.5), min_size=1, max_size=200),
    st.floats(0.5, 60),
    st.sets(st.integers(0, 199)),
)
def test_no_tick_passes_without_a_frame(steps: list[float], fps: float, lost: set[int]) -> None:
    times = np.cumsum(steps)
    times[[n for n in lost if n < len(times)]] = np.nan
    keep = video.on_grid(times.tolist(), fps)
    shown = times[np.isfinite(times)]
    if not len(shown):
        assert not keep.any()
        return
    ticks = np.floor((shown - shown[0]) * fps + 1e-6)
    assert keep.sum() == len(set(ticks))
    assert keep[np.isfinite(times)][0]
    assert not keep[np.isnan(times)].any()


def test_frames_around_a_blink_are_kept_whatever_the_rate() -> None:
    seen: list[tuple[int, ...]] = []

    def closed(rgb: np.ndarray) -> float | None:
        seen.append(rgb.shape)
        number = round(float(np.median(rgb)) / 4)
        return None if number < 5 else float(16 <= number <= 18)

    numbers = kept(film(40), 1, closed)
    assert {0, 25, 15, 16, 17, 18, 19} <= set(numbers)
    assert not {*range(1, 5), *range(30, 40)} & set(numbers)
    assert len(seen) == 40


def test_eyes_are_looked_at_in_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "SMALL_SIDE", 24)
    shapes: set[tuple[int, ...]] = set()
    kept(film(2), 1, lambda rgb: shapes.add(rgb.shape))
    assert shapes == {(24, 32, 3)}


def test_a_video_is_turned_as_its_matrix_says() -> None:
    data = film(3, codec="mpeg4", kind="mp4")
    at = data.index(b"tkhd") + 44
    (turned,) = {video.Reader(io.BytesIO(data[:at] + QUARTER + data[at + 36 :])).frame(0)}
    stored = decode(video.Reader(io.BytesIO(data)).frame(0)).rgb
    assert np.array_equal(decode(turned).rgb, np.rot90(stored, -1))  # the left edge comes on top
    assert decode(turned).rgb[:4].mean() > 200


@pytest.mark.parametrize(
    ("codec", "kind"), [("mjpeg", "avi"), ("mpeg4", "mpegts"), ("ffv1", "matroska")]
)
def test_what_is_left_of_a_cut_video_is_kept_and_the_rest_told(codec: str, kind: str) -> None:
    whole = film(40, codec=codec, kind=kind)
    cut = whole[: len(whole) // 2]
    numbers = kept(cut)
    reader = video.Reader(io.BytesIO(cut))
    good = 0
    for number in numbers:
        try:
            reader.frame(number)
            good += 1
        except OSError:
            reader = video.Reader(io.BytesIO(cut))
    assert 10 < good < 30
    if kind == "avi":  # its header states how many there were
        assert good == len(numbers) - 1


@pytest.mark.parametrize(
    "data",
    [b"", b"no video at all", film(5, codec="mpeg4", kind="mp4")[:300], b"\0" * 5000],
    ids=["empty", "text", "cut mp4", "zeros"],
)
def test_what_is_no_video_is_one_frame_that_cannot_be_read(data: bytes) -> None:
    assert kept(data) == [0]
    with pytest.raises(OSError, match="damaged|ends early|no moving") as caught:
        video.Reader(io.BytesIO(data)).frame(0)
    assert places.reason_of(caught.value) in ("corrupt", "truncated")


def test_a_still_named_like_a_video_and_sound_alone_raise_nothing_else(
    save: Callable, tmp_path: Path
) -> None:
    data = io.BytesIO()
    with av.open(data, "w", format="wav") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    assert kept(data.getvalue()) == [0]
    still = save(tmp_path / "a.mp4", np.zeros((32, 32, 3), np.uint8)).read_bytes()
    assert kept(still) == [0]


def test_damage_amid_a_video_costs_only_what_it_hits() -> None:
    data = bytearray(film(40, codec="mjpeg", kind="avi"))
    starts = [i for i in range(len(data)) if data[i : i + 4] == b"00dc"][:40]
    data[starts[20] + 8 : starts[20] + 40] = bytes(32)
    numbers = kept(bytes(data))
    assert len(numbers) >= 39
    reader = video.Reader(io.BytesIO(bytes(data)))
    assert abs(gray_of(reader.frame(39 if len(numbers) == 40 else 38)) - 4 * 39) <= 8


@given(st.data())
def test_flipped_bits_raise_nothing_but_os_errors(data: st.DataObject) -> None:
    whole = bytearray(FILM)
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at] ^= 1 << data.draw(st.integers(0, 7))
    for number in kept(bytes(whole)):
        with contextlib.suppress(OSError):
            assert video.Reader(io.BytesIO(bytes(whole))).frame(number)


FILM = film(4, codec="mpeg4", kind="mp4")


def test_too_many_pixels_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "MAX_PIXELS", 64 * 48)
    assert video.Reader(io.BytesIO(FILM)).frame(0)
    monkeypatch.setattr(video, "MAX_PIXELS", 64 * 48 - 1)
    with pytest.raises(OSError, match="pixels") as caught:
        video.Reader(io.BytesIO(FILM)).frame(0)
    assert places.reason_of(caught.value) == "too_large"


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"curate\[video\]"):
        kept(FILM)


def test_the_bmp_holds_the_pixels_unchanged() -> None:
    bgr = cv2.imdecode(np.frombuffer(video.Reader(io.BytesIO(FILM)).frame(2), np.uint8), 1)
    with av.open(io.BytesIO(FILM)) as container:
        frames = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
    assert np.array_equal(bgr, frames[2])


@pytest.mark.parametrize("fps", [0.0, -1.0, float("nan"), float("inf"), 1000.5])
def test_a_rate_that_is_none_is_refused_before_any_video_is_read(fps: float) -> None:
    with pytest.raises(ConfigError, match="Next: --fps 1000"):
        video.Sampling(fps)
    video.Sampling(1000.0)
