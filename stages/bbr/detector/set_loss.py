"""L_h: DETR's set criterion between h's k boxes and the target boxes of each image.

Paper section 3.1, equations 3 to 6; Carion et al. 2020 for what the paper leaves open: the
matching cost, and the weight of "no object" in the classification term.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional

from ..data.box_ops import to_xyxy
from ..options import option

OBJECT, NO_OBJECT = 0, 1
UNDECIDED = ("likeliest", "none")
_MIN_PROBABILITY = 0.5  # of what h takes for an object, where it may name several


@dataclass(frozen=True)
class LossWeights:
    """L_h: λ1 (classification), λ2 (l1), λ3 (GIoU) of equation 6, DETR's weight of "no object".

    The first three also weigh the matching cost.
    """

    classification_weight: float = option(2.0, "of the class in L_h", min=0)
    l1_weight: float = option(5.0, "of the distance of the boxes in L_h", min=0)
    giou_weight: float = option(2.0, "of the boxes' GIoU in L_h", min=0)
    no_object_weight: float = option(0.1, 'of the class "no object" within the class loss', min=0)


@dataclass(frozen=True)
class Matching:
    """Which prediction of which image answers which target; M pairs in all.

    Attributes:
        image, prediction: (M,) int64, indices into the (B, k) predictions.
        target: (M,) int64, indices into the concatenated targets.
    """

    image: Tensor
    prediction: Tensor
    target: Tensor


def matching_costs(logits: Tensor, boxes: Tensor, targets: Tensor, weights: LossWeights) -> Tensor:
    """Cost of giving each target to each prediction: (B, k, T) for T targets of the whole batch.

    Args:
        logits: (B, k, 2), object first.
        boxes: (B, k, 4) cxcywh in fractions of the image.
        targets: (T, 4) likewise.
    """
    probability = logits.softmax(dim=-1)[..., OBJECT]
    distance = torch.cdist(boxes, targets.expand(len(boxes), -1, -1), p=1)
    giou = elementwise_giou(boxes.unsqueeze(2), targets)
    return (
        -weights.classification_weight * probability.unsqueeze(-1)
        + weights.l1_weight * distance
        - weights.giou_weight * giou
    )


@torch.no_grad()
def match(logits: Tensor, boxes: Tensor, targets: list[Tensor], weights: LossWeights) -> Matching:
    """Cheapest one-to-one assignment of each image's targets to its k predictions.

    With more targets than predictions the k cheapest pairs to assign are kept; with none, nothing
    is matched. One cost tensor serves the batch; only the assignment itself goes image by image.

    Args:
        targets: B tensors (n_i, 4), cxcywh in fractions of the image; n_i may be 0.
    """
    counts = [len(target) for target in targets]
    costs = matching_costs(logits.float(), boxes.float(), torch.cat(targets).float(), weights)
    images, predictions, matched = [], [], []
    start = 0
    for image, (cost, count) in enumerate(zip(costs.cpu(), counts, strict=True)):
        rows, columns = linear_sum_assignment(cost[:, start : start + count].numpy())
        images += [image] * len(rows)
        predictions += rows.tolist()
        matched += (columns + start).tolist()
        start += count
    indices = torch.tensor([images, predictions, matched], dtype=torch.int64)
    return Matching(*indices.to(boxes.device))


def most_confident(logits: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """h's box of highest object probability: probabilities (B,) and boxes (B, 4).

    Args:
        logits: (B, k, 2), object first.
        boxes: (B, k, 4).
    """
    probability, best = logits.softmax(dim=-1)[..., OBJECT].max(dim=1)
    return probability, boxes[torch.arange(len(boxes), device=boxes.device), best]


def choose_boxes(
    logits: Tensor, boxes: Tensor, several: bool, undecided: str = "likeliest"
) -> list[tuple[Tensor, Tensor]]:
    """h's answer for each of B maps: probabilities (n,) and boxes (n, 4).

    Args:
        logits: (B, k, 2), object first.
        boxes: (B, k, 4).
        several: all boxes of object probability above one half (grounding); without it the
            likeliest.
        undecided: with `several`, where there is no such box: `likeliest`, or `none`.
    """
    probability = logits.softmax(dim=-1)[..., OBJECT]
    best, likeliest = most_confident(logits, boxes)
    found = []
    for p, own, top, box in zip(probability, boxes, best, likeliest, strict=True):
        meant = p > _MIN_PROBABILITY
        alone = not several or (undecided == "likeliest" and not meant.any())
        found.append((top.view(1), box.view(1, 4)) if alone else (p[meant], own[meant]))
    return found


def set_loss(
    logits: Tensor, boxes: Tensor, targets: list[Tensor], weights: LossWeights
) -> dict[str, Tensor]:
    """L_h of a batch and its three terms, unweighted: `total`, `classification`, `l1`, `giou`.

    As in DETR the box terms are sums over matched pairs divided by the number of targets in the
    batch (at least 1), and the classification term is a weighted mean over all k predictions.

    Args:
        logits: (B, k, 2), object first.
        boxes: (B, k, 4) cxcywh in fractions of the image.
        targets: B tensors (n_i, 4) likewise.
    """
    matching = match(logits, boxes, targets, weights)
    wanted = torch.full(logits.shape[:2], NO_OBJECT, device=logits.device)
    wanted[matching.image, matching.prediction] = OBJECT
    class_weights = logits.new_tensor([1.0, weights.no_object_weight])
    classification = functional.cross_entropy(logits.flatten(0, 1), wanted.flatten(), class_weights)

    matched = boxes[matching.image, matching.prediction]
    target = torch.cat(targets)[matching.target]
    normalizer = max(1, sum(len(t) for t in targets))
    l1 = (matched - target).abs().sum() / normalizer
    giou = (1 - elementwise_giou(matched, target)).sum() / normalizer
    total = (
        weights.classification_weight * classification
        + weights.l1_weight * l1
        + weights.giou_weight * giou
    )
    return {"total": total, "classification": classification, "l1": l1, "giou": giou}


def elementwise_giou(first: Tensor, second: Tensor) -> Tensor:
    """Generalised IoU (Rezatofighi et al. 2019) of boxes (..., 4) cxcywh that broadcast: (...).

    Not torchvision's, which is NaN for two boxes without area.
    """
    a, b = to_xyxy(first), to_xyxy(second)
    low, high = torch.minimum, torch.maximum
    inner = (low(a[..., 2:], b[..., 2:]) - high(a[..., :2], b[..., :2])).clamp(min=0)
    outer = high(a[..., 2:], b[..., 2:]) - low(a[..., :2], b[..., :2])
    intersection, hull = inner.prod(dim=-1), outer.prod(dim=-1)
    union = first[..., 2:].prod(dim=-1) + second[..., 2:].prod(dim=-1) - intersection
    # Areas below a ten-millionth of the image count as that: finite value, bounded gradient.
    least = torch.finfo(first.dtype).eps
    return intersection / union.clamp(min=least) - (hull - union) / hull.clamp(min=least)
