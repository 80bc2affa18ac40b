"""Extract f's patch features of every image at its native size into features.h5.

Images of one padded size go through the network together; memory does not grow with their number.
With --states, from cache_states.py, only the blocks that are left run, and no image is read.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import bbr.command_line.fast_import

import torch
from torch import Tensor

from bbr.backbones.base import Backbone
from bbr.backbones.feature_maps import FeatureMaps
from bbr.backbones.features_h5 import FeatureWriter, create_features
from bbr.backbones.masked import Segmenter
from bbr.backbones.native_extraction import (
    WINDOW,
    NativeImage,
    NativeImages,
    in_groups,
    require_few,
    while_writing,
)
from bbr.backbones.options import add_backbone_options, take_backbone, weights_file
from bbr.backbones.states_h5 import FrozenStates, NativeState, add_states_option, as_inputs
from bbr.command_line import cli
from bbr.command_line.devices import autocast, choose_device, device_name
from bbr.data.index import Index, load_index, parse_shard
from bbr.storage.provenance import provenance

_WINDOW = WINDOW


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
    states: Sequence[Path] = (),
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
    kept = FrozenStates(states, backbone, dataset) if states else None
    parameters |= {"shard": list(shard), "dtype": dtype, "seed": seed, "precision": precision}
    inputs = {"index": index, "weights": weights, **as_inputs(states)}
    record = provenance("extract_features", parameters, inputs, device_name(place))
    with create_features(
        output,
        backbone=backbone.spec.architecture,
        patch_size=backbone.patch_pixels,
        dim=backbone.dim,
        heads=getattr(backbone, "heads", 0),
        dtype=dtype,
        provenance=record,
        masks=isinstance(backbone, Segmenter),
        facet=backbone.spec.facet,
        block=backbone.spec.block,
    ) as writer:
        total = -(-len(images) // _WINDOW)
        watch = partial(cli.progress, total=total, what=f"windows of {_WINDOW} images")
        options = {"backbone": backbone, "size": batch_size, "precision": precision}
        if kept is None:
            source = NativeImages(dataset, images, backbone, max_skipped)
            compute = partial(_of_pixels, **options)
            while_writing(watch(source.windows(_WINDOW)), compute, partial(_write, writer))
            skipped = source.skipped
        else:
            skipped = _skipped(kept, images, dataset, max_skipped)
            compute = partial(_of_states, last=kept.last, **options)
            while_writing(watch(kept.windows(images, _WINDOW)), compute, partial(_write, writer))
        writer.note_skipped(skipped)


class _Found(NamedTuple):
    """What is stored of an image; see `FeatureWriter.append`."""

    image_id: int
    size: tuple[int, int]
    grid: tuple[int, int]
    key: Tensor
    attention: Tensor | None
    mask: Tensor | None


def _write(writer: FeatureWriter, found: _Found) -> None:
    writer.append(*found)


@torch.inference_mode()
def _of_pixels(
    images: list[NativeImage], backbone: Backbone, size: int, precision: str
) -> list[_Found]:
    """Features of images, those of one padded size together."""

    def batch(group: list[NativeImage]) -> Iterable[_Found]:
        with autocast(backbone.mean.device, precision):
            maps = backbone(torch.cat([image.pixels for image in group]))
        return _found(backbone, maps, group)

    return in_groups(images, lambda image: tuple(image.pixels.shape), batch, size)


@torch.inference_mode()
def _of_states(
    images: list[NativeState], backbone: Backbone, last: int, size: int, precision: str
) -> list[_Found]:
    """The same of what the `last` blocks read of them."""
    place = backbone.mean.device

    def batch(group: list[NativeState]) -> Iterable[_Found]:
        state = torch.stack([image.state for image in group]).to(place)
        with autocast(place, precision):
            maps = backbone.leave(state, last, group[0].grid)
        return _found(backbone, maps, group)

    return in_groups(images, lambda image: image.grid, batch, size)


def _found(
    backbone: Backbone, maps: FeatureMaps, images: Sequence[NativeImage | NativeState]
) -> Iterable[_Found]:
    # A whole batch at once: each copy waits for a GPU.
    key, attentions = maps.key.cpu(), maps.cls_attention
    attentions = None if attentions is None else attentions.cpu()
    for row, image in enumerate(images):
        attention = None if attentions is None else attentions[row]
        mask = None
        if isinstance(backbone, Segmenter) and maps.mask is not None:
            mask = backbone.image_mask(maps.mask[row], image.size)
        yield _Found(image.image_id, image.size, maps.grid, key[row], attention, mask)


def _skipped(
    kept: FrozenStates, images: list[dict[str, Any]], index: Index, max_skipped: int
) -> list[dict[str, Any]]:
    """Those of the images that could not be read when the states were made."""
    listed = {image["id"] for image in images}
    skipped = [image for image in kept.skipped if image["image_id"] in listed]
    if skipped:
        last = f"image {skipped[-1]['image_id']}, {skipped[-1]['reason']}"
        require_few(len(skipped), max_skipped, index, last)
    return skipped


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    parser = cli.stage_parser(__doc__)
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True, help="features.h5")
    add_backbone_options(parser)
    add_states_option(parser)
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
