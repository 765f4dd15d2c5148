import numpy as np
import pytest

from curate.agreement import Agreement
from curate.hashes import POSES, apply_pose
from curate.relations import after, inverse, pose_of, relation

SAME, ROT90, MIRROR = POSES[0], POSES[1], POSES[4]


@pytest.mark.parametrize(
    ("pose", "found", "extra", "words"),
    [
        pytest.param(SAME, {}, {}, "same, re-encoded", id="nothing else"),
        pytest.param(ROT90, {}, {}, "rot90, re-encoded", id="turned"),
        pytest.param(MIRROR, {"area": 0.88}, {}, "mirror, cropped", id="cropped"),
        pytest.param(SAME, {"area": 0.97}, {}, "same, re-encoded", id="hardly cropped"),
        pytest.param(SAME, {"area": 1.2}, {}, "same, shows more", id="the crop comes first"),
        pytest.param(SAME, {"degrees": -3.1}, {}, "same, turned by -3 degrees", id="turned a bit"),
        pytest.param(SAME, {}, {"zoom": 2.0}, "same, half size", id="half"),
        pytest.param(SAME, {}, {"zoom": 0.5}, "same, double size", id="double"),
        pytest.param(SAME, {"scale": 1.5}, {}, "same, smaller", id="smaller"),
        pytest.param(SAME, {"scale": 0.7}, {}, "same, larger", id="larger"),
        pytest.param(SAME, {"brighter": 7}, {}, "same, brighter", id="brighter"),
        pytest.param(SAME, {"brighter": -7}, {}, "same, darker", id="darker"),
        pytest.param(SAME, {"contrast": 1.3}, {}, "same, more contrast", id="contrast"),
        pytest.param(SAME, {"contrast": 0.8}, {}, "same, less contrast", id="less of it"),
        pytest.param(SAME, {}, {"blur": 3.0}, "same, blurred", id="blurred"),
        pytest.param(SAME, {}, {"blur": 0.3}, "same, sharper", id="sharper"),
        pytest.param(SAME, {}, {"blur": float("nan")}, "same, re-encoded", id="unknown"),
        pytest.param(
            ROT90, {"area": 0.7, "brighter": 20}, {}, "rot90, cropped, brighter", id="several"
        ),
    ],
)
def test_what_was_done_is_said_in_words(pose, found, extra, words):
    assert relation(pose, Agreement(0.999, 0.9, **found), **extra) == words


@pytest.mark.parametrize("pose", POSES, ids=lambda pose: pose.name)
def test_the_words_begin_with_the_pose(pose):
    assert pose_of(relation(pose, Agreement(1, 1))) == pose


@pytest.mark.parametrize("pose", POSES, ids=lambda pose: pose.name)
def test_the_inverse_undoes_a_pose(pose):
    image = np.arange(12).reshape(3, 4)
    assert (apply_pose(apply_pose(image, pose), inverse(pose)) == image).all()


@pytest.mark.parametrize("first", POSES, ids=lambda pose: pose.name)
@pytest.mark.parametrize("then", POSES, ids=lambda pose: pose.name)
def test_one_pose_after_another_is_a_pose(first, then):
    image = np.arange(12).reshape(3, 4)
    both = apply_pose(apply_pose(image, first), then)
    assert (apply_pose(image, after(first, then)) == both).all()
