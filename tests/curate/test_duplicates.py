import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.duplicates import (
    MOST_CAST,
    MOST_DRIFT,
    RECAPTURED,
    SIMILAR,
    UNPLACED,
    UNREAD,
    WORST_PATCH,
    judge,
    keep_best,
    keep_order,
    of_one_clip,
)
from curate.labels import differs

# ------------------------------------------------------------------------------------ judge


def facts(a, b):
    """Images a and b from (subject, clip, label_key)."""
    table = pd.DataFrame([a, b], index=["a", "b"], columns=["subject", "clip", "label_key"])
    table["state"] = None
    return table.astype(object)


def one_pair(similarity=0.999, worst_patch=0.95, same_state=True, cast=0.5, drift=0.1):
    return pd.DataFrame(
        {
            "a": ["a"],
            "b": ["b"],
            "similarity": [similarity],
            "worst_patch": [worst_patch],
            "cast": [cast],
            "drift": [drift],
            "same_state": pd.Series([same_state], dtype=object),
        }
    )


LIVE, PRINT, REPLAY, ANY = "bonafide", "attack/print", "attack/replay_phone", "attack/unknown"


@pytest.mark.parametrize(
    ("a", "b", "similarity", "kind"),
    [
        pytest.param(("s", None, LIVE), ("s", None, LIVE), SIMILAR, "duplicate", id="at the bar"),
        pytest.param(
            ("s", None, LIVE), ("s", None, LIVE), SIMILAR - 1e-4, "candidate", id="below it"
        ),
        pytest.param(("s", None, LIVE), ("s", None, LIVE), np.nan, "candidate", id="not compared"),
        pytest.param(
            (None, None, None), (None, None, None), 0.999, "duplicate", id="nothing known"
        ),
        pytest.param(("s", "c", LIVE), (None, None, None), 0.999, "duplicate", id="one known"),
        pytest.param(("s", "c", LIVE), ("s", "d", LIVE), 0.999, "duplicate", id="two clips"),
        pytest.param(("s", "c", LIVE), ("t", "d", LIVE), 1.0, "candidate", id="two people"),
        pytest.param(("s", None, LIVE), ("s", None, PRINT), 1.0, "recapture", id="live and print"),
        pytest.param(
            ("s", None, LIVE), (None, None, PRINT), RECAPTURED, "recapture", id="just alike"
        ),
        pytest.param(
            ("s", None, LIVE), ("t", None, PRINT), 1.0, "candidate", id="print of another"
        ),
        pytest.param(
            ("s", None, LIVE), ("s", None, PRINT), RECAPTURED - 1e-4, "candidate", id="not alike"
        ),
        pytest.param(("s", None, PRINT), ("s", None, REPLAY), 1.0, "recapture", id="two attacks"),
        pytest.param(("s", None, LIVE), ("s", None, ANY), 1.0, "recapture", id="live and unknown"),
        pytest.param(
            ("s", None, PRINT), ("s", None, ANY), 1.0, "duplicate", id="print and unknown"
        ),
        pytest.param(("s", None, PRINT), ("s", None, None), 1.0, "duplicate", id="unlabelled"),
    ],
)
def test_kind_of_a_pair(a, b, similarity, kind):
    for one, other in ((a, b), (b, a)):
        judged = judge(one_pair(similarity), facts(one, other))
        assert judged.kind.tolist() == [kind]


@pytest.mark.parametrize(
    ("pair", "kind"),
    [
        pytest.param({"worst_patch": WORST_PATCH}, "duplicate", id="a patch at the bar"),
        pytest.param({"worst_patch": WORST_PATCH - 1e-3}, "candidate", id="a patch below it"),
        pytest.param({"same_state": False, "similarity": 1.0}, "candidate", id="another state"),
        pytest.param(
            {"same_state": None, "similarity": UNREAD[0], "worst_patch": UNREAD[1]},
            "duplicate",
            id="state unknown, at the bars",
        ),
        pytest.param(
            {"same_state": None, "similarity": UNREAD[0] - 1e-4}, "candidate", id="not so near"
        ),
        pytest.param(
            {"same_state": None, "worst_patch": UNREAD[1] - 1e-3}, "candidate", id="but a patch"
        ),
        pytest.param({"same_state": np.nan}, "duplicate", id="unknown may be nan"),
        pytest.param({"cast": MOST_CAST - 1e-3}, "duplicate", id="a cast below the bar"),
        pytest.param({"cast": MOST_CAST + 1e-3}, "candidate", id="a cast above it"),
        pytest.param({"drift": MOST_DRIFT}, "duplicate", id="a drift at the bar"),
        pytest.param({"drift": MOST_DRIFT + 1e-3}, "candidate", id="a second exposure"),
        pytest.param(
            {"drift": np.nan, "similarity": UNPLACED}, "duplicate", id="drift unknown, but alike"
        ),
        pytest.param(
            {"drift": np.nan, "similarity": UNPLACED - 1e-4}, "candidate", id="and not so alike"
        ),
    ],
)
def test_every_patch_the_state_of_the_face_and_the_colours_count(pair, kind):
    nobody = facts((None, None, None), (None, None, None))
    assert judge(one_pair(**pair), nobody).kind.tolist() == [kind]


