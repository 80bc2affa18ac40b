"""The heuristics by name: patch features of a batch of images to one box per image.

To add one, write its function in a module of its own and an entry here; CONTRIBUTING has the
steps. Options are fields of a dataclass, which also make command lines and the configuration.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..backbones.feature_maps import FeatureMaps
from ..data.box_ops import to_cxcywh
from ..errors import InputError
from ..options import described, option, recorded, require_valid, variants
from .dino_seg import dino_seg_boxes
from .found import found_boxes
from .lost import lost_boxes
from .maskcut import maskcut_boxes
from .most import most_boxes
from .move import move_box
from .tokencut import tokencut_boxes

BOX_EDGES = ("exclusive", "inclusive")
COMPONENTS = ("upper", "last")


@dataclass(frozen=True)
class LostOptions:
    """Options of LOST."""

    k_patches: float = option(
        100,
        "patches of lowest degree that may join the seed (the paper's a); below 1 their share",
        above=0,
    )

    def __post_init__(self) -> None:
        if self.k_patches >= 1 and not float(self.k_patches).is_integer():
            raise InputError(
                f"method lost: k_patches is {self.k_patches:g}, must be a whole number of patches,"
                " or a share of them between 0 and 1"
            )


@dataclass(frozen=True)
class TokencutOptions:
    """Options of TokenCut."""

    threshold: float = option(0.2, "cosine above which patches are alike (tau)", min=-1, below=1)
    epsilon: float = option(1e-5, "affinity of those that are not alike", above=0, max=1)


@dataclass(frozen=True)
class MaskcutOptions(TokencutOptions):
    """Options of MaskCut."""

    threshold: float = option(0.15, "cosine above which patches are alike (tau)", min=-1, below=1)


@dataclass(frozen=True)
class MostOptions:
    """Options of MOST."""

    threshold: float = option(0.2, "cosine above which patches are alike", min=-1, below=1)
    scales: int = option(
        5, "sides of the boxes, from one patch to so many, that similarity is read through", min=1
    )


@dataclass(frozen=True)
class DinoSegOptions:
    """Options of DINO-seg."""

    head: int = option(4, "attention head to read, from 0", min=0)
    attention_mass: float = option(0.6, "fraction of its attention to keep", above=0, max=1)


@dataclass(frozen=True)
class FoundOptions:
    """Options of FOUND."""

    threshold: float = option(
        0.3, "cosine to the background's patch above which patches are background", min=-1, below=1
    )


@dataclass(frozen=True)
class MoveOptions:
    """Options of MOVE's boxes."""

    min_side: float = option(
        0.05, "boxes of an area below (this x height)² are ignored", above=0, max=1
    )
    box_edges: str = option(
        "exclusive",
        "or inclusive, as in the published code: right and bottom one pixel less",
        choices=BOX_EDGES,
    )
    component: str = option(
        "upper",
        "of equally large boxes the upper, then the left one; or the last component's, as in the"
        " published code, which also ignores boxes of just the least area and where there is none"
        " has a square of the image's height",
        choices=COMPONENTS,
        later=True,
    )


@dataclass(frozen=True)
class CenterOptions:
    """Options of the box in the middle."""

    fraction: float = option(0.7, "of each side of the image that it spans", above=0, max=1)


@dataclass(frozen=True)
class NoOptions:
    """The heuristic has no options."""


def _lost(batch: FeatureMaps, options: LostOptions) -> np.ndarray:
    return batch.in_pixels(lost_boxes(batch.key, batch.grid, options.k_patches))


def _tokencut(batch: FeatureMaps, options: TokencutOptions) -> np.ndarray:
    boxes = tokencut_boxes(batch.key, batch.grid, options.threshold, options.epsilon)
    return batch.in_pixels(boxes)


def _maskcut(batch: FeatureMaps, options: MaskcutOptions) -> np.ndarray:
    boxes = maskcut_boxes(batch.key, batch.grid, options.threshold, options.epsilon)
    return batch.in_pixels(boxes)


def _most(batch: FeatureMaps, options: MostOptions) -> np.ndarray:
    return batch.in_pixels(most_boxes(batch.key, batch.grid, options.threshold, options.scales))


def cls_attention(batch: FeatureMaps, method: str) -> Tensor:
    """(B, heads, N) attention of [CLS].

    Raises:
        InputError: these features have none, so that the method cannot read them.
    """
    if batch.cls_attention is None:
        raise InputError(
            f"method {method}: these features have no cls_attention; use a transformer"
        )
    return batch.cls_attention


def _found(batch: FeatureMaps, options: FoundOptions) -> np.ndarray:
    attention = cls_attention(batch, "found")
    return batch.in_pixels(found_boxes(batch.key, attention, batch.grid, options.threshold))


