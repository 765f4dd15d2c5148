"""Ingest end to end, with the real detector, on drawn faces."""

import hashlib
import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from curate import workspace
from curate.catalogue import Catalogue
from curate.usable import usable_images

TABLES = ("images", "labels", "pairs", "splits", "soft_labels", "decisions", "runs")
Portrait = Callable[[int], np.ndarray]
Save = Callable[..., Path]


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    return Catalogue(tmp_path / "ws" / "catalogue")


def status_of(catalogue: Catalogue) -> dict[str, tuple[str, str]]:
    """File name -> (status, reason)."""
    images = catalogue.read("images")
    return {Path(row.uri).name: (row.status, row.reason) for row in images.itertuples(index=False)}


def row_counts(catalogue: Catalogue) -> dict[str, int]:
    return {table: len(catalogue.read(table)) for table in TABLES}


def noisy(rgb: np.ndarray, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 3, rgb.shape)
    return np.clip(rgb + noise, 0, 255).astype(np.uint8)


def test_originals_are_never_touched(
    curate: Callable, tmp_path: Path, draw_portrait: Portrait, save: Save
) -> None:
    for n in range(4):
        save(tmp_path / "in" / f"{n}.jpg", np.rot90(draw_portrait(n), n))
    (tmp_path / "in" / "broken.jpg").write_bytes(b"\xff\xd8 not much of a JPEG")
    files = sorted((tmp_path / "in").iterdir())
    before = [(file.name, file.read_bytes(), file.stat().st_mtime_ns) for file in files]
    assert curate("ingest", tmp_path / "in").code == 0
    files = sorted((tmp_path / "in").iterdir())
    assert [(f.name, f.read_bytes(), f.stat().st_mtime_ns) for f in files] == before


def test_a_bad_file_is_quarantined_with_its_reason_and_its_neighbours_are_untouched(
    curate: Callable, tmp_path: Path, draw_portrait: Portrait, save: Save, catalogue: Catalogue
) -> None:
    here = tmp_path / "in"
    good = save(here / "good.jpg", draw_portrait(0))
    (here / "empty.jpg").write_bytes(b"")
    (here / "page.jpg").write_bytes(b"<html>403 Forbidden</html>")
    (here / "cut.jpg").write_bytes(save(here / "x.jpg", draw_portrait(1)).read_bytes()[:-200])
    (here / "x.jpg").unlink()
    save(here / "wall.jpg", np.full((300, 300, 3), 90, np.uint8))
    Image.new("1", (20_000, 20_000)).save(here / "bomb.png")
    os.mkfifo(here / "locked.jpg")
    assert curate("ingest", here).code == 0
    assert status_of(catalogue) == {
        good.name: ("kept", ""),
        "empty.jpg": ("quarantined", "empty"),
        "page.jpg": ("quarantined", "not_an_image"),
        "cut.jpg": ("quarantined", "truncated"),
        "wall.jpg": ("quarantined", "no_face"),
        "bomb.png": ("quarantined", "too_large"),
        "locked.jpg": ("quarantined", "unreadable"),
    }


def test_image_id_is_the_sha256_of_the_bytes_and_the_same_bytes_are_one_image(
    curate: Callable, tmp_path: Path, draw_portrait: Portrait, save: Save, catalogue: Catalogue
) -> None:
    data = save(tmp_path / "in" / "a.jpg", draw_portrait(0)).read_bytes()
    (tmp_path / "in" / "b.jpg").write_bytes(data)
    curate("ingest", tmp_path / "in")
    (row,) = catalogue.read("images").to_dict("records")
    assert row["image_id"] == hashlib.sha256(data).hexdigest()
    assert Path(row["uri"]).name == "a.jpg"
    assert [Path(uri).name for uri in row["also_at"]] == ["b.jpg"]


