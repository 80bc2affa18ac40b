"""Segmenters as MOVE publishes them, in the layout of its training checkpoints."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ..backbones.base import Backbone, SegmenterSpec
from ..backbones.masked import Segmenter
from ..errors import InputError
from ..storage.safetensors_files import fit_weights
from .weight_layouts import read_foreign

_FEATURES, _NORM, _HEAD = "feature_extractor.model.", "feature_extractor.norm.", "segmenter_head."
# f^h of the paper's release keeps the published head beside the one that it trained.
_REFINED_HEAD = "random_segmenter."


def load_published_segmenter(path: Path | str, features: Backbone) -> Segmenter:
    """MOVE's segmenter from a checkpoint of its training, or from a state dict of the segmenter.

    Such a file has the normalisation and the head, and may or may not have f, the frozen DINO; if
    it has, that replaces the weights of `features`. A head that the paper's release refined goes
    before the one that it was refined from. What else it holds is passed over.

    Args:
        features: f, of the architecture that the segmenter was trained on.

    Raises:
        InputError: the file holds no segmenter, or one that does not fit f.
    """
    tensors = read_foreign(path)
    parts = {prefix: _below(tensors, prefix) for prefix in (_FEATURES, _NORM, _HEAD)}
    parts[_HEAD] = _below(tensors, _REFINED_HEAD) or parts[_HEAD]
    if not parts[_NORM] or not parts[_HEAD]:
        raise InputError(
            f"{path}: holds no {_NORM}* and {_HEAD}*; give a checkpoint of MOVE's segmenter"
        )
    segmenter = Segmenter(features, _head_spec(parts[_HEAD], path)).eval()
    name = features.spec.architecture
    fit_weights(segmenter.norm, parts[_NORM], str(path), f"{name} (norm)")
    fit_weights(segmenter.head, parts[_HEAD], str(path), f"{name} (head)")
    if parts[_FEATURES]:
        fit_weights(features.network, parts[_FEATURES], str(path), name)
    return segmenter


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Tensors whose names have `prefix` after any wrapper's, under what follows it."""
    return {
        name.partition(prefix)[2]: tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix) or f".{prefix}" in name
    }


def _head_spec(head: dict[str, Tensor], path: Path | str) -> SegmenterSpec:
    """Blocks are counted, and the last tells the least width."""
    logit = max(int(name.split(".")[1]) for name in head)
    weight = head.get(f"model.{logit}.weight", torch.zeros(0))
    if weight.ndim != 4 or weight.shape[0] != 1:
        raise InputError(f"{path}: its {_HEAD}* does not end in a convolution to one mask")
    return SegmenterSpec(upsamplings=logit - 1, min_width=weight.shape[1])
