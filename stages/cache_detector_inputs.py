"""Write h's inputs: f's keys (or queries, keys and values) of every image at one square size."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import bbr.command_line.fast_import

import torch

from bbr.backbones.options import add_backbone_options, take_backbone, weights_file
from bbr.command_line import cli
from bbr.command_line.devices import autocast, choose_device, device_name
from bbr.data.index import load_index
from bbr.data.loading import SquareImages, chunks
from bbr.detector.inputs_h5 import create_detector_inputs
from bbr.detector.layout import PARTS, parts_shape, stack_parts
from bbr.storage.provenance import provenance


@torch.inference_mode()
def run(
    *,
    index: Path,
    output: Path,
    image_size: int,
    parts: str,
    dtype: str,
    batch_size: int,
    seed: int,
    device: str,
    precision: str,
    **backbone_options: Any,
) -> None:
    """Write detector_inputs.h5, in the order of the index.

    Raises:
        InputError: an image cannot be read, or the backbone has no such parts.
    """
    place = choose_device(device)
    weights = weights_file(backbone_options["weights"])
    backbone, parameters = take_backbone(backbone_options, seed)
    backbone.to(place)
    parameters |= {
        "image_size": image_size, "parts": parts, "dtype": dtype, "seed": seed,
        "precision": precision,
    }  # fmt: skip
    record = provenance(
        "cache_detector_inputs",
        parameters,
        {"index": index, "weights": weights},
        device_name(place),
    )
    dataset = load_index(index)
    images = SquareImages(dataset, image_size)
    grid, shape = parts_shape(backbone, image_size, parts)
    with create_detector_inputs(
        output,
        count=len(images),
        shape=shape,
        grid=grid,
        image_size=image_size,
        parts=parts,
        dtype=dtype,
        provenance=record,
    ) as file:
        file["image_id"][:] = [image["id"] for image in dataset.images]
        batches = list(chunks(range(len(images)), batch_size))
        following = [*batches[1:], []]
        pairs = zip(batches, following, strict=True)
        for positions, coming in cli.progress(pairs, len(batches), "batches of images"):
            pixels = images.batch(positions)
            images.prefetch(coming)
            with autocast(place, precision):
                maps = stack_parts(backbone(backbone.prepare(pixels)), parts)
            rows = slice(positions[0], positions[-1] + 1)
            file["maps"][rows] = maps.float().cpu().numpy().reshape(file["maps"][rows].shape)
            file.check()


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    parser = cli.stage_parser(__doc__)
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True, help="detector_inputs.h5")
    add_backbone_options(parser)
    parser.add_argument("--image-size", type=cli.positive_int, default=304,
                        help="side in pixels to which images are resized [304]")  # fmt: skip
    parser.add_argument("--parts", choices=PARTS, default="qkv",
                        help="keys; q, k, v; or a segmenter's mask [qkv]")  # fmt: skip
    parser.add_argument("--dtype", choices=("float16", "float32"), default="float16")
    parser.add_argument("--batch-size", type=cli.positive_int, default=32)
    parser.add_argument("--seed", type=int, default=0, help="of --weights random [0]")
    cli.add_device_options(parser)
    return cli.execute(run, parser, argv)


if __name__ == "__main__":
    sys.exit(main())
