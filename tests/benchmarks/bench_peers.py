"""Copies that imagededup and fastdup find among the very files that `bench_duplicates` plants.

    python tests/benchmarks/bench_peers.py PEERS_PYTHON [FOLDER ...] [--most N] [--generated N]

PEERS_PYTHON is the python of another environment: `pip install imagededup fastdup` there. Each peer
runs in a process of its own, its usage reports switched off, on the files that are then ingested;
one that cannot run is named. imagededup: PHash, at the bits given; fastdup: twelve neighbours, at
the similarities given. A pair is right where both are made from one picture and neither or both are
recaptures. A peer's pairs are not closed into clusters: recall is that of copy and original.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from bench_duplicates import KINDS, is_attack, joined, planted
from click.testing import CliRunner

from curate.cli import main as curate
from curate.hashes import POSES

# Each is given the folder and the file for its answer: [name, other name, score].
IMAGEDEDUP = """
import json, sys
from imagededup.methods import PHash
method = PHash(verbose=False)
hashes = method.encode_images(image_dir=sys.argv[1], num_enc_workers=0)
found = method.find_duplicates(
    encoding_map=hashes, max_distance_threshold=12, scores=True, num_dist_workers=0)
pairs = [[a, b, int(bits)] for a, others in found.items() for b, bits in others]
json.dump(pairs, open(sys.argv[2], "w"))
"""
FASTDUP = """
import json, os, sys
import fastdup
work = sys.argv[2] + ".work"
dataset = fastdup.create(work_dir=work, input_dir=sys.argv[1])
dataset.run(overwrite=True, verbose=False, threshold=0.8, nearest_neighbors_k=12)
found = dataset.similarity()[["filename_from", "filename_to", "distance"]]
name = os.path.basename
json.dump([[name(a), name(b), float(s)] for a, b, s in found.to_numpy()], open(sys.argv[2], "w"))
"""
BITS, SIMILARITIES = (4, 8, 10, 12), (0.85, 0.9, 0.95)
TIMEOUT = 900
QUIET = {"SENTRY_OPT_OUT": "1"}  # the name that fastdup asks for

Near = Callable[[float], bool]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("python", type=Path, help="of the peers' environment")
    parser.add_argument("folders", type=Path, nargs="*")
    parser.add_argument("--most", type=int, default=60)
    parser.add_argument("--generated", type=int, default=60)
    parser.add_argument("--half", choices=("tune", "report", "both"), default="both")
    chosen = parser.parse_args()
    chosen.bare = False
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        shots = list(planted(chosen, root / "in"))
        start = time.process_time()
        words = ["--workspace", str(root / "ws"), "ingest", str(root / "in"), "--trust", "none"]
        CliRunner().invoke(curate, words, catch_exceptions=False)
        print(f"{len(shots)} files; curate {time.process_time() - start:.0f} CPU-s")
        table = joined(shots, root / "ws")
        home = table["home"].to_numpy()
        rows = {"curate": scored(table, home[:, None] == home[None])}
        for peer, (code, limits, near) in PEERS.items():
            pairs = asked(chosen.python, code, root, peer)
            for limit in limits if pairs is not None else ():
                merged = matrix(table, pairs, near(limit))
                rows[f"{peer}, {limit}"] = scored(table, merged)
    print((100 * pd.DataFrame(rows).T).round(1).to_string())


def within(bits: float) -> Near:
    return lambda score: score <= bits


def above(similarity: float) -> Near:
    return lambda score: score >= similarity


PEERS = {"imagededup": (IMAGEDEDUP, BITS, within), "fastdup": (FASTDUP, SIMILARITIES, above)}


def asked(python: Path, code: str, root: Path, peer: str) -> list[tuple[str, str, float]] | None:
    """Return a peer's pairs, None where it cannot run."""
    answer = root / f"{peer}.json"
    before = os.times()
    done = subprocess.run(
        [python, "-c", code, str(root / "in"), str(answer)],
        env=os.environ | QUIET,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        cwd=root,
    )
    if done.returncode or not answer.exists():
        print(f"{peer} did not run: {(done.stderr.strip() or 'no answer').splitlines()[-1]}")
        return None
    after = os.times()
    spent = sum(after[2:4]) - sum(before[2:4])
    print(f"{peer} {spent:.0f} CPU-s, imports included")
    return json.loads(answer.read_text())


def matrix(table: pd.DataFrame, pairs: list[tuple[str, str, float]], near: Near) -> np.ndarray:
    place = {name: row for row, name in enumerate(table["name"])}
    merged = np.eye(len(table), dtype=bool)
    for a, b, score in pairs:
        if near(score):
            merged[place[a], place[b]] = merged[place[b], place[a]] = True
    return merged


def scored(table: pd.DataFrame, merged: np.ndarray) -> dict[str, float]:
    """Return recall of all, of each way to lie and each kind, precision, recaptures merged."""
    first = table[table["kind"] == "original"].reset_index().set_index("picture")["index"]
    copies = table[table["kind"].isin(KINDS)]
    found = merged[copies.index, first.reindex(copies["picture"]).to_numpy()]
    lie = copies["pose"].map(
        lambda pose: "upright" if pose == 0 else "mirrored" if POSES[pose].mirror else "turned"
    )
    found = pd.Series(found.astype(float), copies.index)
    i, j = np.nonzero(np.triu(merged, 1))
    picture, attack = table["picture"].to_numpy(), attacks(table)
    right = (picture[i] == picture[j]) & (attack[i] == attack[j])
    planted_ones = table.index[table["kind"] == "recapture"]
    of = first.reindex(table.loc[planted_ones, "picture"]).to_numpy()
    return {
        "recall": found.mean(),
        **found.groupby(lie).mean(),
        **found.groupby(copies["kind"]).mean().reindex(list(KINDS)),
        "precision": float(right.mean()) if len(right) else 1.0,
        "recaptures merged": float(merged[planted_ones, of].mean()) if len(planted_ones) else 0.0,
    }


def attacks(table: pd.DataFrame) -> np.ndarray:
    return (table["kind"] == "recapture").to_numpy() | table["label"].map(is_attack).to_numpy(bool)


if __name__ == "__main__":
    main()
