import numpy as np
import pandas as pd
import pytest

from curate.facehash import COLUMNS, MIRRORED
from curate.hashes import POSES, fast
from curate.propose import proposed, through_copies
from curate.relations import after


def rows(*frames, faces=None, turns=None):
    """Rows of `images` named a, b, ... with the hashes of grey ``frames``; ``faces`` (N, 8)."""
    hashed = [fast(frame) for frame in frames]
    count = len(frames)
    return pd.DataFrame(
        {
            "image_id": [chr(97 + n) for n in range(count)],
            "phash": [each.phash.view(np.int64) for each in hashed],
            "canonical": np.array([each.canonical for each in hashed], np.int16),
            "turn": turns or [0] * count,
            "face_phash": [None] * count if faces is None else [f.view(np.int64) for f in faces],
            "face_dhash": [None] * count if faces is None else [f.view(np.int64) for f in faces],
        }
    )


def noise(seed):
    return np.random.default_rng(seed).integers(0, 255, (40, 32), dtype=np.uint8)


def hashes(seed):
    return np.random.default_rng(seed).integers(0, 2**64, COLUMNS, dtype=np.uint64)


def found(fresh, old=None):
    old = fresh.iloc[:0] if old is None else old
    pairs = proposed(fresh, old, 8, 1)
    return {
        (a, b): (POSES[pose].name, distance, other)
        for a, b, pose, distance, other in pairs.itertuples(index=False)
    }


def test_a_turned_frame_is_proposed_by_its_frame():
    frame = noise(1)
    assert found(rows(frame, np.rot90(frame, -1).copy(), noise(2))) == {
        ("a", "b"): ("rot90", 0, -1)
    }


def test_images_without_a_face_are_joined_by_frame_alone():
    old = rows(noise(1)).assign(image_id="old")
    assert found(rows(noise(1)), old) == {("a", "old"): ("same", 0, -1)}


@pytest.mark.parametrize("column", [0, 3, MIRRORED - 1])
def test_any_square_may_find_the_first_of_another(column):
    asking, answering = hashes(1), hashes(2)
    asking[column] = answering[0]
    fresh = rows(noise(1), noise(2), faces=[asking, answering], turns=[90, 0])
    assert found(fresh) == {("a", "b"): ("rot90", 0, -1)}


def test_the_mirrored_face_is_found_in_an_old_image():
    asking, answering = hashes(1), hashes(2)
    asking[0] = answering[MIRRORED]
    old = rows(noise(2), faces=[answering]).assign(image_id="old")
    assert found(rows(noise(1), faces=[asking]), old) == {("a", "old"): ("mirror", 0, -1)}


def test_a_far_dhash_is_no_proposal():
    asking, answering = hashes(1), hashes(2)
    asking[0] = answering[0]
    fresh = rows(noise(1), noise(2), faces=[asking, answering])
    fresh["face_dhash"] = [hashes(3).view(np.int64), hashes(4).view(np.int64)]
    assert found(fresh) == {}


def test_a_face_that_looks_like_its_own_mirror_image_is_no_pair():
    face = hashes(1)
    face[:] = face[0]
    assert found(rows(noise(1), faces=[face])) == {}


def test_frame_and_face_may_differ_in_the_pose():
    frame, face = noise(1), hashes(1)
    fresh = rows(frame, frame, faces=[face, face], turns=[180, 0])
    assert found(fresh) == {("a", "b"): ("same", 0, POSES.index(POSES[2]))}


def test_nothing_proposes_nothing():
    assert found(rows().reindex(columns=rows(noise(1)).columns)) == {}


# -------------------------------------------------------------------------- through copies


def judged(*pairs):
    table = pd.DataFrame(pairs, columns=["a", "b", "pose", "kind"])
    return table.assign(pose=table["pose"].astype(int), distance=3)


def test_a_copy_of_a_copy_is_proposed_to_the_one_kept():
    pairs = judged(("kept", "middle", 1, "duplicate"), ("far", "middle", 4, "duplicate"))
    homes = pd.Series({"kept": "kept", "middle": "kept", "far": "far"})
    (row,) = through_copies(pairs, homes, pairs).itertuples(index=False)
    assert (row.a, row.b) == ("far", "kept")
    assert POSES[row.pose].name == "rot90 mirror"  # mirrored, then turned back by 270


def test_copies_of_one_that_is_proposed_come_along():
    pairs = judged(
        ("kept", "middle", 1, "duplicate"),
        ("far", "middle", 4, "duplicate"),
        ("copy", "far", 1, "duplicate"),
        ("stranger", "far", 0, "candidate"),
    )
    homes = pd.Series({"kept": "kept", "middle": "kept", "far": "far", "copy": "far"})
    homes["stranger"] = "stranger"
    rows = through_copies(pairs, homes, pairs).set_index("a")
    assert rows["b"].to_dict() == {"far": "kept", "copy": "kept"}
    onward = after(POSES[1], POSES[rows.loc["far", "pose"]])
    assert POSES[rows.loc["copy", "pose"]] == onward


def test_two_that_could_each_give_way_are_proposed_once():
    pairs = judged(
        ("one", "x", 0, "duplicate"),
        ("other", "x", 0, "duplicate"),
        ("one", "y", 0, "duplicate"),
        ("other", "y", 0, "duplicate"),
    )
    homes = pd.Series({"one": "one", "other": "other", "x": "one", "y": "other"})
    found = through_copies(pairs, homes, pairs)
    assert [set(pair) for pair in found[["a", "b"]].to_numpy()] == [{"one", "other"}]


@pytest.mark.parametrize(
    ("pairs", "homes"),
    [
        pytest.param(
            [("kept", "middle", 0, "duplicate"), ("far", "middle", 0, "candidate")],
            {"kept": "kept", "middle": "kept", "far": "far"},
            id="no copy",
        ),
        pytest.param(
            [("kept", "middle", 0, "duplicate"), ("far", "middle", 0, "duplicate")],
            {"kept": "kept", "middle": "kept", "far": "other", "other": "other"},
            id="it has a home",
        ),
        pytest.param(
            [
                ("kept", "middle", 0, "duplicate"),
                ("far", "middle", 0, "duplicate"),
                ("kept", "far", 0, "candidate"),
            ],
            {"kept": "kept", "middle": "kept", "far": "far"},
            id="compared already",
        ),
    ],
)
def test_what_is_not_proposed_again(pairs, homes):
    table = judged(*pairs)
    assert through_copies(table, pd.Series(homes), table).empty
