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
# in the products of both halves by chance, nor by design of who made the images.
FACTORS = np.random.default_rng().integers(0, 2**64, ID_BYTES // WORD, np.uint64) | np.uint64(1)


class OddIds(ValueError):
    """Ids that are not of 64 bytes: no prints are taken of them."""


def of_ids(ids: pa.Array) -> Prints:
    """Return (2, N), one row per half, equal for equal ids only and 0 for null or empty ones.

    Raises:
        OddIds: some id is not of 64 bytes.
    """
    if not ids.null_count and _lengths(ids) == (ID_BYTES, ID_BYTES):
        letters, half = _tails(ids, ID_BYTES), ID_BYTES // 2
        return np.stack([_print(letters[:, :half]), _print(letters[:, half:], half // WORD)])
    found = np.zeros((2, len(ids)), np.uint64)
    said = np.asarray(pc.fill_null(pc.not_equal(ids, ""), False))
    if said.any():
        there = ids.filter(pa.array(said))
        if _lengths(there) != (ID_BYTES, ID_BYTES):
            raise OddIds
        found[:, said] = of_ids(there)
    return found


def repeated_later(texts: pa.ChunkedArray) -> NDArray[np.bool_]:
    """Return (N,) bool: the same text stands further down once more."""
    width = min(TAIL_BYTES, _lengths(texts)[0]) // WORD * WORD
    same_tail = np.ones(len(texts), bool)
    if width:
        tails = [_print(_tails(chunk, width)) for chunk in texts.chunks if len(chunk)]
        prints = pd.Series(np.concatenate([np.empty(0, np.uint64), *tails]))
        same_tail = prints.duplicated(keep=False).to_numpy(copy=True)
    suspects = texts.filter(pa.array(same_tail)).to_pandas()
    same_tail[same_tail] = suspects.duplicated(keep="last").to_numpy()
    return same_tail


def _lengths(texts: pa.ChunkedArray | pa.Array) -> tuple[int, int]:
    """Return the bytes of the shortest and the longest text, 0 for null."""
    ends = pc.min_max(pc.fill_null(pc.binary_length(texts), 0))
    return ends["min"].as_py() or 0, ends["max"].as_py() or 0


def _tails(texts: pa.Array, width: int) -> NDArray[np.uint8]:
    """Return (N, width) the last bytes of each text; none may be shorter."""
    _, ends, letters = texts.buffers()
    last = np.frombuffer(ends, np.int32, len(texts) + 1, texts.offset * 4)
    every = np.frombuffer(letters, np.uint8)
    if last[-1] - last[0] == len(texts) * width:
        return every[last[0] : last[-1]].reshape(-1, width)
    return sliding_window_view(every, width)[last[1:] - width]


def _print(letters: NDArray[np.uint8], first: int = 0) -> Prints:
    """Return (N,) prints of rows of letters, a multiple of WORD; ``first`` of FACTORS to use."""
    words = letters.view(np.uint64)
    found: Prints = words[:, 0] * FACTORS[first]
    for n in range(1, words.shape[1]):
        found += words[:, n] * FACTORS[first + n]
    return found
