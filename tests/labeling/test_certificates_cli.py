"""Certificates end to end: issued, refused, void under shift; with features planted in the cache.

Bona fide and prints are two Gaussians far apart, a person each; no picture is decoded.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from curate import labels, runs, workspace
from curate.workspace import Workspace
from labeling import features, teachers
from labeling.certify import upper_bound
from labeling.units import Units

WIDE = 12
SETTINGS = "threads = 1\n[softlabel]\ncrop_scales = [1.5]\nimage_size = 64\n"
BONAFIDE, PRINT = ("bonafide", ""), ("attack", "print")


@pytest.fixture
def here(tmp_path: Path, ready: Callable, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """20 people learnt from, 240 presentations of dev, 60 to be labelled: half are prints."""
    monkeypatch.setenv("CURATE_ASSETS", str(tmp_path / "none"))

    def build(folder: Path) -> None:
        made = created(folder / "ws")
        add(made, "l", 40, "train", trusted=True)
        add(made, "d", 240, "dev", trusted=True)
        add(made, "u", 60, "train")

    return workspace.open_at(ready("certified", build, tmp_path))


def created(root: Path) -> Workspace:
    root.mkdir(parents=True)
    (root / "curate.toml").write_text(SETTINGS)
    return workspace.create(root)


def add(
    here: Workspace, prefix: str, count: int, split: str, *, trusted: bool = False,
    seed: int = 0, shift: float = 0.0, flipped: Iterable[int] = (),
) -> str:  # fmt: skip
    """Write ``count`` images of a person each, even ones bona fide; return the run's id.

    ``shift`` moves features along a direction that tells no class; ``flipped`` ones bear the label
    of the other class.
    """
    names = [f"{prefix}{n:03}" for n in range(count)]
    wrong = set(flipped)
    words = [(BONAFIDE, PRINT)[(n + (n in wrong)) % 2] for n in range(count)]
    with runs.start(here, "ingest", {}) as run:
        run.append("images", pd.DataFrame([
            {"image_id": name, "uri": f"/{name}.jpg", "source": "t", "origin": "mined",
             "shows": "face", "status": "kept", "face": [4.0, 4, 24, 24]} for name in names
        ]))  # fmt: skip
        run.append("splits", pd.DataFrame({"image_id": names, "split": split}))
        if trusted:
            run.append("labels", pd.DataFrame([
                {"image_id": name, "task": "liveness", "part": "", "label": label,
                 "attack_type": kind, "source": "t", "trusted": True}
                for name, (label, kind) in zip(names, words, strict=True)
            ]))  # fmt: skip
    rng = np.random.default_rng([seed, *prefix.encode()])
    values = rng.normal(size=(count, WIDE))
    values[:, 0] += np.where(np.arange(count) % 2 == 0, 6, -6)
    values[:, 1:3] += shift
    view = features.views(here.config.softlabel, "liveness")[0]
    for layer in features.LAYERS:
        features._cache(here, view, layer, "").add(dict(zip(names, values, strict=True)))
    return run.run_id


def bounds(done: Any) -> dict[str, dict[str, Any]]:
    return {row["of"]: row for row in done.json["bounds"]}


def test_a_certificate_is_issued_and_every_accepted_label_bears_its_bound(
    curate: Callable, here: Workspace
) -> None:
    done = curate("softlabel", "--max-error", "0.02", "--json")
    assert done.code == 0, done.err
    overall = bounds(done)["all accepted"]
    assert overall["accepted"] >= 149
    assert overall["wrong"] == 0
    expected = upper_bound(0, overall["accepted"], 0.95)
    assert overall["at_most"] == pytest.approx(expected, abs=1e-4)
    assert expected <= 0.02
    soft = here.catalogue.read("soft_labels")
    np.testing.assert_allclose(soft["bound"], expected, rtol=1e-5)
    np.testing.assert_allclose(soft["threshold"], done.json["threshold"], rtol=1e-6)
    accepted = soft[soft["status"] == "accepted"]
    assert len(accepted) >= 45
    assert set(accepted["image_id"].str[0]) == {"u"}
    even = accepted["image_id"].str[1:].astype(int) % 2 == 0
    assert ((accepted["label"] == "bonafide") == even).all()
    assert (accepted["confidence"] >= np.float32(done.json["threshold"])).all()
    assert set(labels.resolved(here.catalogue).query("basis == 'soft'").index) == set(
        accepted["image_id"]
    )


def test_people_read_the_bound_and_what_it_assumes(curate: Callable, here: Workspace) -> None:
    done = curate("softlabel", "--max-error", "0.02")
    assert done.code == 0
    assert "all accepted" in done.out
    assert "accepted as bonafide" in done.out
    assert "attack/print" in done.out
    assert "drawn as those of dev" in " ".join(done.err.split())
    assert "curate audit" in done.out


def test_both_directions_ask_for_more_than_the_whole(curate: Callable, here: Workspace) -> None:
    done = curate("softlabel", "--max-error", "0.02", "--certify", "directions")
    assert done.code == 3
    assert "cannot be certified" in done.err
    assert "accepted as" in done.err
    assert "more presentations" in done.err
    assert here.catalogue.read("soft_labels").empty
    easier = curate("softlabel", "--max-error", "0.06", "--certify", "directions", "--json")
    assert easier.code == 0, easier.err
    for row in bounds(easier).values():
        assert row["at_most"] <= 0.06


def test_a_refusal_says_how_many_more_and_the_reviewed_ones_do(
    curate: Callable, tmp_path: Path
) -> None:
    here = created(tmp_path / "ws")
    add(here, "l", 40, "train", trusted=True)
    add(here, "d", 100, "dev", trusted=True)
    add(here, "u", 30, "train")
    done = curate("softlabel", "--max-error", "0.02", "--json")
    assert done.code == 3
    assert done.json["accepted"] == {}
    missing = 149 - done.json["bounds"][0]["accepted"]
    assert f"{missing} more presentations accepted, none wrongly" in done.json["refused"]
    reviewed = int(done.json["refused"].rpartition("about ")[2].split()[0])
    add(here, "e", reviewed + 25, "dev", trusted=True)  # a tenth more: shares are estimates
    assert curate("softlabel", "--max-error", "0.02").code == 0


def test_wrong_labels_in_dev_are_counted_against_the_teacher(
    curate: Callable, tmp_path: Path
) -> None:
    here = created(tmp_path / "ws")
    add(here, "l", 40, "train", trusted=True)
    add(here, "d", 240, "dev", trusted=True, flipped=range(1, 240, 12))
    add(here, "u", 30, "train")
    done = curate("softlabel", "--max-error", "0.02", "--json")
    assert done.code == 3
    assert done.json["bounds"][0]["wrong"] > 0
    loose = curate("softlabel", "--threshold", "0.9", "--json")
    assert loose.code == 0
    assert loose.json["bounds"][0]["at_most"] > 0.02


def test_a_refusal_is_refused_again(curate: Callable, here: Workspace) -> None:
    """A second call finds nothing new to do, and still no certificate."""
    asked = ("softlabel", "--max-error", "0.001")
    first = curate(*asked)
    again = curate(*asked)
    assert (first.code, again.code) == (3, 3)
    assert "cannot be certified" in again.err
    assert here.catalogue.read("soft_labels").empty


def test_a_second_call_tells_the_threshold_and_the_bounds_again(
    curate: Callable, here: Workspace
) -> None:
    first = curate("softlabel", "--max-error", "0.02", "--json").json
    again = curate("softlabel", "--max-error", "0.02", "--json").json
    assert again["run_id"] == ""
    assert again["accepted"] == first["accepted"]
    assert again["threshold"] == first["threshold"]
    assert again["bounds"] == first["bounds"]


@pytest.fixture
def shifted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("CURATE_ASSETS", str(tmp_path / "none"))
    here = created(tmp_path / "ws")
    add(here, "l", 40, "train", trusted=True)
    add(here, "d", 240, "dev", trusted=True)
    add(here, "u", 40, "train")
    add(here, "x", 40, "train", shift=6.0)
    return here


def test_the_alarm_voids_the_certificate_and_asks_for_labels_of_the_new_source(
    curate: Callable, shifted: Workspace
) -> None:
    done = curate("softlabel", "--max-error", "0.02", "--json")
    assert done.code == 3
    assert "the shift alarm rings" in done.json["refused"]
    assert "curate review --queue audit" in done.json["refused"]
    assert shifted.catalogue.read("soft_labels").empty
    audits = shifted.catalogue.read("audits")
    assert len(audits) == done.json["audit"] > 0
    assert (audits["label"] == "").all()
    assert set(audits["image_id"].str[0]) == {"x"}  # of the batch that differs
    assert audits["image_id"].is_unique
    last = shifted.catalogue.runs_standing().iloc[-1]
    assert (last["verb"], last["state"]) == ("softlabel", "refused")


def test_under_the_alarm_a_threshold_accepts_without_a_bound(
    curate: Callable, shifted: Workspace
) -> None:
    done = curate("softlabel", "--threshold", "0.9", "--json")
    assert done.code == 0
    assert {row["at_most"] for row in done.json["bounds"]} == {None}
    soft = shifted.catalogue.read("soft_labels")
    assert (soft["status"] == "accepted").any()
    assert soft["bound"].isna().all()
    assert any("shift alarm" in note for note in done.json["notes"])


def test_a_dry_run_under_the_alarm_fills_no_queue(curate: Callable, shifted: Workspace) -> None:
    before = len(shifted.catalogue.read("runs"))
    assert curate("softlabel", "--max-error", "0.02", "--dry-run").code == 3
    assert shifted.catalogue.read("audits").empty
    assert len(shifted.catalogue.read("runs")) == before


def test_a_pool_drawn_as_dev_rings_no_alarm(curate: Callable, here: Workspace) -> None:
    curate("softlabel", "--max-error", "0.02")
    assert here.catalogue.read("audits").empty


def test_a_workspace_without_dev_certifies_nothing(curate: Callable, tmp_path: Path) -> None:
    here = created(tmp_path / "ws")
    add(here, "l", 40, "train", trusted=True)
    add(here, "u", 10, "train")
    done = curate("softlabel", "--max-error", "0.02")
    assert done.code == 3
    assert "dev holds no trusted image" in done.err
    done = curate("softlabel", "--threshold", "0.9", "--json")
    assert done.code == 0
    assert sum(done.json["accepted"].values()) > 0
    assert here.catalogue.read("soft_labels")["bound"].isna().all()


def test_nothing_trusted_leaves_the_teachers_that_learn_nothing_and_no_bound(
    curate: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = created(tmp_path / "ws")
    add(here, "u", 10, "train")

    class Newcomer:
        name = "champion"

        def probabilities(self, units: pd.DataFrame) -> np.ndarray:
            return np.tile([0.97, *[0.03 / 9] * 9], (len(units), 1))

    monkeypatch.setitem(teachers.TEACHERS, "champion", lambda *_: Newcomer())
    asked = ("softlabel", "--task", "liveness", "--teacher")
    assert curate(*asked, "champion", "--max-error", "0.02").code == 3
    assert here.catalogue.read("soft_labels").empty
    done = curate(*asked, "champion", "--threshold", "0.9", "--json")
    assert done.code == 0, done.err
    assert {row["at_most"] for row in done.json["bounds"]} == {None}
    rows = here.catalogue.read("soft_labels")
    assert len(rows) == 10
    assert rows["bound"].isna().all()
    refused = curate(*asked, "fitted", "--threshold", "0.9")
    assert refused.code == 1
    assert "teachers that learn nothing" in refused.err


def test_who_swaps_train_and_dev_asks_something_new(curate: Callable, tmp_path: Path) -> None:
    marks = []
    for n, (learnt, tested) in enumerate([("train", "dev"), ("dev", "train")]):
        here = created(tmp_path / f"{n}" / "ws")
        add(here, "l", 20, learnt, trusted=True)
        add(here, "c", 20, tested, trusted=True, seed=1)
        add(here, "u", 10, "train", seed=2)
        done = curate("softlabel", "--threshold", "0.9", workspace=here.root)
        assert done.code == 0, done.err
        marks.append(runs.of_verb(here, "softlabel")[-1]["inputs"]["fingerprint"])
    assert marks[0] != marks[1]


def test_no_image_at_all_is_an_error_for_every_teacher(curate: Callable, tmp_path: Path) -> None:
    created(tmp_path / "ws")
    done = curate("softlabel", "--task", "eyes", "--teacher", "geometry")
    assert done.code == 1
    assert "Next: curate ingest" in done.err


def test_an_undone_certificate_leaves_no_label(curate: Callable, here: Workspace) -> None:
    run = curate("softlabel", "--max-error", "0.02", "--json").json["run_id"]
    assert curate("undo", run).code == 0
    assert here.catalogue.read("soft_labels").empty
    assert curate("softlabel", "--max-error", "0.02", "--json").json["run_id"]


def test_a_teacher_without_an_opinion_about_anyone_it_learnt_from_is_no_error(
    curate: Callable, here: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the champion, which learnt from every trusted image."""

    class Newcomers:
        name = "champion"

        def probabilities(self, units: pd.DataFrame) -> np.ndarray:
            found = np.full((len(units), 10), np.nan)
            new = units["image_id"].str[0] == "u"
            found[new] = [0.97, *[0.03 / 9] * 9]
            return found

    def build(here: Workspace, found: Units, track: Any) -> Newcomers:
        return Newcomers()

    monkeypatch.setitem(teachers.TEACHERS, "champion", build)
    done = curate("softlabel", "--teacher", "champion", "--threshold", "0.9", "--json")
    assert done.code == 0, done.err
    assert {row["at_most"] for row in done.json["bounds"]} == {None}
    assert set(here.catalogue.read("soft_labels")["image_id"].str[0]) == {"u"}


