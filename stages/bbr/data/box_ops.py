"""Boxes as tensors, between pixels and the fractions of the image that h works in.

Boxes are (..., 4) and `xyxy` in pixels unless a name says otherwise. `torchvision.ops` has the
like, but its import brings torch's compiler along and doubles the start of a stage that needs no
more than this.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def to_cxcywh(boxes: Tensor) -> Tensor:
    """`xyxy` to centre, width and height, in the same unit."""
    low, high = boxes[..., :2], boxes[..., 2:]
    return torch.cat(((low + high) / 2, high - low), dim=-1)


def to_xyxy(boxes: Tensor) -> Tensor:
    """The inverse of `to_cxcywh`."""
    center, half = boxes[..., :2], 0.5 * boxes[..., 2:]
    return torch.cat((center - half, center + half), dim=-1)


def to_xywh(boxes: Tensor) -> Tensor:
    """`xyxy` to left, top, width and height, as boxes.json has them."""
    return torch.cat((boxes[..., :2], boxes[..., 2:] - boxes[..., :2]), dim=-1)


def clip_boxes(boxes: Tensor, image_size: Sequence[float]) -> Tensor:
    """The part of `xyxy` boxes within an image of (height, width)."""
    height, width = image_size
    limits = boxes.new_tensor([width, height, width, height])
    return boxes.clamp(min=0).minimum(limits)


def normalize_boxes(boxes: Tensor, image_size: Tensor | Sequence[float]) -> Tensor:
    """`xyxy` boxes in pixels as `cxcywh` in fractions of the image, which is what h predicts.

    Args:
        boxes: (..., 4) `xyxy` in pixels.
        image_size: (2,) or (..., 2), height and width in pixels; leading dimensions broadcast
            against those of `boxes`.
    """
    return to_cxcywh(boxes / _scale(boxes, image_size))


def denormalize_boxes(boxes: Tensor, image_size: Tensor | Sequence[float]) -> Tensor:
    """The inverse of `normalize_boxes`: `cxcywh` in fractions of the image to `xyxy` in pixels."""
    return to_xyxy(boxes) * _scale(boxes, image_size)


def _scale(boxes: Tensor, image_size: Tensor | Sequence[float]) -> Tensor:
    """(..., 4) width, height, width, height, in the type and on the device of `boxes`."""
    height, width = torch.as_tensor(image_size, dtype=boxes.dtype, device=boxes.device).unbind(-1)
    return torch.stack((width, height, width, height), dim=-1)
