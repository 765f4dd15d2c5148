"""What zero-shot cards are worth on a folder, what they cost, and what their self-tests catch.

    python tests/benchmarks/bench_cards.py FOLDER --weights FOLDER [--yunet FILE]

FOLDER holds `live/` and at least one other folder of attacks. Everything is printed in one run: per
card AUC, errors at .5 and at .9, CPU time per image; per model of a card the least that any
wrong contract moves an expected probability by (its self-test tolerates 0.02).
"""

import argparse
import itertools
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from curate.config import Config, Ingest
from curate.examine import examine
from curate.places import uri_of
from curate.reading import detector
from labeling import card_teacher, cards, zero_shot
from labeling.cards import Net, Shelf

OTHER_SCALES = (0.96, 1.04, 0.5, 0.7, 1.5)  # times the right one


class Untested(zero_shot.Model):
    """A model whose self-test is measured instead of enforced."""

    def _check(self, test: object) -> None:
        pass


def examined(folder: Path, yunet: str) -> pd.DataFrame:
    detect = detector(Config(ingest=Ingest(yunet=yunet)))
    rows = []
    for file in sorted(folder.rglob("*.jpg")):
        row = examine(file.read_bytes(), detect, judge=False)
        live = file.relative_to(folder).parts[0] == "live"
        rows.append(row | {"uri": uri_of(file), "part": "", "live": live})
    return pd.DataFrame(rows)


def judge(shelf: Shelf, name: str, units: pd.DataFrame) -> str:
    with tempfile.TemporaryDirectory() as scratch:
        teacher = card_teacher.load(
            shelf, name, Path(scratch), threads=1, track=lambda items, total, what: iter(items)
        )
        start = time.process_time()
        found = teacher.probabilities(units)[:, 0]
        cost = 1000 * (time.process_time() - start) / len(units)
        start = time.process_time()
        teacher.probabilities(units)
        again = 1000 * (time.process_time() - start) / len(units)
    seen = ~np.isnan(found)
    live, score = units["live"].to_numpy()[seen], found[seen]
    sure = np.maximum(score, 1 - score) >= 0.9
    wrong = (score >= 0.5) != live
    figures = (
        100 * roc_auc_score(live, score), 100 * wrong[~live].mean(), 100 * wrong[live].mean(),
        100 * sure.mean(), 100 * wrong[sure].mean(), cost, again,
    )  # fmt: skip
    return f"| {name} | {seen.sum()} | " + " | ".join(f"{each:.2f}" for each in figures) + " |"


def wrong_contracts(net: Net) -> Iterator[tuple[str, Net]]:
    told, said = net.input, net.output
    half, std = (told.white / 2,) * 3, (0.5,) * 3
    changes = [{"colours": "RGB" if told.colours == "BGR" else "BGR"}]
    changes += [{"white": 256 - told.white}, {"mean": half, "std": std}, {"crop": "whole"}]
    changes += [{"crop": "zero" if told.crop == "shift" else "shift"}, {"std": std}]
    changes += [{"scale": (told.scale or 1) * times} for times in OTHER_SCALES]
    for change in changes:
        yield str(change), net.model_copy(update={"input": told.model_copy(update=change)})
    for classes in sorted(set(itertools.permutations(said.classes)) - {said.classes}):
        output = said.model_copy(update={"classes": classes})
        yield ",".join(classes), net.model_copy(update={"output": output})
    output = said.model_copy(update={"values": "probabilities"})
    yield "values", net.model_copy(update={"output": output})


def margin(shelf: Shelf, net: Net) -> str:
    file = shelf.weights(net)
    pictures = [zero_shot.picture(test.seed) for test in net.selftest]

    def answers(card: Net) -> np.ndarray:
        model = Untested(card, file)
        return model.probabilities(model.logits([model.crop(*one) for one in pictures]))

    right = answers(net)
    moved = {what: float(abs(answers(card) - right).max()) for what, card in wrong_contracts(net)}
    least = min(moved, key=lambda what: moved[what])
    return f"| {net.name} | {len(moved)} | {moved[least]:.3f} | {least} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--yunet", default="")
    asked = parser.parse_args()
    shelf = cards.shelf(None, [asked.weights])
    units = examined(asked.folder, asked.yunet)
    print("| card | images | AUC | APCER .5 | BPCER .5 | sure .9 | wrong | ms | rerun ms |")
    print("|---|---|---|---|---|---|---|---|---|")
    for card in shelf.available("liveness"):
        print(judge(shelf, card.name, units))
    print("\n| model | wrong contracts | least move | by |")
    print("|---|---|---|---|")
    for card in shelf.available("liveness"):
        if isinstance(card, Net):
            print(margin(shelf, card))


if __name__ == "__main__":
    main()
