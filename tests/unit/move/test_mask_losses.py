"""Losses of masks, by hand."""

import pytest
import torch

from bbr.move.mask_losses import MaskLossWeights, mask_losses


def test_by_hand():
    """One 4 x 4 mask with a single pixel of 0.75; patches of 2."""
    mask = torch.zeros(1, 1, 4, 4)
    mask[0, 0, 1, 1] = 0.75
    weights = MaskLossWeights(area_weight=100, min_area=0.1, binary_weight=8, binary_warmup=0)
    losses = mask_losses(mask, 2, weights, step=0)
    # Means: 0.75 / 16 of the mask and of its averages, 0.75 / 4 of its maxima.
    assert losses["area"].item() == pytest.approx(2 * (0.1 - 0.75 / 16), abs=1e-6)
    # Distances from the nearer end: 0.25 / 16; 0.75 / 4 in one patch of 4; 0.25 in one of 4.
    assert losses["binary"].item() == pytest.approx(0.25 / 16 + 0.1875 / 4 + 0.25 / 4, abs=1e-6)
    total = 100 * losses["area"] + 8 * losses["binary"]
    assert losses["mask"].item() == pytest.approx(total.item(), rel=1e-6)


def test_areas_are_judged_image_by_image():
    mask = torch.cat((torch.ones(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)))
    losses = mask_losses(mask, 2, MaskLossWeights(min_area=0.2), step=0)
    assert losses["area"].item() == pytest.approx(3 * 0.2 / 2)


def test_warm_ups():
    grey = torch.full((1, 1, 4, 4), 0.5)
    weights = MaskLossWeights(binary_weight=10, binary_warmup=4, max_area=0.2, area_warmup=10)
    found = [mask_losses(grey, 2, weights, step) for step in (0, 1, 4, 5, 10, 99)]
    # The bound is 1, 0.92, 0.68, 0.6, 0.2, 0.2.
    areas = [losses["area"].item() for losses in found]
    assert areas == pytest.approx([0, 0, 0, 0, 0.3, 0.3], abs=1e-6)
    weighted = [losses["mask"].item() - 100 * losses["area"].item() for losses in found]
    assert weighted == pytest.approx([0, 3.75, 15, 15, 15, 15], abs=1e-4)
