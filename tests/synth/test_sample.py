import csv
import hashlib
import io

import cv2
import numpy as np
import pytest
import simplejpeg
from PIL import Image, ImageOps

from curate.errors import ConfigError
from synth import plants
from synth.sample import TYPES, make_sample

SIZES = {"trusted_subjects": 7, "mined_subjects": 6}


class Drawn:
    """Light ovals with eyes, in colours that follow the latent: up and down differ."""

    def faces(self, latents):
        return np.stack([self._face(latent) for latent in latents])

    def _face(self, latent):
        skin, hair = np.clip(150 + 50 * latent[:6], 30, 250).reshape(2, 3).tolist()
        face = np.full((64, 64, 3), hair, np.uint8)
        cv2.ellipse(face, (32, 36), (20, 26), 0, 0, 360, skin, -1)
        shift = int(np.clip(3 * latent[6], -6, 6))
        for x in (24, 40):
            cv2.circle(face, (x + shift, 28), 4, (10, 10, 10), -1)
        return face


def draw(folder, seed, sizes=SIZES):
    return make_sample(folder, seed=seed, generator=Drawn(), turn_of=lambda _: 0, **sizes)


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sample") / "new"
    counts = draw(folder, 0)
    with (folder / "truth.csv").open(encoding="utf-8", newline="") as stream:
        return folder, list(csv.DictReader(stream)), counts


def sha(file):
    return hashlib.sha256(file.read_bytes()).hexdigest()


