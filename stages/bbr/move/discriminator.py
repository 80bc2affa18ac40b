"""MOVE's discriminator, on projected features (Projected GAN, Sauer et al. 2021)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from ..backbones.cnn import ConvolutionalBackbone

_MIN_SIDE = 4  # of the maps that the small discriminators judge


class ProjectedDiscriminator(nn.Module):
    """Small discriminators on the maps of a frozen network, mixed by fixed random convolutions.

    The mixing keeps the discriminators from resting on a few channels: 1 × 1 convolutions within
    each scale, then from coarse to fine 3 × 3 convolutions of each map with the coarser one.

    Args:
        features: frozen; its maps from stride 4 on are judged.
        size: images are resized to this side first.
        width: channels that each map is projected to.
    """

    def __init__(self, features: ConvolutionalBackbone, size: int, width: int) -> None:
        super().__init__()
        self.size = size
        # In a list, so that neither state_dict nor train() reaches what never changes.
        self._features: list[Any] = [features.eval().requires_grad_(False)]
        with torch.no_grad():
            planes = features.pyramid(torch.zeros(1, 3, size, size))
        self.within = nn.ModuleList(
            nn.Conv2d(plane.shape[1], width, kernel_size=1) for plane in planes
        )
        self.across = nn.ModuleList(
            nn.Conv2d(width, width, kernel_size=3, padding=1) for _ in planes
        )
        for mixer in (*self.within, *self.across):
            nn.init.kaiming_normal_(mixer.weight)
            nn.init.zeros_(mixer.bias)
            mixer.requires_grad_(False)
        self.judges = nn.ModuleList(_judge(plane.shape[-1], width) for plane in planes)

    def to(self, *args, **kwargs) -> ProjectedDiscriminator:
        """Move the frozen network along."""
        self._features[0].to(*args, **kwargs)
        return super().to(*args, **kwargs)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, S, S) in [0, 1] to logits (B, n): higher means more like a real one."""
        features = self._features[0]
        pixels = functional.interpolate(images, (self.size, self.size), mode="bilinear")
        planes = features.pyramid((pixels - features.mean) / features.std)
        mixed = [mix(plane) for mix, plane in zip(self.within, planes, strict=True)]
        logits, coarser = [], None
        for plane, mix, judge in reversed(list(zip(mixed, self.across, self.judges, strict=True))):
            if coarser is not None:
                plane = plane + functional.interpolate(coarser, plane.shape[-2:], mode="bilinear")
            coarser = mix(plane)
            logits.append(judge(coarser).flatten(1))
        return torch.cat(logits, dim=1)


def _judge(side: int, width: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    while side > _MIN_SIDE:
        layers += [
            spectral_norm(nn.Conv2d(width, width, kernel_size=4, stride=2, padding=1, bias=False)),
            nn.BatchNorm2d(width),
            nn.LeakyReLU(0.2),
        ]
        side //= 2
    return nn.Sequential(*layers, spectral_norm(nn.Conv2d(width, 1, kernel_size=3, padding=1)))


def discriminator_loss(real: list[Tensor], fake: list[Tensor]) -> Tensor:
    """Hinge loss; each kind of image has the same weight on its side."""
    of_real = torch.stack([(1 - logits).relu().mean() for logits in real]).mean()
    return of_real + torch.stack([(1 + logits).relu().mean() for logits in fake]).mean()


def jitter_colors(images: Tensor, generator: torch.Generator) -> Tensor:
    """Random brightness, saturation and contrast of (B, 3, S, S), one draw an image.

    Differentiable, for what the discriminator sees (DiffAugment's `color`, Zhao et al. 2020).
    """
    draws = torch.rand(3, len(images), 1, 1, 1, generator=generator).to(images.device)
    images = images + (draws[0] - 0.5) / 2
    grey = images.mean(dim=1, keepdim=True)
    images = grey + (images - grey) * draws[1] * 2
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return mean + (images - mean) * (draws[2] + 0.5)
