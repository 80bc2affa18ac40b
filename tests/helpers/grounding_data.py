"""What tests of grounding share: a tiny CLIP on pixels, a small g, and images for them."""

from __future__ import annotations

import torch
from torch import Tensor

from bbr.clip.network import Clip, new_small_clip
from bbr.clip.small_network import SmallClipSpec
from bbr.grounding.network import LITE0, Grounder, GrounderSpec, initialize_trunk

WORDS = ("a", "and", "blue", "disc", "image", "mug", "of", "red")
SIDE, DIM = 64, 16


def tiny_clip(seed: int = 0) -> Clip:
    """Two layers on 4 × 4 patches of 16 pixels, randomly initialised."""
    torch.manual_seed(seed)
    return new_small_clip(
        SmallClipSpec(
            WORDS, image_size=SIDE, trunk=None, embed_dim=DIM, width=32, heads=4, context_length=8
        )
    )


def small_grounder(seed: int = 0, frozen: bool = True) -> Grounder:
    """A g on EfficientNet-Lite0 with its ImageNet weights; the decoder is random."""
    torch.manual_seed(seed)
    grounder = Grounder(GrounderSpec(LITE0, text_dim=DIM, width=8, frozen_trunk=frozen))
    initialize_trunk(grounder, "imagenet")
    # Without training, the one channel before the last convolution may be 0 throughout.
    torch.nn.init.constant_(grounder.D.up1.BN1.bias, 2.0)
    return grounder.eval()


def noise(count: int, height: int = SIDE, width: int = SIDE) -> Tensor:
    """Images of random cells of 16 pixels, in [0, 1]."""
    generator = torch.Generator().manual_seed(3)
    cells = torch.rand(count, 3, height // 16, width // 16, generator=generator)
    return cells.repeat_interleave(16, 2).repeat_interleave(16, 3)


def unit_vectors(count: int, dim: int = DIM) -> Tensor:
    """Stand-ins for text embeddings."""
    generator = torch.Generator().manual_seed(4)
    return torch.nn.functional.normalize(torch.randn(count, dim, generator=generator), dim=1)
