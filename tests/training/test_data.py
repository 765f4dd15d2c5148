import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate import workspace
from curate.errors import DataError, SourceError
from training import data


def ids(rows):
    return sorted(rows.index)


@pytest.fixture
def full(builder):
    for split in ("train", "dev", "test"):
        builder.add(1, label="bonafide", split=split)
        builder.add(1, label="attack", attack_type="print", split=split)
    return builder


def test_split_and_sorted_by_image_id(full):
    found = data.frames(full.commit().catalogue)
    assert (ids(found.train), ids(found.dev), ids(found.test)) == (
        ["0000", "0001"], ["0002", "0003"], ["0004", "0005"],
    )  # fmt: skip
    assert list(found.train["label"]) == ["bonafide", "attack"]


@pytest.mark.parametrize(
    ("basis", "in_train", "in_test"),
    [
        ("given", True, True),
        ("decision", True, True),
        ("soft", True, False),
        ("untrusted", False, False),
    ],
)
def test_what_a_label_rests_on_decides_where_it_counts(full, basis, in_train, in_test):
    full.add(1, label="bonafide", split="train", basis=basis, subject="made/a")
    full.add(1, label="bonafide", split="test", basis=basis, subject="made/b")
    found = data.frames(full.commit().catalogue)
    assert ("0006" in found.train.index) == in_train
    assert ("0007" in found.test.index) == in_test


def test_soft_targets_are_soft_and_hard_ones_hard(full):
    full.add(1, label="bonafide", split="train", basis="soft", subject="made/a")
    full.add(1, label="attack", attack_type="print", split="train", basis="soft", subject="made/b")
    targets = data.frames(full.commit().catalogue).train["p_bonafide"]
    assert targets.to_dict() == pytest.approx({"0000": 1, "0001": 0, "0006": 0.9, "0007": 0.1})


def test_synthetic_images_follow_their_parent_and_never_reach_dev_or_test(full):
    child = {"label": "attack", "attack_type": "print", "origin": "synthetic"}
    full.add(1, **child, split="train", parent_id="0000", subject="made/a")
    full.add(1, **child, split="dev", parent_id="0002", subject="made/b")
    full.add(1, **child, split="train", parent_id="0004", subject="made/c")
    found = data.frames(full.commit().catalogue)
    assert ids(found.train) == ["0000", "0001", "0006"]
    assert ids(found.dev) + ids(found.test) == ["0002", "0003", "0004", "0005"]
    assert data.counts(found.train) == {
        "bonafide": {"given": 1}, "print": {"given": 1, "synthetic": 1},
    }  # fmt: skip


def test_a_training_image_whose_subject_dev_or_test_knows_is_withheld(full):
    full.add(1, label="bonafide", split="train", subject=full.rows[-1]["subject"])
    assert ids(data.frames(full.commit().catalogue).train) == ["0000", "0001"]


def test_images_that_are_not_usable_are_not_trained_on(full):
    full.add(1, label="bonafide", split="train", status="quarantined", reason="no_face", face=None)
    full.add(1, label="bonafide", split="train", status="duplicate", reason="duplicate")
    assert ids(data.frames(full.commit().catalogue).train) == ["0000", "0001"]


@pytest.mark.parametrize("missing", range(6))
def test_each_split_needs_both_classes(full, missing):
    absent = full.rows.pop(missing)
    with pytest.raises(DataError, match=f"split {absent['split']} holds .*\nNext: ") as caught:
        data.frames(full.commit().catalogue)
    assert f"0 {absent['label']}" in str(caught.value)


def test_measuring_needs_no_training_images(full):
    del full.rows[:2]
    assert len(data.frames(full.commit().catalogue, needs=("test",)).test) == 2


def test_an_empty_catalogue_is_a_clear_error(tmp_path):
    with pytest.raises(DataError, match="0 bonafide and 0 attack"):
        data.frames(workspace.create(tmp_path / "empty").catalogue)


@given(st.integers(1, 30), st.dictionaries(st.sampled_from("abcd"), st.integers(1, 30), min_size=1))
def test_weights_give_half_to_bona_fide_and_equal_shares_to_attack_types(live, attacks):
    import pandas as pd

    kinds = [""] * live + [kind for kind, n in attacks.items() for _ in range(n)]
    rows = pd.DataFrame({"attack_type": kinds})
    rows["label"] = np.where(rows["attack_type"] == "", "bonafide", "attack")
    got = data.weights(rows)
    mass = pd.Series(got).groupby(rows["attack_type"]).sum() / got.sum()
    assert got.mean() == pytest.approx(1, rel=1e-5)
    assert mass[""] == pytest.approx(0.5, rel=1e-5)
    for kind in attacks:
        assert mass[kind] == pytest.approx(0.5 / len(attacks), rel=1e-5)


def test_fingerprint_changes_with_a_label_and_not_with_a_reread(full, make):
    first = full.commit().catalogue
    again = data.frames(first).fingerprint()
    assert data.frames(first).fingerprint() == again
    other = make("other")
    other.rows = [row | {} for row in full.rows]
    other.rows[1]["attack_type"] = "cutout"
    assert data.frames(other.commit().catalogue).fingerprint() != again


def test_crops_come_in_order_and_spill_into_a_file_when_large(full, tmp_path, monkeypatch):
    rows = data.frames(full.commit().catalogue).train

    def read():
        return data.stream(rows, scale=2.0, size=16, threads=2)

    in_memory = data.hold(read(), (2, 16), tmp_path / "sub" / "crops.npy")
    assert not (tmp_path / "sub").exists()
    assert in_memory[0, ..., 0].mean() > in_memory[0, ..., 2].mean() + 40  # reddish: bona fide
    assert in_memory[1, ..., 2].mean() > in_memory[1, ..., 0].mean() + 40
    monkeypatch.setattr(data, "IN_MEMORY", in_memory.nbytes - 1)
    spilt = data.hold(read(), (2, 16), tmp_path / "sub" / "crops.npy")
    assert isinstance(spilt, np.memmap)
    np.testing.assert_array_equal(spilt, in_memory)


def test_a_lost_original_says_which_and_what_next(full):
    here = full.commit()
    rows = data.frames(here.catalogue).train
    (here.root / "pictures" / "0001.png").unlink()
    with pytest.raises(SourceError, match="0001.png(.|\n)*Next: "):
        list(data.stream(rows, scale=2.0, size=16, threads=1))
