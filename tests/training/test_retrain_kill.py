"""kill -9 during a retrain, then the same command: what an undisturbed one leaves."""

import json
import shutil
import signal
import subprocess
import sys

import pytest
from safetensors.numpy import load_file

from curate import workspace

START = """
import os, signal
from curate import backbones

create = backbones.create
backbones.create = lambda name, *, num_classes=0, pretrained=True: create(
    name, num_classes=num_classes, pretrained=False
)

def dies_after(module, name, *, only=None):
    done = getattr(module, name)
    def dying(*arguments, **options):
        result = None
        if only is None:
            result = done(*arguments, **options)
        if only is None or only in arguments:
            os.kill(os.getpid(), signal.SIGKILL)
        return done(*arguments, **options)
    setattr(module, name, dying)
"""
MOMENTS = {
    "after the first epoch": "from training import loop; dies_after(loop, '_save')",
    "with the model's folder in place": (
        "from training import registry; dies_after(registry, 'save')"
    ),
    "right before the runs row": (
        "from curate.catalogue import Catalogue; dies_after(Catalogue, 'append', only='runs')"
    ),
}


def retrain(root, moment=""):
    code = f"{START}\n{moment}\nfrom curate.cli import main\nmain()"
    command = [sys.executable, "-c", code, "--workspace", str(root), "retrain"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def left(root):
    """Everything a retrain leaves, run ids and times aside."""
    runs = workspace.open_at(root).catalogue.read("runs")
    runs = runs.drop(columns=["run_id", "started", "seconds"]).sort_values("verb")
    models = {}
    for folder in sorted((root / "models" / "liveness").iterdir()):
        facts = json.loads((folder / "card.json").read_text())
        weights = load_file(folder / "weights.safetensors")
        models[folder.name] = (
            facts | {"run_id": ""}, {name: value.tobytes() for name, value in weights.items()},
        )  # fmt: skip
    return runs.to_dict("records"), models


@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS.keys())
def test_killed_then_rerun_leaves_what_an_undisturbed_retrain_leaves(
    both_classes, tmp_path, moment
):
    killed, whole = both_classes.root, tmp_path / "whole"
    shutil.copytree(killed, whole)
    died = retrain(killed, moment)
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert "retrain" not in set(workspace.open_at(killed).catalogue.read("runs")["verb"])
    for root in (killed, whole):
        done = retrain(root)
        assert done.returncode == 0, done.stderr
    assert left(killed) == left(whole)
    assert list((killed / "runs").glob("retrain-*")) == []
