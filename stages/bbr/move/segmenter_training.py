"""MOVE's training of a segmenter: its head against a discriminator (docs/protocol.md#move)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..backbones.masked import Segmenter
from .composition import Composition, compose, random_offsets
from .discriminator import ProjectedDiscriminator, discriminator_loss, jitter_colors
from .mask_losses import MaskLossWeights, mask_losses
from .masked_autoencoder import MaskedAutoencoder

# Adam's, of the segmenter and of the discriminator.
_BETAS, _DISCRIMINATOR_BETAS = (0.9, 0.95), (0.0, 0.99)


@dataclass(frozen=True)
class Seen:
    """A batch as the training needs it.

    Attributes:
        plane: (B, h, w, C) what the head reads, of f on the images.
        images: (B, 3, S, S) in [0, 1] at the inpainter's size.
    """

    plane: Tensor
    images: Tensor


class SegmenterTraining(nn.Module):
    """Segmenter and discriminator (trained), f and the inpainter (frozen).

    Where MOVE lets the two take turns, from one batch to the next, both learn from every batch
    here: the composition, the costly part, then serves both.

    Args:
        shift: greatest move of the foreground, as a share of the side.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        discriminator: ProjectedDiscriminator,
        inpainter: MaskedAutoencoder,
        weights: MaskLossWeights,
        shift: float,
    ) -> None:
        super().__init__()
        self.norm, self.head = segmenter.norm, segmenter.head
        self.discriminator = discriminator
        self.weights, self.shift = weights, shift
        # A tuple hides what is frozen from state_dict and checkpoints.
        self._frozen: tuple[Segmenter, MaskedAutoencoder] = (
            segmenter,
            inpainter.eval().requires_grad_(False),
        )

    def to(self, *args: Any, **kwargs: Any) -> SegmenterTraining:
        """Move the frozen networks along."""
        for network in self._frozen:
            network.to(*args, **kwargs)
        self.discriminator.to(*args, **kwargs)
        return super().to(*args, **kwargs)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """For one Adam, which steps both; neither loss has a gradient for the other's weights."""
        judges = self.discriminator.judges.parameters()
        mine = [*self.norm.parameters(), *self.head.parameters()]
        return [
            {"params": mine, "betas": _BETAS},
            {"params": list(judges), "betas": _DISCRIMINATOR_BETAS},
        ]

    @torch.no_grad()
    def observe(self, images: Tensor) -> Tensor:
        """f's plane (B, h, w, C) of images (B, 3, S, S) uint8."""
        segmenter = self._frozen[0]
        pixels = segmenter.prepare(images)
        return segmenter.features.plane(
            segmenter.frozen_forward(pixels, 1), segmenter.patch_grid(pixels)
        )

    def compose(self, seen: Seen, generator: torch.Generator) -> Composition:
        """The images with their predicted foregrounds moved at random."""
        segmenter, inpainter = self._frozen
        side = inpainter.spec.image_size
        mask = segmenter.mask(seen.plane).unsqueeze(1)
        if mask.shape[-1] != side:
            mask = functional.interpolate(mask, (side, side), mode="bilinear")
        offsets = random_offsets(len(mask), side, self.shift, generator)
        return compose(inpainter, seen.images, mask, offsets)

    def segmenter_losses(
        self, made: Composition, step: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """`fool`, the mask losses and their `total`, for the head alone."""
        self.discriminator.judges.requires_grad_(False)
        fool = -self.discriminator(jitter_colors(made.moved, generator)).mean()
        patch_size = self._frozen[1].spec.patch_size
        losses = mask_losses(made.mask, patch_size, self.weights, step)
        return {"fool": fool, **losses, "total": fool + losses["mask"]}

    def discriminator_losses(
        self, made: Composition, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """The hinge loss as `total`, for the discriminator alone."""
        self.discriminator.judges.requires_grad_(True)
        images = (made.real, made.unmoved, made.moved, made.pasted)
        logits = [self.discriminator(jitter_colors(i.detach(), generator)) for i in images]
        return {"total": discriminator_loss(logits[:2], logits[2:])}
