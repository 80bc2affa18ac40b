"""Several boxes per image: a heuristic again on what it has not found yet.

MaskCut, and TokenCut in its manner: the patches found are taken out of the affinity, and the rest
is cut again. LOST: the next seed is the patch of lowest degree outside of what is found. FOUND: the
next component of what is not background. MOST: the next pool, as long as there is one. Masks of an
image do not overlap; their boxes may.

The score says how far an object stands out (`separation`), within [0, 1]; but no more than the
score of the box found before it, so that the method's own box stays first. It orders boxes, and
images by how sure their box is; it is no probability.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..backbones.feature_maps import FeatureMaps
from ..errors import InputError
from .cell_masks import CellMask
from .components import mask_boxes
from .found import found_masks
from .lost import lost_masks
from .maskcut import maskcut_masks
from .most import Tokens, pool_masks
from .move import mask_separation, move_object
from .registry import (
    FoundOptions,
    LostOptions,
    MaskcutOptions,
    MostOptions,
    MoveOptions,
    TokencutOptions,
    cls_attention,
    move_masks,
    propose_boxes,
)
from .tokencut import tokencut_masks

# From the positions of some images of a batch (n,) and their patches that are found already, (n, N)
# bool, to the next mask of each, (n, h, w) bool; empty where a method sees no other object.
_Next = Callable[[Tensor, Tensor], np.ndarray]


def _lost(batch: FeatureMaps, options: LostOptions) -> _Next:
    return lambda i, found: lost_masks(batch.key[i], batch.grid, options.k_patches, found)


def _tokencut(batch: FeatureMaps, options: TokencutOptions) -> _Next:
    given = options.threshold, options.epsilon
    return lambda i, found: tokencut_masks(batch.key[i], batch.grid, *given, found)


def _maskcut(batch: FeatureMaps, options: MaskcutOptions) -> _Next:
    given = options.threshold, options.epsilon
    return lambda i, found: maskcut_masks(batch.key[i], batch.grid, *given, found)


def _found(batch: FeatureMaps, options: FoundOptions) -> _Next:
    attention, threshold = cls_attention(batch, "found"), options.threshold
    return lambda i, found: found_masks(batch.key[i], attention[i], batch.grid, threshold, found)


def _most(batch: FeatureMaps, options: MostOptions) -> _Next:
    tokens = Tokens.of(batch.key, batch.grid, options.threshold, options.scales)
    return lambda i, found: pool_masks(tokens.select(i), batch.grid, options.threshold, found)


_MASKS: dict[str, Callable[[FeatureMaps, Any], _Next]] = {
    "lost": _lost,
    "tokencut": _tokencut,
    "found": _found,
    "most": _most,
    "maskcut": _maskcut,
}
SEVERAL = tuple(_MASKS)
WITH_MASKS = (*SEVERAL, "move")


class Proposal(NamedTuple):
    """A box that was proposed.

    Attributes:
        box: xyxy in image pixels.
        score: in [0, 1].
        mask: what the box was drawn around; None of methods that have no masks.
    """

    box: list[float]
    score: float
    mask: CellMask | None


def propose_several(
    batch: FeatureMaps, method: str, options: Any, most: int
) -> list[list[Proposal]]:
    """Up to `most` boxes of each image, fewer where every patch is found or a method sees no more.

    Args:
        options: from `registry.heuristic_options`.

    Returns:
        of each image, in the order of finding, so that scores do not rise.

    Raises:
        InputError: the method finds one box only.
    """
    if method not in _MASKS:
        raise InputError(
            f"method {method} finds one box an image; use --max-boxes 1, or one of"
            f" {', '.join(SEVERAL)}"
        )
    found = torch.zeros(batch.key.shape[:2], dtype=torch.bool, device=batch.key.device)
    proposed: list[list[Proposal]] = [[] for _ in batch.key]
    cell, next_masks = np.full(2, batch.patch_size), _MASKS[method](batch, options)
    left = torch.arange(len(found), device=found.device)
    for _ in range(most):
        left = left[(~found[left]).any(dim=1)]
        if not len(left):
            break
        masks = next_masks(left, found[left])
        some = masks.any(axis=(1, 2))
        left, masks = left[torch.from_numpy(some).to(left.device)], masks[some]
        rest = batch.select(left)
        flat = torch.from_numpy(masks).flatten(1).to(found.device)
        found[left] |= flat
        boxes = rest.in_pixels(mask_boxes(masks)).astype(float).tolist()
        scores = separation(rest.key, flat).tolist()
        for image, box, score, mask in zip(left.tolist(), boxes, scores, masks, strict=True):
            before = proposed[image][-1].score if proposed[image] else 1.0
            proposed[image].append(Proposal(box, min(score, before), CellMask(mask, cell)))
    return proposed


def propose_scored(
    batch: FeatureMaps, method: str, options: Any, most: int
) -> list[list[Proposal]]:
    """Boxes of each image as `propose_several` gives them, of any method where `most` is 1.

    MOVE's score is how far its box stands out of its mask; that of methods without a mask is 1.
    """
    if most > 1 or method in _MASKS:
        return propose_several(batch, method, options, most)
    boxes = propose_boxes(batch, method, options)
    if method != "move":
        return [[Proposal(box, 1.0, None)] for box in boxes.tolist()]
    return [
        [_move_proposal(box, mask, np.divide(size, mask.shape), options)]
        for box, mask, size in zip(boxes, move_masks(batch), batch.sizes, strict=True)
    ]


def _move_proposal(
    box: np.ndarray, mask: np.ndarray, cell: np.ndarray, options: MoveOptions
) -> Proposal:
    score = mask_separation(mask, box / np.tile(cell[::-1], 2))
    found = move_object(mask, options.min_side, options.component == "last")
    return Proposal(box.tolist(), score, CellMask(found, cell))


def separation(features: Tensor, masks: Tensor) -> Tensor:
    """How far an object stands out: mean cosine among its patches, less that to all others.

    Negative differences, of patches less like each other than like the rest, become 0. Nothing in
    it prefers a size.

    Args:
        features: (B, N, d) float32.
        masks: (B, N) bool, at least one patch each.

    Returns:
        (B,) in [0, 1].
    """
    units = functional.normalize(features, dim=2)
    inside = masks.to(units.dtype)
    count = inside.sum(dim=1)
    # Sums of unit vectors: their products are sums over all pairs.
    own = (inside.unsqueeze(1) @ units)[:, 0]
    others = units.sum(dim=1) - own
    among = (own * own).sum(dim=1) / count**2
    across = (own * others).sum(dim=1) / (count * (masks.shape[1] - count).clamp_min(1))
    return (among - across).clamp(0, 1)
