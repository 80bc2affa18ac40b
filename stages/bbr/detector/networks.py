"""h: from f's or g's output map to k boxes, each with a logit pair object / no object.

Paper section 3.1 (k boxes, 6 numbers each) and section 4.1 (its input is the map of f, not the
image). Inputs are as `detector_inputs` lays them out.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..command_line.fast_import import large_imports
from ..data.box_ops import to_cxcywh
from ..errors import InputError
from ..options import option
from ..storage.safetensors_files import fit_weights, read_tensors, write_tensors
from .layout import layout_channels

LAYOUTS = ("spatial", "qkv_image", "mask_image")
_IMAGE_CHANNELS = 3  # of a torchvision stem


@dataclass(frozen=True)
class DetectorSpec:
    """All that is needed to build h but its weights; travels in the weights file's metadata.

    `qkv_image` reads queries, keys and values as a 3-channel image of N patches × d channels (the
    released code's); `spatial` reads a map of d channels over (h, w); `mask_image` a mask as a grey
    3-channel image (the paper's, for MOVE).

    Attributes:
        channels: channels of the input in this layout; no option, since the inputs say it.
    """

    network: str = option("resnet50", "attention, or of torchvision vgg16 or a ResNet")
    layout: str = option("qkv_image", "how h's input is laid out", choices=LAYOUTS)
    channels: int = _IMAGE_CHANNELS
    num_boxes: int = option(10, "k, the boxes that h predicts", min=1)
    width: int = option(64, "hidden channels of network attention", min=1)
    cell: int = option(
        1, "side of the squares that attention takes as one", unit="px of a map", min=1
    )


class Detector(nn.Module):
    """h, of any kind: maps (B, channels, H, W) to logits (B, k, 2) and boxes (B, k, 4)."""

    spec: DetectorSpec


class ResNetDetector(Detector):
    """A torchvision ResNet whose last layer gives 6k numbers: 4 sigmoids and 2 logits a box."""

    def __init__(self, spec: DetectorSpec) -> None:
        super().__init__()
        self.spec = spec
        self.network = _torchvision(spec.network)
        stem = self.network.conv1
        if spec.channels != _IMAGE_CHANNELS:
            self.network.conv1 = nn.Conv2d(
                spec.channels, stem.out_channels, kernel_size=3, stride=1, padding=1, bias=False
            )
            # A patch map is small already; the stem that suits 224 pixels would erase it.
            self.network.maxpool = nn.Identity()
        self.network.fc = nn.Linear(self.network.fc.in_features, 6 * spec.num_boxes)

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Maps (B, channels, H, W) to logits (B, k, 2) and boxes (B, k, 4) cxcywh in (0, 1)."""
        output = self.network(maps).view(len(maps), self.spec.num_boxes, 6)
        return output[..., 4:], output[..., :4].sigmoid()


class VggDetector(Detector):
    """torchvision's VGG16 on a heatmap, repeated to 3 channels; its last layer gives 6k numbers."""

    def __init__(self, spec: DetectorSpec) -> None:
        super().__init__()
        if spec.channels not in (1, _IMAGE_CHANNELS):
            raise InputError(f"network vgg16 reads 1 or 3 channels, not {spec.channels}")
        self.spec = spec
        self.network = _torchvision(spec.network)
        last = self.network.classifier[-1]
        self.network.classifier[-1] = nn.Linear(last.in_features, 6 * spec.num_boxes)

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """See `ResNetDetector.forward`."""
        image = maps.expand(-1, _IMAGE_CHANNELS, -1, -1)
        output = self.network(image).view(len(maps), self.spec.num_boxes, 6)
        return output[..., 4:], output[..., :4].sigmoid()


class AttentionDetector(Detector):
    """A small residual network that keeps space as space and reads each box's sides off it.

    Each of the k boxes has four attention maps, one a side; a side lies at the mean coordinate of
    its map. Unlike a flattening head this says the same of an object wherever it lies, so that it
    learns from few images, and its gradient reaches the patches that the sides depend on.
    """

    def __init__(self, spec: DetectorSpec) -> None:
        super().__init__()
        self.spec = spec
        width, k = spec.width, spec.num_boxes
        self.reduce = nn.Conv2d(spec.channels * spec.cell**2, width, kernel_size=1)
        self.blocks = nn.ModuleList(_ResidualBlock(width) for _ in range(3))
        self.sides = nn.Conv2d(width, 4 * k, kernel_size=1)
        self.focus = nn.Conv2d(width, k, kernel_size=1)
        self.score = nn.Linear(width, 2 * k)
        # On a CPU, a step takes a fifth less time on this layout.
        self.to(memory_format=torch.channels_last)

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """See `ResNetDetector.forward`."""
        if self.spec.cell > 1:
            maps = functional.pixel_unshuffle(maps, self.spec.cell)
        batch, _, height, width = maps.shape
        k = self.spec.num_boxes
        hidden = self.reduce(maps)
        for block in self.blocks:
            hidden = block(hidden)
        sides = self.sides(hidden).view(batch, k, 4, height * width).softmax(dim=-1)
        edges = _patch_edges(height, width, maps)
        corners = (sides * edges).sum(dim=-1)
        # Left may come to lie right of right early in training; a box has its sides in order.
        boxes = torch.cat(
            (
                torch.minimum(corners[..., :2], corners[..., 2:]),
                torch.maximum(corners[..., :2], corners[..., 2:]),
            ),
            dim=-1,
        )
        focus = self.focus(hidden).flatten(2).softmax(dim=-1)
        pooled = focus @ hidden.flatten(2).transpose(1, 2)
        weight, bias = self.score.weight.view(k, 2, -1), self.score.bias.view(k, 2)
        logits = torch.einsum("bkc,kjc->bkj", pooled, weight) + bias
        return logits, to_cxcywh(boxes)


class _ResidualBlock(nn.Module):
    """Two 3×3 convolutions with group norm, which does not depend on the rest of the batch."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, kernel_size=3, padding=1)
        self.second = nn.Conv2d(width, width, kernel_size=3, padding=1)
        self.norms = nn.ModuleList(nn.GroupNorm(8, width) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(functional.gelu(self.norms[0](x)))
        return x + self.second(functional.gelu(self.norms[1](hidden)))


# The layers of h that no pretrained network has.
_OWN_LAYERS: dict[type[nn.Module], tuple[str, ...]] = {
    ResNetDetector: ("fc.",),
    VggDetector: ("classifier.6.",),
}


def _patch_edges(height: int, width: int, like: Tensor) -> Tensor:
    """Left, top, right and bottom edge of each patch in fractions of the map: (4, h·w)."""
    y, x = torch.meshgrid(
        torch.arange(height, device=like.device, dtype=like.dtype) / height,
        torch.arange(width, device=like.device, dtype=like.dtype) / width,
        indexing="ij",
    )
    return torch.stack((x, y, x + 1 / width, y + 1 / height)).flatten(1)


def build_detector(spec: DetectorSpec) -> Detector:
    """h from its specification, randomly initialised.

    Raises:
        InputError: unknown network or layout, or k < 1.
    """
    if spec.layout not in LAYOUTS:
        raise InputError(f"layout {spec.layout!r} is unknown; choose one of {', '.join(LAYOUTS)}")
    if spec.num_boxes < 1:
        raise InputError(f"num_boxes (k) is {spec.num_boxes}; h must predict at least 1 box")
    if spec.network == "attention":
        if spec.layout != "spatial":
            raise InputError("network attention reads layout spatial only")
        return AttentionDetector(spec)
    if spec.network == "vgg16":
        return VggDetector(spec)
    if spec.network.startswith("resnet"):
        return ResNetDetector(spec)
    raise InputError(_unknown(spec.network))


def _torchvision(network: str) -> Any:
    with large_imports():  # network attention does without
        from torchvision import models

    if network not in models.list_models():
        raise InputError(_unknown(network))
    return models.get_model(network, weights=None)


def _unknown(network: str) -> str:
    return f"network {network!r} is unknown; choose attention, vgg16 or a torchvision ResNet"


def initialize_trunk(detector: Detector, path: Path | str) -> None:
    """Start a ResNet or VGG h from pretrained weights in torchvision's layout.

    The last layer stays as it is, and so does a ResNet's stem where h reads other than 3 channels.

    Raises:
        InputError: h is neither, or the tensors do not fit.
    """
    own = _OWN_LAYERS.get(type(detector))
    if own is None or not isinstance(detector, ResNetDetector | VggDetector):
        raise InputError(f"--init {path}: only a ResNet or VGG can start from pretrained weights")
    tensors, _ = read_tensors(path)
    expected = detector.network.state_dict()
    trunk = {name: t for name, t in tensors.items() if not name.startswith(own)}
    if isinstance(detector, ResNetDetector) and detector.spec.channels != _IMAGE_CHANNELS:
        own = (*own, "conv1.weight")
    trunk |= {name: t for name, t in expected.items() if name.startswith(own)}
    fit_weights(detector.network, trunk, str(path), detector.spec.network)


def save_detector(path: Path | str, detector: Detector, provenance: dict[str, Any]) -> None:
    """Write h with its specification and provenance as safetensors."""
    metadata = {"detector": asdict(detector.spec), "provenance": provenance}
    write_tensors(path, detector.state_dict(), metadata)


def load_detector(path: Path | str) -> Detector:
    """h from a file of `save_detector`, in evaluation mode.

    Raises:
        InputError: not such a file.
    """
    tensors, metadata = read_tensors(path)
    if "detector" not in metadata:
        raise InputError(f"{path}: holds no detector; give a file made by train_detector.py")
    spec = DetectorSpec(**metadata["detector"])
    detector = build_detector(spec)
    fit_weights(detector, tensors, str(path), f"{spec.network} (h)")
    return detector.eval()


def require_channels(detector: Detector, shape: tuple[int, int, int], source: Path | str) -> None:
    """Check that h can read maps of (P, N, d) = `shape`.

    Raises:
        InputError: it was trained on maps of another number of channels.
    """
    spec = detector.spec
    channels = layout_channels(shape[0], shape[2], spec.layout)
    if channels != spec.channels:
        raise InputError(
            f"{source}: maps give {channels} channels, but h was trained on {spec.channels};"
            " use the backbone and parts that h was trained with"
        )
