"""The gate: a challenger is promoted only if no kind of error became more frequent. Pure.

Both models are measured on the same frozen test images, each at its own threshold fixed on the
development split. So the comparison is paired, and a rise of one image is a rise: an average that
improved does not buy a hole in one attack type (promise 5).
"""

from dataclasses import dataclass

from training.metrics import Rate, Report

BPCER = "BPCER"


@dataclass(frozen=True)
class Row:
    """One kind of error before and after; ``what`` is BPCER or an attack type."""

    what: str
    before: Rate
    after: Rate

    @property
    def rises(self) -> bool:
        """Whether the challenger errs on more of the same images."""
        return self.after.errors > self.before.errors


@dataclass(frozen=True)
class Verdict:
    """Whether the challenger becomes champion, and why not."""

    promoted: bool
    rows: tuple[Row, ...]
    reasons: tuple[str, ...]


def judge(champion: Report | None, challenger: Report) -> Verdict:
    """Return the verdict over reports on the same images; the first model has no champion to beat.

    Raises:
        ValueError: the two reports are not of the same images.
    """
    if champion is None:
        return Verdict(True, (), ("first model of its task",))
    if _sizes(champion) != _sizes(challenger):
        raise ValueError(f"different images: {_sizes(champion)} and {_sizes(challenger)}")
    rows = (
        Row(BPCER, champion.bpcer, challenger.bpcer),
        *(Row(kind, champion.apcer[kind], rate) for kind, rate in challenger.apcer.items()),
    )
    reasons = tuple(_reason(row) for row in rows if row.rises)
    return Verdict(not reasons, rows, reasons or ("no kind of error rose",))


def _sizes(report: Report) -> dict[str, int]:
    return {BPCER: report.bpcer.n} | {kind: rate.n for kind, rate in report.apcer.items()}


def _reason(row: Row) -> str:
    name = BPCER if row.what == BPCER else f"APCER of {row.what}"
    return f"{name} rose from {row.before.errors} to {row.after.errors} of {row.after.n}"
