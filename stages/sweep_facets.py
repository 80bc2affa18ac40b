"""Boxes from every facet of every block of f, by each heuristic with each choice of its options.

Each image goes through f once. Features are rounded as features.h5 stores them, so that boxes are
those of extract_features.py and pseudo_boxes.py; nothing of them is kept.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import bbr.command_line.fast_import

import numpy as np
import torch

from bbr.backbones.extraction import of_equal_pixels
from bbr.backbones.native_extraction import (
    WINDOW,
    NativeImage,
    NativeImages,
    StoredOptions,
    while_writing,
)
from bbr.backbones.options import BackboneOptions
from bbr.backbones.stored_values import maps_as_stored
from bbr.backbones.vit import TransformerBackbone
from bbr.command_line import cli
from bbr.command_line.devices import autocast, choose_device, device_name
from bbr.command_line.run_options import ComputeOptions, LabelOptions, SkipOptions
from bbr.data.index import load_index
from bbr.errors import InputError
from bbr.heuristics.sweep import Setting, SweepOptions, boxes_of_settings
from bbr.options import all_recorded, option
from bbr.storage.metrics_json import parse_labels
from bbr.storage.provenance import provenance
from bbr.storage.swept_boxes_h5 import SweptBoxesWriter, create_swept_boxes


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    index: Path = option(help="index.json")
    output: Path = option(help="swept_boxes.h5")


class Swept(NamedTuple):
    """The boxes (settings, 4) of an image."""

    image_id: int
    boxes: np.ndarray


def run(
    *,
    files: Files,
    backbone: BackboneOptions,
    sweep: SweepOptions,
    storage: StoredOptions,
    skips: SkipOptions,
    labels: LabelOptions,
    compute: ComputeOptions,
) -> None:
    """Write the boxes of all images by all settings, in the order of facets within blocks.

    Raises:
        InputError: f is no transformer, more than `max_skipped` images cannot be read, or an
            option is bad.
    """
    place = choose_device(compute.device)
    f = backbone.load(storage.seed).to(place)
    if not isinstance(f, TransformerBackbone):
        raise InputError(f"--weights {backbone.weights}: only a transformer has facets")
    settings, dataset = sweep.settings(), load_index(files.index)
    stored = {"dtype": storage.dtype, "seed": storage.seed}
    parameters = all_recorded(backbone.recorded(f), sweep, stored, compute)
    inputs = {"index": files.index, "weights": backbone.file}
    record = provenance("sweep_facets", parameters, inputs, device_name(place))
    source = NativeImages(dataset, dataset.images, f, skips.max_skipped)
    sizes = {image["id"]: dataset.image_size(image) for image in dataset.images}
    observe = partial(_observe, f=f, sweep=sweep, settings=settings, storage=storage)
    columns = [
        {"method": each.method, "facet": facet, "block": block, "options": each.name}
        for block, facet in _order(f, sweep)
        for each in settings
    ]
    with create_swept_boxes(files.output, columns, parse_labels(labels.labels), record) as writer:
        write = partial(_write, writer)
        found = partial(observe, precision=compute.precision, sizes=sizes)
        while_writing(source.windows(WINDOW), len(dataset.images), found, write)
        writer.note_skipped(source.skipped)


def _order(f: TransformerBackbone, sweep: SweepOptions) -> list[tuple[int, str]]:
    """Blocks and facets as `facets_of_blocks` gives them."""
    return [(block, facet) for block in f.in_order(sweep.blocks) for facet in sweep.facets]


@torch.inference_mode()
def _observe(
    images: list[NativeImage],
    f: TransformerBackbone,
    sweep: SweepOptions,
    settings: list[Setting],
    storage: StoredOptions,
    precision: str,
    sizes: dict[int, tuple[int, int]],
) -> list[Swept]:
    def batch(group: list[NativeImage]) -> Iterable[Swept]:
        seen = np.array([image.size for image in group], dtype=np.int64)
        pixels = torch.cat([image.pixels for image in group])
        boxes = []
        with autocast(f.mean.device, precision):
            for _, _, maps in f.facets_of_blocks(pixels, sweep.blocks, sweep.facets):
                kept = maps_as_stored(maps, storage.dtype)
                placed = replace(kept, image_sizes=seen, patch_size=f.patch_pixels)
                boxes.append(boxes_of_settings(placed, settings))
        # Of images that were shrunk, in pixels of the whole.
        full = np.array([sizes[image.image_id] for image in group])
        factors = np.tile((full / seen)[:, ::-1], 2)[:, None]
        together = np.concatenate(boxes, axis=1) * factors
        return [Swept(image.image_id, each) for image, each in zip(group, together, strict=True)]

    return of_equal_pixels(images, f, batch, partial(storage.images_at_once, f))


def _write(writer: SweptBoxesWriter, found: Swept) -> None:
    writer.append(*found)


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
