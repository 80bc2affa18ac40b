"""The losses by which g learns from CLIP alone, and L_h's union of boxes (paper section 3.2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ..clip.network import Clip
from ..data.box_ops import to_cxcywh, to_xyxy
from ..options import option


@dataclass(frozen=True)
class GroundingWeights:
    """The losses by which g learns from CLIP: λ4 to λ7.

    These defaults are WWbL's, for training g from scratch; refinement multiplies them by 4.
    """

    size_weight: float = option(0.25, "of the mean of the map", min=0)
    relevancy_weight: float = option(16.0, "of the square distance to CLIP's relevancy", min=0)
    background_weight: float = option(
        0.5, "of the likeness of what the map hides to the text", min=0
    )
    foreground_weight: float = option(
        0.25, "of the unlikeness of what the map shows to the text", min=0
    )


SIMILARITIES = ("pair", "batch")


@dataclass(frozen=True)
class SimilarityOptions:
    """Of which images and texts CLIP's similarity is taken."""

    similarity: str = option(
        "pair",
        "of each image and its text, as equations 9 and 10 read; or of every image and every text"
        " of a batch, as in WWbL's code",
        choices=SIMILARITIES,
        later=True,
    )


REFINEMENT_WEIGHTS = GroundingWeights(1.0, 64.0, 2.0, 1.0)


def grounding_losses(
    clip: Clip,
    images: Tensor,
    maps: Tensor,
    texts: Tensor,
    relevancy: Tensor,
    weights: GroundingWeights,
    similarity: str = "pair",
) -> dict[str, Tensor]:
    """The four terms, each a mean over the batch and unweighted, and their weighted sum `total`.

    `size`: mean of the map. `relevancy`: mean square distance to CLIP's relevancy map (equation
    8). `background`: |CLIP((1 − M) ⊙ I, t)| (equation 10; absolute as WWbL has it). `foreground`:
    1 − CLIP(M ⊙ I, t) (equation 9, but for the constant). What a map hides is black, or what
    `clip` says.

    Args:
        images: (B, 3, H, W) in [0, 1].
        maps: (B, H, W) in [0, 1], g's.
        texts: (B, d), unit embeddings.
        relevancy: (B, H, W) in [0, 1].
        similarity: of `pair`s, or of the whole `batch`: see `SimilarityOptions`.
    """
    losses = {"size": maps.mean(), "relevancy": functional.mse_loss(maps, relevancy)}
    losses |= _masked_similarities(clip, images, maps, texts, weights, similarity)
    total = sum(getattr(weights, f"{name}_weight") * loss for name, loss in losses.items())
    return {"total": total, **losses}


def _masked_similarities(
    clip: Clip,
    images: Tensor,
    maps: Tensor,
    texts: Tensor,
    weights: GroundingWeights,
    similarity: str,
) -> dict[str, Tensor]:
    """The terms that run CLIP, in one batch; a term without weight is left out."""
    mask = maps.unsqueeze(1)
    masks = {"background": 1 - mask, "foreground": mask}
    masks = {name: own for name, own in masks.items() if getattr(weights, f"{name}_weight")}
    if not masks:
        return {}
    if clip.resizing == "bilinear":  # what is shown is made of image and map at CLIP's size
        images = clip.resized(images)
        masks = {name: clip.resized(own) for name, own in masks.items()}
    shown = {name: own * (images - clip.hidden) + clip.hidden for name, own in masks.items()}
    embeddings = clip.encode_images(torch.cat(list(shown.values()))).chunk(len(shown))
    cosines = {
        name: found @ texts.T if similarity == "batch" else (found * texts).sum(dim=1)
        for name, found in zip(shown, embeddings, strict=True)
    }
    measure = {"background": torch.abs, "foreground": lambda cosine: 1 - cosine}
    return {name: measure[name](cosine).mean() for name, cosine in cosines.items()}


def box_masks(boxes: list[Tensor], size: tuple[int, int]) -> Tensor:
    """Which pixels have their centre in one of the boxes of their map: (B, H, W) of truth values.

    Args:
        boxes: B tensors (n_i, 4), cxcywh in fractions of the map; n_i may be 0.
        size: (H, W).
    """
    return torch.stack([_box_mask(to_xyxy(own), size) for own in boxes])


def _box_mask(corners: Tensor, size: tuple[int, int]) -> Tensor:
    inside = []
    for axis, count in enumerate((size[1], size[0])):
        centers = (torch.arange(count, device=corners.device) + 0.5) / count
        low, high = corners[:, axis, None], corners[:, axis + 2, None]
        inside.append((low <= centers) & (centers < high))  # (n, count)
    columns, rows = inside
    return (rows[:, :, None] & columns[:, None, :]).any(dim=0)


def mask_loss(logits: Tensor, masks: Tensor, inside_share: float = 0.5) -> Tensor:
    """Section 3: boxes as foreground masks, and the values of g's output inside and outside them.

    The mean of −log M inside plus the mean of −log(1 − M) outside, for each map, so that a small
    box weighs as much as what surrounds it; then the mean over the maps. Of a mask without an
    inside, or without an outside, that part is 0.

    Where it is not certain where a box lies, such a balance makes maps wider than boxes: for boxes
    that take the share A of the map, M is one half where a pixel is inside with probability A. A
    lower share of the inside takes that back.

    Args:
        logits: (B, H, W), of which M is the sigmoid: −log M stays finite where M itself would be
            rounded to 0 or 1.
        masks: (B, H, W) of truth values.
        inside_share: weight of the inside, in (0, 1), against 1 - it of the outside; times 2, so
            that at 0.5 both weigh 1.
    """
    inside = _mean_where(functional.softplus(-logits), masks)
    outside = _mean_where(functional.softplus(logits), ~masks)
    return 2 * (inside_share * inside + (1 - inside_share) * outside).mean()


def _mean_where(values: Tensor, chosen: Tensor) -> Tensor:
    """The mean over the chosen pixels of each map, 0 where there are none: (B,)."""
    count = chosen.sum(dim=(1, 2)).clamp(min=1)
    return values.where(chosen, values.new_zeros(())).sum(dim=(1, 2)) / count


def union_box(boxes: Tensor) -> Tensor:
    """The smallest box around all: (n, 4) cxcywh to (1, 4); none of none."""
    if len(boxes) == 0:
        return boxes
    corners = to_xyxy(boxes)
    around = torch.cat((corners[:, :2].amin(dim=0), corners[:, 2:].amax(dim=0)))
    return to_cxcywh(around.unsqueeze(0))


def toss_coins(
    count: int, probability: float, generator: torch.Generator, of_each: bool = True
) -> list[bool]:
    """Equation 7's coin for each image, or one for all of a batch, as the released code has it;
    one number is drawn for each coin, whatever the probability."""
    tossed = torch.rand(count if of_each else 1, generator=generator) < probability
    return tossed.expand(count).tolist()


def with_unions(boxes: list[Tensor], coins: list[bool]) -> list[Tensor]:
    """Equation 7: each image's boxes, or where its coin says so their union in their place.

    Args:
        boxes: B tensors (n_i, 4), cxcywh.
        coins: B of `toss_coins`.
    """
    return [union_box(own) if coin else own for own, coin in zip(boxes, coins, strict=True)]