@pytest.mark.parametrize(
    ("a", "b", "one"),
    [("c", "c", True), ("c", "d", False), ("c", None, False), (None, None, False)],
)
def test_frames_of_one_clip_are_known(a, b, one):
    images = facts((None, a, LIVE), (None, b, PRINT))
    assert of_one_clip(one_pair(), images).tolist() == [one]


def test_the_bar_can_be_moved():
    images = facts((None, None, None), (None, None, None))
    assert judge(one_pair(0.95), images, min_similarity=0.95).kind.tolist() == ["duplicate"]


def test_no_pairs_are_judged_to_no_pairs():
    judged = judge(one_pair().iloc[:0], facts((None, None, None), (None, None, None)))
    assert judged.empty
    assert "kind" in judged


@given(
    st.lists(
        st.tuples(*[st.sampled_from([None, "x", "y"])] * 2, st.none()), min_size=2, max_size=2
    ),
    st.sampled_from([LIVE, PRINT, REPLAY, ANY]),
    st.sampled_from([LIVE, PRINT, REPLAY]),
)
def test_contradicting_labels_are_never_duplicates(places, one, other):
    a, b = ((*place[:2], label) for place, label in zip(places, (one, other), strict=True))
    kinds = judge(one_pair(1.0), facts(a, b)).kind.tolist()
    if differs(one, other):
        assert "duplicate" not in kinds


# -------------------------------------------------------------------------------- keep best


def shelf(*names, **columns):
    table = pd.DataFrame(
        {
            "known": False,
            "turn": 0,
            "mirror": "no",
            "face_area": 100.0,
            "sharpness": 10.0,
            "bytes": 1000,
            "order": range(len(names)),
            "label_key": pd.Series([None] * len(names), dtype=object, index=list(names)),
            "state": pd.Series([None] * len(names), dtype=object, index=list(names)),
            "clip": pd.Series([None] * len(names), dtype=object, index=list(names)),
        },
        index=list(names),
    )
    return table.assign(**columns)


def duplicates(*pairs, kind="duplicate"):
    return pd.DataFrame([(*pair, kind) for pair in pairs], columns=["a", "b", "kind"])


def clusters(images, pairs, asked=None):
    kinds = pairs["kind"].to_numpy()

    def confirm(rows):
        if asked is not None:
            asked.extend(rows.tolist())
        return kinds[rows] == "duplicate"

    return keep_best(images.loc[keep_order(images)], pairs, confirm).to_dict()


@pytest.mark.parametrize(
    "columns",
    [
        pytest.param({"known": [False, True], "face_area": [900.0, 1.0]}, id="known"),
        pytest.param({"turn": [-1, 90], "face_area": [900.0, 1.0]}, id="decided"),
        pytest.param({"turn": [90, 0], "face_area": [900.0, 1.0]}, id="upright"),
        pytest.param({"mirror": ["yes", "ambiguous"], "face_area": [900.0, 1.0]}, id="unmirrored"),
        pytest.param({"face_area": [99.0, 100.0], "sharpness": [50.0, 1.0]}, id="larger face"),
        pytest.param({"face_area": [np.nan, 1.0]}, id="a face at all"),
        pytest.param({"sharpness": [9.9, 10.0], "order": [0, 1]}, id="sharper"),
        pytest.param({"bytes": [10, 11], "order": [0, 1]}, id="larger file"),
        pytest.param({"order": [1, 0]}, id="earlier"),
    ],
)
def test_the_better_copy_is_kept(columns):
    assert clusters(shelf("worse", "better", **columns), duplicates(("worse", "better"))) == {
        "better": "better",
        "worse": "better",
    }


def test_the_index_may_be_named_as_the_catalogue_names_it():
    images = shelf("a", "b").rename_axis("image_id")
    assert clusters(images, duplicates(("a", "b"))) == {"a": "a", "b": "a"}


def test_a_chain_is_not_one_cluster():
    images = shelf("a", "b", "c", "d")
    chain = duplicates(("a", "b"), ("b", "c"), ("c", "d"))
    assert clusters(images, chain) == {"a": "a", "b": "a", "c": "c", "d": "c"}


def test_only_duplicates_merge():
    images = shelf("a", "b", "c")
    pairs = pd.concat(
        [duplicates(("a", "b"), kind="candidate"), duplicates(("a", "c"), kind="recapture")]
    )
    assert clusters(images, pairs) == {"a": "a", "b": "b", "c": "c"}


def test_an_unlabelled_image_does_not_bridge_a_bona_fide_and_an_attack():
    images = shelf("middle", "live", "print", label_key=[None, LIVE, PRINT])
    pairs = duplicates(("middle", "live"), ("middle", "print"))
    assert clusters(images, pairs) == {"middle": "middle", "live": "middle", "print": "print"}


def test_an_image_refused_by_one_star_joins_the_next():
    images = shelf("live", "print", "copy", label_key=[LIVE, PRINT, ANY])
    pairs = duplicates(("live", "copy"), ("print", "copy"))
    assert clusters(images, pairs)["copy"] == "print"


