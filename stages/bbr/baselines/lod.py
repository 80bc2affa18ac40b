"""LOD (Vo et al. 2021): objects are the proposals that rank highest over the whole collection.

Proposals from saliency, a graph of matches between neighbouring images, and a ranking of its
nodes; `saliency_proposals`, `proposal_graph` and `ranking` have the parts. What differs from the
paper: one layer gives proposals and descriptors alike (the paper: two layers of VGG16, and its fc6
for neighbours); descriptors are taken less their mean over the collection; regions have 2 × 2
bins, not 7 × 7; displacements fall into hard bins; of each pair of images only the best matches
are kept.

For n images of P proposals with D numbers each and k neighbours: memory O(n P (D + k)), time
O(n² d + n k P² D).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..backbones.feature_collection import FeatureCollection
from ..backbones.feature_maps import FeatureMaps
from ..options import option
from .proposal_graph import Regions, nearest_images, proposal_graph
from .ranking import best_of_each, rank_proposals
from .saliency_proposals import propose_regions, region_descriptors


@dataclass(frozen=True)
class LodOptions:
    """Options of LOD."""

    maxima: int = option(10, "saliency peaks of an image, at most", min=1)
    levels: int = option(5, "regions of each peak", min=1)
    neighbors: int = option(10, "images that an image is matched with", min=1)
    matches: int = option(5, "kept of a region in each of them", min=1)


def lod_boxes(
    collection: FeatureCollection,
    options: LodOptions,
    batch_size: int = 32,
    device: torch.device | str = "cpu",
) -> dict[int, np.ndarray]:
    """One box per image of a collection, by image id: (4,) float64 xyxy in pixels."""
    ids: list[int] = []
    images: list[Regions] = []
    summaries: list[np.ndarray] = []
    pixels: list[np.ndarray] = []
    mean = collection.moments(batch_size, device)[0].float().to(device)
    for batch in collection.batches(batch_size, device):
        for row, image_id in enumerate(batch.image_ids):
            key = batch.key[row] - mean
            regions, boxes = _regions(key, batch, row, options)
            ids.append(image_id)
            images.append(regions)
            pixels.append(boxes)
            summaries.append(key.mean(dim=0).cpu().numpy())
    if not images:
        return {}
    graph = proposal_graph(
        images, nearest_images(np.stack(summaries), options.neighbors), options.matches
    )
    starts = np.cumsum([0, *map(len, pixels)]).tolist()
    best = best_of_each(rank_proposals(graph, starts), starts)
    return dict(zip(ids, np.concatenate(pixels)[best], strict=True))


def _regions(
    key: Tensor, batch: FeatureMaps, row: int, options: LodOptions
) -> tuple[Regions, np.ndarray]:
    """Proposals of one image of a batch, and their boxes in pixels; `key` is centred."""
    size = np.tile(batch.sizes[row][::-1], 2)
    patches = propose_regions(key, batch.grid, options.maxima, options.levels)
    boxes = np.minimum(patches * batch.patch_size, size)
    return Regions(boxes / size, region_descriptors(key, batch.grid, patches)), boxes
