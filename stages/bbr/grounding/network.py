"""g: the text-conditioned heatmap network (paper section 3, equation 1; docs/protocol.md#g).

Modules are named as in the published checkpoints: E, the trunk, and D, the decoder.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision import models

from ..backbones.base import BackboneSpec
from ..backbones.build import build_backbone, load_backbone
from ..errors import InputError
from ..options import option
from ..storage.foreign_checkpoints import read_checkpoint
from ..storage.safetensors_files import fit_weights, write_tensors

VGG16, LITE0 = "vgg16", "efficientnet_lite0"
TRUNKS = (VGG16, LITE0)
_VGG16_LAYERS = 23  # up to index 22, the ReLU before the fourth pooling
_VGG16_CHANNELS = 512
# In the published files, but run by nothing: the last block ends in its second convolution.
_UNUSED = "D.up1.BN2."


@dataclass(frozen=True)
class GrounderSpec:
    """All that is needed to build g but its weights; travels in the weights file's metadata.

    Attributes:
        text_dim: d of CLIP's embeddings, and channels of the bottleneck; no option, since CLIP
            says it.
    """

    trunk: str = option(VGG16, "the paper's vgg16, or another", choices=TRUNKS)
    text_dim: int = 512
    width: int = option(512, "channels of the first up-block", min=1)
    scale: float = option(1.0, "resize images by this factor for the trunk", above=0)
    frozen_trunk: bool = option(False, "leave the trunk as it was pretrained, from a package")


class Trunk(nn.Module):
    """E: the image to a map of features; `dim` channels."""

    def __init__(self, spec: GrounderSpec) -> None:
        super().__init__()
        if spec.trunk == VGG16:
            self.Org_model = models.vgg16(weights=None).features[:_VGG16_LAYERS]
            self.dim = _VGG16_CHANNELS
        else:
            self.Org_model = build_backbone(BackboneSpec("tf_efficientnet_lite0"))
            self.dim = self.Org_model.dim

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) normalised to (B, dim, h, w)."""
        if isinstance(self.Org_model, nn.Sequential):
            return self.Org_model(pixels)
        return self.Org_model.frozen_forward(pixels, 0)


class Bottleneck(nn.Module):
    """Two 3×3 convolutions with batch norm and ReLU."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, kernel_size=3, padding=1)
        self.BN1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, kernel_size=3, padding=1)
        self.BN2 = nn.BatchNorm2d(width)

    def forward(self, plane: Tensor) -> Tensor:
        """(B, channels, h, w) to (B, width, h, w)."""
        hidden = self.BN1(self.conv1(plane)).relu()
        return self.BN2(self.conv2(hidden)).relu()


class UpBlock(nn.Module):
    """Bilinear ×2, then convolution, batch norm, ReLU, twice; the last block ends in logits."""

    def __init__(self, channels: int, width: int, last: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, kernel_size=3, padding=1)
        self.BN1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, kernel_size=3, padding=1)
        self.BN2 = None if last else nn.BatchNorm2d(width)

    def forward(self, plane: Tensor) -> Tensor:
        """(B, channels, h, w) to (B, width, 2h, 2w)."""
        hidden = functional.interpolate(plane, scale_factor=2, mode="bilinear")
        hidden = self.conv2(self.BN1(self.conv1(hidden)).relu())
        return hidden if self.BN2 is None else self.BN2(hidden).relu()


class Decoder(nn.Module):
    """D: features and a text's embedding to the logits of the heatmap."""

    def __init__(self, channels: int, spec: GrounderSpec) -> None:
        super().__init__()
        self.bottleneck = Bottleneck(channels, spec.text_dim)
        self.up0 = UpBlock(spec.text_dim, spec.width, last=False)
        self.up1 = UpBlock(spec.width, 1, last=True)
        # One channel passes a ReLU before the last convolution. Were that to start out negative,
        # as it does by chance half of the time, no pixel could rise above its bias.
        nn.init.constant_(self.up1.conv2.weight, 4 / 9)
        assert self.up1.conv2.bias is not None  # Conv2d has one if not told otherwise
        nn.init.constant_(self.up1.conv2.bias, -3)

    def forward(self, plane: Tensor, texts: Tensor) -> Tensor:
        """(B, channels, h, w) and (B, d) to (B, 1, 4h, 4w)."""
        plane = self.bottleneck(plane)
        attention = torch.einsum("bchw,bc->bhw", functional.normalize(plane, dim=1), texts)
        return self.up1(self.up0(plane * attention.unsqueeze(1)))


