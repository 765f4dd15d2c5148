import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.duplicates import judge, keep_best, keep_order, similarity
from curate.hashes import POSES, apply_pose
from curate.labels import differs

SAME = POSES[0]


def picture(seed, shape=(120, 160)):
    """Blurred noise: structure at many scales, as photographs have."""
    rng = np.random.default_rng(seed)
    layers = [
        cv2.resize(rng.normal(size=(n, n)) / n**0.5, shape[::-1], interpolation=cv2.INTER_CUBIC)
        for n in (3, 6, 12, 24)
    ]
    total = np.sum(layers, axis=0)
    return cv2.normalize(total, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def crop(image, share):
    rows, columns = (int(side * share) for side in image.shape)
    return image[rows:, columns:]


# ------------------------------------------------------------------------------- similarity


@pytest.mark.parametrize("pose", POSES, ids=lambda pose: pose.name)
def test_a_posed_copy_agrees_in_its_pose(pose):
    image = picture(1)
    assert similarity(image, apply_pose(image, pose), pose) > 0.999


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    "alter",
    [
        pytest.param(lambda x: cv2.resize(x, None, fx=0.5, fy=0.5), id="half the size"),
        pytest.param(lambda x: crop(x, 0.03), id="3 % crop"),
        pytest.param(lambda x: cv2.GaussianBlur(x, (5, 5), 0), id="blurred"),
        pytest.param(lambda x: (x * 0.7 + 20).astype(np.uint8), id="darker, less contrast"),
        pytest.param(
            lambda x: cv2.imdecode(cv2.imencode(".jpg", x, [1, 50])[1], cv2.IMREAD_GRAYSCALE),
            id="jpeg 50",
        ),
    ],
)
def test_a_re_encoded_copy_reaches_the_bar(seed, alter):
    image = picture(seed)
    assert similarity(image, alter(image), SAME) >= 0.98


@pytest.mark.parametrize("seed", range(5))
def test_other_pictures_stay_far_below_the_bar(seed):
    assert similarity(picture(seed), picture(seed + 100), SAME) < 0.9


def test_a_negative_is_the_opposite():
    assert similarity(picture(1), 255 - picture(1), SAME) < -0.9


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        pytest.param(0, 0, 1.0, id="both black"),
        pytest.param(100, 102, 1.0, id="two levels apart"),
        pytest.param(100, 103, 0.0, id="three levels apart"),
        pytest.param(0, 255, 0.0, id="black and white"),
    ],
)
def test_flat_images_agree_where_their_levels_do(one, other, expected):
    flat = [np.full((50, 40), level, np.uint8) for level in (one, other)]
    assert similarity(*flat, SAME) == expected


def test_a_flat_image_agrees_with_no_picture():
    assert similarity(np.full((50, 40), 128, np.uint8), picture(1), SAME) == 0


@settings(max_examples=30, deadline=None)
@given(one=st.integers(0, 99), other=st.integers(0, 99), pose=st.sampled_from(POSES))
def test_similarity_is_a_correlation(one, other, pose):
    assert -1 <= similarity(picture(one), picture(other, (90, 90)), pose) <= 1


# ------------------------------------------------------------------------------------ judge


def facts(a, b):
    """Images a and b from (subject, clip, label_key)."""
    table = pd.DataFrame([a, b], index=["a", "b"], columns=["subject", "clip", "label_key"])
    return table.astype(object)


def one_pair(similarity=0.99):
    return pd.DataFrame(
        {"a": ["a"], "b": ["b"], "relation": ["same"], "distance": [3], "similarity": [similarity]}
    )


LIVE, PRINT, REPLAY, ANY = "bonafide", "attack/print", "attack/replay_phone", "attack/unknown"


@pytest.mark.parametrize(
    ("a", "b", "similarity", "kind"),
    [
        pytest.param(("s", None, LIVE), ("s", None, LIVE), 0.98, "duplicate", id="at the bar"),
        pytest.param(("s", None, LIVE), ("s", None, LIVE), 0.9799, "candidate", id="below it"),
        pytest.param(("s", None, LIVE), ("s", None, LIVE), np.nan, "candidate", id="not compared"),
        pytest.param((None, None, None), (None, None, None), 0.99, "duplicate", id="nothing known"),
        pytest.param(("s", "c", LIVE), (None, None, None), 0.99, "duplicate", id="one known"),
        pytest.param(("s", "c", LIVE), ("s", "d", LIVE), 0.99, "duplicate", id="two clips"),
        pytest.param(("s", "c", LIVE), ("t", "d", LIVE), 1.0, "candidate", id="two people"),
        pytest.param(("s", None, LIVE), ("s", None, PRINT), 1.0, "recapture", id="live and print"),
        pytest.param(
            ("s", None, LIVE), (None, None, PRINT), 0.1, "recapture", id="subject unknown"
        ),
        pytest.param(
            ("s", None, LIVE), ("t", None, PRINT), 1.0, "candidate", id="print of another"
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


@pytest.mark.parametrize("label", [LIVE, None, PRINT])
def test_frames_of_one_clip_are_dropped(label):
    judged = judge(one_pair(), facts(("s", "c", LIVE), ("s", "c", label)))
    assert judged.empty
    assert "kind" in judged


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
            "order": range(len(names)),
            "label_key": pd.Series([None] * len(names), dtype=object, index=list(names)),
        },
        index=list(names),
    )
    return table.assign(**columns)


def duplicates(*pairs, kind="duplicate"):
    return pd.DataFrame([(*pair, kind) for pair in pairs], columns=["a", "b", "kind"])


def clusters(images, pairs):
    kept = keep_best(images, pairs)
    return dict(zip(kept.image_id, kept.cluster, strict=True))


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
