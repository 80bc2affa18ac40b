"""Boxes as tensors, between pixels and the fractions of the image that h works in.

Boxes are (..., 4) and `xyxy` in pixels unless a name says otherwise. Changes of layout alone are
`torchvision.ops.box_convert`, and clipping is `torchvision.ops.clip_boxes_to_image`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.ops import box_convert


def normalize_boxes(boxes: Tensor, image_size: Tensor | Sequence[float]) -> Tensor:
    """`xyxy` boxes in pixels as `cxcywh` in fractions of the image, which is what h predicts.

    Args:
        boxes: (..., 4) `xyxy` in pixels.
        image_size: (2,) or (..., 2), height and width in pixels; leading dimensions broadcast
            against those of `boxes`.
    """
    return box_convert(boxes / _scale(boxes, image_size), "xyxy", "cxcywh")


def denormalize_boxes(boxes: Tensor, image_size: Tensor | Sequence[float]) -> Tensor:
    """The inverse of `normalize_boxes`: `cxcywh` in fractions of the image to `xyxy` in pixels."""
    return box_convert(boxes, "cxcywh", "xyxy") * _scale(boxes, image_size)


def _scale(boxes: Tensor, image_size: Tensor | Sequence[float]) -> Tensor:
    """(..., 4) width, height, width, height, in the type and on the device of `boxes`."""
    height, width = torch.as_tensor(image_size, dtype=boxes.dtype, device=boxes.device).unbind(-1)
    return torch.stack((width, height, width, height), dim=-1)
