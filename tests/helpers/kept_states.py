"""What tests of kept states share: small networks, and an index of images of four sizes."""

from __future__ import annotations

from typing import Any

import torch
from tiny_vit import TINY_VIT

from bbr.backbones.base import Backbone, BackboneSpec
from bbr.backbones.build import build_backbone
from bbr.data.index import Index

VIT = BackboneSpec("vit_tiny_patch16_224", TINY_VIT | {"depth": 3})
RESNET = BackboneSpec("resnet18")
# (height, width) of images on disk, by id.
SIZES = {7: (30, 40), 8: (64, 64), 9: (30, 48), 3: (64, 64)}


def network(spec: BackboneSpec = VIT, seed: int = 0) -> Backbone:
    """A backbone with random weights."""
    torch.manual_seed(seed)
    return build_backbone(spec).eval()


def index_of(sizes: dict[int, tuple[int, int]] = SIZES, **changes: Any) -> Index:
    """An index of images of these sizes, without annotations."""
    images = [
        {"id": i, "file_name": f"{i}.png", "height": h, "width": w, "crc32": i}
        for i, (h, w) in sizes.items()
    ]
    plain = {"images": images, "annotations": [], "categories": [], "info": {}, "path": None}
    return Index(**plain | changes)
