"""What soft labels and their certificates are worth, on any ingested workspace.

    python tests/benchmarks/bench_softlabel.py WORKSPACE [--foreign WORKSPACE2] [--seeds 20]
        [--trusted 36,72] [--max-error 0.02,0.01] [--teacher fitted,stack]

The trusted labels of the workspace are taken for the truth. For each seed some clips of train are
trusted, the other clips of train are the pool, and dev is what is certified on, as `curate
softlabel` does it; figures count clips, each through one frame drawn at random. Printed are

- raw 0.9: coverage, share wrong, worst seed;
- certificates: how often issued, coverage and share wrong where issued, how often violated: the
  pool's true share of wrong labels above what was certified, of all seeds;
- the shift alarm: how often it rings for the pool, and for dev against --foreign;
- each attack type left out of trust and dev: how many of its clips are accepted as bona fide at
  0.9, and how many bona fide ones are;
- a student on trusted clips alone, and with the accepted ones: ACER on test at dev's EER threshold.

Features come from the cache; the first run computes them.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate import labels, schema, show, workspace
from curate.workspace import Workspace
from labeling import accept, calibrate, certify, features, head, shift, teachers, typical, units
from labeling.fitted import spread, weights

RAW = 0.9
STUDENT = "middle of"  # the source a student sees: of the first crop


@dataclass(frozen=True)
class Bench:
    """Every clip of a workspace with its features: nothing is computed twice."""

    here: Workspace
    rows: pd.DataFrame  # units with a class, of all splits
    sources: dict[str, NDArray[np.float32]]

    def take(self, mask: NDArray[np.bool_]) -> dict[str, NDArray[np.float32]]:
        """Return the features of some rows."""
        return {name: values[mask] for name, values in self.sources.items()}


@dataclass(frozen=True)
class Judged:
    """What a teacher that learnt from ``learnt`` makes of all rows."""

    learnt: NDArray[np.bool_]
    probabilities: NDArray[np.float64]
    odd: NDArray[np.bool_]


def load(folder: Path) -> Bench:
    """Read the units of all splits, test too: only the student is measured on that."""
    here = workspace.open_at(folder)
    found = units.gather(here, "liveness")
    test = _test(here)
    rows = pd.concat([found.learn, found.certify, test])
    views = features.views(here.config.softlabel, "liveness")
    sources = dict(features.features(here, rows, views, show.track))
    if scores := teachers.scores_of_cards(here, "liveness", show.track):
        sources[head.SCORES] = scores(rows)
    return Bench(here, rows, sources)


def _test(here: Workspace) -> pd.DataFrame:
    images = units.images(here.catalogue)
    known = labels.resolved(here.catalogue, "liveness")
    word = units.classes(known[known["basis"] != "soft"], "liveness")
    test = images[(images["split"] == "test") & images["face"].notna()]
    rows = test.assign(part="", basis="given", settled=False, **{"class": word.reindex(test.index)})
    return rows[rows["class"].notna()]


def judge(bench: Bench, learnt: NDArray[np.bool_], teacher: str, seed: int) -> Judged:
    """Fit ``teacher`` on ``learnt`` and let it judge every row."""
    rows = bench.rows
    names = [n for n in bench.sources if teacher == "stack" or n != head.SCORES]
    known = head.Known(
        *(rows.loc[learnt, name].to_numpy(object) for name in ("class", "group", "clip_id")),
        weights(rows[learnt], "liveness"),
    )
    chosen = {name: bench.sources[name] for name in names}
    fitted = head.fit({name: values[learnt] for name, values in chosen.items()}, known,
                      folds=bench.here.config.softlabel.folds, seed=seed)  # fmt: skip
    groups, clips = rows["group"].to_numpy(object), rows["clip_id"].to_numpy(object)
    raw = spread(fitted.logits(chosen, groups), fitted.classes, "liveness")
    heat = calibrate.heat(raw[learnt], rows[learnt], "liveness")
    bonafide = learnt & (rows["class"] == schema.BONAFIDE).to_numpy()
    middle = {name: chosen[name] for name in chosen if name.startswith("middle")}
    faces = {name: values[bonafide] for name, values in middle.items()}
    guard = typical.Guard.of(faces, groups[bonafide], seed=seed)
    odd = np.zeros(len(rows), bool)
    if guard is not None:
        odd = typical.odd(guard.left(middle, groups), bonafide, clips)
    return Judged(learnt, calibrate.judged(raw, clips, heat, "liveness"), odd)


def presentations(
    bench: Bench, judged: Judged, mask: NDArray[np.bool_], seed: int
) -> certify.Presentations:
    """Return one frame of each clip of ``mask``."""
    place = pd.Series(np.arange(len(bench.rows)), bench.rows.index)
    drawn = units.one_per_clip(bench.rows[mask], seed)
    at = place.reindex(drawn.index).to_numpy(int)
    return accept.presentations(drawn, judged.probabilities[at], judged.odd[at], "liveness")


def trusted(bench: Bench, count: int, seed: int, without: str = "") -> NDArray[np.bool_]:
    """Return ``count`` clips of train at random, classes in their proportions, two people each."""
    train = bench.rows[(bench.rows["split"] == "train") & (bench.rows["class"] != without)]
    clips = train.drop_duplicates("clip_id")[["clip_id", "class", "group"]]
    rng = np.random.default_rng(seed)
    share = count / len(clips)
    chosen: list[str] = []
    for _, mine in clips.groupby("class"):
        mine = mine.iloc[rng.permutation(len(mine))]
        least = mine.drop_duplicates("group").head(2)["clip_id"].tolist()
        rest = [clip for clip in mine["clip_id"] if clip not in least]
        chosen += (least + rest)[: max(2, round(share * len(mine)))]
    return (bench.rows["clip_id"].isin(chosen) & (bench.rows["split"] == "train")).to_numpy()


def trial(bench: Bench, learnt: NDArray[np.bool_], teacher: str, errors: list[float],
          seed: int) -> Iterator[dict[str, Any]]:  # fmt: skip
    """Yield the figures of raw 0.9 and of each certificate for one seed."""
    judged = judge(bench, learnt, teacher, seed)
    split = bench.rows["split"].to_numpy(object)
    pool = presentations(bench, judged, (split == "train") & ~learnt, seed)
    dev = presentations(bench, judged, split == "dev", seed)
    yield {"rule": f"raw {RAW}", "issued": True, **_worth(pool, RAW)}
    for error in errors:
        found = certify.certify(dev, error, 0.95)
        worth = {} if found.threshold is None else _worth(pool, found.threshold)
        broken = worth.get("wrong", 0.0) > error
        yield {"rule": f"certified {error:.0%}", "issued": bool(worth), "violated": broken, **worth}
    if (split == "test").any():
        yield {"rule": "student", **student(bench, judged, learnt, dev, errors[0], seed)}


def _worth(pool: certify.Presentations, threshold: float) -> dict[str, float]:
    accepted = pool.confidence >= threshold
    wrong = float(pool.wrong[accepted].mean()) if accepted.any() else 0.0
    return {"coverage": float(accepted.mean()), "wrong": wrong}


def student(bench: Bench, judged: Judged, learnt: NDArray[np.bool_], dev: certify.Presentations,
            error: float, seed: int) -> dict[str, float]:  # fmt: skip
    """Return the ACER of a linear student with and without the soft labels certified."""
    found = certify.certify(dev, error, 0.95)
    threshold = RAW if found.threshold is None else found.threshold
    named = accept.named(judged.probabilities, "liveness")
    strange = judged.odd & (named["label"] == schema.BONAFIDE).to_numpy()
    sure = (named["confidence"] >= threshold).to_numpy() & ~strange
    soft = sure & (bench.rows["split"] == "train").to_numpy() & ~learnt
    word = labels.words(named)
    soft_class = pd.Series(word).str.rpartition("/")[2].to_numpy(object)
    truth = bench.rows["class"].to_numpy(object)
    alone = _acer(bench, learnt, truth, seed)
    both = _acer(bench, learnt | soft, np.where(learnt, truth, soft_class), seed)
    return {"alone": alone, "with soft": both}


def _acer(bench: Bench, learnt: NDArray[np.bool_], word: NDArray[np.object_], seed: int) -> float:
    """Return the ACER on test of a head on one source, at the threshold of dev's equal error."""
    rows = bench.rows.assign(**{"class": word})
    name = next(n for n in bench.sources if n.startswith(STUDENT))
    known = head.Known(
        *(rows.loc[learnt, column].to_numpy(object) for column in ("class", "group", "clip_id")),
        weights(rows[learnt], "liveness"),
    )
    values = bench.sources[name]
    fitted = head.fit({name: values[learnt]}, known, folds=5, seed=seed)
    nobody = np.full(len(rows), "nobody", object)
    raw = spread(fitted.logits({name: values}, nobody), fitted.classes, "liveness")
    score = calibrate.judged(raw, rows["clip_id"].to_numpy(object), 1.0, "liveness")[:, 0]
    clips = bench.rows.assign(score=score).drop_duplicates("clip_id")
    dev, test = (clips[clips["split"] == split] for split in ("dev", "test"))
    return _acer_at(test, _equal_error(dev))


