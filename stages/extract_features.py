"""Extract f's patch features of every image at its native size into features.h5.

Images of one padded size go through the network together; memory does not grow with their number.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import bbr.command_line.fast_import

import numpy as np
import torch

from bbr.backbones.base import Backbone
from bbr.backbones.features_h5 import FeatureWriter, create_features
from bbr.backbones.masked import Segmenter
from bbr.backbones.options import add_backbone_options, take_backbone, weights_file
from bbr.command_line import cli
from bbr.command_line.cli import log
from bbr.command_line.devices import autocast, choose_device, device_name
from bbr.data.images import UnreadableImage
from bbr.data.index import load_index, parse_shard
from bbr.data.loading import groups_of_equal, native_size_windows, to_tensor
from bbr.errors import InputError
from bbr.storage.provenance import provenance

_WINDOW = 64
_Found = tuple[tuple[int, int], torch.Tensor, torch.Tensor | None, torch.Tensor | None]


def run(
    *,
    index: Path,
    output: Path,
    shard: tuple[int, int],
    dtype: str,
    batch_size: int,
    max_skipped: int,
    seed: int,
    device: str,
    precision: str,
    **backbone_options: Any,
) -> None:
    """Write the features of one shard of an index.

    Raises:
        InputError: more than `max_skipped` images cannot be read, or an input is bad.
    """
    place = choose_device(device)
    weights = weights_file(backbone_options["weights"])
    backbone, parameters = take_backbone(backbone_options, seed)
    backbone.to(place)
    dataset = load_index(index)
    images = dataset.shard(*shard)
    parameters |= {"shard": list(shard), "dtype": dtype, "seed": seed, "precision": precision}
    record = provenance(
        "extract_features", parameters, {"index": index, "weights": weights}, device_name(place)
    )
    skipped: list[dict[str, Any]] = []
    with (
        create_features(
            output,
            backbone=backbone.spec.architecture,
            patch_size=backbone.patch_pixels,
            dim=backbone.dim,
            heads=getattr(backbone, "heads", 0),
            dtype=dtype,
            provenance=record,
            masks=isinstance(backbone, Segmenter),
        ) as writer,
        ThreadPoolExecutor(max_workers=1) as thread,
    ):
        # One window is written while the network sees the next.
        writing = thread.submit(_write, writer, [], [])
        windows = native_size_windows(dataset, images, _WINDOW)
        total = -(-len(images) // _WINDOW)
        for window in cli.progress(windows, total, f"windows of {_WINDOW} images"):
            readable = [(image, item) for image, item in window if isinstance(item, np.ndarray)]
            failed = [(image, e) for image, e in window if isinstance(e, UnreadableImage)]
            skipped += [{"image_id": image["id"], "reason": e.reason} for image, e in failed]
            if len(skipped) > max_skipped:
                raise InputError(
                    f"{index}: {len(skipped)} images cannot be read (last: {failed[-1][1]});"
                    " mend them, index again, or raise --max-skipped"
                )
            for _, error in failed:
                log.warning("skipped: %s", error)
            features = _window_features(backbone, readable, batch_size, precision)
            writing.result()
            writing = thread.submit(_write, writer, readable, features)
        writing.result()
        writer.note_skipped(skipped)


def _write(
    writer: FeatureWriter, images: list[tuple[dict[str, Any], np.ndarray]], features: list[_Found]
) -> None:
    for (image, pixels), found in zip(images, features, strict=True):
        writer.append(image["id"], pixels.shape[:2], *found)


@torch.inference_mode()
def _window_features(
    backbone: Backbone, images: list[tuple[dict[str, Any], np.ndarray]], size: int, precision: str
) -> list[_Found]:
    """(grid, key, cls_attention, mask) of each image, in the order given."""
    found: dict[int, _Found] = {}
    pixels = [backbone.prepare(to_tensor(image)[None]) for _, image in images]
    place = backbone.mean.device
    for group in groups_of_equal(range(len(images)), lambda i: pixels[i].shape, size):
        with autocast(place, precision):
            maps = backbone(torch.cat([pixels[i] for i in group]))
        # A whole batch at once: each copy waits for a GPU.
        key, attentions = maps.key.cpu(), maps.cls_attention
        attentions = None if attentions is None else attentions.cpu()
        for row, position in enumerate(group):
            attention = None if attentions is None else attentions[row]
            mask = None
            if maps.mask is not None:
                mask = backbone.image_mask(maps.mask[row], images[position][1].shape[:2])
            found[position] = (maps.grid, key[row], attention, mask)
    return [found[position] for position in range(len(images))]


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    parser = cli.stage_parser(__doc__)
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True, help="features.h5")
    add_backbone_options(parser)
    parser.add_argument("--shard", type=parse_shard, default=(0, 1), metavar="i/n",
                        help="this part of the images only, i from 0 [0/1]")  # fmt: skip
    parser.add_argument("--dtype", choices=("float16", "float32"), default="float16",
                        help="of the stored features [float16]")  # fmt: skip
    parser.add_argument("--batch-size", type=cli.positive_int, default=32)
    parser.add_argument("--max-skipped", type=cli.non_negative_int, default=0,
                        help="unreadable images to tolerate [0]")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of --weights random [0]")
    cli.add_device_options(parser)
    return cli.execute(run, parser, argv)


if __name__ == "__main__":
    sys.exit(main())
