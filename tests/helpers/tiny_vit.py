"""A transformer small enough for tests: patches of 16 pixels, images of 64, d = 32 in 2 heads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from bbr.backbones.base import BackboneSpec
from bbr.backbones.build import build_backbone, save_backbone

# Arguments to timm's vit_tiny_patch16_224.
TINY_VIT = {"patch_size": 16, "img_size": 64, "embed_dim": 32, "depth": 2, "num_heads": 2}


def write_tiny_vit(path: Path, seed: int = 0, **spec: Any) -> Path:
    """Such a network with random weights, as a file of ours; `spec` as of `BackboneSpec`."""
    torch.manual_seed(seed)
    save_backbone(path, build_backbone(BackboneSpec("vit_tiny_patch16_224", TINY_VIT, **spec)), {})
    return path
