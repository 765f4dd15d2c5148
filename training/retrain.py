"""Retrain: catalogue -> challenger -> threshold on dev -> figures on test -> gate -> folder."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from curate import __version__, champions, engine, runs, schema
from curate.champions import Model
from curate.engine import Track
from curate.runs import Run
from curate.workspace import Workspace
from training import augment, data, gate, loop, metrics, model, registry
from training.data import Frames
from training.metrics import Report
from training.model import Network


@dataclass(frozen=True)
class Outcome:
    """What one retrain did: ``status`` is promoted, refused, unchanged or dry run."""

    status: str
    run_id: str = ""
    folder: str = ""
    facts: dict[str, Any] = field(default_factory=dict)  # the model's card.json
    rows: tuple[gate.Row, ...] = ()
    trained_on: dict[str, dict[str, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Measured:
    """A model at the threshold that the development split gives it."""

    threshold: float
    dev_eer: float
    test: Report


def retrain(workspace: Workspace, task: str, *, dry_run: bool, track: Track) -> Outcome:
    """Train a challenger as ``workspace.config.retrain`` says and let the gate judge it.

    The same command after a kill goes on at the last whole epoch. Data, settings and code as
    before: nothing is trained and nothing recorded.

    Raises:
        DataError: a split lacks bona fide images or attacks.
        AssetError: weights of the backbone or the champion are not there.
    """
    inputs: dict[str, Any] = {}
    with runs.start(workspace, "retrain", inputs) as run:
        number = registry.sweep(workspace, task)
        frames = data.frames(workspace.catalogue, task)
        inputs |= {"task": task, "fingerprint": _fingerprint(workspace, task, frames)}
        champion = champions.champion(workspace, task)
        known = _same(workspace, task, str(inputs["fingerprint"]), champion)
        run.recorded = known is None and not dry_run
        staging = workspace.root / "runs" / f"retrain-{inputs['fingerprint']}"
        if run.recorded:
            outcome = Challenge(run, task, number, frames, staging, track).outcome(champion)
        else:
            outcome = _nothing_done(frames, known)
    if not dry_run:
        shutil.rmtree(staging, ignore_errors=True)
    return outcome


def measure(workspace: Workspace, net: Network, frames: Frames, track: Track) -> Measured:
    """Fix the threshold of ``net`` on dev, then measure it on test."""
    dev, bonafide, _ = scored(workspace, net, frames.dev, track)
    rate, threshold = metrics.eer(dev, bonafide)
    assert rate is not None, "data.frames gives dev both classes"
    assert threshold is not None
    return Measured(threshold, rate, report(workspace, net, frames.test, threshold, track))


def report(
    workspace: Workspace, net: Network, rows: pd.DataFrame, threshold: float, track: Track
) -> Report:
    """Return the figures of ``net`` on ``rows`` at ``threshold``."""
    return metrics.evaluate(*scored(workspace, net, rows, track), threshold)


def scored(
    workspace: Workspace, net: Network, rows: pd.DataFrame, track: Track
) -> tuple[metrics.Floats, metrics.Bools, list[str]]:
    """Return scores, whether bona fide, and attack types of ``rows``."""
    crops = data.stream(
        rows,
        scale=net.contract.crop_scale,
        size=net.contract.image_size,
        threads=engine.threads(workspace.config.threads),
    )
    scores = model.score(net, track(crops, len(rows), f"scoring {rows['split'].iloc[0]}"))
    return scores, (rows["label"] == schema.BONAFIDE).to_numpy(bool), list(rows["attack_type"])


@dataclass(frozen=True)
class Challenge:
    """One challenger under way."""

    run: Run
    task: str
    number: int
    frames: Frames
    staging: Path
    track: Track

    def outcome(self, champion: Model | None) -> Outcome:
        """Train, measure, judge, save; fill in the run's counts and state."""
        here = self.run.workspace
        before = registry.load(champion) if champion else None
        net = self._train()
        after = measure(here, net, self.frames, self.track)
        old = measure(here, before.net, self.frames, self.track) if before else None
        verdict = gate.judge(old.test if old else None, after.test)
        folder = here.root / "models" / self.task / str(self.number)
        facts = self._facts(net, after, verdict, champion)
        origin = pd.concat([self.frames.train, self.frames.dev])
        registry.save(folder, net, facts, origin)
        self.run.counts = _counts(facts)
        self.run.state = "done" if verdict.promoted else "refused"
        return Outcome(
            "promoted" if verdict.promoted else "refused",
            self.run.run_id,
            str(folder),
            facts,
            verdict.rows,
            facts["trained_on"],
        )

    def _train(self) -> Network:
        config, train = self.run.workspace.config, self.frames.train
        chosen = config.retrain
        torch.manual_seed(config.seed)  # the head starts at random
        net = model.create(
            chosen.backbone, crop_scale=chosen.crop_scale, image_size=chosen.image_size
        )
        side = augment.padded(chosen.image_size)
        crops = data.stream(
            train,
            scale=chosen.crop_scale * augment.MARGIN,
            size=side,
            threads=engine.threads(config.threads),
        )
        read = self.track(crops, len(train), "reading train")
        held = data.hold(read, (len(train), side), self.staging / "crops.npy")
        examples = loop.Examples(
            held, train["p_bonafide"].to_numpy(np.float32), data.weights(train)
        )
        settings = loop.Settings(
            chosen.epochs, chosen.batch_size, chosen.learning_rate, config.seed
        )
        loop.train(net, examples, settings, folder=self.staging, track=self.track)
        return net

    def _facts(
        self, net: Network, after: Measured, verdict: gate.Verdict, champion: Model | None
    ) -> dict[str, Any]:
        config = self.run.workspace.config
        return {
            "task": self.task,
            "model": self.number,
            "run_id": self.run.run_id,
            "code_version": __version__,
            "promoted": verdict.promoted,
            "reasons": list(verdict.reasons),
            "compared_with": champion.number if champion else None,
            "contract": net.contract.to_dict(),
            "threshold": after.threshold,
            "dev_eer": after.dev_eer,
            "metrics": after.test.to_dict(),
            "test_subjects": int(self.frames.test["subject"].nunique()),
            "trained_on": data.counts(self.frames.train),
            "config": config.retrain.model_dump(),
            "seed": config.seed,
        }


