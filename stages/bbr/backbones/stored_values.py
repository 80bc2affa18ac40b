"""What a network gives, as files hold it: float16 or float32, and masks as bytes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from .feature_maps import FeatureMaps


def to_stored(values: Tensor, dtype: np.dtype, what: str) -> np.ndarray:
    """Values as a file is to hold them: float16 or float32.

    Args:
        what: they are, for the message.

    Raises:
        InputError: one is not finite, or too large for that type.
    """
    # By torch, which rounds to float16 as numpy does, five times as fast; and the extremes, which
    # NaN takes over, instead of a look at each.
    stored = values.to(getattr(torch, dtype.name)).cpu()
    if not torch.stack(stored.aminmax()).isfinite().all():
        raise InputError(
            f"{what} is not finite as {dtype}; use --dtype float32, or check the weights"
        )
    return stored.numpy()


def maps_as_stored(maps: FeatureMaps, dtype: str) -> FeatureMaps:
    """The keys and [CLS] attention of maps as they would be read from a file of this type."""
    kind = getattr(torch, dtype)
    attention = None if maps.cls_attention is None else maps.cls_attention.to(kind).float()
    return replace(maps, key=maps.key.to(kind).float(), cls_attention=attention)


def stored_mask(mask: Tensor) -> np.ndarray:
    """(H, W) in [0, 1] to uint8, rounded: above 0.5 becomes 128 and above, the rest less."""
    return (mask.float().cpu() * 255).round().to(torch.uint8).numpy()
