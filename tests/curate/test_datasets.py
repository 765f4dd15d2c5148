"""Every recipe of datasets/ on a tree of exactly its paths, with the traps of that set."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from curate import schema, sources, workspace
from curate.recipes import MEDIA, SKIP, Fields, Recipe, bind, choose, load_recipes

DATASETS = Path(__file__).parents[2] / "datasets"
NAMES = sorted(folder.name for folder in DATASETS.iterdir())

# What is said of an image: its labels in brief, subject, clip, split.
Told = tuple[str, str | None, str | None, str | None]


@dataclass
class Tree:
    """A set: what each image or video must be read as (None: left out), and its text files."""

    media: dict[str, Told | None]
    texts: dict[str, str] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        return sorted([*self.media, *self.texts])


def brief(fields: Fields | None) -> Told | None:
    """Return what is said of an image without the name of the recipe; None if left out."""
    assert fields is not None, "not explained"
    if fields is SKIP:
        return None
    labels = ", ".join(
        (each.attack_type or "live") if each.task == "liveness" else f"{each.part} {each.label}"
        for each in fields.labels
    )
    subject, clip = (name and name.partition("/")[2] for name in (fields.subject, fields.clip))
    return labels, subject, clip, fields.split


def metas(types: dict[str, int]) -> str:
    """Return CelebA-Spoof metas: 44 values, of which [40] is the type and [43] 0 if live."""
    return json.dumps(
        {path: [*[1] * 40, kind, 2, 1, int(kind > 0)] for path, kind in types.items()}
    )


def celeba_spoof() -> Tree:
    kinds = ["live", "print", "print", "print", "mask_paper", "mask_paper", "cutout"]
    kinds += ["replay_monitor", "replay_tablet", "replay_phone", "mask_3d"]
    media: dict[str, Told | None] = {}
    types: dict[str, int] = {}
    for number, kind in enumerate(kinds):
        place = f"Data/train/{10 + number}/{'spoof' if number else 'live'}/{494 + number}.png"
        media[f"CelebA_Spoof/{place}"] = (kind, str(10 + number), None, "train")
        types[place] = number
    media["CelebA_Spoof/Data/test/4933/live/500001.jpg"] = ("live", "4933", None, "test")
    media["CelebA_Spoof/Data/test/4933/spoof/500002.jpg"] = ("unknown", "4933", None, "test")
    # The metas say live, the folder spoof: nobody knows.
    media["CelebA_Spoof/Data/test/4933/spoof/500003.jpg"] = ("", "4933", None, "test")
    texts = {
        "CelebA_Spoof/metas/intra_test/train_label.json": metas(types),
        "CelebA_Spoof/metas/intra_test/test_label.json": metas(
            {"Data/test/4933/spoof/500003.jpg": 0}
        ),
    }
    boxes = {str(Path(place).with_suffix("")) + "_BB.txt": "56 28 112 112 0.99" for place in media}
    return Tree(media, texts | boxes)


def oulu_npu() -> Tree:
    kinds = {1: "live", 2: "print", 3: "print", 4: "replay_monitor", 5: "replay_monitor"}
    media: dict[str, Told | None] = {}
    texts: dict[str, str] = {}
    for folder, split, user in (
        ("Train", "train", "01"),
        ("Dev", "dev", "21"),
        ("Test", "test", "36"),
    ):
        lines = []
        for file, kind in kinds.items():
            stem = f"6_3_{user}_{file}"
            told = (kind, user, f"{file}/{stem}", split)
            media[f"OULU/{folder}_files/{stem}.avi"] = told
            media[f"OULU/{folder}_files/{stem}/0007.jpg"] = told
            texts[f"OULU/{folder}_files/{stem}.txt"] = "0,300,400,420,400\n"
            attack = "-2" if folder == "Test" and file > 3 else "-1"
            lines.append(f"{'+1' if file == 1 else attack},{stem}")
        texts[f"OULU/Protocols/Protocol_1/{folder}.txt"] = "\r\n".join(lines) + "\r\n"
        texts[f"OULU/Protocols/Protocol_3/{folder}_1.txt"] = "not read"
    media["OULU/Dev_files/1_1_22_1.avi"] = ("live", "22", "1/1_1_22_1", "dev")  # in no list
    # The list says attack, the name real: nobody knows.
    media["OULU/Train_files/1_1_02_1.avi"] = ("", "02", "1/1_1_02_1", "train")
    texts["OULU/Protocols/Protocol_1/Train.txt"] += "-1,1_1_02_1\r\n"
    media["OULU/frames/6_3_21_4/1.png"] = ("replay_monitor", "21", "4/6_3_21_4", "dev")
    return Tree(media, texts)


def casia_fasd() -> Tree:
    kinds = {"1": "live", "2": "live", "HR_1": "live", "3": "print", "4": "print", "HR_2": "print"}
    kinds |= {"5": "cutout", "6": "cutout", "HR_3": "cutout"}
    kinds |= dict.fromkeys(("7", "8", "HR_4"), "replay_tablet")
    media: dict[str, Told | None] = {}
    for split in ("train", "test"):
        for file, kind in kinds.items():
            subject = f"{split}_release/1"
            told = (kind, subject, f"{file}/{subject}/{file}", split)
            media[f"CASIA/{subject}/{file}.avi"] = told
            media[f"CASIA/{subject}/{file}/12.png"] = told
    return Tree(media)


def replay_attack() -> Tree:
    media: dict[str, Told | None] = {}
    devices = {"print": "print", "highdef": "replay_tablet", "mobile": "replay_phone"}
    for folder, split, client in (
        ("train", "train", "001"),
        ("devel", "dev", "003"),
        ("test", "test", "009"),
    ):
        subject = f"client{client}"
        clip = f"{subject}_session01_webcam_authenticate_adverse_1"
        for place in (f"{folder}/real/{clip}.mov", f"replayattack-{folder}/real/{clip}/004.jpg"):
            media[f"replay/{place}"] = ("live", subject, f"real/{clip}", split)
        for hand in ("fixed", "hand"):
            for device, kind in devices.items():
                clip = f"{hand}/attack_{device}_{subject}_session01_highdef_photo_controlled"
                told = (kind, subject, f"{device}/{clip}", split)
                media[f"replay/{folder}/attack/{clip}.mov"] = told
                media[f"replay/replayattack-{folder}/attack/{clip}.mov/4.png"] = told
    return Tree(media)


def msu_mfsd() -> Tree:
    devices = {"ipad_video": "replay_tablet", "iphone_video": "replay_phone"}
    devices |= {"printed_photo": "print"}
    media: dict[str, Told | None] = {}
    texts = {"MSU/train_sub_list.txt": "02\n03\n", "MSU/test_sub_list.txt": "01\r\n11 \r\n"}
    for client, split in (("001", "test"), ("002", "train"), ("011", "test"), ("051", None)):
        for camera, suffix in (("android", "mp4"), ("laptop", "mov")):
            stem = f"real_client{client}_{camera}_SD_scene01"
            told = ("live", client, f"real/{stem}", split)
            media[f"MSU/scene01/real/{stem}.{suffix}"] = told
            media[f"MSU/pics/real/{stem}_10.jpg"] = told
            texts[f"MSU/scene01/real/{stem}.face"] = "0, 1, 2, 3, 4"
            for device, kind in devices.items():
                stem = f"attack_client{client}_{camera}_SD_{device}_scene01"
                told = (kind, client, f"{device}/{stem}", split)
                media[f"MSU/scene01/attack/{stem}.{suffix}"] = told
                media[f"MSU/scene01/attack/{stem}/10.png"] = told
    return Tree(media, texts)


def siw() -> Tree:
    media: dict[str, Told | None] = {}
    for folder, subject in (("Train", "003"), ("Test", "004")):
        for where, type_, medium, kind in (
            ("live", 1, 1, "live"),
            ("live", 1, 2, "live"),
            ("spoof", 2, 1, "print"),
            ("spoof", 2, 2, "print"),
            *(("spoof", 3, screen, "unknown") for screen in (1, 2, 3, 4)),
            ("live", 2, 1, ""),  # folder and name contradict each other
            ("spoof", 1, 1, ""),
        ):
            stem = f"{subject}-1-{type_}-{medium}-2"
            told = (kind, subject, f"{where}/{stem}", folder.lower())
            media[f"SiW/{folder}/{where}/{subject}/{stem}.mov"] = told
            media[f"SiW/{folder}/{where}/{subject}/{stem}/88.png"] = told
    return Tree(media, {"SiW/Train/live/003/003-1-1-1-2.face": "1 2 3 4"})


def lcc_fasd() -> Tree:
    media: dict[str, Told | None] = {}
    for part, split in (("training", "train"), ("development", "dev")):
        clip = "FT720P_G780_REDMI4X_id0_s0"
        media[f"LCC/LCC_FASD_{part}/spoof/{clip}_15.png"] = (
            "unknown",
            None,
            f"spoof/{clip}",
            split,
        )
        media[f"LCC/LCC_FASD_{part}/spoof/{clip}_105.png"] = (
            "unknown",
            None,
            f"spoof/{clip}",
            split,
        )
        media[f"LCC/LCC_FASD_{part}/real/YOUTUBE_id99_s2_15.png"] = (
            "live",
            None,
            "real/YOUTUBE_id99_s2",
            split,
        )
        media[f"LCC/LCC_FASD_{part}/real/spoofy.png"] = ("live", None, None, split)
    for place, kind in (
        ("real_3.png", "live"),
        ("spoof_980.png", "unknown"),
        ("spoof/real_looking_980.png", "unknown"),
        ("real/real_7.png", "live"),
    ):
        media[f"LCC/LCC_FASD_evaluation/{place}"] = (kind, None, None, "test")
    return Tree(media)


def nuaa() -> Tree:
    media: dict[str, Told | None] = {}
    texts: dict[str, str] = {}
    # The same names stand in both folders; the list says whose. Person 0001 is in train and test.
    lines: dict[str, list[str]] = {}
    for folder, who, kind in (
        ("ClientRaw", "client", "live"),
        ("ImposterRaw", "imposter", "print"),
    ):
        other = {"train": "test", "test": "train"}
        for person, session, split in (
            ("0001", "01", "train"),
            ("0001", "03", "test"),
            ("0016", "03", "test"),
        ):
            split = split if who == "client" else other[split]
            clip = f"{person}_00_05_{session}"
            media[f"NUAA/raw/{folder}/{person}/{clip}_12.jpg"] = (
                kind,
                person,
                f"{folder}/{clip}",
                split,
            )
            lines.setdefault(f"{who}_{split}", []).append(f"{person}\\{clip}_12.jpg")
        clip = "0003_01_02_02"
        media[f"NUAA/raw/{folder}/0003/{clip}_4.jpg"] = (kind, "0003", f"{folder}/{clip}", None)
        media[f"NUAA/Detectedface/{folder.replace('Raw', 'Face')}/0001/0001_00_05_01_12.bmp"] = None
    for folder, kind in (("live", "live"), ("spoof_print", "print")):
        media[f"copy/{folder}/0004/0004_00_00_01_9.jpg"] = (
            kind,
            "0004",
            f"{folder}/0004_00_00_01",
            None,
        )
    for name, listed in lines.items():
        texts[f"NUAA/{name}_raw.txt"] = "\r\n".join(listed) + "\r\n"
    texts["NUAA/client_train_face.txt"] = "0001\\0001_00_00_01_0.bmp 0 120 0 0"
    return Tree(media, texts)


def casia_surf() -> Tree:
    media: dict[str, Told | None] = {}
    for folder, split in (("Training", "train"), ("Val", "dev")):
        for part, video, kind in (
            ("real_part", "real.rssdk", "live"),
            ("fake_part", "06_en_b.rssdk", "cutout"),
        ):
            subject = "CLKJ_AS0137" if split == "train" else "CLKJ_CS0110"
            clip = f"{part[:4]}/{subject}/{video}"
            place = f"SURF/{folder}/{part}/{subject}/{video}"
            media[f"{place}/color/95.jpg"] = (kind, subject, clip, split)
            media |= {f"{place}/{channel}/95.jpg": None for channel in ("depth", "ir")}
    texts = {}
    for folder, name, split in (("Val", "val_private", "dev"), ("Testing", "test_public", "test")):
        lines = []
        for number, kind in ((0, "cutout"), (1, "live")):
            stem = f"{folder}/0000/00000{number}"
            labelled = name == "val_private"
            media[f"SURF/{stem}-color.jpg"] = (kind if labelled else "", None, None, split)
            media |= {f"SURF/{stem}-{channel}.jpg": None for channel in ("depth", "ir")}
            word = f" {number}" if labelled else ""
            lines.append(f"{stem}-color.jpg {stem}-depth.jpg {stem}-ir.jpg{word}")
        texts[f"SURF/{name}_list.txt"] = "\n".join(lines)
    texts["SURF/CASIA_SURF@p1_image_train.txt"] = "Val/0000/000000-color.jpg 0"  # 0 is live there
    return Tree(media, texts)


def uniattack() -> Tree:
    media: dict[str, Told | None] = {}
    texts = {}
    for protocol, first in (("p1", "live"), ("p2.1", "unknown")):
        for split in ("train", "dev"):
            other = "unknown" if first == "live" else "live"
            folder = f"Uni/phase1/{protocol}/{split}"
            media[f"{folder}/000001.jpg"] = (first, None, None, split)
            media[f"{folder}/000002.jpg"] = (other, None, None, split)
            home = "" if split == "dev" else f"{protocol}/"  # a list without its protocol's folder
            texts[f"Uni/phase1/{protocol}/{split}_label.txt"] = (
                f"{home}{split}/000001.jpg {int(first == 'live')}\n"
                f"{home}{split}/000002.jpg {int(other == 'live')}\n"
            )
        media[f"Uni/phase1/{protocol}/test/000001.jpg"] = ("", None, None, "test")
        texts[f"Uni/phase1/{protocol}/test.txt"] = f"{protocol}/test/000001.jpg\n"
    return Tree(media, texts)


def cew() -> Tree:
    media: dict[str, Told | None] = {}
    for side, letter in (("Left", "L"), ("Right", "R")):
        part = f"{side.lower()}_eye"
        shut = "closed_eye_0013.BMP_face_1"
        for folder in (f"dataset_B_Eye_Images/closed{side}Eyes", "train/closed"):
            media[f"CEW/{folder}/{shut}_{letter}.jpg"] = (f"{part} closed", shut, None, None)
        for folder in (f"dataset_B_Eye_Images/open{side}Eyes", "val/open"):
            media[f"CEW/{folder}/Aaron_Guiel_0001_{letter}.jpg"] = (
                f"{part} open",
                "Aaron_Guiel",
                None,
                None,
            )
    both = "left_eye {0}, right_eye {0}".format
    faces = "CEW/dataset_B_FacialImages"
    media[f"{faces}/ClosedFace/{shut}.jpg"] = (both("closed"), shut, None, None)
    media[f"{faces}/OpenFace/Aaron_Guiel_0001.jpg"] = (both("open"), "Aaron_Guiel", None, None)
    return Tree(media)


def mrl_eye() -> Tree:
    media: dict[str, Told | None] = {}
    for number in range(2**4):
        gender, glasses, state, lighting = (number >> bit & 1 for bit in range(4))
        name = f"s0001_{number:05}_{gender}_{glasses}_{state}_2_{lighting}_03.png"
        told = (f"eye {'open' if state else 'closed'}", "s0001", None, None)
        media[f"mrlEyes_2018_01/s0001/{name}"] = told
    media["mrl/train/awake/s0037_09556_1_0_0_0_1_01.png"] = ("eye closed", "s0037", None, None)
    return Tree(media)


def rmfd() -> Tree:
    home = "self-built-masked-face-recognition-dataset"
    regions, file = "nose {0}, mouth {0}, chin {0}".format, "aidai/0_0_aidai_0001.jpg"
    return Tree(
        {
            f"{home}/AFDB_masked_face_dataset/{file}": (regions("blocked"), "aidai", None, None),
            f"{home}/AFDB_face_dataset/{file}": (regions("clear"), "aidai", None, None),
        }
    )


def maskedface_net() -> Tree:
    covered = {"Nose_Mouth": "nose mouth", "Mouth_Chin": "mouth chin", "Chin": "chin"}
    regions = ("nose", "mouth", "chin")
    media: dict[str, Told | None] = {
        f"{folder}00007_Mask.jpg": (", ".join(f"{r} blocked" for r in regions), "00007", None, None)
        for folder in ("CMFD/", "set/CMFD/00000/")
    }
    for suffix, parts in covered.items():
        told = ", ".join(f"{r} {'blocked' if r in parts else 'clear'}" for r in regions)
        media[f"IMFD/00000/00007_Mask_{suffix}.jpg"] = (told, "00007", None, None)
    return Tree(media)


def takehome() -> Tree:
    return Tree(
        {
            "set/train/normal/757_1.jpg": ("live", "757", None, "train"),
            "set/train/spoof/757_2.jpg": ("unknown", "757", None, "train"),
            "set/train/spoof/757_2 (1).jpg": ("unknown", "757", None, "train"),
            "set/dev/normal/757_3.jpg": ("live", "757", None, "test"),
            "set/test/spoof/O12_I3.jpg": ("unknown", "12", None, "test"),
        }
    )


def class_folders() -> Tree:
    kinds = {"live": "live normal real bonafide bona_fide genuine"}
    kinds["unknown"] = "spoof spoofs fake attack attacks"
    kinds |= {"print": "print printed photo", "cutout": "cutout", "digital": "digital"}
    kinds |= {"replay_phone": "replay_phone phone", "replay_tablet": "replay_tablet tablet"}
    kinds["replay_monitor"] = "replay replay_monitor monitor"
    kinds |= {"mask_paper": "mask_paper", "mask_3d": "mask mask_3d"}
    splits = {"train": "train training", "test": "test testing"}
    splits["dev"] = "dev devel val valid validation"
    media: dict[str, Told | None] = {"mine/real/deep/down/a.jpg": ("live", None, None, None)}
    for kind, words in kinds.items():
        media |= {f"mine/{word}/{word}.png": (kind, None, None, None) for word in words.split()}
    for split, words in splits.items():
        media |= {
            f"x/{word}/y/fake/a.mp4": ("unknown", None, None, split) for word in words.split()
        }
    return Tree(media)


TREES = {name: globals()[name.replace("-", "_")]() for name in NAMES}
every_set = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(scope="module")
def recipes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Recipe]:
    return load_recipes(workspace.create(tmp_path_factory.mktemp("ws")))


@every_set
def test_each_file_is_read_as_the_set_means_it(name: str, recipes: dict[str, Recipe]) -> None:
    tree = TREES[name]
    read = bind(recipes[name], tree.names, tree.texts.get)
    assert {place: brief(read(place)) for place in tree.media} == tree.media


@every_set
def test_auto_takes_that_very_recipe(name: str, recipes: dict[str, Recipe]) -> None:
    tree = TREES[name]
    chosen, why = choose(tree.names, tree.texts.get, recipes)
    assert (chosen and chosen.name) == name, why
    assert f"recipe {name} explains 100%" in why


@every_set
@pytest.mark.parametrize(
    "moved",
    [
        pytest.param(lambda place: f"my data/2024 (copy)/{place}", id="inside another folder"),
        pytest.param(str.lower, id="lower case"),
        pytest.param(str.upper, id="upper case"),
    ],
)
def test_where_a_set_lies_and_in_which_case_makes_no_difference(
    name: str, moved: Callable[[str], str], recipes: dict[str, Recipe]
) -> None:
    tree = TREES[name]
    media = {moved(place): told for place, told in tree.media.items()}
    texts = {moved(place): text for place, text in tree.texts.items()}
    names = [*media, *texts]
    chosen, why = choose(names, texts.get, recipes)
    assert (chosen and chosen.name) == name, why
    read = bind(recipes[name], names, texts.get)
    for place, told in media.items():
        again = brief(read(place))
        assert (again and [each and each.lower() for each in again]) == (
            told and [each and each.lower() for each in told]
        ), place


@every_set
def test_on_disk_auto_takes_that_very_recipe(
    name: str, recipes: dict[str, Recipe], tmp_path: Path
) -> None:
    for place in TREES[name].names:
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text(TREES[name].texts.get(place, "no image"), newline="")
    chosen, why = sources.choose(sources.trees([str(tmp_path)]), recipes)
    assert (chosen and chosen.name) == name, why


@every_set
def test_text_files_beside_the_images_are_no_images(name: str, recipes: dict[str, Recipe]) -> None:
    tree = TREES[name]
    read = bind(recipes[name], tree.names, tree.texts.get)
    assert [place for place in tree.texts if read(place) is not None] == []


@every_set
def test_a_readme_says_terms_citation_counts_and_traps(name: str) -> None:
    text = (DATASETS / name / "README.md").read_text(encoding="utf-8")
    assert text.startswith(f"# {name}\n")
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert headings == ["Terms", "Citation", "Expected counts", "Traps"]
    for body in re.split(r"^#.*$", text, flags=re.MULTILINE)[1:]:
        assert body.strip()


@every_set
def test_every_label_a_recipe_can_give_is_in_the_schema(
    name: str, recipes: dict[str, Recipe]
) -> None:
    given = [each for meaning in recipes[name].classes.values() for each in meaning.given]
    assert given
    for each in given:
        assert each.task in schema.TASKS
        assert (each.part == "") == (each.task == "liveness")
        assert each.attack_type in (schema.ATTACK_TYPES if each.label == schema.ATTACK else ("",))


@every_set
def test_nothing_in_a_recipe_is_idle(name: str, recipes: dict[str, Recipe]) -> None:
    """Whatever is taken out of a recipe, some file of its tree is read otherwise."""
    tree, recipe = TREES[name], recipes[name]
    poorer = {
        f"class {word}": {"classes": without(recipe.classes, word)} for word in recipe.classes
    }
    poorer |= {f"split {word}": {"splits": without(recipe.splits, word)} for word in recipe.splits}
    for key in ("rule", "listing", "skip"):
        parts = getattr(recipe, key)
        for at, part in enumerate(parts):
            poorer[f"{key} {part}"] = {key: parts[:at] + parts[at + 1 :]}
    whole = everything(recipe, tree)
    for what, change in poorer.items():
        assert everything(recipe.model_copy(update=change), tree) != whole, what


def without(table: dict[str, object], word: str) -> dict[str, object]:
    return {key: value for key, value in table.items() if key != word}


def everything(recipe: Recipe, tree: Tree) -> list[Fields | None]:
    read = bind(recipe, tree.names, tree.texts.get)
    return [read(place) for place in tree.media]


@pytest.mark.parametrize("name", ["cew", "mrl-eye"])
def test_eye_patches_are_shown_as_eyes_and_faces_as_faces(
    name: str, recipes: dict[str, Recipe]
) -> None:
    tree = TREES[name]
    read = bind(recipes[name], tree.names, tree.texts.get)
    shown = {place: fields.shows for place in tree.media if (fields := read(place))}
    assert {place for place, shows in shown.items() if shows == "face"} == {
        place for place in tree.media if "FacialImages" in place
    }


def test_only_images_of_the_same_person_share_a_subject(recipes: dict[str, Recipe]) -> None:
    """CASIA-FASD numbers its people anew in test; in Replay-Attack a client is one person."""
    tree = TREES["casia-fasd"]
    read = bind(recipes["casia-fasd"], tree.names, tree.texts.get)
    subjects = {place: fields.subject for place in tree.media if (fields := read(place))}
    assert len({subjects[f"CASIA/{part}_release/1/1.avi"] for part in ("train", "test")}) == 2


def test_a_split_that_leaks_shows_in_the_subjects(recipes: dict[str, Recipe]) -> None:
    tree = TREES["nuaa"]
    read = bind(recipes["nuaa"], tree.names, tree.texts.get)
    sides: dict[str, set[str]] = {}
    for place in tree.media:
        fields = read(place)
        if fields and fields.subject and fields.split:
            sides.setdefault(fields.subject, set()).add(fields.split)
    assert sides["nuaa/0001"] == {"train", "test"}


def test_without_the_metas_a_spoof_of_celeba_is_of_unknown_type(recipes: dict[str, Recipe]) -> None:
    tree = TREES["celeba-spoof"]
    read = bind(recipes["celeba-spoof"], list(tree.media), lambda place: None)
    kinds = {told[0] for place in tree.media if (told := brief(read(place)))}
    assert kinds == {"live", "unknown"}


def test_media_are_images_and_videos() -> None:
    assert all(
        Path(place).suffix.lower() in MEDIA for tree in TREES.values() for place in tree.media
    )
