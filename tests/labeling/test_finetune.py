"""Fine-tuning: networks out of fold by person, kept on disk so that a kill costs one of them."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from curate import workspace
from labeling import finetune, fitted, units


def quiet(items: Iterable[Any], total: int, what: str) -> Iterator[Any]:
    yield from items


def test_each_person_is_scored_by_the_network_that_never_saw_them(
    curate: Callable,
    tmp_path: Path,
    draw_portrait: Callable,
    striped: Callable,
    save: Callable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(finetune, "EPOCHS", 1)
    monkeypatch.setattr(finetune, "FOLDS", 2)
    monkeypatch.setattr(finetune, "SIDE", 32)
    (tmp_path / "ws").mkdir()
    (tmp_path / "ws" / "curate.toml").write_text("[splits]\ntrain = 1.0\ndev = 0.0\ntest = 0.0\n")
    for n in range(4):
        save(tmp_path / "in" / "train" / "normal" / f"{n}_1.jpg", draw_portrait(n))
        save(tmp_path / "in" / "train" / "spoof" / f"{n}_2.jpg", striped(draw_portrait(50 + n)))
    curate("ingest", tmp_path / "in", "--recipe", "takehome")
    here = workspace.open_at(tmp_path / "ws")
    learn = units.gather(here, "liveness").learn
    weights = fitted.weights(learn, "liveness")
    tuned = finetune.FineTuned(here, "liveness", learn, weights, quiet)
    scores = tuned.scores(learn)
    strangers = tuned.scores(learn.assign(group="somebody else"))
    each = np.stack([tuned._score(file, learn) for file in tuned._files])
    fold = learn["group"].map(tuned._fold_of).to_numpy()
    np.testing.assert_allclose(scores, each[fold, np.arange(len(learn))], atol=1e-4)
    np.testing.assert_allclose(strangers, each.mean(axis=0), atol=1e-4)
    assert set(fold) == {0, 1}
    assert not np.allclose(each[0], each[1])

    def never(*_: object) -> None:
        raise AssertionError("tuned anew")

    monkeypatch.setattr(finetune.FineTuned, "_tune", never)
    again = finetune.FineTuned(here, "liveness", learn, weights, quiet)
    pd.testing.assert_frame_equal(pd.DataFrame(again.scores(learn)), pd.DataFrame(scores))
