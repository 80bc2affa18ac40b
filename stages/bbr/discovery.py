"""Boxes of one image, without files between: what extract_features and pseudo_boxes do to it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .backbones.base import Backbone
from .backbones.build import load_backbone
from .backbones.feature_maps import FeatureMaps
from .backbones.masked import Segmenter
from .backbones.stored_values import stored_mask
from .command_line.devices import choose_device
from .data.images import read_rgb, shrunk, upright_rgb
from .data.loading import to_tensor
from .errors import InputError
from .heuristics.multi_box import propose_scored
from .heuristics.registry import heuristic_options

DEFAULT_BACKBONE = "dinov2_vits14"
LONGEST_SIDE = 1024

# What packaged backbones need for photographs and do not say themselves; as config.yaml has it.
_SCALES = {"dinov2_vits14": 0.6}
_NORMALIZATIONS = {
    ("efficientnet_lite0", "tokencut"): "none",  # cosines of centred features find no cut
}
_OPTIONS: dict[tuple[str, str], dict[str, Any]] = {
    ("dinov2_vits14", "lost"): {"k_patches": 0.07},
}


class Discovery(NamedTuple):
    """What was found in an image, best first.

    Attributes:
        boxes: (n, 4) float64, x1 y1 x2 y2 in pixels of the image, right and bottom exclusive.
        scores: (n,) float64 in [0, 1]: how far each object stands out; no probabilities. 1 of
            methods that have no such measure.
    """

    boxes: np.ndarray
    scores: np.ndarray


def discover(
    image: Path | str | Image.Image | np.ndarray,
    method: str = "tokencut",
    backbone: str | Backbone = DEFAULT_BACKBONE,
    *,
    max_boxes: int = 1,
    longest_side: int | None = LONGEST_SIDE,
    scale: float | None = None,
    device: str = "auto",
    **options: Any,
) -> Discovery:
    """Find objects in one image without labels.

    An image whose longer side has at most `longest_side` pixels gets the boxes that the stages
    extract_features and pseudo_boxes give it.

    Args:
        image: a file, a Pillow image, or an array (H, W, 3) uint8, RGB. Files and Pillow images
            are turned upright by their EXIF orientation; boxes are those of the upright image.
        method: one of `bbr.heuristics.registry.METHODS`.
        backbone: the name of packaged weights, a .safetensors file made by a stage (f^h, say), or
            what `load_backbone` returned.
        max_boxes: boxes to look for; more than one by LOST, TokenCut, FOUND, MOST and MaskCut.
        longest_side: larger images are shrunk to it before the network sees them, since memory
            grows with the square of their area; None never shrinks.
        scale: the network sees images so many times as large; None for the backbone's own, 0.6 of
            the packaged DINOv2. What is loaded already keeps its own.
        device: auto, cpu or cuda.
        options: of the method, as `bbr.heuristics.registry` lists them: `k_patches` of LOST,
            `threshold` of TokenCut.

    Raises:
        InputError: the image cannot be read, or the method or backbone does not fit.
    """
    if max_boxes < 1:
        raise InputError(f"max_boxes is {max_boxes}, must be at least 1")
    named = backbone if isinstance(backbone, str) else ""
    chosen = heuristic_options(method, _OPTIONS.get((named, method), {}) | options)
    place = choose_device(device)
    if isinstance(backbone, str):
        normalization = _NORMALIZATIONS.get((backbone, method))
        network = _loaded(backbone, normalization, scale or _SCALES.get(backbone), place)
    else:
        network = backbone.to(place)
    pixels = _pixels(image)
    seen = shrunk(pixels, longest_side)
    found = propose_scored(_features(network, seen), method, chosen, max_boxes)[0]
    enlarged = np.tile(np.divide(pixels.shape[1::-1], seen.shape[1::-1]), 2)
    boxes = np.array([each.box for each in found]) * enlarged
    return Discovery(boxes, np.array([each.score for each in found]))


@lru_cache(maxsize=2)
def _loaded(
    weights: str, normalization: str | None, scale: float | None, device: torch.device
) -> Backbone:
    return load_backbone(weights, normalization=normalization, scale=scale).to(device)


def _pixels(image: Path | str | Image.Image | np.ndarray) -> np.ndarray:
    if isinstance(image, Image.Image):
        return upright_rgb(image)
    if not isinstance(image, np.ndarray):
        return read_rgb(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise InputError(
            f"an array {image.shape} of {image.dtype} is no image; give (H, W, 3) uint8, RGB"
        )
    return image


@torch.inference_mode()
def _features(backbone: Backbone, pixels: np.ndarray) -> FeatureMaps:
    """The features of one image, rounded as features.h5 keeps them."""
    maps = backbone(backbone.prepare(to_tensor(pixels)[None]), ("cls_attention",))
    masks = None
    if isinstance(backbone, Segmenter) and maps.mask is not None:
        mask = backbone.image_mask(maps.mask[0], pixels.shape[:2])
        masks = [stored_mask(mask).astype(np.float32) / 255]
    return FeatureMaps(
        image_ids=[1],
        image_sizes=np.array([pixels.shape[:2]]),
        grid=maps.grid,
        key=_kept(maps.key),
        cls_attention=None if maps.cls_attention is None else _kept(maps.cls_attention),
        patch_size=backbone.patch_pixels,
        image_masks=masks,
    )


def _kept(values: Tensor) -> Tensor:
    return values.half().float()
