"""What one ingest got right and wrong, for any workspace whose files are described by a truth file.

    python tests/benchmarks/bench_truth.py WORKSPACE TRUTH.csv

A truth file has one row a file: path (below the truth file's folder) and, as far as known, subject,
clip, label, attack_type, turn, mirror, copy_of (a path), relation, eyes (open or closed), fault.
`plant.py` makes one for any folder of faces. Label the files in the truth only, and ingest them as
a plain folder (no recipe), to measure merges with all labels hidden.
"""

import argparse
from collections.abc import Iterable
from itertools import combinations
from pathlib import Path

import pandas as pd

from curate import truth, workspace
from curate.catalogue import Catalogue

TEN_MILLION = 10_000_000
Line = tuple[str, int, int]  # what, how many, of how many
OPTIONAL = ("subject", "clip", "label", "attack_type", "copy_of", "relation", "eyes", "fault")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("truth", type=Path)
    chosen = parser.parse_args()
    catalogue = workspace.open_at(chosen.workspace).catalogue
    files = read(catalogue, chosen.truth)
    for what, count, of in lines(catalogue, files):
        print(f"{what:<58} {count:>8} / {of:<10} {100 * count / max(of, 1):7.2f} %")
    people_lines(catalogue, files)


def read(catalogue: Catalogue, truth_file: Path) -> pd.DataFrame:
    files = truth.matched(catalogue, truth_file)
    for name in OPTIONAL:
        files[name] = files[name].fillna("") if name in files else ""
    files["turn"] = files["turn"].astype(int) if "turn" in files else 0
    files["mirror"] = files.get("mirror", "no")
    return files[files["image_id"].notna() & (files["fault"] == "")]


def lines(catalogue: Catalogue, files: pd.DataFrame) -> Iterable[Line]:
    yield from turn_lines(files)
    yield from mirror_lines(files)
    merged = merged_pairs(catalogue)
    yield from copy_lines(files, merged)
    yield from merge_lines(files, merged)


def turn_lines(files: pd.DataFrame) -> Iterable[Line]:
    read_as, planted = files["turn_read"], files["turn"] != 0
    upright = (read_as == files["turn"]) | ((read_as == -1) & (files["turn"] == 0))
    yield "turn: all images upright in the end", int(upright.sum()), len(files)
    yield "turn: turned images put upright", int((upright & planted).sum()), int(planted.sum())
    yield (
        "turn: upright images touched",
        int(((read_as > 0) & ~planted).sum()),
        int((~planted).sum()),
    )
    decided = read_as >= 0
    yield "turn: decided", int(decided.sum()), len(files)
    yield "turn: decided wrongly", int((decided & ~upright).sum()), len(files)


def mirror_lines(files: pd.DataFrame) -> Iterable[Line]:
    said, planted = files["mirror_read"], files["mirror"] == "yes"
    for name, group in (("bursts", files["clip"] != ""), ("no clip", files["clip"] == "")):
        mine, plain = group & planted, group & ~planted
        yield (
            f"mirror, {name}: mirrored frames found",
            int((mine & (said == "yes")).sum()),
            int(mine.sum()),
        )
        yield (
            f"mirror, {name}: plain frames flipped",
            int((plain & (said == "yes")).sum()),
            int(plain.sum()),
        )
        yield (
            f"mirror, {name}: ambiguous",
            int((group & (said == "ambiguous")).sum()),
            int(group.sum()),
        )


def merged_pairs(catalogue: Catalogue) -> set[frozenset[str]]:
    """Return the pairs of images that ended in one cluster, transitively."""
    pairs = catalogue.read("pairs", ["a", "b", "cluster"])
    pairs = pairs[pairs["cluster"].fillna("") != ""]
    together = set()
    members = pd.concat(
        [
            pairs[["a", "cluster"]].set_axis(["id", "cluster"], axis=1),
            pairs[["b", "cluster"]].set_axis(["id", "cluster"], axis=1),
        ]
    )
    for cluster, rows in members.groupby("cluster"):
        together |= {frozenset(pair) for pair in combinations({cluster, *rows["id"]}, 2)}
    return together


