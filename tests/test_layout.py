"""The house: what lies where, who imports whom, what nothing may be called."""

import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("curate", "labeling", "synth", "training")
LIBRARIES = {
    *("albumentations", "cleanlab", "click", "cv2", "datasets", "deltalake", "diffusers"),
    *("fiftyone", "imagehash", "jinja2", "numpy", "pandas", "plotly", "pydantic", "rich"),
    *("scipy", "timm", "torch"),
}
SOURCES = [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]


def test_the_top_level_is_what_the_user_fixed() -> None:
    shown = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    fixed = {"pyproject.toml", *PACKAGES, "datasets", "tests", "README.md"}
    small = {"Makefile", "LICENSE", "CHANGELOG.md", "constraints.txt", "demo", "build", "docs"}
    assert fixed <= shown
    assert {name for name in shown - fixed - small if not name.endswith(".egg-info")} == set()


def test_datasets_holds_no_python() -> None:
    assert not list((ROOT / "datasets").rglob("*.py"))


def test_every_source_has_a_recipe_and_says_its_terms() -> None:
    folders = [folder for folder in (ROOT / "datasets").iterdir() if folder.is_dir()]
    assert folders
    for folder in folders:
        assert (folder / "recipe.toml").is_file()
        assert re.search(
            r"[Tt]erms|[Aa]cademic use|[Ll]icen[cs]e", (folder / "README.md").read_text()
        )


def test_no_module_is_named_after_a_library() -> None:
    names = {file.stem for file in SOURCES} | set(PACKAGES)
    assert not names & LIBRARIES


def test_our_names_belong_to_us_alone() -> None:
    owners = importlib.metadata.packages_distributions()
    for package in PACKAGES:
        assert set(owners.get(package, ["curate"])) == {"curate"}


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_file_is_read_in_one_sitting(file: Path) -> None:
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 400


def test_every_dependency_says_why_it_is_there() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(text)["project"]
    extras = project["optional-dependencies"]
    for wanted in [*project["dependencies"], *extras["all"], *extras["test"]]:
        if wanted != "curate[all]":
            assert re.search(rf'"{re.escape(wanted)}",\s+# \S+', text), wanted


def test_constraints_pin_exactly_and_name_no_host() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").split()
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!]+", line) for line in lines)
