"""MOST (Rambhatla et al. 2023): the objects of an image, from how orderly similarity maps are.

A patch of an object is like the patches of that object, which lie together; a patch of the
background is like patches here and there. So the map of what a patch is like is read through boxes
of several sizes, as box counting does, and where the shares that the boxes are filled to have
little entropy, the patch is of an object. Patches of objects that touch form a pool, and each pool
gives one mask, by LOST's rule within it. What is decided here where the paper leaves it open is in
docs/protocol.md#most.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .components import largest_component, mask_boxes
from .lost import expanded_masks

# Entropies that lie closer to a mean than this are equal to it but for rounding.
_TIE = 1e-9
_AT_ONCE = 2**22  # entries of similarity maps


def map_entropies(
    units: Tensor, grid: tuple[int, int], threshold: float, scales: int
) -> tuple[Tensor, Tensor]:
    """How disorderly the similarity map of each patch is, seen through boxes of each size.

    A map has 1 where the cosine to its patch is above the threshold. At scale k the boxes are k x k
    patches, side by side from the top left corner; rows and columns that fill none are left out.
    The entropy is that of how many ones a box has, and its unit the most that k² + 1 counts can
    have. Boxes that are larger than the grid have no scale.

    Args:
        units: (B, N, d) float32 of unit length, or zero; N = h·w.
        scales: sides of boxes, from 1 to this.

    Returns:
        entropies (B, N, s) float64 in [0, 1], s at least 1, and degrees (B, N) int64: the number of
        ones, with the patch itself.
    """
    count, sides = units.shape[1], range(1, min(scales, *grid) + 1)
    entropies = units.new_empty(*units.shape[:2], len(sides), dtype=torch.float64)
    degrees = torch.empty_like(entropies[..., 0], dtype=torch.int64)
    size = max(1, _AT_ONCE // count)
    for image, own in enumerate(units):
        for start in range(0, count, size):
            rows = slice(start, start + size)
            maps = (own[rows] @ own.T > threshold).to(units.dtype)
            degrees[image, rows] = maps.sum(dim=1).long()
            for scale, side in enumerate(sides):
                pooled = functional.avg_pool2d(maps.view(-1, 1, *grid), side, divisor_override=1)
                entropies[image, rows, scale] = _entropy(pooled.flatten(1).long(), side**2 + 1)
    return entropies, degrees


def _entropy(values: Tensor, kinds: int) -> Tensor:
    """(r,) float64 in [0, 1]: that of the values in each row of (r, n), of which there are kinds
    from 0 on."""
    first = kinds * torch.arange(len(values), device=values.device).unsqueeze(1)
    counts = torch.bincount((values + first).flatten(), minlength=kinds * len(values))
    shares = counts.view(-1, kinds).double() / values.shape[1]
    return torch.special.entr(shares).sum(dim=1) / np.log(kinds)


def foreground(entropies: Tensor, degrees: Tensor) -> Tensor:
    """(B, N) bool: the patches of objects, from what `map_entropies` returns; at least one each.

    At most scales the entropy of such a patch is no higher than the mean of its image; and since a
    map and its complement have one entropy, it is like no more than half of all patches. Where none
    is so, the first patch of lowest degree stands for all.
    """
    mean = entropies.mean(dim=1, keepdim=True)
    votes = (entropies <= mean + _TIE).sum(dim=2)
    inside = (2 * votes > entropies.shape[2]) & (2 * degrees <= degrees.shape[1])
    none = ~inside.any(dim=1)
    inside[none, degrees[none].argmin(dim=1)] = True
    return inside


@dataclass(frozen=True)
class Tokens:
    """The patches of objects in B images.

    Attributes:
        units: (B, N, d) float32 features of unit length.
        inside: (B, N) bool, from `foreground`.
        degrees: (B, N) int64.
    """

    units: Tensor
    inside: Tensor
    degrees: Tensor

    @classmethod
    def of(cls, features: Tensor, grid: tuple[int, int], threshold: float, scales: int) -> Tokens:
        """Those of a batch; see `most_masks` for the arguments."""
        units = functional.normalize(features, dim=2)
        entropies, degrees = map_entropies(units, grid, threshold, scales)
        return cls(units, foreground(entropies, degrees), degrees)

    def select(self, images: Tensor) -> Tokens:
        """Those of some images."""
        return Tokens(self.units[images], self.inside[images], self.degrees[images])


def pool_masks(
    tokens: Tokens, grid: tuple[int, int], threshold: float, found: Tensor | None = None
) -> np.ndarray:
    """What `most_masks` returns, from patches of objects that are known already."""
    inside = tokens.inside if found is None else tokens.inside & ~found
    some = inside.any(dim=1)
    masks = np.zeros((len(inside), *grid), dtype=bool)
    if some.any():
        own, known = tokens.select(some), None if found is None else found[some]
        pools = largest_component(inside[some].view(-1, *grid))
        pool = torch.from_numpy(pools).flatten(1).to(inside.device)
        core = own.degrees.masked_fill(~pool, pool.shape[1] + 1).argmin(dim=1)
        masks[some.cpu().numpy()] = expanded_masks(own.units, grid, core, pool, known, threshold)
    return masks


def most_masks(
    features: Tensor,
    grid: tuple[int, int],
    threshold: float = 0.2,
    scales: int = 5,
    found: Tensor | None = None,
) -> np.ndarray:
    """The mask of the largest pool of each image of a batch with one patch grid.

    Args:
        features: (B, N, d) float32, N = h·w patches in row-major order.
        grid: (h, w).
        threshold: cosine above which two patches are alike.
        scales: sides of boxes, from 1 to this, that maps are read through.
        found: (B, N) bool, patches that belong to objects found before; they are in no pool and
            never in the mask.

    Returns:
        (B, h, w) bool, 4-connected; empty where no pool is left.
    """
    return pool_masks(Tokens.of(features, grid, threshold, scales), grid, threshold, found)


def most_boxes(
    features: Tensor, grid: tuple[int, int], threshold: float = 0.2, scales: int = 5
) -> np.ndarray:
    """The box of `most_masks`, in patches: (B, 4) x1 y1 x2 y2, right and bottom exclusive."""
    return mask_boxes(most_masks(features, grid, threshold, scales))


def orderliness(
    features: Tensor, grid: tuple[int, int], threshold: float = 0.2, scales: int = 5
) -> np.ndarray:
    """One less the mean over scales of the entropy of each patch's map: (B, h, w) in [0, 1]."""
    units = functional.normalize(features, dim=2)
    entropies, _ = map_entropies(units, grid, threshold, scales)
    return (1 - entropies.mean(dim=2)).view(-1, *grid).cpu().numpy()
