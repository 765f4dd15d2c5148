"""A workspace: one folder with curate.toml, the catalogue and everything made from it."""

import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from curate.catalogue import Catalogue
from curate.errors import WorkspaceError

if TYPE_CHECKING:
    from curate.config import Config

FILENAME = "curate.toml"
FOLDERS = ("catalogue", "crops", "models", "runs", "review", "synthetic", "datasets")


class Workspace:
    """An opened workspace."""

    def __init__(self, root: Path, config: "Config | None" = None) -> None:
        """Open what lies at ``root``; without ``config`` its curate.toml holds."""
        self.root = root
        self.memory: dict[str, Any] = {}  # what is read once
        if config is not None:
            self.config = config

    @cached_property
    def config(self) -> "Config":
        """The settings, read when they are first asked for: `status` needs none.

        Raises:
            ConfigError: curate.toml is wrong.
        """
        from curate import config

        return config.read(self.root / FILENAME)

    @property
    def catalogue(self) -> Catalogue:
        """The tables of this workspace."""
        return Catalogue(self.root / "catalogue")

    @contextmanager
    def lock(self, verb: str) -> Iterator[None]:
        """Hold the workspace alone; wait, and say for whom, while another command holds it."""
        with _open_lock(self.root / ".lock") as handle:
            _wait_for(handle)
            handle.seek(0)
            handle.truncate()
            json.dump(
                {"verb": verb, "pid": os.getpid(), "since": time.strftime("%H:%M:%S")}, handle
            )
            handle.flush()
            yield


def create(root: Path) -> Workspace:
    """Make a workspace at ``root``, or open the one that is there.

    Raises:
        WorkspaceError: the folder cannot be written.
    """
    root = root.absolute()
    try:
        for name in FOLDERS:
            (root / name).mkdir(parents=True, exist_ok=True)
        if not (root / FILENAME).exists():
            from curate import config

            (root / FILENAME).write_text(config.default_text(), encoding="utf-8")
    except OSError as error:
        raise WorkspaceError(
            f"cannot make a workspace at {root}: {error.strerror or error}.\n"
            "Next: choose a folder you can write, with --workspace DIR"
        ) from error
    return open_at(root)


def open_at(root: Path) -> Workspace:
    """Open the workspace at ``root``.

    Raises:
        WorkspaceError: there is none.
    """
    if not (root.absolute() / FILENAME).is_file():
        raise WorkspaceError(
            f"{root.absolute()} is no curate workspace (no {FILENAME}).\n"
            "Next: curate init, or name one with --workspace DIR"
        )
    return Workspace(root.absolute())


def nearest(start: Path) -> Path | None:
    """Return the closest folder at or above ``start`` that holds a curate.toml."""
    start = start.absolute()
    return next((at for at in (start, *start.parents) if (at / FILENAME).is_file()), None)


def _open_lock(file: Path) -> TextIO:
    try:
        return file.open("a+", encoding="utf-8")
    except OSError as error:
        raise WorkspaceError(
            f"the workspace {file.parent} cannot be written: {error.strerror or error}.\n"
            "Next: check its rights and free space, or work elsewhere with --workspace DIR"
        ) from error


def _wait_for(handle: TextIO) -> None:
    told = False
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if not told:
                print(f"waiting: {_holder(handle)} holds this workspace", file=sys.stderr)
                told = True
            time.sleep(0.2)


def _holder(handle: TextIO) -> str:
    handle.seek(0)
    try:
        who = json.loads(handle.read())
        return f"`curate {who['verb']}` (pid {who['pid']}, since {who['since']})"
    except (json.JSONDecodeError, KeyError):
        return "another curate command"