def _equal_error(clips: pd.DataFrame) -> float:
    live = clips["class"] == schema.BONAFIDE
    steps = np.unique(clips["score"])
    gaps = [abs((clips.loc[live, "score"] < t).mean() - (clips.loc[~live, "score"] >= t).mean())
            for t in steps]  # fmt: skip
    return float(steps[int(np.argmin(gaps))])


def _acer_at(clips: pd.DataFrame, threshold: float) -> float:
    passed = (clips["score"] >= threshold).groupby(clips["class"]).mean()
    apcer = passed.drop(schema.BONAFIDE).max()
    return float((apcer + 1 - passed[schema.BONAFIDE]) / 2)


def unseen(bench: Bench, kind: str, count: int, teacher: str, seed: int) -> tuple[float, float]:
    """Return the shares of clips accepted as bona fide: of the type left out, of bona fide."""
    judged = judge(bench, trusted(bench, count, seed, without=kind), teacher, seed)
    new = ~judged.learnt & (bench.rows["split"] != "test").to_numpy()
    found = []
    for word in (kind, schema.BONAFIDE):
        pool = presentations(bench, judged, new & (bench.rows["class"] == word).to_numpy(), seed)
        said = pool.strata.get("accepted as bonafide", np.zeros(len(pool.confidence), bool))
        found.append(float((said & (pool.confidence >= RAW)).mean()))
    return found[0], found[1]


