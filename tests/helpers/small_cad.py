"""A CAD small enough for tests, and batches for it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bbr.cad.network import Cad, build_cad
from bbr.cad.options import CadPrediction, CadSpec, CadTraining

SMALL = CadSpec(
    "tf_efficientnet_lite0", map_level=3, frozen_levels=2, roi_size=4, anchor_sizes=(16, 32)
)
FEW = CadTraining(train_sizes=(64,), train_proposals=(50, 8), rpn_batch=8, roi_batch=4)


def small_cad(**changes: Any) -> Cad:
    """The network with random weights."""
    torch.manual_seed(0)
    prediction = CadPrediction(test_size=64, test_proposals=(50, 8))
    return build_cad(CadSpec(**vars(SMALL) | changes), None, FEW, prediction)


def batch(count: int = 2) -> tuple[list[Tensor], list[Tensor]]:
    """Images of 64 pixels, (3, 64, 64) uint8, and a box of each."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (count, 3, 64, 64), dtype=torch.uint8, generator=generator)
    return list(images), [torch.tensor([[8.0, 8.0, 40.0, 48.0]])] * count
