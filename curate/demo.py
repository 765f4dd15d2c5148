"""`curate demo`: the whole road on generated faces, found against planted after each step."""

import os
import shutil
import sys
from pathlib import Path

import click

from curate import assets, show, truth, workspace
from curate.cli import main
from curate.errors import CurateError, SourceError

SMALL = {"image_size = 160": "image_size = 96", "epochs = 6": "epochs = 4"}  # of curate.toml
SAYS = (
    "The faces are generated (a GAN trained on DigiFace-1M, whose terms are research only): "
    "figures on them are a smoke check of the machinery, not accuracy."
)


def walk(folder: Path) -> None:
    """Make the demo's workspace in ``folder``, or go on with it, and run verb after verb."""
    for name in assets.ASSETS:
        assets.pull(name)
    here = _small_workspace(folder)
    sample = here.root / "sample"
    if not (sample / "truth.csv").is_file():
        _draw(sample)
    verb = _Verbs(here.root, sample / "truth.csv")
    trusted, mined = str(sample / "trusted"), str(sample / "mined")
    verb("ingest", trusted, "--recipe", "takehome", "--trust", "given")
    verb("ingest", mined, "--recipe", "takehome", "--trust", "none", found=True)
    verb("softlabel", "--threshold", "0.9", found=True)
    verb("synth")
    verb("retrain")
    verb("report")
    show.note(SAYS)
    shown = os.path.relpath(here.root)
    show.next_steps(
        f"open {here.root / 'report.html'} in a browser",
        f"cd {shown} && {_curate()} review   to look at what waits, in the FiftyOne App",
        f"{_curate()} ingest YOUR_FOLDER --recipe auto   with your own data, elsewhere",
    )


def _small_workspace(folder: Path) -> workspace.Workspace:
    """Make the demo's workspace, with a model small enough to train while one watches."""
    here = workspace.create(folder)
    settings = here.root / workspace.FILENAME
    text = settings.read_text(encoding="utf-8")
    for default, small in SMALL.items():
        text = text.replace(f"# {default}\n", f"{small}\n", 1)
    settings.write_text(text, encoding="utf-8")
    return workspace.open_at(here.root)


class _Verbs:
    """Runs verbs through the command table, as a person would, and shows found against planted."""

    def __init__(self, root: Path, truth_file: Path) -> None:
        self.root = root
        self.truth_file = truth_file

    def __call__(self, *words: str, found: bool = False) -> None:
        click.secho(f"\n$ curate {' '.join(words)}", bold=True)
        code = main.main(["--workspace", str(self.root), *words], standalone_mode=False)
        # A second demo trains nothing new; a refused challenger is an answer too (exit 3).
        if code not in (None, 0, 3):
            raise CurateError(f"the demo stopped at `curate {' '.join(words)}` (exit {code})")
        if found:
            self._found(words[0])

    def _found(self, step: str) -> None:
        catalogue = workspace.open_at(self.root).catalogue
        rows = [
            (
                score.what,
                f"{score.found} / {score.planted}",
                "" if score.false is None else score.false,
            )
            for score in truth.scores(catalogue, self.truth_file)
            if score.step == step
        ]
        show.table("Found / planted", ("", "found / planted", "falsely so"), rows)


def _draw(sample: Path) -> None:
    code = main.main(["sample", str(sample)], standalone_mode=False)
    if code:
        raise SourceError(f"the sample could not be drawn into {sample}; delete it and try again")


def _curate() -> str:
    """Return how to call curate here: plainly where it is on the PATH."""
    return "curate" if shutil.which("curate") else str(Path(sys.executable).with_name("curate"))
