"""Videos: which frames of one to look at, and any one of them as an image file.

Frames are numbered as the decoder gives them; the count that a header states is often wrong. What
does not decode takes a number too, and that number is refused when asked for.
"""

import errno
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.decode import MAX_PIXELS
from curate.errors import ConfigError, require
from curate.eyes import blinks

if TYPE_CHECKING:
    from av import VideoFrame

SUFFIXES = frozenset({".avi", ".mov", ".mp4", ".m4v", ".mkv", ".webm", ".mpg", ".mpeg"})
SMALL_SIDE = 360  # pixels of the shorter side at which eyes are looked at for blinks
MOST_FPS = 1000  # what phones film in slow motion
LEAST_SHARE = 0.95  # of the frames a header states; real headers were seen to be off by 1 %

Image: TypeAlias = NDArray[np.uint8]
Closed: TypeAlias = Callable[[Image], float | None]  # how far eyes are closed, 0..1; None: no face


@dataclass(frozen=True)
class Sampling:
    """Which frames of a video become images: ``fps`` a second, and every one around a blink."""

    fps: float = 2.0
    closed: Closed | None = None

    def __post_init__(self) -> None:
        """Refuse a rate that is no number of frames: an option may be "nan" or "inf"."""
        if not 0 < self.fps <= MOST_FPS:
            raise ConfigError(
                f"{self.fps} frames a second, expected more than 0 and at most {MOST_FPS}.\n"
                f"Next: --fps {MOST_FPS} takes every frame"
            )


class Reader:
    """A decoder that goes forward through one video, for one thread."""

    def __init__(self, file: BinaryIO) -> None:
        """Read from ``file``, which is closed with the reader."""
        self._frames = _decoded(file)
        self._frame: VideoFrame | None = None
        self.position = -1  # number of the frame that was decoded last

    def frame(self, number: int) -> bytes:
        """Return a frame at or after `position` as a BMP file, turned as the video says.

        Raises:
            OSError: it does not decode, or the video ends before it.
        """
        while self.position < number:
            try:
                self._frame = next(self._frames)
            except StopIteration as end:
                raise _short(self.position + 1) from end
            self.position += 1
        if self._frame is None:
            raise OSError(errno.EBADMSG, f"frame {number} does not decode")
        bgr = _pixels(self._frame, "bgr24")
        return cv2.imencode(".bmp", bgr)[1].tobytes()


def frames_to_keep(file: BinaryIO, fps: float, closed: Closed | None = None) -> list[int]:
    """Return the numbers of the frames to look at, ascending.

    These are ``fps`` a second by the time each is shown, and all that `eyes.blinks` finds in or
    around a blink. Where the video is damaged or ends early, the first number that cannot be read
    is among them, so that the damage is on record.

    Args:
        file: the video; closed when done.
        fps: > 0; from the video's own rate on every frame is kept.
        closed: how far the eyes of an (h, w, 3) uint8 RGB image are closed; without it, no frame is
            kept for a blink.
    """
    times: list[float] = []
    states: list[float] = []
    lost: list[int] = []
    frames = _decoded(file)
    try:
        for frame in frames:
            if frame is None:
                lost = lost or [len(times)]
            times.append(math.nan if frame is None else _time(frame, len(times)))
            if closed is not None:
                states.append(_state(frame, closed))
    except OSError:
        lost = lost or [len(times)]
    keep = on_grid(times, fps)
    if closed is not None:
        keep |= blinks(np.array(states)) & np.isfinite(times)
    return sorted({*np.flatnonzero(keep).tolist(), *lost})


def on_grid(times: Sequence[float], fps: float) -> NDArray[np.bool_]:
    """Return which frames are the first at or after each tick of 1 / ``fps`` seconds.

    Args:
        times: seconds, in the order of the frames; NaN for a frame that is lost.
        fps: ticks a second, counted from the first frame.
    """
    keep = np.zeros(len(times), bool)
    first = next((time for time in times if math.isfinite(time)), 0.0)
    last = -1
    for number, time in enumerate(times):
        if math.isfinite(time) and (tick := math.floor((time - first) * fps + 1e-6)) > last:
            keep[number], last = True, tick
    return keep


def _decoded(file: BinaryIO) -> Iterator["VideoFrame | None"]:
    """Yield each frame; None for one that does not decode. One thread, so always the same."""
    require("av", extra="video")
    import av  # an extra, loaded only where there is a video

    count, stated = 0, 0
    faults = (av.FFmpegError, EOFError)  # held, for this may end as the interpreter does
    try:
        with file, av.open(file, "r", metadata_errors="replace") as container:
            stream = next(iter(container.streams.video), None)
            if stream is None or stream.codec_context is None:
                raise OSError(errno.EBADMSG, "no moving picture inside that we can decode")
            if stream.width * stream.height > MAX_PIXELS:
                raise OSError(errno.EFBIG, f"{stream.width} x {stream.height} pixels")
            stream.codec_context.thread_count = 1
            stated = stream.frames
            for packet in container.demux(stream):
                for frame in _unpacked(packet, faults):
                    count += 1
                    yield frame
    except faults as error:
        raise OSError(errno.EBADMSG, f"the video is damaged: {error}") from error
    if count < LEAST_SHARE * stated or not count:
        raise _short(count)


def _unpacked(packet: Any, faults: tuple[type[Exception], ...]) -> list["VideoFrame | None"]:
    try:
        return [None if frame.is_corrupt else frame for frame in packet.decode()]
    except faults:
        return [None]


def _pixels(frame: "VideoFrame", layout: str, side: int | None = None) -> Image:
    """Return (h, w, 3) uint8, turned by the display matrix, shorter side at most ``side``."""
    scale = min(1.0, side / min(frame.width, frame.height)) if side else 1.0
    size = {"width": round(frame.width * scale), "height": round(frame.height * scale)}
    stored = frame.reformat(format=layout, **size).to_ndarray()
    return np.ascontiguousarray(np.rot90(stored, round(frame.rotation / 90)), np.uint8)


def _state(frame: "VideoFrame | None", closed: Closed) -> float:
    state = None if frame is None else closed(_pixels(frame, "rgb24", SMALL_SIDE))
    return math.nan if state is None else state


def _time(frame: "VideoFrame", number: int) -> float:
    """Return the second at which a frame is shown; of one that does not say, as if 25 came each."""
    return number / 25 if frame.time is None else frame.time


def _short(count: int) -> OSError:
    return OSError(errno.ENODATA, f"the video ends early, after {count} frames")
