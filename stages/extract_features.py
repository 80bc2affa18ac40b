"""Extract f's patch features of every image at its native size into features.h5.

Images of one padded size go through the network together; memory does not grow with their number.
With --states, from cache_states.py, only the blocks that are left run, and no image is read.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
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
    images_at_once,
    in_groups,
    require_few,
    while_writing,
)
from bbr.backbones.options import BackboneOptions
from bbr.backbones.states_h5 import FrozenStates, NativeState, StateOptions, as_inputs
from bbr.command_line import cli
from bbr.command_line.devices import autocast, choose_device, device_name
from bbr.command_line.run_options import ComputeOptions, SkipOptions
from bbr.data.index import Index, ShardOptions, load_index
from bbr.options import option
from bbr.storage.provenance import provenance


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    index: Path = option(help="index.json")
    output: Path = option(help="features.h5")


@dataclass(frozen=True)
class Storage:
    """How features are stored."""

    dtype: str = option("float16", "of the stored features", choices=("float16", "float32"))
    batch_size: int = option(32, "seen by f at once, at most", unit="images", min=1)
    batch_pixels: int = option(2**23, "seen by f at once, at most", unit="px", min=1)
    seed: int = option(0, "of --weights random", min=0)

    def images_at_once(self, backbone: Backbone, rows: int, columns: int) -> int:
        """How many images of a patch grid f sees at once."""
        return images_at_once(rows * columns, backbone.stride, self.batch_size, self.batch_pixels)


def run(
    *,
    files: Files,
    backbone: BackboneOptions,
    kept: StateOptions,
    part: ShardOptions,
    storage: Storage,
    skips: SkipOptions,
    compute: ComputeOptions,
) -> None:
    """Write the features of one shard of an index.

    Raises:
        InputError: more than `max_skipped` images cannot be read, or an input is bad.
    """
    place = choose_device(compute.device)
    f = backbone.load(storage.seed).to(place)
    dataset = load_index(files.index)
    images = dataset.shard(*part.shard)
    states = FrozenStates(kept.states, f, dataset) if kept.states else None
    parameters = {
        **backbone.recorded(f), "shard": list(part.shard), "dtype": storage.dtype,
        "seed": storage.seed, "precision": compute.precision,
    }  # fmt: skip
    inputs = {"index": files.index, "weights": backbone.file, **as_inputs(kept.states)}
    record = provenance("extract_features", parameters, inputs, device_name(place))
    full_sizes = {i["id"]: (i["height"], i["width"]) for i in images} if dataset.max_side else {}
    write = partial(_write, full_sizes=full_sizes)
    with _create(files.output, f, storage.dtype, record, bool(full_sizes)) as writer:
        total = -(-len(images) // WINDOW)
        watch = partial(cli.progress, total=total, what=f"windows of {WINDOW} images")
        options = {"backbone": f, "storage": storage, "precision": compute.precision}
        if states is None:
            source = NativeImages(dataset, images, f, skips.max_skipped)
            observe = partial(_of_pixels, **options)
            while_writing(watch(source.windows(WINDOW)), observe, partial(write, writer))
            skipped = source.skipped
        else:
            skipped = _skipped(states, images, dataset, skips.max_skipped)
            observe = partial(_of_states, last=states.last, **options)
            while_writing(watch(states.windows(images, WINDOW)), observe, partial(write, writer))
        writer.note_skipped(skipped)


def _create(
    path: Path, f: Backbone, dtype: str, record: dict[str, Any], full_sizes: bool
) -> AbstractContextManager[FeatureWriter]:
    return create_features(
        path,
        backbone=f.spec.architecture,
        patch_size=f.patch_pixels,
        dim=f.dim,
        heads=getattr(f, "heads", 0),
        dtype=dtype,
        provenance=record,
        masks=isinstance(f, Segmenter),
        full_sizes=full_sizes,
        facet=f.spec.facet,
        block=f.spec.block,
    )


class _Found(NamedTuple):
    """What is stored of an image; see `FeatureWriter.append`."""

    image_id: int
    size: tuple[int, int]
    grid: tuple[int, int]
    key: Tensor
    attention: Tensor | None
    mask: Tensor | None


def _write(writer: FeatureWriter, found: _Found, full_sizes: dict[int, tuple[int, int]]) -> None:
    writer.append(*found, full_size=full_sizes.get(found.image_id))


@torch.inference_mode()
def _of_pixels(
    images: list[NativeImage], backbone: Backbone, storage: Storage, precision: str
) -> list[_Found]:
    """Features of images, those of one padded size together."""

    def batch(group: list[NativeImage]) -> Iterable[_Found]:
        with autocast(backbone.mean.device, precision):
            maps = backbone(torch.cat([image.pixels for image in group]))
        return _found(backbone, maps, group)

    def size(shape: tuple[int, ...]) -> int:
        rows, columns = (side // backbone.stride for side in shape[-2:])
        return storage.images_at_once(backbone, rows, columns)

    return in_groups(images, lambda image: tuple(image.pixels.shape), batch, size)


@torch.inference_mode()
def _of_states(
    images: list[NativeState], backbone: Backbone, last: int, storage: Storage, precision: str
) -> list[_Found]:
    """The same of what the `last` blocks read of them."""
    place = backbone.mean.device

    def batch(group: list[NativeState]) -> Iterable[_Found]:
        state = torch.stack([image.state for image in group]).to(place)
        with autocast(place, precision):
            maps = backbone.trainable_forward(state, last, group[0].grid)
        return _found(backbone, maps, group)

    def size(grid: tuple[int, ...]) -> int:
        return storage.images_at_once(backbone, *grid)

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
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
