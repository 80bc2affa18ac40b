"""What L_f (equation 17) compares of f's output and f^h's."""

from __future__ import annotations

import torch
from torch import Tensor

from ..backbones.feature_maps import FeatureMaps
from ..errors import InputError

REGULARIZERS = ("cls", "tokens", "keys", "mean_key", "mask", "none")


def extras_of_regularizer(on: str) -> frozenset[str]:
    """What `regularized` reads besides keys and mask; see `Backbone.trainable_forward`."""
    return frozenset({"tokens"} if on in ("cls", "tokens") else ())


def regularized(maps: FeatureMaps, on: str) -> Tensor:
    """The output that L_f compares: [CLS], all tokens, the keys, their mean over an image's patches
    or the mask, float32; empty for `none`.

    Raises:
        InputError: a mask is wanted of a backbone that has none.
    """
    if on == "mask":
        if maps.mask is None:
            raise InputError("regularize mask: this backbone gives no mask; use a segmenter")
        return maps.mask.flatten(1).unsqueeze(1)
    if on == "none":
        return maps.key.new_zeros(len(maps.key), 0, dtype=torch.float32)
    if on == "keys":
        return maps.key.float()
    if on == "mean_key":
        return maps.key.float().mean(dim=1, keepdim=True)
    assert maps.tokens is not None, "a network gives tokens"
    return (maps.tokens if on == "tokens" else maps.tokens[:, :1]).float()
