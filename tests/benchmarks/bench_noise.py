"""How well `curate issues` finds wrong labels that are planted into a workspace.

    python tests/benchmarks/bench_noise.py WORKSPACE [--seeds 20] [--task liveness]

The trusted labels of train and dev are taken for the truth. Whole clips are given a wrong label:
5 % and 10 % of all clips another class each, or 5 % of the attack clips the class bona fide. All
figures count clips: the share of issues that are errors (P), of errors that are issues (R), of
errors whose suggestion is the true class, and of errors among the tenth of the clips that rank
first; each is the mean over the seeds, and the worst seed. Nothing is written but features, which
are computed once and kept as `curate issues` keeps them.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd

from curate import schema, show, workspace
from curate.workspace import Workspace
from labeling import doubts

NOISES: dict[str, float] = {"random 5 %": 0.05, "random 10 %": 0.1, "attack -> bonafide 5 %": 0.05}
REVIEWED = 0.1  # of the clips
COLUMNS = ("P", "R", "right suggestion", f"found in the worst {REVIEWED:.0%}")


def planted(units: pd.DataFrame, noise: str, task: str, seed: int) -> pd.DataFrame:
    """Return ``units`` with the class of some clips wrong; `true` is what it was."""
    rng = np.random.default_rng(seed)
    first = schema.CLASSES_OF[task][0]
    word = units.groupby("clip_id")["class"].first()
    classes = sorted(set(word))
    among = word if noise.startswith("random") else word[word != first]
    chosen = rng.choice(among.index, max(1, round(NOISES[noise] * len(among))), replace=False)
    for clip in chosen:
        others = [name for name in classes if name != word[clip]]
        word[clip] = rng.choice(others) if noise.startswith("random") else first
    return units.assign(**{"true": units["class"], "class": units["clip_id"].map(word)})


def figures(found: pd.DataFrame) -> tuple[float, float, float, float]:
    """Return COLUMNS, of judged units."""
    clips = found.sort_values("rank").drop_duplicates("clip_id")
    wrong = (clips["class"] != clips["true"]).to_numpy()
    issue = clips["issue"].to_numpy(bool)
    hits = clips[wrong & issue]
    budget = round(REVIEWED * len(clips))
    return (
        float(wrong[issue].mean()) if issue.any() else 1.0,
        float(issue[wrong].mean()),
        float((hits["suggested"] == hits["true"]).mean()) if len(hits) else 1.0,
        float(wrong[:budget].sum() / wrong.sum()),
    )


def measure(here: Workspace, task: str, seeds: int) -> None:
    """Print one row for each kind of noise."""
    units = doubts.trusted_units(here, task)
    units = units[units["class"] != ""].drop_duplicates("unit")
    mixed = units.groupby("clip_id")["class"].transform("nunique") > 1
    units = units[~mixed]
    sources = doubts.evidence(here, units, task, show.track)
    counts = units.drop_duplicates("clip_id")["class"].value_counts().to_dict()
    print(f"{len(units)} units, {units['clip_id'].nunique()} clips {counts}, "
          f"{units['group'].nunique()} groups, {mixed.sum()} units of mixed clips left out, "
          f"{seeds} seeds\n")  # fmt: skip
    print("| noise | " + " | ".join(COLUMNS) + " | CPU s a run |")
    print("|---" * (len(COLUMNS) + 2) + "|")
    for noise in NOISES:
        began, rows = time.process_time(), []
        for seed in range(seeds):
            noisy = planted(units, noise, task, seed)
            rows.append(figures(doubts.judge(here, noisy, sources, task, seed)[0]))
        spent = (time.process_time() - began) / seeds
        cells = [f"{mean:.2f} ({worst:.2f})" for mean, worst in
                 zip(np.mean(rows, axis=0), np.min(rows, axis=0), strict=True)]  # fmt: skip
        print(f"| {noise} | " + " | ".join(cells) + f" | {spent:.1f} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--task", choices=schema.TASKS, default="liveness")
    given = parser.parse_args()
    measure(workspace.open_at(given.workspace), given.task, given.seeds)
