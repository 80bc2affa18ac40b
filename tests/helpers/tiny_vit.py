"""A transformer small enough for tests: patches of 16 pixels, images of 64, d = 32 in 2 heads."""

from __future__ import annotations

# Arguments to timm's vit_tiny_patch16_224.
TINY_VIT = {"patch_size": 16, "img_size": 64, "embed_dim": 32, "depth": 2, "num_heads": 2}