def _nothing_done(frames: Frames, known: Model | None) -> Outcome:
    counted = data.counts(frames.train)
    if known is None:
        return Outcome("dry run", trained_on=counted)
    folder = str(known.folder)
    return Outcome("unchanged", known.run_id, folder, known.counts, (), counted)


def _counts(facts: dict[str, Any]) -> dict[str, Any]:
    """Return what the runs row keeps of a model's card: curate.champions and the report read it."""
    test = facts["metrics"]
    kept = ("task", "model", "promoted", "compared_with", "reasons", "threshold", "dev_eer")
    return {name: facts[name] for name in kept} | {
        "bpcer": test["bpcer"]["value"],
        "apcer": {kind: rate["value"] for kind, rate in test["apcer"].items()},
        "n": {schema.BONAFIDE: test["bpcer"]["n"]}
        | {kind: rate["n"] for kind, rate in test["apcer"].items()},
        **{name: test[name] for name in ("apcer_max", "acer", "eer", "accuracy", "roc_auc")},
        "trained": sum(sum(bases.values()) for bases in facts["trained_on"].values()),
    }


def _fingerprint(workspace: Workspace, task: str, frames: Frames) -> str:
    config = workspace.config
    seen = frames.fingerprint(), config.retrain.model_dump(), config.seed
    return runs.fingerprint("retrain", task, *seen)


def _same(
    workspace: Workspace, task: str, fingerprint: str, champion: Model | None
) -> Model | None:
    """Return the model that this retrain would make again, judged against the same champion."""
    standing = workspace.catalogue.runs_standing()
    alike = set(standing.loc[standing["inputs"].str.contains(fingerprint), "run_id"])
    for found in reversed(champions.models(workspace, task)):
        against = found.counts["compared_with"]
        is_champion = champion is not None and champion.number == found.number
        refused_by = champion is not None and not found.promoted and against == champion.number
        if found.run_id in alike and (is_champion or refused_by):
            return found
    return None