def test_a_teacher_without_an_opinion_takes_no_earlier_label_back(
    curate: Callable, here: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = curate("softlabel", "--threshold", "0.9", "--json").json["run_id"]
    before = here.catalogue.read("soft_labels").set_index("image_id")
    heard = set(before.index[:5])

    class Forgetful:
        name = "champion"

        def probabilities(self, units: pd.DataFrame) -> np.ndarray:
            found = np.full((len(units), 10), np.nan)
            found[units["image_id"].isin(heard)] = [0.5, *[0.5 / 9] * 9]
            return found

    monkeypatch.setitem(teachers.TEACHERS, "champion", lambda *_: Forgetful())
    done = curate("softlabel", "--teacher", "champion", "--threshold", "0.9", "--json")
    assert f"{len(before) - 5:,} of which it has no opinion" in done.json["notes"][-1]
    after = labels.latest_soft(here.catalogue, "liveness").set_index("image_id")
    assert set(after.index[after["run_id"] != first]) == heard
    assert (after["status"][list(heard)] == "review").all()
    others = before.index.difference(list(heard))
    assert after["status"][others].equals(before["status"][others])


def test_a_feature_that_is_no_number_stops_it_before_anything_is_written(
    curate: Callable, here: Workspace
) -> None:
    view = features.views(here.config.softlabel, "liveness")[0]
    cache = features._cache(here, view, "middle", "")
    for part in cache.folder.glob("*.parquet"):
        part.unlink()
    names = here.catalogue.read("images")["image_id"]
    cache.add({name: np.full(WIDE, np.nan if name == "l003" else 1.0) for name in names})
    done = curate("softlabel")
    assert done.code == 1
    assert "not finite" in done.err
    assert here.catalogue.read("soft_labels").empty