def alarm(known: Bench, pool: Bench, mask: NDArray[np.bool_], seed: int) -> shift.Shift | None:
    """Return what the alarm says of ``pool`` (rows of ``mask``) against the dev of ``known``."""

    def seen(bench: Bench, mine: NDArray[np.bool_]) -> tuple[Any, Any]:
        drawn = shift.drawn(units.one_per_clip(bench.rows[mine], seed), seed)
        at = bench.rows.index.get_indexer(drawn.index)
        views = [values for name, values in bench.sources.items() if name != head.SCORES]
        return np.hstack([values[at] for values in views]), drawn["group"].to_numpy(object)

    dev = (known.rows["split"] == "dev").to_numpy()
    return shift.alarm(*seen(known, dev), *seen(pool, mask), seed=seed, level=shift.LEVEL)


def main() -> None:
    """Parse, run all seeds, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--foreign", type=Path)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trusted", default="36,72")
    parser.add_argument("--max-error", default="0.02,0.01")
    parser.add_argument("--teacher", default="")
    asked = parser.parse_args()
    bench = load(asked.workspace)
    counts = bench.rows.drop_duplicates("clip_id").groupby(["split", "class"]).size()
    show.table("Clips", ("split", "class", "clips"), [(*key, int(n)) for key, n in counts.items()])
    errors = [float(word) for word in asked.max_error.split(",")]
    default = "fitted,stack" if head.SCORES in bench.sources else "fitted"
    for teacher in (asked.teacher or default).split(","):
        for count in map(int, asked.trusted.split(",")):
            _certificates(bench, teacher, count, errors, asked.seeds)
            _unseen(bench, teacher, count, asked.seeds)
    _alarms(bench, load(asked.foreign) if asked.foreign else None, asked.seeds)


def _certificates(bench: Bench, teacher: str, count: int, errors: list[float], seeds: int) -> None:
    runs = [
        row
        for seed in range(seeds)
        for row in trial(bench, trusted(bench, count, seed), teacher, errors, seed)
    ]
    frame = pd.DataFrame(runs)
    table = []
    for rule, mine in frame[frame["rule"] != "student"].groupby("rule", sort=False):
        issued = mine[mine["issued"]]
        table.append((
            rule, *(f"{100 * value:.1f}" for value in (
                issued.shape[0] / len(mine), issued["coverage"].mean(), issued["wrong"].mean(),
                issued["wrong"].max(), mine["violated"].fillna(False).mean(),
            ))
        ))  # fmt: skip
    show.table(
        f"{teacher}, {count} clips trusted, {seeds} seeds: % of seeds or of clips",
        ("rule", "issued", "coverage", "wrong", "worst seed", "violated"), table,
    )  # fmt: skip
    learnt = frame[frame["rule"] == "student"]
    if learnt.empty:
        show.note("The workspace has no test split: no student was measured.")
        return
    gain = learnt["alone"] - learnt["with soft"]
    show.facts(
        "Student, ACER % on test",
        {
            "trusted alone": round(100 * learnt["alone"].mean(), 2),
            "with soft labels": round(100 * learnt["with soft"].mean(), 2),
            "better, % of seeds": round(100 * float((gain > 0).mean()), 1),
            "worst loss": round(-100 * float(gain.min()), 2),
        },
    )


def _unseen(bench: Bench, teacher: str, count: int, seeds: int) -> None:
    kinds = sorted(set(bench.rows["class"]) - {schema.BONAFIDE})
    if len(kinds) < 2:
        return
    rows = []
    for kind in kinds:
        found = np.array([unseen(bench, kind, count, teacher, seed) for seed in range(seeds)])
        rows.append(
            (kind, *(f"{100 * value:.1f}" for value in (*found.mean(axis=0), found[:, 0].max())))
        )
    show.table(
        f"{teacher}, {count} clips: a type never trusted, accepted as bona fide at {RAW}, %",
        ("type", "of it", "of bona fide", "worst seed"), rows,
    )  # fmt: skip


def _alarms(bench: Bench, foreign: Bench | None, seeds: int) -> None:
    rows = []
    train = (bench.rows["split"] == "train").to_numpy()
    pools = [("train of the same workspace", bench, train)]
    if foreign:
        pools.append(("the foreign workspace", foreign, np.ones(len(foreign.rows), bool)))
    for name, pool, mask in pools:
        found = [alarm(bench, pool, mask, seed) for seed in range(seeds)]
        rung = [one for one in found if one is not None]
        if rung:
            rows.append((name, f"{100 * np.mean([one.rings for one in rung]):.0f}",
                         round(float(np.mean([one.auc for one in rung])), 3)))  # fmt: skip
    show.table("Shift alarm, against dev", ("pool", "rings, % of seeds", "AUC"), rows)


if __name__ == "__main__":
    main()
