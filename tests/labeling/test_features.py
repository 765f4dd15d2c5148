"""Features: computed once per image and view, kept through a kill, in the order asked for."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from curate import backbones, crops, embeddings, workspace
from curate.config import Config, Softlabel
from curate.embeddings import Cache
from curate.workspace import Workspace
from labeling import features

SIDE = 200  # pixels of a drawn picture
POINTS = [87.4, 95.8, 112.6, 95.8, 100.0, 112.6, 100.0, 123.1, 70.0, 100.0, 130.0, 100.0]


@pytest.fixture
def here(tmp_path: Path) -> Workspace:
    root = workspace.create(tmp_path / "ws").root
    return Workspace(root, Config(threads=1, softlabel=Softlabel(image_size=64)))


@pytest.fixture
def units(tmp_path: Path, draw_face: Callable, save: Callable) -> pd.DataFrame:
    """Ten faces, each tinted by a colour of its own, as units of liveness."""
    drawn, rows = draw_face(SIDE), []
    for n in range(10):
        tint = np.random.default_rng(n).uniform(0.3, 1, 3)
        file = save(tmp_path / "in" / f"{n}.jpg", (drawn * tint).astype(np.uint8))
        stat = file.stat()
        rows.append({
            "image_id": f"{n:064x}", "uri": str(file), "bytes": stat.st_size,
            "mtime_ns": stat.st_mtime_ns, "turn": 0, "mirror": "no", "shows": "face",
            "width": SIDE, "height": SIDE, "face": [65.0, 65.0, 70.0, 75.0], "face_score": 1.0,
            "landmarks": POINTS, "part": "",
        })  # fmt: skip
    return pd.DataFrame(rows, index=[row["image_id"] for row in rows])


@pytest.fixture(autouse=True)
def loaded_once(monkeypatch: pytest.MonkeyPatch, backbone: Any) -> None:
    """Load the weights once for all tests."""
    monkeypatch.setattr(backbones, "create", lambda name: backbone)


@pytest.fixture(scope="module")
def backbone() -> Any:
    return backbones.create("tf_efficientnet_lite0")


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many crops went through a backbone, one number for each batch."""
    sizes: list[int] = []
    forward = features.Extractor._layers

    def counted(self: features.Extractor, values: torch.Tensor) -> Any:
        sizes.append(len(values))
        return forward(self, values)

    monkeypatch.setattr(features.Extractor, "_layers", counted)
    return sizes


def quiet(items: Iterable[Any], total: int, what: str) -> Iterator[Any]:
    yield from items


def views(here: Workspace, task: str = "liveness") -> list[features.View]:
    return features.views(here.config.softlabel, task)


def of_parts(units: pd.DataFrame, *parts: str) -> pd.DataFrame:
    every = pd.concat([units.assign(part=part) for part in parts])
    return every.set_axis(every["image_id"] + every["part"])


def test_every_view_has_both_layers_and_a_row_for_each_unit(
    here: Workspace, units: pd.DataFrame
) -> None:
    found = features.features(here, units, views(here), quiet)
    assert {name: values.shape for name, values in found.items()} == {
        f"{layer} of tf_efficientnet_lite0-{scale}-64": (10, size)
        for scale in ("1.5", "2.7")
        for layer, size in (("final", 1280), ("middle", 1024))
    }
    assert all(values.dtype == np.float32 for values in found.values())
    assert all(np.isfinite(values).all() for values in found.values())


def test_an_image_is_computed_once_for_each_view(
    here: Workspace, units: pd.DataFrame, computed: list[int]
) -> None:
    first = features.features(here, units.iloc[:6], views(here), quiet)
    assert sum(computed) == 12
    again = features.features(here, units.iloc[:6], views(here), quiet)
    assert sum(computed) == 12
    for name, values in first.items():
        np.testing.assert_array_equal(values, again[name])
    features.features(here, units, views(here), quiet)
    assert sum(computed) == 20
    features.features(here, units, views(here)[:1], quiet)
    assert sum(computed) == 20


def test_an_original_that_is_gone_is_not_missed_where_its_features_are_kept(
    here: Workspace, units: pd.DataFrame
) -> None:
    first = features.features(here, units, views(here)[:1], quiet)
    for uri in units["uri"]:
        Path(uri).unlink()
    again = features.features(here, units, views(here)[:1], quiet)
    np.testing.assert_array_equal(next(iter(first.values())), next(iter(again.values())))


