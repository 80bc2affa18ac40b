"""Extract f's patch features of every image at its native size into features.h5.

Images of one padded size go through the network together; memory does not grow with their number.
With --states, from cache_states.py, only the blocks that are left run, and no image is read.
With --reuse, images that have not changed since the output was last written are not seen again.
"""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import bbr.command_line.fast_import

from bbr.backbones.base import Backbone
from bbr.backbones.extraction import (
    Found,
    features_of_pixels,
    features_of_states,
    skipped_before,
)
from bbr.backbones.features_h5 import FeatureWriter, create_features
from bbr.backbones.frozen_states import FrozenStates, StateOptions, as_inputs
from bbr.backbones.known_features import InOrder, KnownFeatures, ReuseOptions, content, recipe
from bbr.backbones.masked import Segmenter
from bbr.backbones.native_extraction import WINDOW, NativeImages, StoredOptions, while_writing
from bbr.backbones.options import BackboneOptions
from bbr.command_line import cli
from bbr.command_line.devices import choose_device, device_name
from bbr.command_line.run_options import ComputeOptions, SkipOptions
from bbr.data.index import Index, ShardOptions, load_index
from bbr.options import all_recorded, option
from bbr.storage.provenance import provenance


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    index: Path = option(help="index.json")
    output: Path = option(help="features.h5")


def run(
    *,
    files: Files,
    backbone: BackboneOptions,
    kept: StateOptions,
    known: ReuseOptions,
    part: ShardOptions,
    storage: StoredOptions,
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
    stored = {"dtype": storage.dtype, "seed": storage.seed}
    parameters = all_recorded(backbone.recorded(f), part, stored, compute)
    inputs = {"index": files.index, "weights": backbone.file, **as_inputs(kept.states)}
    record = provenance("extract_features", parameters, inputs, device_name(place))
    made_by = recipe(record, dataset.max_side, known.reuse) if known.reuse else ""
    with (
        KnownFeatures(files.output, made_by) as before,
        _create(files.output, f, storage.dtype, record, dataset, made_by) as writer,
    ):
        positions, unknown = before.split(images)
        write = partial(_write, writer, {image["id"]: image for image in images})
        in_order = InOrder([image["id"] for image in images], positions, before.row, write)
        how = {"precision": compute.precision, "dtype": storage.dtype}
        options = {"backbone": f, "at_once": partial(storage.images_at_once, f), **how}
        if states is None:
            source = NativeImages(dataset, unknown, f, skips.max_skipped)
            observe = partial(features_of_pixels, **options)
            while_writing(source.windows(WINDOW), len(unknown), observe, in_order.write)
            skipped = source.skipped
        else:
            skipped = skipped_before(states, unknown, dataset, skips.max_skipped)
            observe = partial(features_of_states, last=states.last, **options)
            windows = states.windows(unknown, WINDOW)
            while_writing(windows, len(unknown), observe, in_order.write)
        in_order.finish()
        writer.note_skipped(skipped)


def _create(
    path: Path, f: Backbone, dtype: str, record: dict[str, Any], dataset: Index, made_by: str
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
        full_sizes=bool(dataset.max_side),
        facet=f.spec.facet,
        block=f.spec.block,
        recipe=made_by,
    )


def _write(writer: FeatureWriter, images: dict[int, dict[str, Any]], found: Found) -> None:
    """Write a row; `full_size` is stored where the file has it."""
    image = images[found.image_id]
    full_size = (image["height"], image["width"]) if "height" in image else None
    told = content(image) if writer.has("content") else ""
    writer.append(*found, full_size=full_size, content=told)


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
