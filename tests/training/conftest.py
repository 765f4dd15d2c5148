from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from curate import runs, workspace
from curate.places import uri_of
from curate.workspace import Workspace

torch.set_num_threads(1)  # tiny networks: more threads only wait for one another

SIDE = 64
TINY = "test_efficientnet.r160_in1k"
TOML = f"""
threads = 1
[retrain]
backbone = "{TINY}"
crop_scale = 2.0
image_size = 32
epochs = 2
batch_size = 8
learning_rate = 0.01
"""


@dataclass
class Builder:
    """Makes images of class-coloured noise, and the rows that ingest would have written."""

    here: Workspace
    rows: list[dict] = field(default_factory=list)

    def add(self, n, *, label, split, attack_type="", subject=None, basis="given", **columns):
        colour = {"": (170, 90, 80), "print": (80, 90, 170)}.get(attack_type, (80, 160, 90))
        for _ in range(n):
            at = len(self.rows)
            image_id = f"{at:04d}"
            path = self.here.root / "pictures" / f"{image_id}.png"
            path.parent.mkdir(exist_ok=True)
            noise = np.random.default_rng(at).normal(0, 20, (SIDE, SIDE, 3))
            Image.fromarray(np.clip(noise + colour, 0, 255).astype(np.uint8)).save(path)
            self.rows.append(
                {
                    "image_id": image_id, "uri": uri_of(path), "bytes": path.stat().st_size,
                    "mtime_ns": path.stat().st_mtime_ns, "also_at": [], "source": "made",
                    "subject": subject or f"made/{split}{at % 3}", "origin": "mined",
                    "turn": 0, "mirror": "no", "status": "kept", "reason": "",
                    "width": SIDE, "height": SIDE, "face": [16.0, 16.0, 32.0, 32.0],
                    "split": split, "label": label, "attack_type": attack_type, "basis": basis,
                }
                | columns
            )  # fmt: skip
        return self

    def commit(self) -> Workspace:
        every = pd.DataFrame(self.rows)
        images = every.drop(columns=["split", "label", "attack_type", "basis"])
        with runs.start(self.here, "ingest", {}) as run:
            run.append("images", images)
            given = every[every["basis"].isin(["given", "untrusted"])]
            run.append("labels", self._marks(given).assign(
                source="made", trusted=(given["basis"] == "given").to_numpy()
            ))  # fmt: skip
            run.append("splits", every.loc[every["split"].notna(), ["image_id", "split"]])
            soft = every[every["basis"] == "soft"]
            run.append("soft_labels", self._marks(soft).assign(
                confidence=np.float32(0.9), status="accepted", reason="", teacher="t",
                threshold=np.float32(0.9),
                probs=[_probs(label) for label in soft["label"]],
            ))  # fmt: skip
            decided = every[every["basis"] == "decision"]
            run.append("decisions", self._marks(decided).assign(
                action="relabel", reviewer="me", at="2026-01-01T00:00:00"
            ))  # fmt: skip
        return self.here

    @staticmethod
    def _marks(rows):
        return rows[["image_id", "label", "attack_type"]].assign(task="liveness", part="")


def _probs(label):
    return [0.9 if label == "bonafide" else 0.1, *[0.1 if label == "bonafide" else 0.9], *[0.0] * 8]


@pytest.fixture
def builder(tmp_path):
    return Builder(workspace.create(tmp_path / "ws"))


@pytest.fixture
def both_classes(builder):
    """A workspace with bona fide and print images in each split."""
    for split, n in (("train", 12), ("dev", 6), ("test", 6)):
        builder.add(n, label="bonafide", split=split)
        builder.add(n, label="attack", attack_type="print", split=split)
    (builder.here.root / "curate.toml").write_text(TOML)
    return workspace.open_at(builder.commit().root)


@pytest.fixture
def untrained(monkeypatch):
    """Backbones start at random: no weights and no network in tests."""
    from curate import backbones

    create = backbones.create

    def at_random(name, *, num_classes=0, pretrained=True):
        return create(name, num_classes=num_classes, pretrained=False)

    monkeypatch.setattr(backbones, "create", at_random)


@pytest.fixture
def quiet():
    return lambda items, total, what: items


@pytest.fixture
def make(tmp_path):
    """Build another workspace of the same make, elsewhere."""

    def build(name: str) -> Builder:
        return Builder(workspace.create(Path(tmp_path / name)))

    return build