def test_the_same_bytes_found_later_are_one_more_place_not_one_more_row(
    curate: Callable, tmp_path: Path, draw_portrait: Portrait, save: Save, catalogue: Catalogue
) -> None:
    data = save(tmp_path / "in" / "a.jpg", draw_portrait(0)).read_bytes()
    curate("ingest", tmp_path / "in")
    (tmp_path / "later").mkdir()
    (tmp_path / "later" / "c.jpg").write_bytes(data)
    assert curate("ingest", tmp_path / "later").code == 0
    (row,) = catalogue.read("images").to_dict("records")
    assert [Path(uri).name for uri in row["also_at"]] == ["c.jpg"]


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_turned_images_are_put_upright_by_rows_alone(
    curate: Callable,
    tmp_path: Path,
    draw_portrait: Portrait,
    save: Save,
    catalogue: Catalogue,
    turn: int,
) -> None:
    save(tmp_path / "in" / "a.jpg", np.rot90(draw_portrait(3), turn // 90))
    curate("ingest", tmp_path / "in")
    (row,) = catalogue.read("images").to_dict("records")
    assert row["turn"] == turn
    x, y, width, height = row["face"]
    assert 0 < x < 320 - width
    assert 0 < y < 400 - height  # the box lies in the upright frame


def test_exif_is_applied_before_anything_is_looked_at(
    curate: Callable, tmp_path: Path, draw_portrait: Portrait, catalogue: Catalogue
) -> None:
    (tmp_path / "in").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its left side; turn clockwise by 90 to show
    stored = Image.fromarray(np.rot90(draw_portrait(0)).copy())
    stored.save(tmp_path / "in" / "a.jpg", exif=exif, quality=92)
    curate("ingest", tmp_path / "in")
    (row,) = catalogue.read("images").to_dict("records")
    assert (row["turn"], row["exif_orientation"]) == (0, 6)
    assert (row["width"], row["height"]) == (320, 400)


@pytest.mark.parametrize(
    ("change", "relation"),
    [
        pytest.param(lambda rgb: rgb, "same", id="re-encoded"),
        pytest.param(lambda rgb: rgb[::2, ::2], "same", id="halved"),
        pytest.param(lambda rgb: np.rot90(rgb), "rot90", id="turned"),
        pytest.param(lambda rgb: rgb[:, ::-1], "mirror", id="mirrored"),
    ],
)
def test_a_copy_is_a_duplicate_and_its_relation_is_named(
    curate: Callable,
    tmp_path: Path,
    draw_portrait: Portrait,
    save: Save,
    catalogue: Catalogue,
    change: Callable[[np.ndarray], np.ndarray],
    relation: str,
) -> None:
    save(tmp_path / "in" / "a.jpg", draw_portrait(0))
    save(tmp_path / "in" / "b.jpg", change(draw_portrait(0)), 70)
    save(tmp_path / "in" / "other.jpg", draw_portrait(1))
    curate("ingest", tmp_path / "in")
    images = catalogue.read("images").set_index("image_id")
    pairs = catalogue.read("pairs")
    (pair,) = pairs[pairs["kind"] == "duplicate"].to_dict("records")
    assert pair["relation"].split(",")[0] in (relation, {"rot90": "rot270"}.get(relation))
    assert pair["similarity"] >= 0.995
    assert pair["worst"] == pair["similarity"]
    assert Path(images.loc[pair["cluster"], "uri"]).name == "a.jpg"  # upright, larger, sharper
    assert status_of(catalogue)["b.jpg"] == ("duplicate", "duplicate")
    assert status_of(catalogue)["other.jpg"] == ("kept", "")


def test_differently_labelled_images_are_never_merged_whatever_their_pixels_say(
    curate: Callable, tmp_path: Path, draw_portrait: Portrait, save: Save, catalogue: Catalogue
) -> None:
    """Promise 2: a bona fide image and an attack with its very pixels, and two attack types."""
    rgb = draw_portrait(0)
    for place, quality in (("live/a", 92), ("print/b", 91), ("replay_phone/c", 90)):
        save(tmp_path / "in" / f"{place}.jpg", rgb, quality)
    assert curate("ingest", tmp_path / "in", "--recipe", "class-folders").code == 0
    assert set(status_of(catalogue).values()) == {("kept", "")}
    pairs = catalogue.read("pairs")
    assert list(pairs["kind"]) == ["recapture"] * 3


def test_labels_that_are_not_trusted_still_stand_between_two_images(
    curate: Callable, tmp_path: Path, draw_portrait: Portrait, save: Save, catalogue: Catalogue
) -> None:
    save(tmp_path / "in" / "live" / "a.jpg", draw_portrait(0), 92)
    save(tmp_path / "in" / "spoof" / "b.jpg", draw_portrait(0), 91)
    curate("ingest", tmp_path / "in", "--recipe", "class-folders", "--trust", "none")
    assert list(catalogue.read("pairs")["kind"]) == ["recapture"]
    assert not catalogue.read("labels")["trusted"].any()


def test_a_duplicate_is_reopened_when_a_label_learnt_later_separates_it(
    curate: Callable, tmp_path: Path, draw_portrait: Portrait, save: Save, catalogue: Catalogue
) -> None:

    save(tmp_path / "in" / "live" / "a.jpg", draw_portrait(0), 92)
    save(tmp_path / "in" / "spoof" / "b.jpg", draw_portrait(0), 70)
    curate(
        "ingest",
        tmp_path / "in" / "live" / "a.jpg",
        tmp_path / "in" / "spoof" / "b.jpg",
        "--recipe",
        "nuaa",
    )
    assert len(usable_images(catalogue)) == 1
    curate("ingest", tmp_path / "in", "--recipe", "class-folders", "--trust", "given")
    assert len(usable_images(catalogue)) == 2


def test_the_same_bytes_under_two_labels_are_withheld_from_training(
    curate: Callable, tmp_path: Path, draw_portrait: Portrait, save: Save, catalogue: Catalogue
) -> None:
    from curate import labels

    data = save(tmp_path / "in" / "live" / "a.jpg", draw_portrait(0)).read_bytes()
    (tmp_path / "in" / "spoof").mkdir()
    (tmp_path / "in" / "spoof" / "a.jpg").write_bytes(data)
    curate("ingest", tmp_path / "in", "--recipe", "class-folders")
    assert len(catalogue.read("labels")) == 2
    assert labels.resolved(catalogue).empty
    assert curate("status", "--json").json["queues"]["contradictory given labels"] == 1


def test_frames_of_one_clip_all_stay(
    curate: Callable, tmp_path: Path, draw_portrait: Portrait, save: Save, catalogue: Catalogue
) -> None:
    for n in range(4):
        frame = noisy(draw_portrait(0), n)
        save(tmp_path / "in" / "live" / "0001" / f"0001_00_00_01_{n}.jpg", frame)
    curate("ingest", tmp_path / "in", "--recipe", "nuaa")
    assert set(status_of(catalogue).values()) == {("kept", "")}
    assert len(catalogue.read("pairs")) == 0


def test_no_subject_copy_or_recapture_sits_on_both_sides_of_a_split(
    curate: Callable, tmp_path: Path, draw_portrait: Portrait, save: Save, catalogue: Catalogue
) -> None:
    """Promise 4, over an official split that leaks by subject and by copy."""
    here = tmp_path / "in"
    for person in range(12):
        split = "test" if person < 4 else "train"
        for shot, kind in enumerate(("normal", "spoof", "normal")):
            rgb = draw_portrait(100 * person + shot)
            save(here / split / kind / f"{person}_{shot}.jpg", rgb)
    save(here / "train" / "normal" / "0_9.jpg", draw_portrait(5000))  # a test subject in train
    save(here / "train" / "normal" / "50_1.jpg", draw_portrait(0), 70)  # a copy under a new name
    (here / "train" / "spoof" / "51_1.jpg").write_bytes(
        save(here / "x.jpg", draw_portrait(101), 60).read_bytes()
    )  # a copy of a test attack under a new name
    (here / "x.jpg").unlink()
    assert curate("ingest", here, "--recipe", "takehome").code == 0
    images = catalogue.read("images").set_index("image_id")
    split = catalogue.read("splits").set_index("image_id")["split"]
    held_back = images[images["reason"] == "contamination"]
    names = sorted(Path(uri).name for uri in held_back["uri"])
    assert names == ["0_9.jpg", "50_1.jpg", "51_1.jpg"]
    assert not set(held_back.index) & set(split.index)
    sides = images.join(split, how="inner").groupby("subject")["split"].nunique()
    assert (sides == 1).all()
    for pair in catalogue.read("pairs").query("kind in ('duplicate', 'recapture')").itertuples():
        assert split.get(pair.a) == split.get(pair.b)
    assert set(split) == {"train", "dev", "test"}


def test_a_later_copy_of_a_test_image_is_stopped_at_the_door(
    curate: Callable, tmp_path: Path, draw_portrait: Portrait, save: Save, catalogue: Catalogue
) -> None:
    for person in range(6):
        side = "test" if person < 2 else "train"
        save(tmp_path / "in" / side / "normal" / f"{person}_1.jpg", draw_portrait(person))
    curate("ingest", tmp_path / "in", "--recipe", "takehome")
    frozen = catalogue.read("splits").query("split == 'test'")
    save(tmp_path / "mined" / "new.jpg", draw_portrait(0), 70)
    save(tmp_path / "mined" / "fresh.jpg", draw_portrait(77))
    curate("ingest", tmp_path / "mined")
    assert status_of(catalogue)["new.jpg"] == ("quarantined", "contamination")
    assert status_of(catalogue)["fresh.jpg"] == ("kept", "")
    assert "contamination" in set(catalogue.read("pairs")["kind"])
    after = catalogue.read("splits").query("split == 'test'")
    pd.testing.assert_frame_equal(frozen.reset_index(drop=True), after.reset_index(drop=True))


def test_a_second_run_with_nothing_new_adds_no_row_anywhere(
    curate: Callable, tmp_path: Path, draw_portrait: Portrait, save: Save, catalogue: Catalogue
) -> None:
    data = save(tmp_path / "in" / "live" / "a.jpg", draw_portrait(0)).read_bytes()
    (tmp_path / "in" / "live" / "again.jpg").write_bytes(data)
    save(tmp_path / "in" / "print" / "b.jpg", draw_portrait(1))
    curate("ingest", tmp_path / "in", "--recipe", "class-folders")
    before = row_counts(catalogue)
    again = curate("ingest", tmp_path / "in", "--recipe", "class-folders", "--json")
    assert again.json["run_id"] == ""
    assert row_counts(catalogue) == before


def test_dry_run_writes_nothing_and_says_how_files_are_read(
    curate: Callable, tmp_path: Path, draw_portrait: Portrait, save: Save, catalogue: Catalogue
) -> None:
    save(tmp_path / "in" / "live" / "a.jpg", draw_portrait(0))
    done = curate("ingest", tmp_path / "in", "--recipe", "class-folders", "--dry-run")
    assert done.code == 0
    assert "bonafide" in done.out
    assert sum(row_counts(catalogue).values()) == 0


def test_undo_takes_a_run_back_and_undoing_the_undo_brings_it_back(
    curate: Callable, tmp_path: Path, draw_portrait: Portrait, save: Save, catalogue: Catalogue
) -> None:
    save(tmp_path / "in" / "a.jpg", draw_portrait(0))
    run = curate("ingest", tmp_path / "in", "--json").json["run_id"]
    undone = curate("undo", run, "--json").json["run_id"]
    assert catalogue.read("images").empty
    assert curate("undo", undone).code == 0
    assert len(catalogue.read("images")) == 1


def test_what_was_undone_can_be_ingested_again(
    curate: Callable, tmp_path: Path, draw_portrait: Portrait, save: Save, catalogue: Catalogue
) -> None:
    save(tmp_path / "in" / "a.jpg", draw_portrait(0))
    run = curate("ingest", tmp_path / "in", "--json").json["run_id"]
    curate("undo", run)
    assert curate("ingest", tmp_path / "in", "--json").json["new"] == 1
    assert len(catalogue.read("images")) == 1


def test_no_usable_image_is_an_error_that_says_why(
    curate: Callable, tmp_path: Path, catalogue: Catalogue
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("nothing to see")
    done = curate("ingest", tmp_path / "in")
    assert done.code == 1
    assert "not_an_image" in done.err
    assert "Next:" in done.err
    assert len(catalogue.read("images")) == 1  # quarantined, and on record


def test_a_workspace_is_made_where_there_is_none_and_that_is_said(
    tmp_path: Path, draw_portrait: Portrait, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    from click.testing import CliRunner

    from curate.cli import main

    save(tmp_path / "in" / "a.jpg", draw_portrait(0))
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path / "home")
    done = CliRunner().invoke(main, ["ingest", str(tmp_path / "in")], catch_exceptions=False)
    assert done.exit_code == 0
    assert "no workspace above; making one" in done.stderr
    assert workspace.nearest(tmp_path / "home") == tmp_path / "home"


def test_file_names_that_are_no_utf8_or_hold_newlines_are_read(
    curate: Callable, tmp_path: Path, draw_portrait: Portrait, catalogue: Catalogue
) -> None:
    (tmp_path / "in").mkdir()
    data = io.BytesIO()
    Image.fromarray(draw_portrait(0)).save(data, "JPEG")
    place = os.fsencode(tmp_path / "in")
    for n, name in enumerate((b"caf\xe9.jpg", b"two\nlines.jpg", b'it\'s "quoted".jpg')):
        with open(place + b"/" + name, "wb") as stream:  # noqa: PTH123
            stream.write(data.getvalue() + bytes([n]))
    assert curate("ingest", tmp_path / "in").code == 0
    from curate.places import path_of

    uris = catalogue.read("images")["uri"]
    assert len(uris) == 3
    assert all(path_of(uri).is_file() for uri in uris)