@pytest.mark.parametrize("seed", [0, 1])
def test_rows_come_in_the_order_of_the_units_repeated_ones_too(
    here: Workspace, units: pd.DataFrame, seed: int
) -> None:
    view = views(here)[:1]
    straight = features.features(here, units, view, quiet)
    order = np.random.default_rng(seed).integers(0, len(units), 15)
    mixed = features.features(here, units.iloc[order], view, quiet)
    for name, values in straight.items():
        np.testing.assert_array_equal(mixed[name], values[order])


def test_pictures_that_differ_have_features_that_differ(
    here: Workspace, units: pd.DataFrame
) -> None:
    for values in features.features(here, units, views(here), quiet).values():
        assert len(np.unique(values, axis=0)) == len(units)


def test_a_kill_costs_no_part_that_was_written(
    here: Workspace, units: pd.DataFrame, computed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "PART", 4)
    view = views(here)[:1]

    def killed(items: Iterable[Any], total: int, what: str) -> Iterator[Any]:
        for n, item in enumerate(items):
            if n == 9:
                raise KeyboardInterrupt
            yield item

    with pytest.raises(KeyboardInterrupt):
        features.features(here, units, view, killed)
    kept = {name: Cache(folder).ids() for name, folder in _folders(here).items()}
    assert {len(ids) for ids in kept.values()} == {8}
    computed.clear()
    resumed = features.features(here, units, view, quiet)
    assert sum(computed) == 2
    other = Workspace(workspace.create(here.root / "other").root, here.config)
    for name, values in features.features(other, units, view, quiet).items():
        np.testing.assert_allclose(resumed[name], values, rtol=2e-3, atol=2e-3)


