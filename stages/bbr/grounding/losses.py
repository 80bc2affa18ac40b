"""The losses by which g learns from CLIP alone, and L_h's union of boxes (paper section 3.2)."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ..clip.network import Clip
from ..data.box_ops import to_cxcywh, to_xyxy


@dataclass(frozen=True)
class GroundingWeights:
    """λ4 (size of the map), λ5 (relevancy), λ6 (background) and λ7 (foreground).

    These defaults are WWbL's, for training g from scratch; refinement multiplies them by 4.
    """

    size: float = 0.25
    relevancy: float = 16.0
    background: float = 0.5
    foreground: float = 0.25


REFINEMENT_WEIGHTS = GroundingWeights(1.0, 64.0, 2.0, 1.0)


def add_grounding_weights(
    parser: argparse.ArgumentParser, default: GroundingWeights = GroundingWeights()
) -> None:
    """Options for every field of `GroundingWeights`."""
    for name, value in vars(default).items():
        parser.add_argument(
            f"--{name}-weight", type=float, default=value, help=f"of the {name} loss [{value:g}]"
        )


def pop_grounding_weights(options: dict[str, Any]) -> GroundingWeights:
    """Take what `add_grounding_weights` added out of parsed options."""
    names = vars(GroundingWeights())
    return GroundingWeights(**{name: options.pop(f"{name}_weight") for name in names})


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
    total = sum(getattr(weights, name) * loss for name, loss in losses.items())
    return {"total": total, **losses}


def _masked_similarities(
    clip: Clip, images: Tensor, maps: Tensor, texts: Tensor, weights: GroundingWeights
) -> dict[str, Tensor]:
    """The terms that run CLIP, in one batch; a term without weight is left out."""
    mask = maps.unsqueeze(1)
    shown = {"background": (1 - mask) * images, "foreground": mask * images}
    shown = {name: masked for name, masked in shown.items() if getattr(weights, name)}
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
