"""Seconds and memory of what reads the whole catalogue, on one that holds a million images.

    python tests/benchmarks/bench_scale.py [count] [folder]

Writes a workspace of ``count`` image rows (default 1,000,000) into ``folder`` (default: a temporary
one; one that is there already is used as it is): four large ingest runs, fifty small ones, one that
was undone, two of soft labels, one of decisions; 40 % of the labels trusted, pairs for 10 % of the
images, soft labels for 60 %. Then measures each step in a process of its own.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import simplejpeg
from deltalake import write_deltalake

from curate import schema, tables, upkeep, workspace
from curate.workspace import Workspace

sys.path.append(str(Path(__file__).parents[1]))
from conftest import portrait  # noqa: E402

COUNT = 1_000_000
CHUNK = 100_000  # rows made at a time
SMALL_RUNS, SMALL = 50, 20
FRAMES = 20  # images of a subject
LISTS = {"phash": 8, "dhash": 8, "face_phash": 8, "face_dhash": 8, "face": 4, "landmarks": 12}
HERE = "import sys; from pathlib import Path; from curate import workspace; "
HERE += "cat = workspace.open_at(Path(sys.argv[1])).catalogue; "
STEPS = {
    "start-up alone": "pass",
    "usable_images, ids only": "from curate import usable as u; u.usable_images(cat, ['image_id'])",
    "usable_images": "from curate.usable import usable_images; usable_images(cat)",
    "labels.resolved": "from curate import labels; labels.resolved(cat)",
    "labels.best_keys": "from curate import labels; labels.best_keys(cat)",
    "labels.given_keys": "from curate import labels; labels.given_keys(cat)",
    "groups.of_catalogue": "from curate import groups as g, labels as l; "
    "g.of_catalogue(cat, l.best_keys(cat))",
    "resplit.redraw": "from curate.resplit import redraw; redraw(cat)",
    "read all of images": "cat.read('images')",
    "sweep": "cat.sweep()",
}


def hexes(rng: np.random.Generator, count: int) -> pa.Array:
    """Return ``count`` random ids of 64 hex digits."""
    offsets = np.arange(count + 1, dtype=np.int32) * 64
    digits = rng.bytes(32 * count).hex().encode()
    return pa.Array.from_buffers(
        pa.string(), count, [None, pa.py_buffer(offsets.tobytes()), pa.py_buffer(digits)]
    )


def lists(rng: np.random.Generator, count: int, width: int, dtype: pa.DataType) -> pa.Array:
    """Return ``count`` lists of ``width`` random numbers."""
    if pa.types.is_integer(dtype):
        values = rng.integers(-(2**63), 2**63, count * width, dtype=np.int64)
    else:
        values = rng.random(count * width, dtype=np.float32) * 400
    offsets = np.arange(count + 1, dtype=np.int32) * width
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values, dtype))


def texts(prefix: str, numbers: np.ndarray, known: np.ndarray) -> pa.Array:
    """Return ``prefix`` + number where ``known``, else null."""
    return pa.array(np.char.add(prefix, numbers.astype(str)), mask=~known)


def images(rng: np.random.Generator, ids: pa.Array, first: int, run: str) -> pa.Table:
    """Return rows of `images`; ``first`` is the number of the first one."""
    count, number = len(ids), first + np.arange(len(ids))
    trusted = number % 100 < 40
    status = np.where(number % 8 == 7, "duplicate", "kept").astype("U11")
    status[number % 12 == 5] = "quarantined"
    faceless = (status == "quarantined") & (number % 2 == 0)
    reason = np.where(status == "kept", "", status)
    reason[status == "quarantined"] = "small_face"
    reason[faceless] = "no_face"
    made: dict[str, pa.Array] = {
        "image_id": ids,
        "uri": texts("/data/mined/2026-11/", number, number >= 0),
        "also_at": pa.ListArray.from_arrays(
            pa.array(np.zeros(count + 1, np.int32)), pa.array([""])
        ),
        "batch": pa.array([run] * count),
        "source": pa.array(np.where(trusted, "celeba-spoof", "folder")),
        "subject": texts("celeba-spoof/", number // FRAMES, trusted),
        "clip": texts("celeba-spoof/live/", number // 10, number % 100 < 10),
        "origin": pa.array(["mined"] * count),
        "parent_id": pa.nulls(count, pa.string()),
        "official_split": pa.nulls(count, pa.string()),
        "turn": pa.array(np.where(number % 50 == 0, 90, np.where(number % 99 == 0, -1, 0))),
        "mirror": pa.array(["no"] * count),
        "status": pa.array(status),
        "reason": pa.array(reason),
        "phash_mode": pa.array(["fast"] * count),
        "face": lists(rng, count, 4, pa.float32()).filter(pa.array(~faceless)),
    }
    made["face"] = made["face"].take(
        pa.array(np.cumsum(~faceless) - 1, mask=faceless, type=pa.int64())
    )
    return filled("images", made, rng, count)


def filled(table: str, made: dict[str, pa.Array], rng: np.random.Generator, count: int) -> pa.Table:
    """Return a table of the schema: the columns ``made``, random numbers in all others."""
    columns = []
    for field in tables.TABLES[table]:
        if field.name in made:
            values = made[field.name]
        elif pa.types.is_list(field.type) and field.name in LISTS:
            values = lists(rng, count, LISTS[field.name], field.type.value_type)
        elif pa.types.is_floating(field.type):
            values = pa.array(rng.random(count))
        elif pa.types.is_boolean(field.type):
            values = pa.array(rng.random(count) < 0.1)
        elif pa.types.is_integer(field.type):
            values = pa.array(rng.integers(1, 100, count))
        else:
            values = pa.nulls(count, field.type)
        columns.append(values.cast(field.type))
    return pa.table(columns, schema=tables.TABLES[table])


def labels(rng: np.random.Generator, ids: pa.Array, first: int, run: str) -> pa.Table:
    number = first + np.arange(len(ids))
    live = number // FRAMES % 2 == 0
    types = np.array(schema.ATTACK_TYPES[:4])[number // FRAMES % 4]
    made = {
        "image_id": ids,
        "task": pa.array(["liveness"] * len(ids)),
        "part": pa.array([""] * len(ids)),
        "label": pa.array(np.where(live, schema.BONAFIDE, schema.ATTACK)),
        "attack_type": pa.array(np.where(live, "", types)),
        "source": pa.array(["celeba-spoof"] * len(ids)),
        "trusted": pa.array(number % 100 < 40),
        "run_id": pa.array([run] * len(ids)),
    }
    return filled("labels", made, rng, len(ids))


def split_rows(rng: np.random.Generator, ids: pa.Array, first: int, run: str) -> pa.Table:
    number = first + np.arange(len(ids))
    drawn = np.array(["train"] * 7 + ["dev"] + ["test"] * 2)[number // 100 % 10]
    split = np.where(number % 100 < 40, drawn, "train")
    inside = rng.permutation(np.flatnonzero(number % 12 != 5))  # not in the order of images
    columns = [ids.take(pa.array(inside)), pa.array(split[inside]), pa.array([run] * len(inside))]
    return pa.table(columns, schema=tables.TABLES["splits"])


def places(rng: np.random.Generator, ids: pa.Array, first: int, run: str) -> pa.Table:
    """Return a second place for every fiftieth image."""
    at = np.arange(0, len(ids), 50)
    made = {
        "image_id": ids.take(pa.array(at)),
        "uri": texts("/data/again/", first + at, at >= 0),
        "source": pa.array(["folder"] * len(at)),
        "run_id": pa.array([run] * len(at)),
    }
    return filled("places", made, rng, len(at))


def pairs(rng: np.random.Generator, ids: pa.Array, first: int, run: str) -> pa.Table:
    """Return pairs of neighbours of one subject, one for every tenth image."""
    number = first + np.arange(len(ids) - 1)
    a = np.flatnonzero((number % 20 == 6) | (number % 20 == 14))
    kept = np.where(number[a] % 8 == 6, a, -1)  # the next one is marked as its duplicate
    kind = np.where(kept >= 0, "duplicate", np.where(a % 3 == 0, "recapture", "candidate"))
    cluster = pa.array(ids.take(pa.array(a)).to_numpy(zero_copy_only=False))
    made = {
        "a": cluster,
        "b": ids.take(pa.array(a + 1)),
        "kind": pa.array(kind),
        "relation": pa.array(["same"] * len(a)),
        "similarity": pa.array(np.where(kept >= 0, 0.99, 0.9)),
        "cluster": pa.array(np.where(kept >= 0, cluster.to_numpy(zero_copy_only=False), "")),
        "run_id": pa.array([run] * len(a)),
    }
    return filled("pairs", made, rng, len(a))


def soft(rng: np.random.Generator, ids: pa.Array, first: int, run: str) -> pa.Table:
    number = first + np.arange(len(ids))
    at = np.flatnonzero(number % 100 >= 40)
    count, live = len(at), rng.random(len(at))
    review = np.maximum(live, 1 - live) < 0.9
    made = {
        "image_id": ids.take(pa.array(at)),
        "task": pa.array(["liveness"] * count),
        "part": pa.array([""] * count),
        "run_id": pa.array([run] * count),
        "label": pa.array(np.where(live >= 0.5, schema.BONAFIDE, schema.ATTACK)),
        "attack_type": pa.array(np.where(live >= 0.5, "", "print")),
        "confidence": pa.array(np.maximum(live, 1 - live)),
        "probs": lists(rng, count, 10, pa.float32()),
        "status": pa.array(np.where(review, "review", "accepted")),
        "reason": pa.array(np.where(review, schema.UNSURE, "")),
        "teacher": pa.array(["tf_efficientnet_lite0"] * count),
    }
    return filled("soft_labels", made, rng, count)


def decisions(rng: np.random.Generator, ids: pa.Array, run: str) -> pa.Table:
    count = len(ids)
    live = rng.random(count) < 0.5
    made = {
        "image_id": ids,
        "task": pa.array(["liveness"] * count),
        "part": pa.array([""] * count),
        "action": pa.array(["relabel"] * count),
        "label": pa.array(np.where(live, schema.BONAFIDE, schema.ATTACK)),
        "attack_type": pa.array(np.where(live, "", "print")),
        "reviewer": pa.array(["me"] * count),
        "at": pa.array(["2026-11-22T00:00:00"] * count),
        "run_id": pa.array([run] * count),
    }
    return filled("decisions", made, rng, count)


class Writer:
    """Appends runs to a workspace, each as one commit per table."""

    def __init__(self, here: Workspace) -> None:
        """Write into ``here``, from image number 0."""
        self.here, self.rng, self.first, self.runs = here, np.random.default_rng(0), 0, 0

    def run(self, verb: str, undoes: str = "") -> str:
        """Write a row of `runs`; its rows may come after it, for nobody reads meanwhile."""
        self.runs += 1
        run_id = f"20261122T{self.runs:06}.000000-{verb}-{self.runs:04x}"
        row = {
            "run_id": run_id, "verb": verb, "state": "done", "undoes": undoes, "config": "{}",
            "started": f"2026-11-22T00:00:00.{self.runs:06}+00:00", "seconds": 1.0, "inputs": "{}",
            "code_version": "0", "counts": '{"images": 1}',
        }  # fmt: skip
        self.here.catalogue.append("runs", pd.DataFrame([row]))
        return run_id

    def ingest(self, count: int) -> tuple[str, list[pa.Array]]:
        """Write a run of ``count`` images and what belongs to them; return it and their ids."""
        run, first = self.run("ingest"), self.first
        sizes = [min(CHUNK, count - start) for start in range(0, count, CHUNK)]
        ids = [hexes(self.rng, size) for size in sizes]
        for table, make in {
            "images": images, "labels": labels, "splits": split_rows, "pairs": pairs,
            "places": places,
        }.items():  # fmt: skip
            starts = first + np.cumsum([0, *sizes])
            self.write(
                table,
                (make(self.rng, each, int(at), run) for each, at in zip(ids, starts, strict=False)),
            )
        self.first += count
        return run, ids

    def softlabel(self, ids: list[pa.Array], first: int) -> None:
        """Write a run of soft labels for the images without a trusted label."""
        run = self.run("softlabel")
        starts = first + np.cumsum([0, *map(len, ids)])
        rows = (soft(self.rng, each, int(at), run) for each, at in zip(ids, starts, strict=False))
        self.write("soft_labels", rows)

    def write(self, table: str, rows: Iterator[pa.Table]) -> None:
        """Append ``rows`` in one commit, a chunk at a time."""
        batches = (batch for chunk in rows for batch in chunk.to_batches())
        reader = pa.RecordBatchReader.from_batches(tables.TABLES[table], batches)
        place = str(self.here.catalogue.folder / table)
        write_deltalake(
            place,
            reader,
            mode="append",
            writer_properties=upkeep.WRITER,
            configuration=upkeep.PROPERTIES,
        )


def make(folder: Path, count: int) -> None:
    """Write the workspace."""
    writer = Writer(workspace.create(folder))
    large = []
    for _ in range(4):
        first = writer.first
        large.append((writer.ingest(count // 4 - SMALL * SMALL_RUNS // 4)[1], first))
    for _ in range(SMALL_RUNS):
        writer.ingest(SMALL)
    undone, _ = writer.ingest(count // 50)
    writer.run("undo", undone)
    for ids, first in large:
        writer.softlabel(ids, first)
    run = writer.run("review")
    ids = large[0][0][0]
    judged = ids.take(pa.array(np.arange(0, len(ids), 20)))
    writer.write("decisions", iter([decisions(writer.rng, judged, run)]))


def made(count: int, root: Path) -> None:
    """Write the workspace, sweep it as the next command would, print what that took."""
    start = time.process_time()
    make(root, count)
    workspace.open_at(root).catalogue.sweep()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{count:,} images written: {time.process_time() - start:.0f} CPU-s, {peak:.2f} GB")


def measure(name: str, *words: str | Path) -> None:
    """Run python with ``words`` in a new process; print a row of what it took."""
    start = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen([sys.executable, *words], stdout=said, stderr=said)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        if status:
            said.seek(0)
            print(f"| {name} | failed: {said.read().decode().strip().splitlines()[-1:]} | | |")
            return
    cpu, peak = used.ru_utime + used.ru_stime, used.ru_maxrss / 1e6
    print(f"| {name} | {wall:.2f} | {cpu:.2f} | {peak:.2f} |", flush=True)


def main(count: int, root: Path) -> None:
    """Write the workspace where there is none, then measure."""
    if not root.exists():  # in a process of its own: children inherit the peak of their parent
        subprocess.run([sys.executable, __file__, "--make", str(count), str(root)], check=True)
    print("| step | wall, s | CPU-s | peak RSS, GB |")
    print("|---|---|---|---|")
    curate = ("-m", "curate", "--workspace", root)
    measure("curate --help", "-m", "curate", "--help")
    measure("curate status", *curate, "status", "--json")
    for name, code in STEPS.items():
        measure(name, "-c", HERE + code, root)
    faces = root / "five"
    faces.mkdir(exist_ok=True)
    for seed in range(5):
        jpeg = simplejpeg.encode_jpeg(np.ascontiguousarray(portrait(seed)))
        (faces / f"{seed}.jpg").write_bytes(jpeg)
    measure("ingest of 5 images, dry run", *curate, "ingest", faces, "--dry-run", "--json")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--make"]:
        made(int(sys.argv[2]), Path(sys.argv[3]))
    else:
        size = int(sys.argv[1]) if len(sys.argv) > 1 else COUNT
        with tempfile.TemporaryDirectory() as folder:
            main(size, Path(sys.argv[2]) if len(sys.argv) > 2 else Path(folder) / "ws")
