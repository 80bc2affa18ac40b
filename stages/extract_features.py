"""Extract f's patch features of every image at its native size into features.h5.

Images of one padded size go through the network together; memory does not grow with their number.
With --states, from cache_states.py, only the blocks that are left run, and no image is read.
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
from bbr.backbones.masked import Segmenter
from bbr.backbones.native_extraction import WINDOW, NativeImages, StoredOptions, while_writing
from bbr.backbones.options import BackboneOptions
from bbr.command_line import cli
from bbr.command_line.devices import choose_device, device_name
from bbr.command_line.run_options import ComputeOptions, SkipOptions
from bbr.data.index import ShardOptions, load_index
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
    full_sizes = {i["id"]: (i["height"], i["width"]) for i in images} if dataset.max_side else {}
    write = partial(_write, full_sizes=full_sizes)
    with _create(files.output, f, storage.dtype, record, bool(full_sizes)) as writer:
        at_once = partial(storage.images_at_once, f)
        options = {"backbone": f, "at_once": at_once, "precision": compute.precision}
        if states is None:
            source = NativeImages(dataset, images, f, skips.max_skipped)
            observe = partial(features_of_pixels, **options)
            while_writing(source.windows(WINDOW), len(images), observe, partial(write, writer))
            skipped = source.skipped
        else:
            skipped = skipped_before(states, images, dataset, skips.max_skipped)
            observe = partial(features_of_states, last=states.last, **options)
            windows = states.windows(images, WINDOW)
            while_writing(windows, len(images), observe, partial(write, writer))
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


def _write(writer: FeatureWriter, found: Found, full_sizes: dict[int, tuple[int, int]]) -> None:
    writer.append(*found, full_size=full_sizes.get(found.image_id))


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