class Grounder(nn.Module):
    """g; `forward` gives heatmaps at the size of the images."""

    def __init__(self, spec: GrounderSpec) -> None:
        super().__init__()
        if spec.trunk not in TRUNKS:
            raise InputError(f"trunk {spec.trunk!r} is unknown; choose one of {', '.join(TRUNKS)}")
        self.spec = spec
        self.E = Trunk(spec)
        self.D = Decoder(self.E.dim, spec)
        if spec.frozen_trunk:
            self.E.requires_grad_(False)

    def train(self, mode: bool = True) -> Grounder:
        """As usual, but that a frozen trunk stays in evaluation mode."""
        super().train(mode)
        if self.spec.frozen_trunk:
            self.E.eval()
        return self

    def encode(self, images: Tensor) -> Tensor:
        """What does not depend on the text: (B, 3, H, W) in [0, 1] to (B, channels, h, w)."""
        if self.spec.scale != 1:
            size = [max(1, round(side * self.spec.scale)) for side in images.shape[-2:]]
            images = functional.interpolate(images, size, mode="bicubic")
        return self.E((images - 0.5) / 0.5)

    def decode_logits(self, planes: Tensor, texts: Tensor, size: tuple[int, int]) -> Tensor:
        """What `decode` takes the sigmoid of: (B, H, W)."""
        logits = self.D(planes, texts)
        # With corners aligned, as the published weights were trained.
        maps = functional.interpolate(logits, size, mode="bilinear", align_corners=True)
        return maps.squeeze(1)

    def decode(self, planes: Tensor, texts: Tensor, size: tuple[int, int]) -> Tensor:
        """Heatmaps (B, H, W) in (0, 1) at `size`, from the output of `encode` and (B, d) texts."""
        return self.decode_logits(planes, texts, size).sigmoid()

    def forward(self, images: Tensor, texts: Tensor) -> Tensor:
        """M = g(I, Z_t): (B, 3, H, W) in [0, 1] and (B, d) of unit length to (B, H, W)."""
        height, width = images.shape[-2:]
        return self.decode(self.encode(images), texts, (height, width))


def initialize_trunk(grounder: Grounder, source: str) -> None:
    """Start g's trunk from pretrained weights.

    Args:
        source: `random` leaves it; `imagenet` takes torchvision's VGG16, which is downloaded, or
            EfficientNet-Lite0 of a package; otherwise a file with torchvision's VGG16.

    Raises:
        InputError: they cannot be fetched, or do not fit.
    """
    if source == "random":
        return
    if grounder.spec.trunk == LITE0:
        if source != "imagenet":
            raise InputError(f"--init {source}: trunk {LITE0} starts from imagenet, or random")
        grounder.E.Org_model.load_state_dict(load_backbone(LITE0).state_dict())
        return
    if source == "imagenet":
        tensors = _download_vgg16()
    else:
        tensors, _ = read_checkpoint(source)
    expected = grounder.E.Org_model.state_dict()
    named = {name.removeprefix("features."): tensor for name, tensor in tensors.items()}
    kept = {name: named[name] for name in expected if name in named}
    fit_weights(grounder.E.Org_model, kept, source, VGG16)


def _download_vgg16() -> dict[str, Tensor]:
    try:
        return models.VGG16_Weights.IMAGENET1K_V1.get_state_dict(progress=False)
    except OSError as error:
        raise InputError(
            f"the weights of VGG16 could not be fetched ({type(error).__name__}); give --init FILE"
        ) from error


def load_grounder(path: Path | str) -> Grounder:
    """g from a file of ours, or a published checkpoint, in evaluation mode.

    Raises:
        InputError: neither, or whole pickled objects.
    """
    tensors, metadata = read_checkpoint(path)
    if "grounder" in metadata:
        grounder = Grounder(GrounderSpec(**metadata["grounder"]))
        if grounder.spec.frozen_trunk:
            initialize_trunk(grounder, "imagenet")
            tensors |= {f"E.{name}": t for name, t in grounder.E.state_dict().items()}
        fit_weights(grounder, tensors, str(path), "of g")
        return grounder.eval()
    return published_grounder(tensors, path)


def published_grounder(tensors: dict[str, Tensor], path: Path | str) -> Grounder:
    """g from the tensors of a published checkpoint, WWbL's or the paper's, in evaluation mode.

    Raises:
        InputError: they are of another network.
    """
    grounder = Grounder(GrounderSpec())
    used = {name: t for name, t in tensors.items() if not name.startswith(_UNUSED)}
    if set(used) != set(grounder.state_dict()):
        raise InputError(
            f"{path}: holds no g; give a file made by train_grounder.py or refine_grounder.py, or"
            " a published checkpoint with modules E and D"
        )
    fit_weights(grounder, used, str(path), "of g")
    return grounder.eval()


def save_grounder(path: Path | str, grounder: Grounder, provenance: dict[str, Any]) -> None:
    """Write g with its specification and provenance; a frozen trunk is left to its package."""
    frozen = "E." if grounder.spec.frozen_trunk else ()
    tensors = {n: t for n, t in grounder.state_dict().items() if not n.startswith(frozen)}
    write_tensors(path, tensors, {"grounder": asdict(grounder.spec), "provenance": provenance})
