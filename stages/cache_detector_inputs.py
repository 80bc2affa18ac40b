"""Write h's inputs: f's keys (or queries, keys and values) of every image at one square size.

With --states, from cache_states.py, only the blocks that are left run; all images must be squares
of that size already.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import bbr.command_line.fast_import

import torch
from torch import Tensor

from bbr.backbones.base import Backbone
from bbr.backbones.feature_maps import FeatureMaps
from bbr.backbones.frozen_states import FrozenStates, StateOptions, as_inputs
from bbr.backbones.options import BackboneOptions
from bbr.command_line import cli
from bbr.command_line.devices import autocast, choose_device, device_name
from bbr.command_line.run_options import ComputeOptions
from bbr.data.index import Index, load_index
from bbr.data.loading import SquareImages, chunks
from bbr.detector.inputs_h5 import create_detector_inputs
from bbr.detector.layout import InputOptions, extras_of_parts, parts_shape, stack_parts
from bbr.options import all_recorded, option
from bbr.storage.provenance import provenance


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    index: Path = option(help="index.json")
    output: Path = option(help="detector_inputs.h5")


@dataclass(frozen=True)
class Storage:
    """How the maps are stored."""

    dtype: str = option("float16", "of the stored maps", choices=("float16", "float32"))
    batch_size: int = option(32, "seen by f at once", unit="images", min=1)
    seed: int = option(0, "of --weights random", min=0)


@torch.inference_mode()
def run(
    *,
    files: Files,
    backbone: BackboneOptions,
    kept: StateOptions,
    inputs: InputOptions,
    storage: Storage,
    compute: ComputeOptions,
) -> None:
    """Write detector_inputs.h5, in the order of the index.

    Raises:
        InputError: an image cannot be read, or the backbone has no such parts.
    """
    place = choose_device(compute.device)
    f = backbone.load(storage.seed).to(place)
    stored = {"dtype": storage.dtype, "seed": storage.seed}
    parameters = all_recorded(backbone.recorded(f), inputs, stored, compute)
    sources = {"index": files.index, "weights": backbone.file, **as_inputs(kept.states)}
    record = provenance("cache_detector_inputs", parameters, sources, device_name(place))
    dataset = load_index(files.index)
    source, observe = _source(dataset, f, kept, inputs)
    grid, shape = parts_shape(f, inputs.image_size, inputs.parts)
    with create_detector_inputs(
        files.output,
        count=len(dataset.images),
        shape=shape,
        grid=grid,
        image_size=inputs.image_size,
        parts=inputs.parts,
        dtype=storage.dtype,
        provenance=record,
    ) as file:
        file["image_id"][:] = [image["id"] for image in dataset.images]
        batches = list(chunks(range(len(dataset.images)), storage.batch_size))
        pairs = zip(batches, [*batches[1:], []], strict=True)
        for positions, coming in cli.progress(pairs, len(batches), "batches of images"):
            batch = source.batch(positions)
            source.prefetch(coming)
            with autocast(place, compute.precision):
                maps = stack_parts(observe(batch), inputs.parts)
            rows = slice(positions[0], positions[-1] + 1)
            file["maps"][rows] = maps.float().cpu().numpy().reshape(file["maps"][rows].shape)
            file.check()


def _source(
    dataset: Index, f: Backbone, kept: StateOptions, inputs: InputOptions
) -> tuple[SquareImages | FrozenStates, Callable[[Tensor], FeatureMaps]]:
    """What batches come of, and what makes maps of one."""
    size, extras = inputs.image_size, extras_of_parts(inputs.parts)
    if not kept.states:
        return SquareImages(dataset, size), lambda images: f(f.prepare(images), extras)
    states = FrozenStates(kept.states, f, dataset)
    states.require_squares(dataset, size)
    last, grid, place = states.last, f.grid_of(size, size), f.mean.device
    return states, lambda state: f.trainable_forward(state.to(place), last, grid, extras)


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
