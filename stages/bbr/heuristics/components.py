"""Connected components of batches of binary patch masks, and their boxes."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from torch import Tensor

# Neighbours within a plane only: planes of a batch are labelled in one call and never touch.
_IN_PLANE_4 = np.zeros((3, 3, 3), dtype=bool)
_IN_PLANE_4[1] = ndimage.generate_binary_structure(2, 1)


def label_components(masks: Tensor) -> np.ndarray:
    """4-connected components of (B, h, w) masks: (B, h, w) int32, 0 outside; labels are unique
    in the whole batch."""
    labels, _ = ndimage.label(masks.cpu().numpy(), structure=_IN_PLANE_4)
    return labels


def component_at(masks: Tensor, seeds: Tensor) -> np.ndarray:
    """The 4-connected component of each mask that holds its seed patch.

    Args:
        masks: (B, h, w) bool.
        seeds: (B,) int64, row-major patch numbers; each must lie in its mask.

    Returns:
        (B, h, w) bool.
    """
    labels = label_components(masks)
    at_seed = labels.reshape(len(labels), -1)[np.arange(len(labels)), seeds.cpu().numpy()]
    if (at_seed == 0).any():
        raise ValueError("a seed lies outside its mask")
    return labels == at_seed[:, None, None]


def largest_component(masks: Tensor) -> np.ndarray:
    """The 4-connected component of most patches of each (h, w) mask; the first on ties.

    Every mask must have at least one patch. Returns (B, h, w) bool.
    """
    labels = label_components(masks)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    flat = labels.reshape(len(labels), -1)
    # Labels rise in row-major order, so the first patch of greatest size is of the first such one.
    chosen = flat[np.arange(len(flat)), sizes[flat].argmax(axis=1)]
    if (chosen == 0).any():
        raise ValueError("a mask is empty")
    return labels == chosen[:, None, None]


def mask_boxes(masks: np.ndarray) -> np.ndarray:
    """Bounding boxes of (B, h, w) non-empty masks in patches: (B, 4) int64, x1 y1 x2 y2, the
    right and bottom edges exclusive."""
    columns, rows = np.any(masks, axis=1), np.any(masks, axis=2)
    left, top = columns.argmax(axis=1), rows.argmax(axis=1)
    right = columns.shape[1] - columns[:, ::-1].argmax(axis=1)
    bottom = rows.shape[1] - rows[:, ::-1].argmax(axis=1)
    return np.stack((left, top, right, bottom), axis=1)