def test_a_kill_between_the_layers_of_a_part_leaves_no_image_with_one_of_them(
    here: Workspace, units: pd.DataFrame, computed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    add, calls = Cache.add, []

    def dies(self: Cache, new: dict[str, np.ndarray]) -> None:
        calls.append(self.folder.name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        add(self, new)

    monkeypatch.setattr(Cache, "add", dies)
    with pytest.raises(KeyboardInterrupt):
        features.features(here, units, views(here)[:1], quiet)
    found = features.features(here, units, views(here)[:1], quiet)
    assert sum(computed) == 2 * len(units)
    assert all(len(values) == len(units) for values in found.values())


def test_a_part_that_was_half_written_counts_for_nothing(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "c")
    cache.add({"a": np.ones(3)})
    (tmp_path / "c" / "0123.tmp").write_bytes(b"PAR1 and then the power went")
    assert cache.ids() == {"a"}
    np.testing.assert_array_equal(cache.matrix(["a"]), np.ones((1, 3)))


def test_features_are_kept_in_half_precision_three_digits_of_them(
    here: Workspace, units: pd.DataFrame
) -> None:
    view = views(here)[0]
    found = features.features(here, units, [view], quiet)
    cut = [view.crop(row) for row in units.to_dict("records")]
    exact = list(features.Extractor("tf_efficientnet_lite0").stream(cut))
    for layer, name in enumerate(("final", "middle")):
        values = np.stack([both[layer] for both in exact])
        np.testing.assert_allclose(found[f"{name} of {view.name}"], values, rtol=6e-4, atol=1e-6)
    widths = {values.shape[1] for values in found.values()}
    for folder in _folders(here).values():
        kind = pq.read_schema(next(folder.glob("*.parquet"))).field("values").type
        assert kind.byte_width // 2 in widths


def test_a_cache_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    rows = pa.table({"image_id": ["a"], "values": pa.array([[1.0, 2.0]], pa.list_(pa.float32()))})
    pq.write_table(rows, tmp_path / "old.parquet")
    np.testing.assert_array_equal(Cache(tmp_path).matrix(["a"]), [[1.0, 2.0]])


def test_what_half_precision_cannot_hold_is_kept_as_its_largest_number(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "c")
    cache.add({"a": np.array([1e9, -1e9, 65504.0])})
    np.testing.assert_array_equal(cache.matrix(["a"])[0], [65504, -65504, 65504])


def test_final_is_what_timm_pools_at_the_end(here: Workspace, units: pd.DataFrame) -> None:
    view = views(here)[0]
    found = features.features(here, units, [view], quiet)[f"final of {view.name}"]
    model: Any = backbones.create("tf_efficientnet_lite0").eval()
    cut = np.stack([crops.face_crop(row, scale=1.5, size=64) for row in units.to_dict("records")])
    told = model.pretrained_cfg
    pixels = (cut / 255.0 - np.array(told["mean"])) / np.array(told["std"])
    with torch.inference_mode():
        plain = model(torch.from_numpy(pixels.astype(np.float32)).permute(0, 3, 1, 2)).numpy()
    away = np.linalg.norm(found - plain, axis=1) / np.linalg.norm(plain, axis=1)
    assert away.max() < 1e-2


def test_middle_is_the_mean_and_deviation_of_every_channel_of_every_stage(
    here: Workspace, units: pd.DataFrame
) -> None:
    view = views(here)[0]
    found = features.features(here, units, [view], quiet)[f"middle of {view.name}"]
    model: Any = backbones.create("tf_efficientnet_lite0").eval()
    told = model.pretrained_cfg
    cut = np.stack([view.crop(row) for row in units.to_dict("records")])
    pixels = (cut / 255.0 - np.array(told["mean"])) / np.array(told["std"])
    with torch.inference_mode():
        stages = model.forward_intermediates(
            torch.from_numpy(pixels.astype(np.float32)).permute(0, 3, 1, 2), intermediates_only=True
        )
    flat = [stage.numpy().reshape(*stage.shape[:2], -1) for stage in stages]
    plain = np.hstack([m for s in flat for m in (s.mean(axis=2), s.std(axis=2))])
    away = np.linalg.norm(found - plain, axis=1) / np.linalg.norm(plain, axis=1)
    assert away.max() < 1e-2


def test_folding_changes_no_output_and_leaves_no_normalisation() -> None:
    plain: Any = backbones.create("tf_efficientnet_lite0").eval()
    fast: Any = backbones.folded(backbones.create("tf_efficientnet_lite0").eval())
    norms = [m for m in fast.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert not norms
    pixels = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        for one, other in zip(
            plain.forward_intermediates(pixels, intermediates_only=True),
            fast.forward_intermediates(pixels, intermediates_only=True),
            strict=True,
        ):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(plain(pixels), fast(pixels), rtol=1e-3, atol=1e-4)


def test_a_normalisation_that_no_convolution_feeds_stays() -> None:
    layers = [torch.nn.BatchNorm2d(3), torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)]
    net: Any = torch.nn.Sequential(*layers, torch.nn.ReLU(), torch.nn.BatchNorm2d(4)).eval()
    for norm in (net[0], net[2], net[4]):
        norm.running_mean.uniform_(-1, 1)
        norm.running_var.uniform_(0.5, 2)
    net.pretrained_cfg = {"input_size": (3, 9, 9)}
    pixels = torch.randn(2, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        before = net(pixels)
        after = backbones.folded(net)(pixels)
    torch.testing.assert_close(before, after, rtol=1e-4, atol=1e-5)
    kinds = [isinstance(layer, torch.nn.BatchNorm2d) for layer in net]
    assert kinds == [True, False, False, False, True]


@pytest.mark.parametrize("side", [1, 7, 112])
def test_moments_are_those_of_torch(side: int) -> None:
    stage = torch.randn(3, 8, side, side, generator=torch.Generator().manual_seed(0)) + 2
    mean, deviation = features._moments(stage.to(memory_format=torch.channels_last))
    exact = torch.std_mean(stage.double(), dim=(2, 3), correction=0)
    torch.testing.assert_close(mean.double(), exact[1], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(deviation.double(), exact[0], rtol=1e-4, atol=1e-3)


def test_a_cache_reads_the_parts_it_is_asked_for_and_holds_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Cache(tmp_path / "c")
    rng = np.random.default_rng(0)
    for part in range(3):
        cache.add({f"{part}-{n}": rng.normal(size=8) for n in range(10)})
    reads = []
    read = embeddings._values
    monkeypatch.setattr(embeddings, "_values", lambda part: reads.append(part) or read(part))
    first = cache.matrix(["2-3", "0-0", "2-3"])
    assert len(set(reads)) == len(reads) == 2
    again = cache.rows(cache.places(["2-3", "2-9"]))
    assert len(reads) <= 3
    assert again.dtype == np.float16
    np.testing.assert_array_equal(first[[0, 2]], again[[0, 0]])
    reads.clear()
    cache.rows(cache.places(["2-4"]))
    assert not reads
    cache.add({"new": np.ones(8)})
    np.testing.assert_array_equal(cache.matrix(["new"]), np.ones((1, 8)))


def test_of_an_image_that_lies_in_two_parts_the_last_one_counts(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "c")
    for value, names in ((1.0, "ab"), (2.0, "bc")):
        cache.add({name: np.full(2, value) for name in names})
    last = sorted((tmp_path / "c").glob("*.parquet"))[-1]
    held = pq.read_table(last, columns=["image_id"])["image_id"].to_pylist()
    found = Cache(tmp_path / "c")
    assert found.ids() == {"a", "b", "c"}
    assert found.matrix(["b"])[0, 0] == (2.0 if "c" in held else 1.0)
    assert found.places(["a", "nobody"]).tolist()[1] == -1
    np.testing.assert_array_equal(found.matrix(["c", "a", "c"])[:, 0], [2, 1, 2])


def test_blocks_are_all_rows_once_and_no_larger_than_they_may_be(
    here: Workspace, units: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    features.features(here, units.iloc[5:], views(here), quiet)
    straight = features.features(here, units, views(here), quiet)
    monkeypatch.setattr(features, "BLOCK", 4)
    order = np.random.default_rng(0).permutation(len(units))
    found = list(features.blocks(here, units.iloc[order], views(here), quiet))
    assert max(len(rows) for rows, _ in found) == 4
    assert sorted(np.concatenate([rows for rows, _ in found])) == list(range(len(units)))
    for rows, block in found:
        for name, values in straight.items():
            np.testing.assert_array_equal(block[name], values[order[rows]])


def test_what_is_not_wanted_is_not_read(
    here: Workspace, units: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = features.features(here, units, views(here), quiet)
    reads: list[Path] = []
    read = embeddings._values
    monkeypatch.setattr(embeddings, "_values", lambda part: reads.append(part) or read(part))
    here.memory.clear()
    one = features.names(views(here)[1:], ["middle"])
    found = features.features(here, units, views(here), quiet, wanted=one)
    assert list(found) == one
    assert {part.parent.name.split("-")[1] for part in reads} == {"middle"}
    np.testing.assert_array_equal(found[one[0]], every[one[0]])
    nothing = list(features.blocks(here, units, views(here), quiet, wanted=()))
    assert [len(rows) for rows, _ in nothing] == [len(units)]


def test_an_image_without_features_is_named(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "c")
    cache.add({"a": np.ones(3)})
    with pytest.raises(KeyError, match="b"):
        cache.matrix(["a", "b"])


def test_eyes_of_a_face_have_features_each(
    here: Workspace, units: pd.DataFrame, computed: list[int]
) -> None:
    both = of_parts(units.iloc[:4], "left_eye", "right_eye")
    found = features.features(here, both, views(here, "eyes"), quiet)
    assert sum(computed) == 8
    assert {folder.rpartition("-")[2] for folder in _folders(here)} == {"left_eye", "right_eye"}
    alone = features.features(here, both.iloc[4:], views(here, "eyes"), quiet)
    mixed = features.features(here, both.iloc[::-1], views(here, "eyes"), quiet)
    assert sum(computed) == 8
    for name, values in found.items():
        np.testing.assert_array_equal(alone[name], values[4:])
        np.testing.assert_array_equal(mixed[name], values[::-1])


def test_what_all_regions_share_is_computed_once(
    here: Workspace, units: pd.DataFrame, computed: list[int]
) -> None:
    parts = ("nose", "mouth", "chin")
    some = of_parts(units.iloc[:3], *parts)
    found = features.features(here, some, views(here, "occlusion"), quiet)
    assert sum(computed) == 3 + 3 * 3
    whole = found["middle of tf_efficientnet_lite0-whole-128"]
    region = found["middle of tf_efficientnet_lite0-region-64"]
    np.testing.assert_array_equal(whole[:3], whole[3:6])
    assert np.abs(region[:3] - region[3:6]).max() > 0.01


def test_features_depend_on_all_that_their_folder_is_named_by(
    here: Workspace, units: pd.DataFrame
) -> None:
    """Another size or scale is another folder: nothing stale is ever taken for new."""
    names = set()
    for size, scale in ((64, 1.5), (96, 1.5), (64, 2.0)):
        settings = Softlabel(image_size=size, crop_scales=(scale,))
        one = Workspace(here.root, Config(threads=1, softlabel=settings))
        features.features(one, units.iloc[:1], features.views(settings, "liveness"), quiet)
        names.add(tuple(sorted(_folders(here))))
    assert [len(folders) for folders in sorted(names, key=len)] == [2, 4, 6]


def _folders(here: Workspace) -> dict[str, Path]:
    return {folder.name: folder for folder in (here.root / "crops").glob("features-*")}