def copy_lines(files: pd.DataFrame, merged: set[frozenset[str]]) -> Iterable[Line]:
    pictures = files["path"].map(pictures_of(files))
    shown = pictures.groupby(files["image_id"]).agg(set)
    partners: dict[str, set[str]] = {}
    for a, b in map(tuple, merged):
        partners.setdefault(a, set()).update(shown.get(b, ()))
        partners.setdefault(b, set()).update(shown.get(a, ()))
    ids = files.set_index("path")["image_id"]
    copies = files.assign(picture=pictures)
    copies = copies[(copies["copy_of"] != "") & (copies["relation"] != "recapture")]
    copies = copies[copies["copy_of"].isin(ids.index)]
    copies["found"] = [
        ids.get(original) == image_id or picture in partners.get(image_id, ())
        for original, image_id, picture in zip(
            copies["copy_of"], copies["image_id"], copies["picture"], strict=True
        )
    ]
    for relation, rows in copies.groupby("relation"):
        yield f"copies found: {relation}", int(rows["found"].sum()), len(rows)
    turned = (copies["turn"] != 0) | (copies["mirror"] == "yes")
    for name, rows in (("as they were", copies[~turned]), ("turned or mirrored", copies[turned])):
        yield f"copies found: {name}", int(rows["found"].sum()), len(rows)
    yield "copies found", int(copies["found"].sum()), len(copies)


def merge_lines(files: pd.DataFrame, merged: set[frozenset[str]]) -> Iterable[Line]:
    of = files.drop_duplicates("image_id").set_index("image_id")
    pictures = files["path"].map(pictures_of(files)).groupby(files["image_id"]).agg(set)
    known = [tuple(pair) for pair in merged if all(one in of.index for one in pair)]
    wrong = [pair for pair in known if not pictures[pair[0]] & pictures[pair[1]]]
    yield "merged pairs that are one picture (precision)", len(known) - len(wrong), len(known)
    for column in ("subject", "label", "attack_type", "eyes"):
        both = [(of.at[a, column], of.at[b, column]) for a, b in known]
        apart = sum(bool(a) and bool(b) and a != b for a, b in both)
        yield f"merged although the {column} differs", apart, len(known)
    if (of["eyes"] != "").any():
        yield from eye_lines(of, set(known))


def eye_lines(of: pd.DataFrame, known: set[tuple[str, ...]]) -> Iterable[Line]:
    """Closed frames merged with an open one; consecutive open frames of a clip that were merged."""
    closed = set(of.index[of["eyes"] == "closed"])
    hit = {one for pair in known for one in pair if one in closed and len(closed & set(pair)) == 1}
    yield "closed-eyed frames merged with an open one", len(hit), len(closed)


def pictures_of(files: pd.DataFrame) -> dict[str, str]:
    """Return path -> the picture it goes back to; a recapture is a picture of its own.

    Frames of one clip count as one picture: a copy of one is as good as a copy of its neighbour.
    """
    made_from = files["copy_of"].where(files["relation"] != "recapture", "")
    above = dict(zip(files["path"], made_from, strict=True))

    def root(path: str) -> str:
        while above.get(path):
            path = above[path]
        return path

    clip = dict(zip(files["path"], files["clip"], strict=True))
    return {path: clip.get(root(path)) or root(path) for path in above}


def people_lines(catalogue: Catalogue, files: pd.DataFrame) -> None:
    """Print merges of two people per ten million pairs of pictures of two people."""
    of = files[files["subject"] != ""].drop_duplicates("image_id").set_index("image_id")["subject"]
    sizes = of.value_counts()
    pairs = (len(of) ** 2 - int((sizes**2).sum())) // 2
    merged = [tuple(pair) for pair in merged_pairs(catalogue)]
    wrong = sum(a in of.index and b in of.index and of[a] != of[b] for a, b in merged)
    rate = wrong * TEN_MILLION / max(pairs, 1)
    print(f"merges of two people: {wrong} of {pairs:,} pairs, {rate:.2f} per ten million")


if __name__ == "__main__":
    main()
