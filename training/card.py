"""The model card for people: what the model does, on how many images, and where that ends."""

from typing import Any

from training.metrics import Rate


def text(facts: dict[str, Any]) -> str:
    """Return the README.md of a model; ``facts`` is its card.json."""
    contract, test = facts["contract"], facts["metrics"]
    return "\n".join(
        [
            f"# {facts['task']} model {facts['model']}",
            "",
            f"{contract['backbone']}, made by curate {facts['code_version']} in run "
            f"{facts['run_id']}. {_standing(facts)}",
            "",
            "## What it answers",
            "",
            "A score in [0, 1] for one face: 1 = bona fide, 0 = attack. From the threshold "
            f"**{facts['threshold']:.6g}** on the image is accepted as bona fide. That is the "
            f"equal error rate point of the development split (EER {percent(facts['dev_eer'])}), "
            "fixed before the test split was scored.",
            "",
            f"Input: the upright square face crop, side {contract['crop_scale']} x the longer side "
            f"of the face box, {contract['image_size']} px, RGB / 255, mean {contract['mean']}, "
            f"std {contract['std']}.",
            "",
            "## On the frozen test split (ISO/IEC 30107-3)",
            "",
            *_errors(test),
            "",
            f"APCER max {percent(test['apcer_max'])}, ACER {percent(test['acer'])}, "
            f"EER {percent(test['eer'])} (all attacks pooled, threshold of the test split itself), "
            f"ROC-AUC {number(test['roc_auc'])}.",
            "",
            f"Accuracy {percent(test['accuracy'])}, precision {percent(test['precision'])}, recall "
            f"{percent(test['recall'])}, F1 {percent(test['f1'])} (positive class: bona fide).",
            "",
            "## Trained on",
            "",
            *_counts(facts["trained_on"]),
            "",
            "Every image, with its subject, is listed in trained_on.parquet.",
            "",
            "## Limits",
            "",
            *_limits(facts),
            "",
        ]
    )


def rate_cells(rate: dict[str, Any]) -> tuple[str, str, str]:
    """Return value, 95 % interval and errors/n of a rate, as words."""
    known = Rate(int(rate["errors"]), int(rate["n"]))
    return percent(known.value), interval(known), f"{known.errors} / {known.n}"


def percent(value: float | None) -> str:
    """Return a share as per cent, or that it was not measured."""
    return "not measured" if value is None else f"{100 * value:.2f} %"


def number(value: float | None) -> str:
    """Return a figure with four decimals, or that it was not measured."""
    return "not measured" if value is None else f"{value:.4f}"


def interval(rate: Rate) -> str:
    """Return the 95 % interval of a rate in per cent."""
    bounds = rate.interval
    return "-" if bounds is None else f"{100 * bounds[0]:.2f} to {100 * bounds[1]:.2f} %"


def _standing(facts: dict[str, Any]) -> str:
    against = facts["compared_with"]
    versus = f"compared with model {against}: " if against else ""
    verdict = "Promoted" if facts["promoted"] else "**Refused**"
    return f"{verdict}; {versus}{'; '.join(facts['reasons'])}."


def _errors(test: dict[str, Any]) -> list[str]:
    rows = [("BPCER (bona fide rejected)", test["bpcer"])]
    rows += [(f"APCER {kind}", rate) for kind, rate in test["apcer"].items()]
    return [
        "| error | rate | 95 % interval (Clopper-Pearson) | errors / n |",
        "|---|---|---|---|",
        *(f"| {name} | {' | '.join(rate_cells(rate))} |" for name, rate in rows),
    ]


def _counts(trained_on: dict[str, dict[str, int]]) -> list[str]:
    return [
        "| class | images by what the label rests on |",
        "|---|---|",
        *(
            f"| {kind} | {', '.join(f'{n} {basis}' for basis, n in bases.items())} |"
            for kind, bases in trained_on.items()
        ),
    ]


def _limits(facts: dict[str, Any]) -> list[str]:
    test = facts["metrics"]
    unseen = sorted(set(facts["trained_on"]) - {"bonafide"} - set(test["apcer"]))
    lines = [
        f"- The test split holds {facts['test_subjects']} known subjects. Intervals take images "
        "as independent; frames of one person or burst are not, so they are too narrow.",
        "- It says nothing of attack types, cameras or scenes that the test split does not hold.",
    ]
    if unseen:
        lines.append(f"- Trained on, but absent from the test split: {', '.join(unseen)}.")
    return lines
