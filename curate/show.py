"""What a person at the keyboard sees: progress on stderr, tables on stdout."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from curate import schema

LONGEST_NAME = 45  # characters of a first column that is never broken: a run id has 42
Item = TypeVar("Item")


class Rate(TextColumn):
    """Items per second."""

    def __init__(self) -> None:
        """Start with an empty cell."""
        super().__init__("")

    def render(self, task: Any) -> Text:
        """Return the rate so far."""
        return Text(f"{task.speed:,.0f}/s" if task.speed else "")


def track(items: Iterable[Item], total: int, what: str) -> Iterator[Item]:
    """Yield ``items`` under a progress bar with count, rate and time left, on stderr."""
    columns = (TextColumn("{task.description:<22}"), BarColumn(), MofNCompleteColumn(), Rate())
    console = Console(stderr=True)
    with Progress(
        *columns,
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        yield from progress.track(items, total=total, description=what)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; numbers go to the right."""
    rows = [tuple(row) for row in rows]
    shown = Table(header_style="dim", show_header=any(columns), box=box.SIMPLE_HEAD)
    short = all(len(str(row[0])) <= LONGEST_NAME for row in rows)  # names a person copies
    for position, name in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[position], int | float) for row in rows)
        shown.add_column(
            name,
            justify="right" if numeric else "left",
            overflow="fold",
            no_wrap=position == 0 and short,
        )
    for row in rows:
        shown.add_row(*(_cell(value) for value in row))
    console = Console(highlight=False, soft_wrap=True)
    console.print(Text(title, style="bold"))
    if rows:
        console.print(shown)


def facts(title: str, values: Mapping[str, object]) -> None:
    """Print a table of names and values."""
    table(title, ("", ""), values.items())


def next_steps(*lines: str) -> None:
    """Print what to do next."""
    console = Console(highlight=False, soft_wrap=True)
    for position, line in enumerate(line for line in lines if line):
        console.print(Text("Next: " if position == 0 else "      ", style="bold green"), end="")
        console.print(Text(line))


def note(text: str) -> None:
    """Print a remark on stderr."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(Text(text, style="dim"))


def _cell(value: object) -> Text:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return Text("".join(map(_harmless, str(value))))
    return Text(f"{value:,}" if isinstance(value, int) else f"{value:.3g}")


def _harmless(letter: str) -> str:
    """Return ``letter`` as a terminal may show it: a file's name can hold codes that steer it."""
    return letter if letter.isprintable() or letter == "\n" else repr(letter)[1:-1]


def for_task(task: str) -> str:
    """Return the option that chooses ``task``, after a blank; "" for liveness, the default."""
    return "" if task == schema.LIVENESS else f" --task {task}"
