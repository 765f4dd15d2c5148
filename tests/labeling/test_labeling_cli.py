"""`curate softlabel` end to end, with the real backbone at a small size."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from curate import labels, workspace
from curate.catalogue import Catalogue


@pytest.fixture
def here(
    curate: Callable,
    ready: Callable,
    tmp_path: Path,
    draw_portrait: Callable,
    striped: Callable,
    save: Callable,
) -> Catalogue:
    def build(folder: Path) -> None:
        (folder / "ws").mkdir()
        (folder / "ws" / "curate.toml").write_text("[softlabel]\nimage_size = 64\n")
        for n in range(16):
            split = "test" if n < 2 else "train"
            save(folder / "in" / split / "normal" / f"{n}_1.jpg", draw_portrait(n))
            save(folder / "in" / split / "spoof" / f"{n}_2.jpg", striped(draw_portrait(50 + n)))
        for n in range(6):
            rgb = draw_portrait(100 + n)
            save(folder / "mined" / f"{n}.jpg", striped(rgb) if n % 2 else rgb)
        at = folder / "ws"
        assert curate("ingest", folder / "in", "--recipe", "takehome", workspace=at).code == 0
        assert curate("ingest", folder / "mined", workspace=at).code == 0
        assert curate("softlabel", "--dry-run", workspace=at).code == 0  # features, once

    return workspace.open_at(ready("softlabel", build, tmp_path)).catalogue


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
def test_a_task_without_trusted_labels_says_so(
    curate: Callable, here: Catalogue, task: str
) -> None:
    done = curate("softlabel", "--task", task)
    assert done.code == 1
    assert f"no training image has a trusted {task} label" in done.err


def test_landmarks_judge_eyes_of_which_nothing_is_known(curate: Callable, here: Catalogue) -> None:
    done = curate("softlabel", "--task", "eyes", "--teacher", "geometry", "--json")
    assert done.code == 0, done.err
    rows = here.read("soft_labels")
    assert set(rows["part"]) == {"left_eye", "right_eye"}
    assert (rows["confidence"] > 0.4).any()
    assert rows["bound"].isna().all()
    photo = here.read("images")["uri"].iloc[0]
    tried = curate("teachers", "try", photo, "--teacher", "geometry", "--task", "eyes", "--json")
    assert tried.code == 0, tried.err
    assert [line["part"] for line in tried.json["teachers"]] == ["left_eye", "right_eye"]


def test_both_ways_to_choose_at_once_are_a_usage_error(curate: Callable, here: Catalogue) -> None:
    done = curate("softlabel", "--threshold", "0.9", "--max-error", "0.02")
    assert done.code == 2
    assert "exclude each other" in done.err


@pytest.mark.parametrize("option", [("--max-error", "0"), ("--max-error", "0.5"),
                                    ("--confidence", "1"), ("--confidence", "0.4")])  # fmt: skip
def test_shares_that_mean_nothing_are_refused(
    curate: Callable, here: Catalogue, option: tuple[str, str]
) -> None:
    done = curate("softlabel", *option)
    assert done.code == 1
    assert "must lie between" in done.err


def test_what_cannot_be_certified_is_refused_and_leaves_earlier_labels_standing(
    curate: Callable, here: Catalogue
) -> None:
    curate("softlabel", "--threshold", "0.6")
    before = here.read("soft_labels")
    done = curate("softlabel", "--max-error", "0.02")
    assert done.code == 3
    assert "more presentations accepted" in done.err
    pd.testing.assert_frame_equal(here.read("soft_labels"), before)
    last = here.runs_standing().iloc[-1]
    assert (last["verb"], last["state"]) == ("softlabel", "refused")


def test_a_threshold_says_what_it_is_worth(curate: Callable, here: Catalogue) -> None:
    done = curate("softlabel", "--threshold", "0.6", "--json").json
    overall = done["bounds"][0]
    assert overall["of"] == "all accepted"
    assert overall["accepted"] > 0
    assert 0 < overall["at_most"] < 1
    accepted = here.read("soft_labels").query("status == 'accepted'")
    np.testing.assert_allclose(accepted["bound"], overall["at_most"], atol=1e-4)


def test_explain_tells_the_whole_history_of_an_image(curate: Callable, here: Catalogue) -> None:
    run = curate("softlabel", "--threshold", "0.6", "--json").json["run_id"]
    curate("undo", run)
    curate("softlabel", "--threshold", "0.7")
    told = curate("softlabel", "--explain", "mined/1.jpg", "--json").json
    assert told["uri"].endswith("mined/1.jpg")
    assert [event["who"] for event in told["events"]] == ["teacher fitted", "teacher fitted"]
    assert [event["counts"] == "taken back" for event in told["events"]] == [True, False]
    assert "0.600" in told["events"][0]["sure"] or "0.6" in told["events"][0]["sure"]
    assert set(told["now"]) == {"liveness"}


def test_explain_of_an_unknown_image_names_some(curate: Callable, here: Catalogue) -> None:
    done = curate("softlabel", "--explain", "nobody.jpg")
    assert done.code == 1
    assert "no image on record" in done.err


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