def test_known_images_that_are_kept_stay_kept():
    images = shelf("a", "b", "new", known=[True, True, False])
    pairs = duplicates(("a", "b"), ("b", "new"))
    assert clusters(images, pairs) == {"a": "a", "b": "b", "new": "b"}


def test_a_known_copy_still_guards_its_cluster():
    images = shelf(
        "kept", "old", "new", known=[True, True, False], label_key=[None, PRINT, LIVE]
    ).assign(cluster=["kept", "kept", None])
    assert clusters(images, duplicates(("kept", "new"), ("old", "new"))) == {
        "kept": "kept",
        "old": "kept",
        "new": "new",
    }


def test_the_policy_says_what_counts_first():
    images = shelf("small", "blurred", face_area=[1.0, 9.0], sharpness=[9.0, 1.0])
    assert keep_order(images, ["sharpest"])[0] == "small"
    assert keep_order(images, ["largest_face", "sharpest"])[0] == "blurred"
    assert keep_order(images.assign(turn=[90, 0]), ["earliest"])[0] == "small"


def test_copies_of_one_image_are_not_compared_with_each_other():
    names = [f"image{n:02}" for n in range(20)]
    pairs = duplicates(*[(a, b) for a in names for b in names if a < b])
    asked = []
    assert set(clusters(shelf(*names), pairs, asked).values()) == {names[0]}
    assert len(asked) == len(names) - 1


def test_no_pair_is_asked_for_twice():
    images = shelf("a", "b", "c", "d")
    pairs = duplicates(("a", "b"), ("a", "c"), ("b", "c"), ("c", "d"), ("b", "d"), kind="candidate")
    asked = []
    assert clusters(images, pairs, asked) == {name: name for name in "abcd"}
    assert sorted(asked) == [0, 1, 2, 3, 4]


def test_nothing_in_nothing_out():
    assert clusters(shelf(), duplicates()) == {}


NAMES = [f"image{n}" for n in range(8)]


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_clusters_are_stars_without_contradiction_whatever_the_row_order(data):
    labels = data.draw(
        st.lists(st.sampled_from([LIVE, PRINT, REPLAY, ANY, None]), min_size=8, max_size=8)
    )
    edges = data.draw(st.sets(st.sampled_from([(a, b) for a in NAMES for b in NAMES if a < b])))
    areas = data.draw(st.lists(st.sampled_from([1.0, 2.0, 3.0]), min_size=8, max_size=8))
    images = shelf(*NAMES, label_key=labels, face_area=areas)
    # `judge` makes no duplicate of a contradiction.
    key = images.label_key
    edges = [(a, b) for a, b in sorted(edges) if not differs(key[a], key[b])]
    cluster = clusters(images, duplicates(*edges))
    better = {name: n for n, name in enumerate(keep_order(images))}
    for image, kept in cluster.items():
        assert cluster[kept] == kept
        assert image == kept or (image, kept) in edges or (kept, image) in edges
        assert better[kept] <= better[image]
        mates = [key[other] for other, star in cluster.items() if star == kept]
        assert not any(differs(key[image], mate) for mate in mates)
    shuffled = images.sample(frac=1, random_state=data.draw(st.integers(0, 99)))
    assert clusters(shuffled, duplicates(*edges[::-1])) == cluster


OPEN, CLOSED = {("eyes", "left_eye"): "open"}, {("eyes", "left_eye"): "closed"}
NOSE = {("occlusion", "nose"): "blocked"}


@pytest.mark.parametrize(
    ("a", "b", "kind"),
    [
        pytest.param(OPEN, CLOSED, "candidate", id="open and closed"),
        pytest.param(OPEN, OPEN, "duplicate", id="both open"),
        pytest.param(OPEN, NOSE, "duplicate", id="of other parts"),
        pytest.param(OPEN, None, "duplicate", id="one unknown"),
    ],
)
def test_labels_of_eyes_and_covers_stand_between_two_pictures(a, b, kind):
    images = facts(("s", None, LIVE), ("s", None, LIVE))
    images["state"] = pd.Series([a, b], index=images.index, dtype=object)
    assert list(judge(one_pair(1.0), images)["kind"]) == [kind]


def test_two_frames_of_one_clip_never_join_one_loose_copy():
    images = shelf("loose", "one", "two", clip=[None, "c", "c"])
    pairs = pd.DataFrame({"a": ["loose", "loose"], "b": ["one", "two"]})
    homes = keep_best(images, pairs, lambda rows: np.ones(len(rows), bool))
    assert homes["one"] == "loose"
    assert homes["two"] == "two"


def test_a_state_keeps_out_of_a_cluster_what_its_star_does_not_contradict():
    images = shelf("star", "open", "closed", state=[None, OPEN, CLOSED])
    pairs = pd.DataFrame({"a": ["star", "star"], "b": ["open", "closed"]})
    homes = keep_best(images, pairs, lambda rows: np.ones(len(rows), bool))
    assert homes["open"] == "star"
    assert homes["closed"] == "closed"