def _dino_seg(batch: FeatureMaps, options: DinoSegOptions) -> np.ndarray:
    attention = cls_attention(batch, "dino_seg")
    if not 0 <= options.head < attention.shape[1]:
        raise InputError(
            f"method dino_seg: head {options.head} does not exist, the backbone has"
            f" {attention.shape[1]} heads; set --head"
        )
    return batch.in_pixels(
        dino_seg_boxes(attention[:, options.head], batch.grid, options.attention_mass)
    )


def move_masks(batch: FeatureMaps) -> list[np.ndarray]:
    """B masks (r, c) float32 in [0, 1] that span their images.

    Raises:
        InputError: these features have none.
    """
    if batch.foregrounds is None:
        raise InputError("method move: these features have no mask; use a segmenter as backbone")
    return batch.foregrounds


def _move(batch: FeatureMaps, options: MoveOptions) -> np.ndarray:
    masks = move_masks(batch)
    rules = options.min_side, options.box_edges == "inclusive", options.component == "last"
    boxes = [move_box(mask, *rules) for mask in masks]
    shapes = np.array([mask.shape for mask in masks])
    return np.array(boxes) * np.tile((batch.sizes / shapes)[:, ::-1], 2)


def _center(batch: FeatureMaps, options: CenterOptions) -> np.ndarray:
    size = batch.sizes[:, ::-1].astype(float)
    margin = size * (1 - options.fraction) / 2
    return np.concatenate((margin, size - margin), axis=1)


def _whole_image(batch: FeatureMaps, _: NoOptions) -> np.ndarray:
    return _center(batch, CenterOptions(fraction=1.0))


_HEURISTICS: dict[str, tuple[type, Callable[[FeatureMaps, Any], np.ndarray]]] = {
    "lost": (LostOptions, _lost),
    "tokencut": (TokencutOptions, _tokencut),
    "dino_seg": (DinoSegOptions, _dino_seg),
    "found": (FoundOptions, _found),
    "most": (MostOptions, _most),
    "maskcut": (MaskcutOptions, _maskcut),
    "move": (MoveOptions, _move),
    "center": (CenterOptions, _center),
    "whole_image": (NoOptions, _whole_image),
}
METHODS = tuple(_HEURISTICS)
_READ_ATTENTION = ("found", "dino_seg")
OPTIONS = {method: kind for method, (kind, _) in _HEURISTICS.items()}


def heuristic_options(method: str, given: dict[str, Any]) -> Any:
    """The options of a method, from those given by name.

    Raises:
        InputError: the method is unknown, has no such option, or a value is out of range.
    """
    if method not in _HEURISTICS:
        raise InputError(f"method {method!r} is unknown; choose one of {', '.join(METHODS)}")
    kind = OPTIONS[method]
    foreign = sorted(given.keys() - {each.name for each in described(kind)})
    if foreign:
        raise InputError(f"method {method} has no option {foreign[0]!r}")
    return require_valid(kind(**given), f"method {method}: ")


@dataclass(frozen=True)
class Heuristic:
    """The heuristic that proposes boxes."""

    method: str = option(help=", ".join(METHODS))
    options: Any = variants("method", OPTIONS, heuristic_options)


@dataclass(frozen=True)
class TrainingHeuristic(Heuristic):
    """The heuristic whose boxes are recomputed while training."""

    method: str = option("lost", "what proposes boxes", choices=METHODS, flag="heuristic")

    def recorded(self) -> dict[str, Any]:
        """What the provenance says."""
        return {"method": self.method, **recorded(self.options)}


def extras_of_method(method: str) -> frozenset[str]:
    """What a method reads besides keys and mask; see `Backbone.trainable_forward`."""
    return frozenset({"cls_attention"} if method in _READ_ATTENTION else ())


def propose_boxes(batch: FeatureMaps, method: str, options: Any) -> np.ndarray:
    """One box per image: (B, 4) float64 xyxy in image pixels.

    Args:
        options: from `heuristic_options`.
    """
    return _HEURISTICS[method][1](batch, options).astype(np.float64)


def propose_training_boxes(maps: FeatureMaps, method: str, options: Any) -> Tensor:
    """Boxes from a network's maps, as fractions of its input: (B, 4) float32 xyxy.

    Used where pseudo-boxes are recomputed while training, on images without padding.
    """
    attention = maps.cls_attention
    plain = replace(
        maps,
        key=maps.key.detach().float(),
        cls_attention=None if attention is None else attention.detach().float(),
    )
    boxes = torch.from_numpy(propose_boxes(plain, method, options)).float()
    height, width = maps.grid
    return (boxes / torch.tensor([width, height, width, height])).to(maps.key.device)


def propose_targets(maps: FeatureMaps, method: str, options: Any) -> Tensor:
    """What h is to learn from these maps: (B, 4) cxcywh in fractions of the network's input."""
    return to_cxcywh(propose_training_boxes(maps, method, options))
