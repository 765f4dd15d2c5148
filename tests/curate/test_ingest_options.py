"""What each option of ingest does, end to end: bursts, mirrors, faces or none, splits anew."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from curate import workspace
from curate.catalogue import Catalogue

CLIPS = """description = "<clip>/<frame>.jpg"
[[rule]]
pattern = '(?P<clip>c\\d+)/\\d+\\.jpg'
"""


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    here = workspace.create(tmp_path / "ws")
    (here.root / "datasets" / "clips").mkdir()
    (here.root / "datasets" / "clips" / "recipe.toml").write_text(CLIPS)
    return here.catalogue


def burst(folder: Path, rgb: np.ndarray, save: Callable, mirrored: int = -1) -> None:
    """Seven frames that move a little; one of them mirrored."""
    for n in range(7):
        frame = np.roll(rgb, (n, 2 * n), (0, 1))
        save(folder / f"{n}.jpg", frame[:, ::-1] if n == mirrored else frame)


def test_a_mirrored_frame_is_found_by_its_siblings_and_its_face_lies_where_it_is_read(
    curate: Callable, tmp_path: Path, draw_portrait: Callable, save: Callable, catalogue: Catalogue
) -> None:
    burst(tmp_path / "in" / "c1", draw_portrait(3), save, mirrored=4)
    assert curate("ingest", tmp_path / "in", "--recipe", "clips").code == 0
    images = catalogue.read("images").sort_values("uri", ignore_index=True)
    assert list(images["mirror"]) == ["no"] * 4 + ["yes"] + ["no"] * 2
    middle = [float(box[0] + box[2] / 2) for box in images["face"]]
    assert abs(middle[4] - (middle[3] + middle[5]) / 2) < 8  # pixels; its picture moves by 2
    left = images["landmarks"].map(lambda points: points[2] - points[0])
    assert (left > 0).all()  # the subject's left eye lies right of the right one


@pytest.mark.parametrize(("policy", "kept"), [("keep", 7), ("best", 1), ("thin:3", 3)])
def test_bursts_are_kept_whole_or_as_the_user_wishes(
    curate: Callable, tmp_path: Path, draw_portrait: Callable, save: Callable,
    catalogue: Catalogue, policy: str, kept: int,
) -> None:  # fmt: skip
    burst(tmp_path / "in" / "c1", draw_portrait(3), save)
    done = curate("ingest", tmp_path / "in", "--recipe", "clips", "--burst", policy, "--json")
    assert done.code == 0, done.err
    images = catalogue.read("images")
    assert (images["status"] == "kept").sum() == kept
    assert set(images.loc[images["status"] != "kept", "reason"]) <= {"thinned"}


def test_a_clip_stays_whole_beside_a_loose_copy_of_one_frame(
    curate: Callable, tmp_path: Path, draw_portrait: Callable, save: Callable, catalogue: Catalogue
) -> None:
    burst(tmp_path / "in" / "c1", draw_portrait(3), save)
    save(tmp_path / "in" / "loose" / "copy.jpg", np.roll(draw_portrait(3), (3, 6), (0, 1)), 70)
    curate("ingest", tmp_path / "in", "--recipe", "clips")
    images = catalogue.read("images")
    clip = images[images["clip"].notna()]
    assert (clip["status"] == "kept").sum() >= 6
    pairs = catalogue.read("pairs")
    frames = set(clip["image_id"])
    assert not (pairs["a"].isin(frames) & pairs["b"].isin(frames)).any()


def test_without_faces_images_are_hashed_and_kept_and_that_is_said_later(
    curate: Callable, tmp_path: Path, draw_portrait: Callable, save: Callable, catalogue: Catalogue
) -> None:
    save(tmp_path / "in" / "1.jpg", draw_portrait(1))
    save(tmp_path / "in" / "2.jpg", draw_portrait(2))
    assert curate("ingest", tmp_path / "in", "--no-faces").code == 0
    images = catalogue.read("images")
    assert list(images["status"]) == ["kept"] * 2
    assert images["face"].isna().all()
    assert images["phash"].notna().all()
    again = curate("ingest", tmp_path / "in")
    assert "--no-faces" in again.err


def test_a_face_is_no_duplicate_of_an_image_in_which_none_was_looked_for(
    curate: Callable, tmp_path: Path, draw_portrait: Callable, save: Callable, catalogue: Catalogue
) -> None:
    save(tmp_path / "a" / "1.jpg", draw_portrait(1))
    save(tmp_path / "b" / "1.jpg", draw_portrait(1), 70)
    curate("ingest", tmp_path / "a", "--no-faces")
    curate("ingest", tmp_path / "b")
    assert set(catalogue.read("images")["status"]) == {"kept"}


def test_hashes_come_from_every_pixel_where_the_user_says_so(
    curate: Callable, tmp_path: Path, draw_portrait: Callable, save: Callable, catalogue: Catalogue
) -> None:
    (tmp_path / "ws" / "curate.toml").write_text('[ingest]\nhashes = "exact"\nquality = false\n')
    save(tmp_path / "in" / "1.jpg", draw_portrait(1))
    assert curate("ingest", tmp_path / "in").code == 0
    (row,) = catalogue.read("images").to_dict("records")
    assert row["phash_mode"] == "exact"
    assert pd.isna(row["blur_score"])


def test_labels_of_eyes_keep_two_copies_apart(
    curate: Callable, tmp_path: Path, draw_portrait: Callable, save: Callable, catalogue: Catalogue
) -> None:
    lines = ["path,label,attack_type,task,part"]
    for n, state in enumerate(("open", "closed")):
        save(tmp_path / f"{n}.jpg", draw_portrait(1), 90 - 10 * n)
        lines.append(f"{n}.jpg,bonafide,,liveness,")
        lines.append(f"{n}.jpg,{state},,eyes,left_eye")
    (tmp_path / "list.csv").write_text("\n".join(lines) + "\n")
    done = curate("ingest", tmp_path / "list.csv", "--trust", "given", "--json")
    assert done.code == 0, done.err
    assert set(catalogue.read("images")["status"]) == {"kept"}
    assert set(catalogue.read("pairs")["kind"]) == {"candidate"}


def test_an_attack_with_labels_of_its_eyes_is_still_no_duplicate_of_a_face(
    curate: Callable, tmp_path: Path, draw_portrait: Callable, save: Callable, catalogue: Catalogue
) -> None:
    lines = ["path,label,attack_type,task,part"]
    for name, label, kind in (("live", "bonafide", ""), ("print", "attack", "print")):
        save(tmp_path / f"{name}.jpg", draw_portrait(1), 90 if kind else 80)
        lines.append(f"{name}.jpg,{label},{kind},liveness,")
        lines.append(f"{name}.jpg,open,,eyes,left_eye")
    (tmp_path / "list.csv").write_text("\n".join(lines) + "\n")
    assert curate("ingest", tmp_path / "list.csv").code == 0
    assert set(catalogue.read("images")["status"]) == {"kept"}
    assert list(catalogue.read("pairs")["kind"]) == ["recapture"]


def test_a_label_of_the_eyes_is_no_other_label_of_the_face(
    curate: Callable, tmp_path: Path, draw_portrait: Callable, save: Callable, catalogue: Catalogue
) -> None:
    lines = ["path,label,task,part", "0.jpg,bonafide,,", "0.jpg,open,eyes,left_eye"]
    save(tmp_path / "0.jpg", draw_portrait(1), 92)
    save(tmp_path / "1.jpg", draw_portrait(1), 70)
    (tmp_path / "list.csv").write_text("\n".join([*lines, "1.jpg,bonafide,,"]) + "\n")
    done = curate("ingest", tmp_path / "list.csv", "--trust", "given")
    assert done.code == 0, done.err
    assert list(catalogue.read("pairs")["kind"]) == ["duplicate"]


def test_splits_are_drawn_anew_and_the_old_draw_comes_back(
    curate: Callable, tmp_path: Path, draw_portrait: Callable, save: Callable, catalogue: Catalogue
) -> None:
    for subject in range(1, 13):
        save(tmp_path / "in" / "train" / "normal" / f"{subject}_1.jpg", draw_portrait(subject))
    curate("ingest", tmp_path / "in", "--recipe", "takehome")
    before = catalogue.split_of().to_dict()
    assert curate("ingest", "--resplit", "--dry-run").code == 0
    assert catalogue.split_of().to_dict() == before
    done = curate("ingest", "--resplit", "--json")
    assert done.code == 0, done.err
    assert set(catalogue.split_of()) == {"train", "dev", "test"} or len(catalogue.split_of()) == 12
    assert "drawn anew" in curate("status").err
    assert curate("undo", done.json["resplit"]["run_id"]).code == 0
    assert catalogue.split_of().to_dict() == before


def test_there_must_be_something_to_do(curate: Callable, catalogue: Catalogue) -> None:
    assert curate("ingest").code == 2
    assert curate("ingest", "--resplit").code == 1
    assert catalogue.read("runs").empty
