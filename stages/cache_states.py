"""Write what the last blocks of f read of every image at native size into states.h5.

All before those blocks is the same for f, for h's inputs and for every f^h: with --states,
extract_features.py, cache_detector_inputs.py and refine_backbone.py begin there.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import bbr.command_line.fast_import

import torch
from torch import Tensor

from bbr.backbones.base import Backbone
from bbr.backbones.native_extraction import (
    WINDOW,
    NativeImage,
    NativeImages,
    images_at_once,
    in_groups,
    while_writing,
)
from bbr.backbones.options import BackboneOptions
from bbr.backbones.states_h5 import StateWriter, create_states, last_blocks
from bbr.command_line import cli
from bbr.command_line.devices import autocast, choose_device, device_name
from bbr.command_line.run_options import ComputeOptions, SkipOptions
from bbr.data.index import ShardOptions, load_index
from bbr.options import all_recorded, option
from bbr.storage.provenance import provenance


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    index: Path = option(help="index.json")
    output: Path = option(help="states.h5")


@dataclass(frozen=True)
class Storage:
    """What is stored, and how."""

    last_blocks_to_run: int = option(
        help="blocks left to run: those that training moves",
        min=1,
        flag="last_blocks",
        metavar="N",
    )
    dtype: str = option("float32", "of the stored states", choices=("float16", "float32"))
    batch_size: int = option(32, "seen by f at once, at most", unit="images", min=1)
    batch_pixels: int = option(2**23, "seen by f at once, at most", unit="px", min=1)
    seed: int = option(0, "of --weights random", min=0)


def run(
    *,
    files: Files,
    backbone: BackboneOptions,
    part: ShardOptions,
    storage: Storage,
    skips: SkipOptions,
    compute: ComputeOptions,
) -> None:
    """Write the states of one shard of an index.

    Raises:
        InputError: more than `max_skipped` images cannot be read, or an input is bad.
    """
    place = choose_device(compute.device)
    f = backbone.load(storage.seed).to(place)
    last = last_blocks(f, storage.last_blocks_to_run)
    dataset = load_index(files.index)
    images = dataset.shard(*part.shard)
    stored = {"last": last, "dtype": storage.dtype, "seed": storage.seed}
    parameters = all_recorded(backbone.recorded(f), part, stored, compute)
    inputs = {"index": files.index, "weights": backbone.file}
    record = provenance("cache_states", parameters, inputs, device_name(place))
    source = NativeImages(dataset, images, f, skips.max_skipped)
    with create_states(
        files.output, backbone=f, last=last, index=dataset, dtype=storage.dtype, provenance=record
    ) as writer:
        windows = cli.progress(
            source.windows(WINDOW), -(-len(images) // WINDOW), f"windows of {WINDOW} images"
        )
        how = {"backbone": f, "last": last, "storage": storage, "precision": compute.precision}
        observe = partial(_window_states, **how)
        while_writing(windows, observe, partial(_write, writer))
        writer.note_skipped(source.skipped)


class _Kept(NamedTuple):
    """What is stored of an image; see `StateWriter.append`."""

    image_id: int
    size: tuple[int, int]
    grid: tuple[int, int]
    state: Tensor


def _write(writer: StateWriter, kept: _Kept) -> None:
    writer.append(*kept)


@torch.inference_mode()
def _window_states(
    images: list[NativeImage], backbone: Backbone, last: int, storage: Storage, precision: str
) -> list[_Kept]:
    """States of images, those of one padded size together, as extract_features.py has them."""

    def batch(group: list[NativeImage]) -> Iterable[_Kept]:
        pixels = torch.cat([image.pixels for image in group])
        with autocast(backbone.mean.device, precision):
            states = backbone.frozen_forward(pixels, last).cpu()
        grid = backbone.patch_grid(pixels)
        for image, state in zip(group, states, strict=True):
            yield _Kept(image.image_id, image.size, grid, state)

    def size(shape: tuple[int, ...]) -> int:
        patches = shape[-2] * shape[-1] // backbone.stride**2
        most = storage.batch_size
        return images_at_once(patches, backbone.stride, most, storage.batch_pixels)

    return in_groups(images, lambda image: tuple(image.pixels.shape), batch, size)


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
