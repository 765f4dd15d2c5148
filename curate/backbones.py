"""timm backbones with ImageNet weights, without the network.

Imports torch; nobody in core needs it. Shared by the teacher (labeling) and the challenger
(training), which may not import each other.
"""

import importlib
import sys
import warnings
from typing import Any

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from curate import assets
from curate.errors import AssetError, ConfigError

OFFLINE = {"tf_efficientnet_lite0": "efficientnet_lite0"}  # timm name -> asset


def import_timm() -> Any:
    """Import timm, also where torch and torchvision were built for different machines.

    timm needs torchvision for its transforms alone. The index's torchvision is built for CUDA;
    beside a CPU-only torch its compiled operators do not load, and its import then fails where it
    describes the two that nobody declared. Declared, they let it import; calling them would fail.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Failed to load image Python extension")
        try:
            importlib.import_module("torchvision")
        except RuntimeError as error:
            if "does not exist" not in str(error):
                raise
            _declare_operators()
            for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
                del sys.modules[name]
        return importlib.import_module("timm")


def create(name: str, *, num_classes: int = 0, pretrained: bool = True) -> torch.nn.Module:
    """Return timm model ``name`` with ImageNet weights from an asset or the user's own hub cache.

    ``model.pretrained_cfg`` has the mean and std its input wants.

    Raises:
        ConfigError: timm knows no such model.
        AssetError: its weights are not on this machine.
    """
    timm = import_timm()
    if not timm.is_model(name):
        close = ", ".join(timm.list_models(f"*{name[:8]}*")[:5]) or "see timm.list_models()"
        raise ConfigError(f"timm knows no backbone {name!r}; close: {close}")
    if not pretrained or name in OFFLINE:
        model: torch.nn.Module = timm.create_model(name, pretrained=False, num_classes=num_classes)
        if pretrained:
            _load_in_order(model, assets.path(OFFLINE[name]))
        return model
    try:
        cached: torch.nn.Module = timm.create_model(name, pretrained=True, num_classes=num_classes)
    except (OSError, RuntimeError) as error:
        raise AssetError(
            f"the weights of backbone {name!r} are not here ({type(error).__name__}), "
            f"and curate fetches none while it works.\nNext: use {', '.join(OFFLINE)}, or put "
            "timm's weights into your hub cache with timm itself"
        ) from error
    return cached


def folded(model: torch.nn.Module) -> torch.nn.Module:
    """Fold every batch normalisation into the convolution before it; changes and returns ``model``.

    For inference alone: the same outputs to within rounding, in nine tenths of the time; a stage
    that ends between the two shows them already normalised. Which convolution feeds which
    normalisation is seen on one empty image of the model's own size.
    """
    fed: dict[int, tuple[nn.Module, Any]] = {}  # a tensor's id -> who made it, and it: ids recur
    pairs: list[tuple[Any, Any]] = []

    def made(conv: nn.Module, _: Any, out: Any) -> None:
        fed[id(out)] = conv, out

    def taken(norm: nn.Module, given: Any) -> None:
        if id(given[0]) in fed:
            pairs.append((fed[id(given[0])][0], norm))

    hooks = [m.register_forward_hook(made) for m in model.modules() if isinstance(m, nn.Conv2d)]
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    hooks += [norm.register_forward_pre_hook(taken) for norm in norms]
    with torch.inference_mode():
        model(torch.zeros(1, *getattr(model, "pretrained_cfg")["input_size"]))  # noqa: B009
    for hook in hooks:
        hook.remove()
    new = {conv: fuse_conv_bn_eval(conv, norm) for conv, norm in pairs}
    new |= {norm: getattr(norm, "act", nn.Identity()) for _, norm in pairs}  # timm's end in one
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            setattr(parent, name, new.get(child, child))
    return model


def device() -> torch.device:
    """Return the GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _load_in_order(model: torch.nn.Module, file: Any) -> None:
    """Load a state dict whose entries come in the model's own order under other names.

    The packaged lite0 weights are those of another code base, key for key in timm's order (296 of
    296 shapes agree); the head is loaded only where its shape is wanted.
    """
    given = list(torch.load(file, map_location="cpu", weights_only=True).values())
    wanted = model.state_dict()
    if len(given) < len(wanted):
        raise AssetError(f"{file} holds {len(given)} tensors, the model wants {len(wanted)}")
    pairs = zip(wanted.items(), given, strict=False)
    fitting = {name: new for (name, old), new in pairs if old.shape == new.shape}
    missing = set(wanted) - set(fitting) - {"classifier.weight", "classifier.bias"}
    if missing:
        raise AssetError(f"{file} does not fit the model: {sorted(missing)[:3]}")
    model.load_state_dict(fitting, strict=False)


_LIBRARIES: list[torch.library.Library] = []  # a declaration lives as long as its library object


def _declare_operators() -> None:
    library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for name in ("nms", "qnms"):
        signature = f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        library.define(signature)  # type: ignore[no-untyped-call]
    _LIBRARIES.append(library)
