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


REFINEMENT_WEIGHTS = GroundingWeights(1.0, 64.0, 2.0, 1.0)


def grounding_losses(
    clip: Clip,
    images: Tensor,
    maps: Tensor,
    texts: Tensor,
    relevancy: Tensor,
    weights: GroundingWeights,
) -> dict[str, Tensor]:
    """The four terms, each a mean over the batch and unweighted, and their weighted sum `total`.

    `size`: mean of the map. `relevancy`: mean square distance to CLIP's relevancy map (equation
    8). `background`: |CLIP((1 − M) ⊙ I, t)| (equation 10; absolute as WWbL has it). `foreground`:
    1 − CLIP(M ⊙ I, t) (equation 9, but for the constant). What a map hides is black.

    Args:
        images: (B, 3, H, W) in [0, 1].
        maps: (B, H, W) in [0, 1], g's.
        texts: (B, d), unit embeddings.
        relevancy: (B, H, W) in [0, 1].
    """
    losses = {"size": maps.mean(), "relevancy": functional.mse_loss(maps, relevancy)}
    losses |= _masked_similarities(clip, images, maps, texts, weights)
    total = sum(getattr(weights, f"{name}_weight") * loss for name, loss in losses.items())
    return {"total": total, **losses}


def _masked_similarities(
    clip: Clip, images: Tensor, maps: Tensor, texts: Tensor, weights: GroundingWeights
) -> dict[str, Tensor]:
    """The terms that run CLIP, in one batch; a term without weight is left out."""
    mask = maps.unsqueeze(1)
    shown = {"background": (1 - mask) * images, "foreground": mask * images}
    shown = {name: masked for name, masked in shown.items() if getattr(weights, f"{name}_weight")}
    if not shown:
        return {}
    embeddings = clip.encode_images(torch.cat(list(shown.values()))).chunk(len(shown))
    cosines = {
        name: (found * texts).sum(dim=1) for name, found in zip(shown, embeddings, strict=True)
    }
    measure = {"background": torch.abs, "foreground": lambda cosine: 1 - cosine}
    return {name: measure[name](cosine).mean() for name, cosine in cosines.items()}


def union_box(boxes: Tensor) -> Tensor:
    """The smallest box around all: (n, 4) cxcywh to (1, 4); none of none."""
    if len(boxes) == 0:
        return boxes
    corners = to_xyxy(boxes)
    around = torch.cat((corners[:, :2].amin(dim=0), corners[:, 2:].amax(dim=0)))
    return to_cxcywh(around.unsqueeze(0))


def toss_unions(
    targets: list[Tensor], probability: float, generator: torch.Generator
) -> list[Tensor]:
    """Equation 7: each image's targets, or with this probability their union in their place.

    Args:
        targets: B tensors (n_i, 4), cxcywh.
        generator: one number is drawn for each image, whatever the probability.
    """
    tossed = torch.rand(len(targets), generator=generator) < probability
    return [
        union_box(boxes) if union else boxes
        for boxes, union in zip(targets, tossed.tolist(), strict=True)
    ]
