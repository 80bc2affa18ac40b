"""Write what the last blocks of f read of every image at native size into states.h5.

All before those blocks is the same for f, for h's inputs and for every f^h: with --states,
extract_features.py, cache_detector_inputs.py and refine_backbone.py begin there.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import bbr.command_line.fast_import

import torch
from torch import Tensor

from bbr.backbones.base import Backbone
from bbr.backbones.native_extraction import (
    WINDOW,
    NativeImage,
    NativeImages,
    in_groups,
    while_writing,
)
from bbr.backbones.options import add_backbone_options, take_backbone, weights_file
from bbr.backbones.states_h5 import StateWriter, create_states, last_blocks
from bbr.command_line import cli
from bbr.command_line.devices import autocast, choose_device, device_name
from bbr.data.index import load_index, parse_shard
from bbr.storage.provenance import provenance


def run(
    *,
    index: Path,
    output: Path,
    last_blocks_to_run: int,
    shard: tuple[int, int],
    dtype: str,
    batch_size: int,
    max_skipped: int,
    seed: int,
    device: str,
    precision: str,
    **backbone_options: Any,
) -> None:
    """Write the states of one shard of an index.

    Raises:
        InputError: more than `max_skipped` images cannot be read, or an input is bad.
    """
    place = choose_device(device)
    weights = weights_file(backbone_options["weights"])
    backbone, parameters = take_backbone(backbone_options, seed)
    backbone.to(place)
    last = last_blocks(backbone, last_blocks_to_run)
    dataset = load_index(index)
    images = dataset.shard(*shard)
    parameters |= {
        "last": last, "shard": list(shard), "dtype": dtype, "seed": seed, "precision": precision,
    }  # fmt: skip
    inputs = {"index": index, "weights": weights}
    record = provenance("cache_states", parameters, inputs, device_name(place))
    source = NativeImages(dataset, images, backbone, max_skipped)
    with create_states(
        output, backbone=backbone, last=last, index=dataset, dtype=dtype, provenance=record
    ) as writer:
        windows = cli.progress(
            source.windows(WINDOW), -(-len(images) // WINDOW), f"windows of {WINDOW} images"
        )
        compute = partial(
            _window_states, backbone=backbone, last=last, size=batch_size, precision=precision
        )
        while_writing(windows, compute, partial(_write, writer))
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
    images: list[NativeImage], backbone: Backbone, last: int, size: int, precision: str
) -> list[_Kept]:
    """States of images, those of one padded size together, as extract_features.py has them."""

    def batch(group: list[NativeImage]) -> Iterable[_Kept]:
        pixels = torch.cat([image.pixels for image in group])
        with autocast(backbone.mean.device, precision):
            states = backbone.enter(pixels, last).cpu()
        grid = backbone.patch_grid(pixels)
        for image, state in zip(group, states, strict=True):
            yield _Kept(image.image_id, image.size, grid, state)

    return in_groups(images, lambda image: tuple(image.pixels.shape), batch, size)


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    parser = cli.stage_parser(__doc__)
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True, help="states.h5")
    add_backbone_options(parser)
    parser.add_argument("--last-blocks", type=cli.positive_int, required=True, metavar="N",
                        dest="last_blocks_to_run",
                        help="blocks left to run: those that training moves")  # fmt: skip
    parser.add_argument("--shard", type=parse_shard, default=(0, 1), metavar="i/n",
                        help="this part of the images only, i from 0 [0/1]")  # fmt: skip
    parser.add_argument("--dtype", choices=("float16", "float32"), default="float32",
                        help="of the stored states [float32]")  # fmt: skip
    parser.add_argument("--batch-size", type=cli.positive_int, default=32)
    parser.add_argument("--max-skipped", type=cli.non_negative_int, default=0,
                        help="unreadable images to tolerate [0]")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of --weights random [0]")
    cli.add_device_options(parser)
    return cli.execute(run, parser, argv)


if __name__ == "__main__":
    sys.exit(main())
