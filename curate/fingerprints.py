"""Numbers that stand for texts: a million ids of 64 letters compared in hundredths of a second."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

ID_BYTES = 64  # a SHA-256 in hex
TAIL_BYTES = 32  # of a path: what tells most of them apart
WORD = 8  # bytes of a uint64
Prints = NDArray[np.uint64]
# Odd, so that no letter is lost, and drawn anew in each process: no two of a billion SHA-256 agree
# in both products by chance, nor by design of who made the images.
FACTORS = np.random.default_rng().integers(0, 2**64, (8, 2), dtype=np.uint64) | np.uint64(1)


def of_ids(ids: pa.ChunkedArray) -> Prints | None:
    """Return (N, 2), equal for equal ids only; None where ids are not all of 64 bytes."""
    shortest, longest = _lengths(ids)
    if (shortest, longest) != (ID_BYTES, ID_BYTES):
        return None if len(ids) else np.empty((0, 2), np.uint64)
    return _of_tails(ids, ID_BYTES)


def repeated_later(texts: pa.ChunkedArray) -> NDArray[np.bool_]:
    """Return (N,) bool: the same text stands further down once more."""
    width = min(TAIL_BYTES, _lengths(texts)[0]) // WORD * WORD
    same_tail = np.ones(len(texts), bool)
    if width:
        same_tail = (
            pd.Series(_of_tails(texts, width)[:, 0]).duplicated(keep=False).to_numpy(copy=True)
        )
    suspects = texts.filter(pa.array(same_tail)).to_pandas()
    same_tail[same_tail] = suspects.duplicated(keep="last").to_numpy()
    return same_tail


def _lengths(texts: pa.ChunkedArray) -> tuple[int, int]:
    """Return the bytes of the shortest and the longest text, 0 for null."""
    ends = pc.min_max(pc.fill_null(pc.binary_length(texts), 0)).as_py()
    return ends["min"] or 0, ends["max"] or 0


def _of_tails(texts: pa.ChunkedArray, width: int) -> Prints:
    """Return (N, 2) prints of the last ``width`` bytes of each text, a multiple of WORD."""
    parts = [np.empty((0, 2), np.uint64)]
    for chunk in texts.chunks:
        if len(chunk):
            _, ends, letters = chunk.buffers()
            last = np.frombuffer(ends, np.int32, len(chunk) + 1, chunk.offset * 4)
            windows = sliding_window_view(np.frombuffer(letters, np.uint8), width)
            whole = last[-1] - last[0] == len(chunk) * width
            tails = windows[last[0] : last[-1] : width] if whole else windows[last[1:] - width]
            words = np.ascontiguousarray(tails).view(np.uint64)
            parts.append(words @ FACTORS[: width // WORD])
    return np.concatenate(parts)
