"""review/pushed.json: which dataset was pushed last. Its replacement is what makes a push count."""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from curate.errors import DataError
from curate.workspace import Workspace


@dataclass(frozen=True)
class Pushed:
    """One push: the dataset's name, the mark it carries, how many images, when (UTC)."""

    dataset: str
    generation: str
    images: int
    at: str


def read(workspace: Workspace) -> Pushed | None:
    """Return the last push, None before the first."""
    file = workspace.root / "review" / "pushed.json"
    return Pushed(**json.loads(file.read_text(encoding="utf-8"))) if file.exists() else None


def require(workspace: Workspace) -> Pushed:
    """Return the last push.

    Raises:
        DataError: there was none.
    """
    last = read(workspace)
    if last is None:
        raise DataError(
            f"nothing of {workspace.root} was ever pushed to the App.\nNext: curate review"
        )
    return last


def write(workspace: Workspace, dataset: str, generation: str, images: int) -> None:
    """Name ``dataset`` as the one pushed last, in one step."""
    record = Pushed(dataset, generation, images, f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC")
    part = workspace.root / "review" / "pushed.part"
    part.write_text(json.dumps(asdict(record)), encoding="utf-8")
    part.replace(part.with_suffix(".json"))
