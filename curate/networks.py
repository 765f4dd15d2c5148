"""Networks in MediaPipe's task files, run with LiteRT alone; may be shared between threads."""

import os
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from curate.errors import AssetError

Floats = NDArray[np.float32]


class Network:
    """One network with a single input.

    An interpreter gives wrong results when two threads use it, so each thread gets its own.
    """

    def __init__(self, task_file: Path, name: str) -> None:
        """Read the network ``name`` out of ``task_file``, a ZIP.

        Raises:
            AssetError: the file does not hold it.
        """
        try:
            with zipfile.ZipFile(task_file) as task:
                self._model = task.read(name)
        except (zipfile.BadZipFile, KeyError) as error:
            raise AssetError(
                f"{task_file} holds no {name} ({error}).\nNext: delete it, then curate models pull"
            ) from error
        self._local = threading.local()
        with _quiet():
            self._interpreter()

    def run(self, values: Floats) -> dict[str, Floats]:
        """Return the outputs by name for ``values``, in the shape that the network expects."""
        interpreter = self._interpreter()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], values)
        interpreter.invoke()
        return {
            one["name"]: interpreter.get_tensor(one["index"])
            for one in interpreter.get_output_details()
        }

    def _interpreter(self) -> Any:
        """Return this thread's interpreter."""
        if not hasattr(self._local, "interpreter"):
            interpreter = Interpreter(model_content=self._model, num_threads=1)
            interpreter.allocate_tensors()
            self._local.interpreter = interpreter
        return self._local.interpreter


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep LiteRT's C++ from announcing its delegate on stderr, as it does once a process."""
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nothing:
            os.dup2(nothing.fileno(), 2)
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
