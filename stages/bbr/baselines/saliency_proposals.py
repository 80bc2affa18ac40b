"""Region proposals from one feature map, as LOD takes them from rOSD (Vo et al. 2020).

Each peak of the saliency map has a local map, its similarity to every patch; the connected regions
around the peak at several levels of it give boxes.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..command_line.fast_import import large_imports
from ..heuristics.components import component_at, mask_boxes

_POOL = 2  # bins per side of a region's descriptor
_MIN_SALIENCY = 0.3  # of a peak, as a share of the highest one
_BACKGROUND = 0.5  # patches below this share of the mean saliency join no region


def saliency_peaks(saliency: Tensor, maxima: int) -> list[int]:
    """Local maxima among 8 neighbours, the highest first.

    Args:
        saliency: (h, w), not negative.
        maxima: how many at most.

    Returns:
        Row-major patch numbers; at least one.
    """
    around = functional.max_pool2d(saliency[None], 3, stride=1, padding=1)[0]
    high = saliency >= _MIN_SALIENCY * saliency.max()
    peaks = ((saliency == around) & high).flatten().nonzero()[:, 0]
    order = saliency.flatten()[peaks].argsort(descending=True, stable=True)
    return peaks[order][:maxima].tolist()


def propose_regions(
    key: Tensor, grid: tuple[int, int], maxima: int = 10, levels: int = 5
) -> np.ndarray:
    """Boxes of one image, the whole image first, without repetition.

    Saliency is the length of a descriptor less the mean of the collection (the paper adds up
    channels, which are not negative in its networks). Around each peak, level l of n keeps the
    share l / n of the patches that are more similar to the peak than the mean patch is, the most
    similar first.

    Args:
        key: (N, d) descriptors, less the mean of the collection; N = h·w.
        grid: (h, w).
        maxima: peaks at most.
        levels: regions of each peak.

    Returns:
        (P, 4) int64 boxes in patches, right and bottom exclusive; 1 <= P <= maxima · levels + 1.
    """
    height, width = grid
    saliency = key.norm(dim=1)
    peaks = saliency_peaks(saliency.view(grid), maxima)
    unit = functional.normalize(key, dim=1)
    local = unit[peaks] @ unit.T
    allowed = (local > local.mean(dim=1, keepdim=True)) & (
        saliency >= _BACKGROUND * saliency.mean()
    )
    seeds = torch.tensor(peaks, device=key.device)
    local = local.masked_fill(~allowed, -torch.inf)
    local.scatter_(1, seeds[:, None], torch.inf)  # the peak itself comes first
    rank = local.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    shares = torch.arange(1, levels + 1, device=key.device) / levels
    kept = (shares * (local > -torch.inf).sum(dim=1, keepdim=True)).ceil()
    masks = rank[:, None] < kept[:, :, None]  # (peaks, levels, N)
    regions = component_at(masks.view(-1, *grid), seeds.repeat_interleave(levels))
    boxes = [(0, 0, width, height), *map(tuple, mask_boxes(regions).tolist())]
    return np.array(list(dict.fromkeys(boxes)), dtype=np.int64)


def region_descriptors(key: Tensor, grid: tuple[int, int], boxes: np.ndarray) -> np.ndarray:
    """Unit descriptors of boxes of one image, from 2 × 2 bins of its feature map.

    Args:
        key: (N, d) descriptors, less the mean of the collection.
        boxes: (P, 4) in patches.

    Returns:
        (P, 4·d) float16.
    """
    with large_imports():  # DDT, which the same stage runs, does without
        from torchvision.ops import roi_align

    plane = key.T.reshape(1, -1, *grid)
    places = torch.from_numpy(boxes).to(plane)
    pooled = roi_align(plane, [places], _POOL, sampling_ratio=2, aligned=True)
    return functional.normalize(pooled.flatten(1), dim=1).half().cpu().numpy()
