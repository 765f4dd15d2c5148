"""The shift alarm: rings for another camera, keeps still for new people of the same one."""

import numpy as np
import pandas as pd
import pytest

from labeling import remedy, shift
from labeling.shift import Shift


def people(
    seed: int, count: int, *, camera: float = 0.0, frames: int = 5
) -> tuple[np.ndarray, np.ndarray]:
    """Each person has a look of their own; a camera moves every image a little the same way."""
    rng = np.random.default_rng(seed)
    looks = np.repeat(rng.normal(0, 1, (count, 60)), frames, axis=0)
    rows = looks + rng.normal(0, 0.5, looks.shape) + camera * np.linspace(0, 1, 60)
    names = np.repeat([f"p{seed}-{n}" for n in range(count)], frames).astype(object)
    return rows.astype(np.float32), names


def test_new_people_of_the_same_source_ring_it_in_no_more_than_a_twentieth() -> None:
    rung = sum(
        shift.alarm(*people(n, 12), *people(1000 + n, 15), seed=n, level=0.05).rings
        for n in range(40)
    )
    assert rung <= 5  # 98 % of binomial(40, 0.05)


@pytest.mark.parametrize("seed", range(3))
def test_another_camera_rings_it(seed: int) -> None:
    found = shift.alarm(*people(seed, 12), *people(99, 15, camera=3.0), seed=seed, level=0.05)
    assert found is not None
    assert found.rings
    assert found.auc > 0.9
    assert found.people == (12, 15)


def test_too_few_people_for_chance_ring_only_when_told_apart_for_sure() -> None:
    still = shift.alarm(*people(0, 2), *people(1, 3), seed=0, level=0.05)
    clear = shift.alarm(*people(0, 2), *people(1, 3, camera=9.0), seed=0, level=0.05)
    assert still is not None
    assert clear is not None
    assert (still.rings, clear.rings) == (False, True)


@pytest.mark.parametrize("seed", range(3))
def test_the_area_is_the_share_of_pairs_in_order_ties_half(seed: int) -> None:
    rng = np.random.default_rng(seed)
    score, side = rng.integers(0, 9, (30, 4)).astype(float), rng.random((30, 4)) < 0.4
    for column, area in enumerate(shift._area(score, side)):
        high = score[side[:, column], column][:, np.newaxis]
        low = score[~side[:, column], column][np.newaxis]
        assert area == pytest.approx(((high > low) + 0.5 * (high == low)).mean())


def test_one_person_is_nothing_to_compare_with() -> None:
    assert shift.alarm(*people(0, 1), *people(1, 9), seed=0, level=0.05) is None


def test_the_remedy_asks_for_one_image_of_each_person_of_the_batch_that_rings() -> None:
    pool = pd.DataFrame(
        {
            "image_id": [f"i{n}" for n in range(60)],
            "part": "",
            "batch": np.repeat(["old", "new"], 30),
            "group": [f"g{n % 20}" for n in range(60)],
        }
    )
    rings, still = Shift(True, 1.0, 0.01, (9, 9)), Shift(False, 0.5, 0.5, (9, 9))
    found = remedy.wanted(pool, {"everything": rings, "new": rings, "old": still}, 0)
    chosen = pool[pool["image_id"].isin(found["image_id"])]
    assert len(found) == remedy.PER_BATCH
    assert set(chosen["batch"]) == {"new"}
    assert not chosen["group"].duplicated().any()
    assert remedy.wanted(pool, {"everything": still}, 0).empty
    assert len(remedy.wanted(pool, {"everything": rings}, 0)) == remedy.PER_BATCH
