"""TokenCut (Wang et al. 2022): one box per image by a normalised cut of its patches.

Paper section 4, equations 16 to 18; details as in the published code (docs/protocol.md#tokencut).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..command_line.memory import memory_limit
from .components import component_at, mask_boxes
from .eigensolver import second_eigenvectors
from .graphs import DenseGraph, PackedGraph, TwoValuedGraph

# Entries of y that differ by less than this part of the largest are equal: what a dense solver
# makes of them is rounding. The first patch is then the seed, and none is above the mean.
_TIE = 1e-9
# Entries of the matrices that are worked on at once: what fits a CPU's cache, or a GPU's memory.
_AT_ONCE = {"cpu": 2**22, "cuda": 2**28}
_BLOCKS = 4
# Bytes of a graph of N patches for each of its N² pairs: A, and what LAPACK makes of it in float64.
_DENSE_BYTES = 40
_OTHER_BYTES = 10**9  # Python, torch, features


def affinity_graph(
    features: Tensor,
    threshold: float,
    epsilon: float,
    found: Tensor | None = None,
    packed: bool = False,
) -> TwoValuedGraph:
    """A of equation 16: 1 where the cosine is above the threshold, ε elsewhere.

    The released code compares with >, the paper with ≥. A patch with zero features is like none,
    itself included (cosine 0), and so is one that was found before.

    Args:
        features: (B, N, d) float32.
        found: (B, N) bool or None.
        packed: keep it in a thirtieth of the memory.
    """
    units = functional.normalize(features, dim=2)
    kept = None if found is None else (~found).to(features.dtype)

    def alike(rows: slice, columns: slice) -> Tensor:
        block = (units[:, rows] @ units[:, columns].mT > threshold).to(features.dtype)
        if kept is not None:
            block *= kept[:, rows].unsqueeze(2) * kept[:, columns].unsqueeze(1)
        return block

    batch, count, _ = features.shape
    if packed:
        return PackedGraph.build((batch, count), alike, epsilon, features.device)
    whole = features.new_empty(batch, count, count)
    size = -(-count // _BLOCKS)
    # Half of the products, mirrored: faster, and symmetric whatever the order of summation.
    for start in range(0, count, size):
        rows = slice(start, start + size)
        block = alike(rows, slice(start, count))
        own = block[:, :, :size]
        block[:, :, :size] = torch.maximum(own, own.mT)
        whole[:, rows, start:] = block
        whole[:, start + size :, rows] = block[:, :, size:].mT
    return DenseGraph.build(whole, epsilon)


def fits_dense(count: int, device: torch.device) -> bool:
    """Whether the graph of so many patches fits into memory as a dense matrix, for LAPACK too.

    So many only by the limit, not by what is free: boxes are not to hang on other processes.
    """
    if device.type == "cuda":
        return _DENSE_BYTES * count**2 <= torch.cuda.mem_get_info(device)[1]
    return _DENSE_BYTES * count**2 + _OTHER_BYTES <= memory_limit()


def tokencut_vectors(
    features: Tensor,
    grid: tuple[int, int],
    threshold: float = 0.2,
    epsilon: float = 1e-5,
    corners: int | None = None,
) -> np.ndarray:
    """The eigenvector map of each image: (B, h, w) float64, 1 at the seed.

    See `tokencut_masks` for the arguments. For figures: entries are as exact as the mask needs
    them, at worst about a thousandth of the largest.
    """
    y, _ = _cuts(features, threshold, epsilon, _Choice(grid, None, corners))
    return y.view(-1, *grid).cpu().numpy()


def tokencut_masks(
    features: Tensor,
    grid: tuple[int, int],
    threshold: float = 0.2,
    epsilon: float = 1e-5,
    found: Tensor | None = None,
    corners: int | None = None,
) -> np.ndarray:
    """TokenCut's object mask of each image of a batch with one patch grid.

    Args:
        features: (B, N, d) float32, N = h·w patches in row-major order.
        grid: (h, w).
        threshold: cosine above which two patches are alike (the paper's τ).
        epsilon: affinity of patches that are not.
        found: (B, N) bool, patches that belong to objects found before; they are like no other
            and never in the mask. Each image must have others.
        corners: a side of the cut that holds so many corners of the grid, more than two, is
            background wherever |y| is largest, if the other side has a patch. Corners do not matter
            where it is None.

    Returns:
        (B, h, w) bool; each mask is 4-connected and holds the seed.
    """
    choice = _Choice(grid, found, corners)
    y, seed = _cuts(features, threshold, epsilon, choice)
    return component_at(_above_mean(y, seed, found).view(-1, *grid), seed)


def tokencut_boxes(
    features: Tensor, grid: tuple[int, int], threshold: float = 0.2, epsilon: float = 1e-5
) -> np.ndarray:
    """TokenCut's box of each image, in patches: (B, 4) x1 y1 x2 y2, right and bottom exclusive.

    See `tokencut_masks` for the arguments.
    """
    return mask_boxes(tokencut_masks(features, grid, threshold, epsilon))


@dataclass(frozen=True)
class _Choice:
    """What chooses a side of the cut beside y itself; see `tokencut_masks`."""

    grid: tuple[int, int]
    found: Tensor | None
    corners: int | None

    def select(self, images: Tensor | slice) -> _Choice:
        """That of some images."""
        return self if self.found is None else replace(self, found=self.found[images])

    def left(self, inside: Tensor) -> Tensor:
        """(B, N) bool: what of a side is not found."""
        return inside if self.found is None else inside & ~self.found

    def is_background(self, inside: Tensor) -> Tensor:
        """(B,) bool: whether a side (B, N) holds too many corners."""
        rows, columns = (0, 0, -1, -1), (0, -1, 0, -1)
        held = inside.view(-1, *self.grid)[:, rows, columns].sum(dim=1)
        return held >= (self.corners or len(rows) + 1)


def _cuts(
    features: Tensor, threshold: float, epsilon: float, choice: _Choice
) -> tuple[Tensor, Tensor]:
    """y (B, N) float64, 1 at the seed, and the seeds (B,), a few images at a time."""
    count = features.shape[1]
    size = max(1, _AT_ONCE.get(features.device.type, 2**22) // count**2)
    packed = not fits_dense(count, features.device)
    parts = []
    for start in range(0, len(features), size):
        some = slice(start, start + size)
        own = choice.select(some)
        graph = affinity_graph(features[some], threshold, epsilon, own.found, packed)

        def certain(images: Tensor, y: Tensor, error: Tensor, own: _Choice = own) -> Tensor:
            return _is_certain(y, error, own.select(images))

        y = second_eigenvectors(graph, certain)
        parts.append(_oriented(y, own))
    return torch.cat([y for y, _ in parts]), torch.cat([seed for _, seed in parts])


def _oriented(y: Tensor, choice: _Choice) -> tuple[Tensor, Tensor]:
    """y with 1 at the seed, the first patch of largest |y| that is not found; and the seed.

    Where the seed's side is background by its corners, the other side is positive, and its first
    patch of largest y is the seed.
    """
    seed = _first_largest(y.abs(), choice)
    scaled = _scaled(y, seed, y.gather(1, seed.unsqueeze(1)).sign())
    if choice.corners is None:
        return scaled, seed
    inside = _above_mean(scaled, seed, choice.found)
    reversed_ = choice.is_background(inside) & choice.left(~inside).any(dim=1)
    other = _first_largest(-scaled, choice)
    seed = torch.where(reversed_, other, seed)
    return _scaled(scaled, seed, torch.where(reversed_, -1.0, 1.0).unsqueeze(1)), seed


def _first_largest(values: Tensor, choice: _Choice) -> Tensor:
    """(B,) the first patch whose value equals the largest of those that are not found."""
    tie = _TIE * values.abs().amax(dim=1, keepdim=True)
    if choice.found is not None:
        values = values.masked_fill(choice.found, -torch.inf)
    largest = values.amax(dim=1, keepdim=True)
    return (values >= largest - tie).float().argmax(dim=1)


def _scaled(y: Tensor, seed: Tensor, sign: Tensor) -> Tensor:
    """y of the given sign (B, 1) and of size 1 at the seed, where it is not zero there."""
    at_seed = y.gather(1, seed.unsqueeze(1)).abs()
    sign = torch.where(sign == 0, 1.0, sign)
    return y * sign / torch.where(at_seed == 0, 1.0, at_seed)


def _above_mean(
    y: Tensor, seed: Tensor, found: Tensor | None, margin: Tensor | float = 0.0
) -> Tensor:
    """(B, N) bool: the seed's side of the mean, by more than a margin; y from `_oriented`."""
    inside = y - y.mean(dim=1, keepdim=True) > margin + _TIE
    inside.scatter_(1, seed.unsqueeze(1), True)  # where all entries are equal
    return inside if found is None else inside & ~found


def _is_certain(y: Tensor, error: Tensor, choice: _Choice) -> Tensor:
    """(B,) bool: whether no y within its error has another mask.

    The masks of the largest and of the smallest foreground that the error allows enclose all
    others; where their components at the seed are one, it is the mask. Every patch that could be
    the seed must lie in it, and corners must choose the same side, or none.
    """
    oriented, seed = _oriented(y, choice)
    error = error / y.gather(1, seed.unsqueeze(1)).abs().clamp_min(1e-300)
    margin = error + error.mean(dim=1, keepdim=True)
    least = _above_mean(oriented, seed, choice.found, margin)
    most = _above_mean(oriented, seed, choice.found, -margin - 2 * _TIE)
    size, chosen = oriented.abs(), torch.ones_like(seed, dtype=torch.bool)
    if choice.corners is not None:
        by_corners = choice.is_background(choice.left(~most))
        either = choice.is_background(most) | choice.is_background(choice.left(~least))
        # Where the other side is background, the seed is the largest of this one.
        size, chosen = torch.where(by_corners.unsqueeze(1), oriented, size), by_corners | ~either
    if choice.found is not None:
        size = size.masked_fill(choice.found, -torch.inf)
    could_be_seed = size + error >= (size - error).amax(dim=1, keepdim=True)
    at_least, at_most = (
        torch.from_numpy(component_at(side.view(-1, *choice.grid), seed)).flatten(1).to(y.device)
        for side in (least, most)
    )
    settled = chosen & (at_least == at_most).all(dim=1)
    settled &= ~(could_be_seed & ~at_least).any(dim=1)
    # Seeds and means that are still in question then are ties.
    return settled | (error.amax(dim=1) <= _TIE)
