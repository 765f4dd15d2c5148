"""The report: one file, nothing loaded from elsewhere, every section there."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from curate import embeddings, novelty, workspace


def test_the_report_is_one_self_contained_file(
    curate: Callable, tmp_path: Path, draw_portrait: Callable, save: Callable
) -> None:
    save(tmp_path / "in" / "live" / "a.jpg", draw_portrait(0), 92)
    save(tmp_path / "in" / "live" / "copy.jpg", draw_portrait(0), 60)
    save(tmp_path / "in" / "live" / "lying.jpg", np.rot90(draw_portrait(1)))
    save(tmp_path / "in" / "print" / "p.jpg", draw_portrait(0), 91)
    (tmp_path / "in" / "live" / "page<b>.jpg").write_bytes(b"<html>")
    curate("ingest", tmp_path / "in", "--recipe", "class-folders")
    done = curate("report", "--json")
    page = Path(done.json["report"]).read_text(encoding="utf-8")
    markup = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert not re.findall(r'(?:src|href)="(?!data:)[^"]+"', markup)
    for says in (
        "What came in",
        "not_an_image",
        "Duplicates",
        "Recapture pairs",
        "turned 90 degrees",
        "Runs",
    ):
        assert says in markup
    assert markup.count('src="data:image/jpeg') >= 6  # two copies, a recapture pair, before / after
    assert "page<b>" not in markup  # file names are text, never markup
    assert "generated faces" not in markup


def test_an_empty_workspace_has_a_report_too(curate: Callable, tmp_path: Path) -> None:
    curate("init", tmp_path / "ws")
    assert curate("report").code == 0
    assert "curate softlabel" in (tmp_path / "ws" / "report.html").read_text(encoding="utf-8")


def test_status_of_an_empty_workspace_says_what_to_do_first(
    curate: Callable, tmp_path: Path
) -> None:
    curate("init", tmp_path / "ws")
    assert curate("status", "--json").json["next_steps"] == ["curate ingest FOLDER_OF_IMAGES"]


def test_what_is_like_nothing_known_is_shown_by_clusters(
    curate: Callable,
    tmp_path: Path,
    draw_portrait: Callable,
    save: Callable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(novelty, "LEAST_KNOWN", 8)
    for n in range(8):
        save(tmp_path / "known" / f"{n}.jpg", draw_portrait(n))
    for n in range(8, 13):
        save(tmp_path / "new" / f"{n}.jpg", draw_portrait(n))
    curate("ingest", tmp_path / "known")
    curate("ingest", tmp_path / "new")
    here = workspace.open_at(tmp_path / "ws")
    rng, vectors = np.random.default_rng(0), {}
    for row in here.catalogue.read("images", ["image_id", "uri"]).itertuples():
        strange = "/new/" in row.uri and not row.uri.endswith(("11.jpg", "12.jpg"))
        vectors[row.image_id] = (np.eye(8)[int(strange)] + 0.02 * rng.normal(size=8)).astype("f4")
    embeddings.Cache(here.root / "crops" / "features-x").add(vectors)
    page = Path(curate("report", "--json").json["report"]).read_text(encoding="utf-8")
    assert "3 of 5 images of" in page
    assert "<b>Cluster 1</b>: 3 images" in page
    assert "<b>Cluster 2</b>" not in page
