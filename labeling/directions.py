"""The directions in which rows of features vary, the widest first. Pure."""

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

SMALLEST = 1e-6  # of the widest direction's square: narrower ones are rounding

Floats = NDArray[np.floating]


def directions(rows: Floats, most: int | None = None) -> tuple[Floats, Floats]:
    """Return (R,) squares of sizes, falling, and (D, R) orthonormal directions of (N, D) rows.

    At most the ``most`` widest. Those of a singular value decomposition, from the smaller of the
    two Gram matrices: a few times faster, and to within rounding.
    """
    tall = len(rows) >= rows.shape[1]
    gram = (rows.T @ rows if tall else rows @ rows.T).astype(np.float64)
    least = max(len(gram) - (most or len(gram)), 0)
    squares, vectors = eigh(gram, subset_by_index=[least, len(gram) - 1])
    kept = np.flatnonzero(squares > SMALLEST * max(float(squares[-1]), 1e-12))[::-1]
    squares, vectors = squares[kept], vectors[:, kept]
    found = vectors if tall else rows.T @ (vectors / np.sqrt(squares))
    return squares, np.asarray(found, np.float32)
