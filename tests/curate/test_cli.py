"""The command line: instant help, one message per error, the right exit code."""

import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from curate.cli import COMMANDS, main

HEAVY = (
    "torch", "pandas", "fiftyone", "timm", "cv2", "sklearn", "diffusers", "albumentations",
    "cleanlab", "numpy", "pydantic", "rich", "pyarrow", "deltalake", "scipy", "numba",
    "onnxruntime", "ai_edge_litert", "av", "plotly", "jinja2", "simplejpeg", "PIL", "fsspec",
)  # fmt: skip
OF_VERBS = [name for name in HEAVY if name != "rich"]  # prints the tables of every verb: .02 s
EVERY_HELP = """
import sys
import click
from curate.cli import main


def walk(words, command, ctx):
    try:
        main.main([*words, "--help"], standalone_mode=False)
    except click.exceptions.Exit:
        pass
    print("loaded by", *words, sorted(HEAVY & set(sys.modules)), file=sys.stderr)
    if isinstance(command, click.Group):
        for name in command.list_commands(ctx):
            walk([*words, name], command.get_command(ctx, name), ctx)


walk([], main, click.Context(main))
"""


def test_importing_the_command_line_loads_nothing_heavy() -> None:
    code = f"import sys, curate.cli; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_help_of_no_verb_loads_anything_heavy() -> None:
    """One process for all, in the order of the table: the first line that is not [] is to blame."""
    code = f"HEAVY = {set(OF_VERBS)}\n{EVERY_HELP}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    said = done.stderr.splitlines()
    assert {f"loaded by {verb} []" for verb in COMMANDS} <= set(said)
    assert "loaded by teachers try []" in said
    assert [line for line in said if not line.endswith("[]")] == []


def test_help_states_the_frames_a_second_that_are_taken() -> None:
    from curate.ingest_cli import ingest
    from curate.video import Sampling

    (option,) = (option for option in ingest.params if option.name == "fps")
    assert option.default == Sampling.fps


def test_help_is_instant() -> None:
    """Under .3 s; the best of five, because this machine is not ours alone."""
    took = []
    for _ in range(5):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "curate", "--help"], capture_output=True, check=True)
        took.append(time.perf_counter() - began)
    assert min(took) < 0.3


def test_every_command_is_there_and_its_help_agrees_with_the_table(curate: Callable) -> None:
    from click import Context

    for name, (_, text) in COMMANDS.items():
        command = main.get_command(Context(main), name)
        assert command is not None, name
        assert command.help, name
        assert len(text) <= 70, name
        assert curate(name, "--help").code == 0


def test_an_unknown_verb_is_a_usage_error(curate: Callable) -> None:
    assert curate("frobnicate").code == 2
    assert "Did you mean 'ingest'?" in curate("ingets").err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        pytest.param(("status",), "no curate workspace", id="no workspace"),
        pytest.param(("undo", "x"), "no curate workspace", id="undo without workspace"),
        pytest.param(
            ("ingest", "/nowhere/at/all"), "/nowhere/at/all does not exist", id="no source"
        ),
        pytest.param(("ingest", ".", "--recipe", "nope"), "class-folders", id="no recipe"),
    ],
)
def test_errors_say_what_where_and_what_next(
    curate: Callable, words: tuple[str, ...], says: str
) -> None:
    done = curate(*words)
    assert done.code == 1
    assert says in done.err
    assert "Next:" in done.err
    assert "Traceback" not in done.err


def test_an_unwritable_workspace_is_an_error_not_a_traceback(curate: Callable) -> None:
    done = curate("ingest", ".", workspace=Path("/proc/curate-cannot-write-here"))
    assert done.code == 1
    assert "/proc/curate-cannot-write-here" in done.err
    assert "Next:" in done.err


def test_a_workspace_whose_catalogue_cannot_be_written_says_so(
    curate: Callable, tmp_path: Path, draw_portrait: Callable, save: Callable
) -> None:
    save(tmp_path / "in" / "a.jpg", draw_portrait(0))
    (tmp_path / "ws").mkdir()
    curate("init", tmp_path / "ws")
    (tmp_path / "ws" / "catalogue").rmdir()
    (tmp_path / "ws" / "catalogue").write_text("a file where a folder should be")
    done = curate("ingest", tmp_path / "in")
    assert done.code == 1
    assert "cannot" in done.err
    assert "Traceback" not in done.err


def test_a_missing_model_file_names_the_command_that_fetches_it(
    curate: Callable,
    tmp_path: Path,
    draw_portrait: Callable,
    save: Callable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CURATE_ASSETS", str(tmp_path / "empty"))
    save(tmp_path / "in" / "a.jpg", draw_portrait(0))
    done = curate("ingest", tmp_path / "in")
    assert done.code == 1
    assert "face_landmarker.task is missing" in done.err
    assert "curate models pull" in done.err


def test_an_altered_model_file_is_refused(
    curate: Callable,
    tmp_path: Path,
    draw_portrait: Callable,
    save: Callable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CURATE_ASSETS", str(tmp_path / "models"))
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "face_landmarker.task").write_bytes(b"not the one")
    save(tmp_path / "in" / "a.jpg", draw_portrait(0))
    done = curate("ingest", tmp_path / "in")
    assert done.code == 1
    assert "sha256" in done.err


def test_ingest_works_without_torch_and_a_missing_extra_names_its_pip_line(
    tmp_path: Path, draw_portrait: Callable, save: Callable
) -> None:
    save(tmp_path / "in" / "live" / "a.jpg", draw_portrait(0))
    hide = (
        "import sys\n"
        "for name in ('torch', 'timm', 'sklearn', 'fiftyone', 'albumentations'):\n"
        "    sys.modules[name] = None\n"
        "from curate.cli import main\n"
        "main()\n"
    )

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", hide, "--workspace", str(tmp_path / "ws"), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert call("ingest", str(tmp_path / "in"), "--recipe", "class-folders").returncode == 0
    for verb in ("softlabel", "retrain", "review"):
        done = call(verb)
        assert done.returncode == 1, (verb, done.stderr)
        assert re.search(r"pip install '?(curate|-e '?\.)\[all\]", done.stderr), (verb, done.stderr)


def test_a_full_disk_is_an_error_and_leaves_a_readable_catalogue(
    tmp_path: Path, draw_portrait: Callable, save: Callable
) -> None:
    """No file may grow beyond 2 kB: the first table that is written hits the wall."""
    import resource

    from curate.catalogue import Catalogue

    save(tmp_path / "in" / "a.jpg", draw_portrait(0))
    workspace = tmp_path / "ws"
    command = [sys.executable, "-m", "curate", "--workspace", str(workspace), "ingest"]

    def call(limit: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, str(tmp_path / "in")],
            capture_output=True, text=True, check=False,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        )  # fmt: skip

    assert call(resource.RLIM_INFINITY).returncode == 0
    save(tmp_path / "in" / "b.jpg", draw_portrait(1))
    full = call(2000)
    assert full.returncode == 1
    assert "cannot write" in full.stderr
    assert "Next:" in full.stderr
    assert len(Catalogue(workspace / "catalogue").read("images")) == 1
    assert call(resource.RLIM_INFINITY).returncode == 0
    assert len(Catalogue(workspace / "catalogue").read("images")) == 2
