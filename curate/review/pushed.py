"""review/pushed.json: task -> the dataset pushed last. Its replacement makes a push count."""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from curate import schema, show
from curate.errors import DataError
from curate.workspace import Workspace


@dataclass(frozen=True)
class Pushed:
    """One push: the dataset's name, the mark it carries, how many samples, when (UTC)."""

    dataset: str
    generation: str
    images: int
    at: str


def every(workspace: Workspace) -> dict[str, Pushed]:
    """Return task -> its last push."""
    file = workspace.root / "review" / "pushed.json"
    found = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    if "dataset" in found:  # written when liveness was all that was reviewed
        found = {schema.LIVENESS: found}
    return {task: Pushed(**one) for task, one in found.items()}


def require(workspace: Workspace, task: str) -> Pushed:
    """Return the last push of ``task``.

    Raises:
        DataError: there was none.
    """
    last = every(workspace).get(task)
    if last is None:
        raise DataError(
            f"nothing of {workspace.root} was ever pushed to the App for task {task}.\n"
            f"Next: curate review{show.for_task(task)}"
        )
    return last


def write(workspace: Workspace, task: str, dataset: str, generation: str, images: int) -> None:
    """Name ``dataset`` as the one pushed last for ``task``, in one step."""
    record = Pushed(dataset, generation, images, f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC")
    records = every(workspace) | {task: record}
    part = workspace.root / "review" / "pushed.part"
    part.write_text(json.dumps({name: asdict(one) for name, one in records.items()}), "utf-8")
    part.replace(part.with_suffix(".json"))
