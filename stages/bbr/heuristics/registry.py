"""The heuristics by name: patch features of a batch of images to one box per image.

To add one, write its function in a module of its own and an entry here; CONTRIBUTING has the
steps. Options are the fields of a dataclass, which also make the command line.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..backbones.base import Maps
from ..backbones.features_h5 import FeatureBatch
from ..data.box_ops import to_cxcywh
from ..errors import InputError
from .dino_seg import dino_seg_boxes
from .lost import lost_boxes
from .move import move_box
from .tokencut import tokencut_boxes


@dataclass(frozen=True)
class LostOptions:
    """lowest: patches of lowest degree that may join the seed (the paper's a)."""

    lowest: int = 100


@dataclass(frozen=True)
class TokencutOptions:
    """threshold: cosine above which patches are alike (tau); epsilon: affinity of all others."""

    threshold: float = 0.2
    epsilon: float = 1e-5


@dataclass(frozen=True)
class DinoSegOptions:
    """head: attention head to read, from 0; mass: fraction of its attention to keep."""

    head: int = 4
    mass: float = 0.6


@dataclass(frozen=True)
class MoveOptions:
    """least_side: boxes of an area below (this · height)² are ignored; box_edges: exclusive, or
    inclusive as in the published code."""

    least_side: float = 0.05
    box_edges: str = "exclusive"


@dataclass(frozen=True)
class CenterOptions:
    """fraction: of each image side that the centred box spans."""

    fraction: float = 0.7


@dataclass(frozen=True)
class NoOptions:
    """The heuristic has no options."""


def _lost(batch: FeatureBatch, options: LostOptions) -> np.ndarray:
    return batch.in_pixels(lost_boxes(batch.key, batch.grid, options.lowest))


def _tokencut(batch: FeatureBatch, options: TokencutOptions) -> np.ndarray:
    boxes = tokencut_boxes(batch.key, batch.grid, options.threshold, options.epsilon)
    return batch.in_pixels(boxes)


def _dino_seg(batch: FeatureBatch, options: DinoSegOptions) -> np.ndarray:
    attention = batch.cls_attention
    if attention is None:
        raise InputError("method dino_seg: these features have no cls_attention; use a transformer")
    if not 0 <= options.head < attention.shape[1]:
        raise InputError(
            f"method dino_seg: head {options.head} does not exist, the backbone has"
            f" {attention.shape[1]} heads; set --head"
        )
    return batch.in_pixels(dino_seg_boxes(attention[:, options.head], batch.grid, options.mass))


def _move(batch: FeatureBatch, options: MoveOptions) -> np.ndarray:
    if batch.masks is None:
        raise InputError("method move: these features have no mask; use a segmenter as backbone")
    inclusive = options.box_edges == "inclusive"
    boxes = [move_box(mask, options.least_side, inclusive) for mask in batch.masks]
    shapes = np.array([mask.shape for mask in batch.masks])
    return np.array(boxes) * np.tile((batch.image_sizes / shapes)[:, ::-1], 2)


def _center(batch: FeatureBatch, options: CenterOptions) -> np.ndarray:
    size = batch.image_sizes[:, ::-1].astype(float)
    margin = size * (1 - options.fraction) / 2
    return np.concatenate((margin, size - margin), axis=1)


def _whole_image(batch: FeatureBatch, _: NoOptions) -> np.ndarray:
    return _center(batch, CenterOptions(fraction=1.0))


_HEURISTICS: dict[str, tuple[type, Callable[[FeatureBatch, Any], np.ndarray]]] = {
    "lost": (LostOptions, _lost),
    "tokencut": (TokencutOptions, _tokencut),
    "dino_seg": (DinoSegOptions, _dino_seg),
    "move": (MoveOptions, _move),
    "center": (CenterOptions, _center),
    "whole_image": (NoOptions, _whole_image),
}
METHODS = tuple(_HEURISTICS)
BOX_EDGES = ("exclusive", "inclusive")


def heuristic_options(method: str, given: dict[str, Any]) -> Any:
    """The options of a method, from those given by name.

    Raises:
        InputError: the method is unknown, has no such option, or a value is out of range.
    """
    if method not in _HEURISTICS:
        raise InputError(f"method {method!r} is unknown; choose one of {', '.join(METHODS)}")
    kind = _HEURISTICS[method][0]
    foreign = sorted(set(given) - {field.name for field in fields(kind)})
    if foreign:
        raise InputError(f"method {method} has no option {foreign[0]!r}")
    for name, value in given.items():
        if name == "lowest" and value < 1:
            raise InputError(f"method {method}: lowest is {value}, must be at least 1")
        if name == "box_edges" and value not in BOX_EDGES:
            raise InputError(f"method {method}: box_edges is {value!r}, not one of {BOX_EDGES}")
        if name in ("mass", "fraction", "epsilon", "least_side") and not 0 < value <= 1:
            raise InputError(f"method {method}: {name} is {value}, must lie in (0, 1]")
        if name == "threshold" and not -1 <= value < 1:
            raise InputError(f"method {method}: threshold is {value}, must lie in [-1, 1)")
    return kind(**given)


def add_heuristic_options(parser: argparse.ArgumentParser) -> None:
    """A command-line option for each option of each method, unset by default.

    Methods may share the name of an option, which then has one type.
    """
    helps: dict[tuple[str, type], list[str]] = {}
    for method, (kind, _) in _HEURISTICS.items():
        for field in fields(kind):
            text = f"{method}: {(kind.__doc__ or '').rstrip('.')} [{field.default}]"
            helps.setdefault((field.name, type(field.default)), []).append(text)
    for (name, kind), texts in helps.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, help="; ".join(texts))


def pop_heuristic_options(options: dict[str, Any]) -> dict[str, Any]:
    """Take the options that `add_heuristic_options` made, where set, out of parsed options."""
    names = {field.name for kind, _ in _HEURISTICS.values() for field in fields(kind)}
    given = {name: options.pop(name) for name in names if name in options}
    return {name: value for name, value in given.items() if value is not None}


def propose_boxes(batch: FeatureBatch, method: str, options: Any) -> np.ndarray:
    """One box per image: (B, 4) float64 xyxy in image pixels.

    Args:
        options: from `heuristic_options`.
    """
    return _HEURISTICS[method][1](batch, options).astype(np.float64)


def propose_training_boxes(
    key: Tensor,
    grid: tuple[int, int],
    method: str,
    options: Any,
    attention: Tensor | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Boxes from maps in memory, as fractions of the network's input: (B, 4) float32 xyxy.

    Used where pseudo-boxes are recomputed while training, on images without padding.
    """
    height, width = grid
    batch = FeatureBatch(
        image_ids=list(range(len(key))),
        image_sizes=np.tile(np.array([[height, width]]), (len(key), 1)),
        grid=grid,
        key=key.detach().float(),
        cls_attention=None if attention is None else attention.detach().float(),
        patch_size=1.0,
        masks=None if mask is None else list(mask.detach().float().cpu().numpy()),
    )
    boxes = torch.from_numpy(propose_boxes(batch, method, options)).float()
    return (boxes / torch.tensor([width, height, width, height])).to(key.device)


def propose_targets(maps: Maps, method: str, options: Any) -> Tensor:
    """What h is to learn from these maps: (B, 4) cxcywh in fractions of the network's input."""
    boxes = propose_training_boxes(
        maps.key, maps.grid, method, options, maps.cls_attention, maps.mask
    )
    return to_cxcywh(boxes)
