"""Staging: what was flushed comes back, whole parts only."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curate import staging
from curate.staging import Staging


def record(number: int) -> dict[str, Any]:
    return {
        "image_id": f"{number:064x}",
        "uri": f"/a/{number}.jpg",
        "bytes": number,
        "mtime_ns": 2 * number,
        "turn": 0,
        "phash": np.arange(8) - number,
        "blur_score": 0.5,
    }


def test_nothing_staged_is_nothing(tmp_path: Path) -> None:
    empty = Staging(tmp_path / "staged")
    assert len(empty.rows()) == 0


def test_records_come_back_from_the_next_process(tmp_path: Path) -> None:
    first = Staging(tmp_path / "staged")
    for number in range(5):
        first.add(record(number))
        if number % 2:
            first.flush()
    assert len(Staging(tmp_path / "staged").rows()) == 4  # the fifth was not flushed
    first.flush()
    later = Staging(tmp_path / "staged")
    assert later.rows().select(staging.KEY).to_pylist() == [
        {"uri": f"/a/{n}.jpg", "bytes": n, "mtime_ns": 2 * n} for n in range(5)
    ]
    assert later.rows()["phash"].to_pylist() == [(np.arange(8) - n).tolist() for n in range(5)]
    assert later.rows()["blur_score"].to_pylist() == [0.5] * 5


def test_a_part_that_was_not_finished_is_not_read(tmp_path: Path) -> None:
    one = Staging(tmp_path / "staged")
    one.add(record(1))
    one.flush()
    (tmp_path / "staged" / "000001.tmp").write_bytes(b"PAR1 half of it")
    assert len(Staging(tmp_path / "staged").rows()) == 1
    one.add(record(2))
    one.flush()
    assert len(Staging(tmp_path / "staged").rows()) == 2


def test_it_flushes_by_itself_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Staging(tmp_path / "staged")
    one.add(record(1))
    assert len(one.rows()) == 0
    monkeypatch.setattr(staging, "PART_SECONDS", 0.0)
    one.add(record(2))
    assert len(one.rows()) == 2


def test_clear_forgets(tmp_path: Path) -> None:
    one = Staging(tmp_path / "staged")
    one.add(record(1))
    one.flush()
    one.clear()
    assert len(one.rows()) == 0
