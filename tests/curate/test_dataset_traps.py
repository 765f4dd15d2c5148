"""What goes wrong with known sets, one trap at a time; whole trees: test_datasets.py."""

import pytest

from curate import workspace
from curate.recipes import Recipe, bind, load_recipes


@pytest.fixture(scope="module")
def recipes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Recipe]:
    return load_recipes(workspace.create(tmp_path_factory.mktemp("ws")))


@pytest.mark.parametrize(
    ("text", "box"),
    [
        pytest.param("56 28 112 112 0.99", (0.25, 0.125, 0.5, 0.5), id="as it should be"),
        pytest.param("56 28 112 112", (0.25, 0.125, 0.5, 0.5), id="without a score"),
        pytest.param("-56 -28 168 84 0.99", (0.0, 0.0, 0.5, 0.25), id="begins outside"),
        pytest.param("112 112 224 224 1", (0.5, 0.5, 0.5, 0.5), id="ends outside"),
        pytest.param("", None, id="empty"),
        pytest.param("\n", None, id="a blank line"),
        pytest.param("56 28 -112 112 0.9", None, id="negative width"),
        pytest.param("56 28 0 112 0.9", None, id="no width"),
        pytest.param("300 28 20 20 0.9", None, id="wholly outside"),
        pytest.param("56 28 112", None, id="three numbers"),
        pytest.param("nan 28 112 112 1", None, id="not a number"),
        pytest.param("56 28 inf 112 1", None, id="infinite"),
        pytest.param("none found", None, id="words"),
    ],
)
def test_a_box_of_celeba_spoof_is_cut_to_the_image_or_none(
    recipes: dict[str, Recipe], text: str, box: tuple[float, ...] | None
) -> None:
    place = "Data/train/10/live/494.png"
    read = bind(recipes["celeba-spoof"], [place], {"Data/train/10/live/494_BB.txt": text}.get)
    fields = read(place)
    assert fields
    assert fields.box == box


def test_a_protocol_list_that_contradicts_the_name_takes_the_label_away(
    recipes: dict[str, Recipe],
) -> None:
    names = ["OULU/Train_files/1_1_01_1.avi", "OULU/Train_files/1_1_01_2.avi"]
    listed = "OULU/Protocols/Protocol_1/Train.txt"
    texts = {listed: "-1,1_1_01_1\n-1,1_1_01_2\n"}
    read = bind(recipes["oulu-npu"], [*names, listed], texts.get)
    kinds = [
        [each.attack_type for each in fields.labels] for name in names if (fields := read(name))
    ]
    assert kinds == [[], ["print"]]


@pytest.mark.parametrize(
    ("name", "place"),
    [
        pytest.param("takehome", "train/live/757_1.jpg", id="another set's class word"),
        pytest.param("class-folders", "x/0/a.jpg", id="a number is no polarity"),
        pytest.param("class-folders", "x/unreal/a.jpg", id="part of a word is no class"),
        pytest.param("lcc-fasd", "LCC_FASD_evaluation/realme_7.png", id="a phone is no class"),
        pytest.param("maskedface-net", "IMFD/00000/00007_Mask.jpg", id="no suffix in IMFD"),
        pytest.param("maskedface-net", "CMFD/00007.jpg", id="no mask in CMFD"),
        pytest.param("casia-fasd", "test_release/1/9.avi", id="a ninth video"),
        pytest.param("oulu-npu", "Train_files/1_1_01_6.avi", id="a sixth file"),
        pytest.param("mrl-eye", "s0001/s0001_00001_0_0_2_0_0_01.png", id="a state of its own"),
        pytest.param("siw", "Train/live/003/003-1-4-1-1.mov", id="a fourth type"),
        pytest.param("casia-surf", "Training/real_part/CLKJ_AS0137/real/95.jpg", id="no channel"),
        pytest.param("uniattack", "train/000001.jpg", id="no protocol"),
    ],
)
def test_what_no_rule_explains_stays_unlabelled(
    recipes: dict[str, Recipe], name: str, place: str
) -> None:
    assert bind(recipes[name], [place], lambda place: None)(place) is None


@pytest.mark.parametrize(
    ("name", "place", "label"),
    [
        pytest.param("nuaa", "live/0001/0001_00_00_01_1.jpg", "bonafide", id="nuaa, one folder"),
        pytest.param(
            "siw", "Train/live/003-1-1-1-1.mov", "bonafide", id="siw, no subject's folder"
        ),
        pytest.param("casia-fasd", "train_release/7/8.avi", "attack", id="casia, one person"),
        pytest.param("celeba-spoof", "test/4/live/5.jpg", "bonafide", id="celeba, one class"),
    ],
)
def test_a_sub_folder_is_read_like_the_whole(
    recipes: dict[str, Recipe], name: str, place: str, label: str
) -> None:
    fields = bind(recipes[name], [place], lambda place: None)(place)
    assert fields
    assert [each.label for each in fields.labels] == [label]
