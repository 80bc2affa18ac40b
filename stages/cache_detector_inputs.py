"""Write h's inputs: f's keys (or queries, keys and values) of every image at one square size."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import bbr.command_line.fast_import

import torch

from bbr.backbones.options import BackboneOptions
from bbr.command_line import cli
from bbr.command_line.devices import autocast, choose_device, device_name
from bbr.command_line.run_options import ComputeOptions
from bbr.data.index import load_index
from bbr.data.loading import SquareImages, chunks
from bbr.detector.inputs_h5 import create_detector_inputs
from bbr.detector.layout import InputOptions, parts_shape, stack_parts
from bbr.options import option
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
    parameters = {
        **backbone.recorded(), **vars(inputs), "dtype": storage.dtype, "seed": storage.seed,
        "precision": compute.precision,
    }  # fmt: skip
    record = provenance(
        "cache_detector_inputs",
        parameters,
        {"index": files.index, "weights": backbone.file},
        device_name(place),
    )
    dataset = load_index(files.index)
    images = SquareImages(dataset, inputs.image_size)
    grid, shape = parts_shape(f, inputs.image_size, inputs.parts)
    with create_detector_inputs(
        files.output,
        count=len(images),
        shape=shape,
        grid=grid,
        image_size=inputs.image_size,
        parts=inputs.parts,
        dtype=storage.dtype,
        provenance=record,
    ) as file:
        file["image_id"][:] = [image["id"] for image in dataset.images]
        batches = list(chunks(range(len(images)), storage.batch_size))
        following = [*batches[1:], []]
        pairs = zip(batches, following, strict=True)
        for positions, coming in cli.progress(pairs, len(batches), "batches of images"):
            pixels = images.batch(positions)
            images.prefetch(coming)
            with autocast(place, compute.precision):
                maps = stack_parts(f(f.prepare(pixels)), inputs.parts)
            rows = slice(positions[0], positions[-1] + 1)
            file["maps"][rows] = maps.float().cpu().numpy().reshape(file["maps"][rows].shape)
            file.check()


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
