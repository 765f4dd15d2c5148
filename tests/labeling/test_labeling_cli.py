"""`curate softlabel` end to end, with the real backbone at a small size."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from curate import labels, workspace
from curate.catalogue import Catalogue


def striped(rgb: np.ndarray) -> np.ndarray:
    """An "attack" that a frozen backbone can see: dark lines across the face."""
    out = rgb.copy()
    out[::6] = out[::6] // 3
    return out


@pytest.fixture
def here(curate: Callable, tmp_path: Path, draw_portrait: Callable, save: Callable) -> Catalogue:
    (tmp_path / "ws").mkdir()
    (tmp_path / "ws" / "curate.toml").write_text("[softlabel]\nimage_size = 64\n")
    for n in range(16):
        split = "test" if n < 2 else "train"
        save(tmp_path / "in" / split / "normal" / f"{n}_1.jpg", draw_portrait(n))
        save(tmp_path / "in" / split / "spoof" / f"{n}_2.jpg", striped(draw_portrait(50 + n)))
    for n in range(6):
        rgb = draw_portrait(100 + n)
        save(tmp_path / "mined" / f"{n}.jpg", striped(rgb) if n % 2 else rgb)
    assert curate("ingest", tmp_path / "in", "--recipe", "takehome").code == 0
    assert curate("ingest", tmp_path / "mined").code == 0
    return workspace.open_at(tmp_path / "ws").catalogue


def test_the_pool_is_labelled_and_nothing_trusted_in_dev_or_test_is_touched(
    curate: Callable, here: Catalogue
) -> None:
    done = curate("softlabel", "--threshold", "0.6", "--json")
    assert done.code == 0
    soft = here.read("soft_labels")
    images = here.read("images").set_index("image_id")
    split = here.read("splits").set_index("image_id")["split"]
    assert set(split[soft["image_id"]]) == {"train"}
    mined = soft[images.loc[soft["image_id"], "source"].to_numpy() == "folder"]
    assert len(mined) == 6
    truth = [int(Path(images.loc[i, "uri"]).stem) % 2 == 0 for i in mined["image_id"]]
    assert ((mined["label"] == "bonafide").to_numpy() == np.array(truth)).mean() >= 5 / 6
    np.testing.assert_allclose(np.stack(mined["probs"]).sum(axis=1), 1, atol=1e-5)
    accepted = mined[mined["status"] == "accepted"]
    assert set(labels.resolved(here).query("basis == 'soft'").index) == set(accepted["image_id"])


def test_a_second_run_adds_no_row_and_another_threshold_does(
    curate: Callable, here: Catalogue
) -> None:
    curate("softlabel")
    rows = (len(here.read("soft_labels")), len(here.read("runs")))
    again = curate("softlabel", "--json").json
    assert again["run_id"] == ""
    assert (len(here.read("soft_labels")), len(here.read("runs"))) == rows
    assert curate("softlabel", "--threshold", "0.95", "--json").json["run_id"]


def test_dry_run_writes_no_row(curate: Callable, here: Catalogue) -> None:
    assert curate("softlabel", "--dry-run", "--json").json["pool"] == 6
    assert here.read("soft_labels").empty


@pytest.mark.parametrize("threshold", ["0.5", "1", "1.5", "-1"])
def test_a_threshold_that_means_nothing_is_refused(
    curate: Callable, here: Catalogue, threshold: str
) -> None:
    done = curate("softlabel", "--threshold", threshold)
    assert done.code == 1
    assert "between 0.5 and 1" in done.err


@pytest.mark.parametrize("task", ["eyes", "occlusion"])
def test_other_tasks_say_that_they_have_no_teacher_yet(
    curate: Callable, here: Catalogue, task: str
) -> None:
    done = curate("softlabel", "--task", task)
    assert done.code == 1
    assert "only liveness" in done.err


@pytest.mark.parametrize(
    ("kinds", "says"),
    [
        pytest.param(("normal",), "one class only: bonafide", id="one class"),
        pytest.param((), "no trusted training image", id="no trusted label"),
    ],
)
def test_too_little_is_an_error_that_says_what_to_do(
    curate: Callable,
    tmp_path: Path,
    draw_portrait: Callable,
    save: Callable,
    kinds: tuple[str, ...],
    says: str,
) -> None:
    for n in range(4):
        for kind in kinds or ("x",):
            save(tmp_path / "in" / "train" / kind / f"{n}_1.jpg", draw_portrait(n))
    save(tmp_path / "in" / "mined.jpg", draw_portrait(99))
    curate("ingest", tmp_path / "in", "--trust", "given", "--recipe", "takehome")
    done = curate("softlabel")
    assert done.code == 1
    assert says in done.err
    assert "Next:" in done.err
    assert workspace.open_at(tmp_path / "ws").catalogue.read("soft_labels").empty