def upright(folder, row):
    """Undo what the truth says: EXIF, then turn clockwise, then mirror."""
    shown = np.asarray(ImageOps.exif_transpose(Image.open(folder / row["path"])).convert("RGB"))
    turned = np.rot90(shown, -int(row["turn"]) // 90)
    return turned[:, ::-1] if row["mirror"] == "yes" else turned


def alike(a, b):
    small = [cv2.resize(np.ascontiguousarray(x), (48, 64)).astype(float).ravel() for x in (a, b)]
    return np.corrcoef(*small)[0, 1]


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(sample, tmp_path):
    folder, rows, _ = sample
    draw(tmp_path / "again", 0)
    files = sorted(file.relative_to(folder) for file in folder.rglob("*") if file.is_file())
    again = sorted(
        file.relative_to(tmp_path / "again")
        for file in (tmp_path / "again").rglob("*")
        if file.is_file()
    )
    assert files == again
    assert all(sha(folder / file) == sha(tmp_path / "again" / file) for file in files)
    draw(tmp_path / "other", 1, {"trusted_subjects": 4, "mined_subjects": 2})
    seen = {sha(folder / row["path"]) for row in rows if not row["fault"]}
    assert not seen & {sha(file) for file in (tmp_path / "other").rglob("*.jpg")}


def test_the_truth_names_every_file_and_where_it_lies(sample):
    folder, rows, counts = sample
    on_disk = {str(f.relative_to(folder)) for f in folder.rglob("*") if f.is_file()}
    assert on_disk == {row["path"] for row in rows} | {"truth.csv"}
    assert len(rows) == counts["files"]
    for row in rows:
        root, _, kind, _ = row["path"].split("/")
        assert root == row["set"]
        assert kind == {"bonafide": "normal", "attack": "spoof"}[row["given_label"]]
        assert (row["label"] == "attack") == bool(row["attack_type"])
        assert bool(row["label"]) != bool(row["fault"])
        assert (row["copy_of"] == "") == (row["relation"] == "")
        assert row["copy_of"] in {"", *on_disk}


def test_counts_agree_with_the_truth(sample):
    _, rows, counts = sample
    assert counts["people"] == sum(SIZES.values())
    assert counts["turned"] == sum(row["turn"] != "0" for row in rows)
    assert counts["exif"] == sum(row["exif_orientation"] != "1" for row in rows)
    assert counts["recapture"] == sum(row["relation"] == "recapture" for row in rows)
    assert counts["fault"] == sum(row["fault"] != "" for row in rows)
    wrong = [row for row in rows if row["label"] and row["label"] != row["given_label"]]
    assert counts["wrong_label"] == len(wrong) >= 3
    assert not any("/test/" in row["path"] for row in wrong)


def test_exact_copies_have_the_same_bytes_and_edited_ones_not(sample):
    folder, rows, _ = sample
    relations = {row["relation"] for row in rows}
    assert {"exact", "reencoded", "recapture"} <= relations
    for row in rows:
        if row["relation"]:
            same = sha(folder / row["path"]) == sha(folder / row["copy_of"])
            assert same == (row["relation"] == "exact"), row


def test_near_copies_match_their_source_once_turned_back(sample):
    folder, rows, _ = sample
    by_path = {row["path"]: row for row in rows}
    near = [row for row in rows if row["relation"] in plants.EDITS]
    assert near
    for row in near:
        copy, source = upright(folder, row), upright(folder, by_path[row["copy_of"]])
        assert alike(copy, source) > 0.97, row
        ratio = copy.shape[0] / source.shape[0]
        assert ratio == (0.5 if row["relation"] == "halved" else 1)


def test_faces_lie_as_the_truth_says(sample):
    folder, rows, _ = sample
    turned = [row for row in rows if row["turn"] != "0" or row["exif_orientation"] != "1"]
    assert {row["exif_orientation"] for row in turned} > {"1"}
    for row in turned:
        picture = upright(folder, row)
        assert picture.shape[0] > picture.shape[1], row


def test_tags_are_on_disk_and_most_of_them_are_right(sample):
    folder, rows, _ = sample
    for row in rows:
        if row["fault"] in ("", "no_face"):
            with Image.open(folder / row["path"]) as picture:
                assert picture.getexif().get(plants.ORIENTATION, 1) == int(row["exif_orientation"])
    lies = [row for row in rows if row["note"] == "EXIF orientation is wrong"]
    right = [row for row in rows if row["exif_orientation"] != "1" and row not in lies]
    assert lies
    assert all(row["turn"] != "0" for row in lies)
    assert right
    assert all(row["turn"] == "0" for row in right)


def test_strict_decoding_refuses_the_broken_files_and_only_those(sample):
    folder, rows, _ = sample
    refused = set()
    for row in rows:
        try:
            simplejpeg.decode_jpeg((folder / row["path"]).read_bytes(), "RGB", strict=True)
        except ValueError:
            refused.add(row["path"])
    broken = {row["path"] for row in rows if row["fault"] not in ("", "no_face")}
    assert refused == broken
    faults = [row["fault"] for row in rows if row["fault"]]
    assert sorted(set(faults)) == ["empty", "html", "no_face", "text", "truncated"]
    assert faults.count("truncated") == 3


def test_new_attacks_appear_in_the_mined_part_alone(sample):
    _, rows, _ = sample
    seen = {
        part: {row["attack_type"] for row in rows if row["set"] == part and row["attack_type"]}
        for part in ("trusted", "mined")
    }
    assert seen["trusted"] == set(TYPES["trusted/train"])
    assert seen["mined"] - seen["trusted"]


def test_leaks_are_planted(sample):
    _, rows, _ = sample
    by_path = {row["path"]: row for row in rows}
    subjects = [{r["subject"] for r in rows if r["path"].startswith(s)} - {""} for s in SPLITS]
    assert subjects[0] & subjects[1]
    crossing = {
        tuple(sorted((row["path"].rsplit("/", 2)[0], row["copy_of"].rsplit("/", 2)[0])))
        for row in rows
        if row["relation"] not in ("", "recapture")
    }
    assert ("trusted/test", "trusted/train") in crossing
    assert ("mined/train", "trusted/test") in crossing
    assert ("mined/train", "trusted/train") in crossing
    conflicts = [row for row in rows if row["note"] == "same bytes under two labels"]
    assert [row["given_label"] != by_path[row["copy_of"]]["given_label"] for row in conflicts] == [
        True
    ]


SPLITS = ("trusted/train/", "trusted/test/")


def test_recaptures_are_attacks_on_a_bona_fide_shot_of_the_same_person(sample):
    _, rows, _ = sample
    by_path = {row["path"]: row for row in rows}
    for row in rows:
        if row["relation"] == "recapture":
            source = by_path[row["copy_of"]]
            assert (row["label"], source["label"]) == ("attack", "bonafide")
            assert row["subject"] == source["subject"]


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="not an empty folder"):
        draw(tmp_path, 0)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_an_orientation_tag_leaves_the_pixels_alone(orientation):
    rgb = np.random.default_rng(0).integers(0, 256, (24, 16, 3), dtype=np.uint8)
    plain = plants.encode(rgb, 90)
    tagged = plants.with_orientation(plain, orientation)
    assert np.array_equal(plants.decode(plain), plants.decode(tagged))
    with Image.open(io.BytesIO(tagged)) as picture:
        assert picture.getexif()[plants.ORIENTATION] == orientation
