import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.agreement import Spot, View, agree, moved, posed
from curate.duplicates import SIMILAR, WORST_PATCH
from curate.hashes import POSES, apply_pose

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
    return image[rows:-rows, columns:-columns]


def similarity(one, other, pose=SAME):
    return agree(View(one), View(other), pose).similarity


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
        pytest.param(lambda x: (255 * (x / 255) ** 0.6).astype(np.uint8), id="gamma .6"),
        pytest.param(lambda x: (255 * (x / 255) ** 1.6).astype(np.uint8), id="gamma 1.6"),
        pytest.param(lambda x: np.clip(x * 1.2 + 8.0, 0, 255).astype(np.uint8), id="burnt out"),
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
    found = agree(View(image), View(alter(image)), SAME)
    assert found.similarity >= SIMILAR
    assert found.worst >= WORST_PATCH


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


@pytest.mark.parametrize("share", [0.08, 0.15])
def test_the_faces_bring_a_crop_onto_its_original(share):
    image = picture(3)
    (height, width), side = image.shape, 40.0
    cut = crop(image, share)
    spot = Spot(width / 2 + 5, height / 2 - 3, side)
    there = Spot(spot.x - int(width * share), spot.y - int(height * share), side)
    found = agree(View(image, spot), View(cut, there), SAME)
    assert found.similarity >= SIMILAR
    assert found.area == pytest.approx((1 - 2 * share) ** 2, abs=0.02)
    assert found.scale == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("pose", POSES, ids=lambda pose: pose.name)
def test_a_spot_moves_with_the_picture(pose):
    image = np.zeros((30, 50), np.uint8)
    image[4, 40] = 1
    after = posed(View(image, Spot(40.5, 4.5, 7.0)), pose)
    ((y, x),) = np.argwhere(after.gray)
    assert after.spot == Spot(x + 0.5, y + 0.5, 7.0)
    assert moved(Spot(40.5, 4.5, 7.0), (30, 50), pose) == after.spot


@pytest.mark.parametrize("degrees", [-3, 3])
def test_a_small_turn_is_told(degrees):
    image = picture(4, (160, 160))
    matrix = cv2.getRotationMatrix2D((79.5, 79.5), -degrees, 1)  # OpenCV turns counter-clockwise
    turned = cv2.warpAffine(image, matrix, (160, 160), borderMode=cv2.BORDER_REPLICATE)
    found = agree(View(image), View(turned), SAME)
    assert found.degrees == pytest.approx(degrees, abs=0.3)


def test_a_covered_part_shows_in_the_worst_patch():
    image = picture(5)
    covered = image.copy()
    covered[60:90, 60:100] = 128
    assert agree(View(image), View(covered), SAME).worst < WORST_PATCH
    assert agree(View(image), View(image), SAME).worst > 0.999


def test_a_brighter_copy_is_told():
    image = picture(6) // 2
    found = agree(View(image), View(image + 40), SAME)
    assert found.brighter == pytest.approx(40, abs=1)
    assert found.contrast == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("spot", [Spot(10, 10, 0), Spot(-500, 3, 4), Spot(5, 5, np.nan)])
def test_a_senseless_face_does_no_harm(spot):
    image = picture(7)
    assert agree(View(image, spot), View(image, Spot(80, 60, 30)), SAME).similarity > 0.999


@pytest.mark.parametrize("cut", [12, 20, 28])
@pytest.mark.parametrize("seed", range(4))
def test_the_edge_of_a_crop_beside_the_face_is_no_difference(seed, cut):
    image = picture(seed, (171, 128))
    whole = View(image, Spot(52, 80, 24))  # the square about the face begins at column 4
    cropped = View(image[:, cut:], Spot(52 - cut, 80, 24))
    for one, other in ((whole, cropped), (cropped, whole)):
        assert agree(one, other, SAME).worst > 0.85
