"""Methods that look at a whole collection at once: features of all images to one box for each."""

from __future__ import annotations

import numpy as np
import torch

from ..backbones.feature_collection import FeatureCollection
from ..errors import InputError
from .ddt import border_mean, ddt_boxes, principal_direction, project
from .lod import LodOptions, lod_boxes

METHODS = ("ddt", "lod")


def discover_boxes(
    method: str,
    collection: FeatureCollection,
    second: FeatureCollection | None,
    options: LodOptions,
    batch_size: int,
    device: torch.device,
) -> dict[int, np.ndarray]:
    """One box per image, by image id: (4,) float64 xyxy in pixels.

    Args:
        second: the second layer that DDT+ reads.
        options: of LOD.

    Raises:
        InputError: the method is unknown or has no second layer, or the layers do not fit.
    """
    if method not in METHODS:
        raise InputError(f"method {method!r} is unknown; choose one of {', '.join(METHODS)}")
    if method == "ddt":
        return ddt_of_collection(collection, second, batch_size, device)
    if second is not None:
        raise InputError("method lod reads one layer; leave --second-features out")
    return lod_boxes(collection, options, batch_size, device)


def ddt_of_collection(
    collection: FeatureCollection,
    second: FeatureCollection | None,
    batch_size: int,
    device: torch.device,
) -> dict[int, np.ndarray]:
    """DDT on one layer, DDT+ on two; see `ddt.ddt_boxes`.

    Raises:
        InputError: the two layers are not of the same images and grids.
    """
    layers = [collection] if second is None else [collection, second]
    if second is not None and collection.grids() != second.grids():
        raise InputError(
            f"features {second.files[0].path}: not of the same images and patch grids as"
            f" {collection.files[0].path}; extract both from one index, at one stride and scale"
        )
    planes = [_indicators(layer, batch_size, device) for layer in layers]
    found: dict[int, np.ndarray] = {}
    for batch in collection.batches(batch_size, device):
        projections = [torch.stack([plane[i] for i in batch.image_ids]) for plane in planes]
        boxes = ddt_boxes(projections[0], batch.grid, *projections[1:])
        found.update(zip(batch.image_ids, batch.in_pixels(boxes), strict=True))
    return found


def _indicators(
    layer: FeatureCollection, batch_size: int, device: torch.device
) -> dict[int, torch.Tensor]:
    """The projections of each image's patches; one number a patch, so they fit in memory."""
    mean, covariance = layer.moments(batch_size, device)
    direction = principal_direction(covariance)
    planes: dict[int, torch.Tensor] = {}
    along_edges = 0.0
    for batch in layer.batches(batch_size, device):
        projections = project(batch.key, mean, direction).cpu()
        along_edges += float(border_mean(projections, batch.grid).sum())
        planes.update(zip(batch.image_ids, projections, strict=True))
    return planes if along_edges <= 0 else {i: -plane for i, plane in planes.items()}
