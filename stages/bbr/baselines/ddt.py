"""Deep descriptor transforming (Wei et al. 2019): objects as what a collection has in common.

The first principal component of the convolutional descriptors of all images tells the common
object from the rest: patches that project on its positive side are the object. DDT+ asks two
layers and keeps the patches on which both agree.

An eigenvector has no sign of its own. The released code takes MATLAB's (the largest entry is
positive), which is a matter of chance where features are not rectified, as at the bottlenecks of
EfficientNet; here the object is the side that is rarer along the edges of the images.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..heuristics.components import largest_component, mask_boxes


def principal_direction(covariance: Tensor) -> Tensor:
    """The first principal component: (d, d) to (d,) float64 of unit length, of either sign."""
    return torch.linalg.eigh(covariance).eigenvectors[:, -1]


def project(key: Tensor, mean: Tensor, direction: Tensor) -> Tensor:
    """Projection of each descriptor on the principal direction: (B, N, d) to (B, N) float64."""
    return (key.double() - mean.to(key.device)) @ direction.to(key.device)


def border_mean(projections: Tensor, grid: tuple[int, int]) -> Tensor:
    """Mean projection of the patches along the edges of each image: (B, N) to (B,)."""
    border = torch.ones(grid, dtype=torch.bool, device=projections.device)
    border[1:-1, 1:-1] = False
    return projections[:, border.flatten()].mean(dim=1)


def ddt_boxes(last: Tensor, grid: tuple[int, int], second: Tensor | None = None) -> np.ndarray:
    """Boxes from the projections of one layer, or of two (DDT+).

    The largest 4-connected component of the positive patches of the last layer is the object; of
    it, DDT+ keeps the patches that are positive on the second layer too, if there are any. An
    image without a positive patch has nothing of the common object: its box is the whole image.

    Args:
        last, second: (B, N) projections, N = h·w.
        grid: (h, w).

    Returns:
        (B, 4) boxes in patches, right and bottom exclusive.
    """
    positive = (last > 0).view(-1, *grid)
    positive[~positive.any(dim=2).any(dim=1)] = True
    masks = largest_component(positive)
    if second is not None:
        agreed = masks & (second > 0).view(-1, *grid).cpu().numpy()
        some = agreed.any(axis=(1, 2))
        masks[some] = agreed[some]
    return mask_boxes(masks)
