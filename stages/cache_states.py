"""Write what the last blocks of f read of every image at native size into states.h5.

All before those blocks is the same for f, for h's inputs and for every f^h: with --states,
extract_features.py, cache_detector_inputs.py and refine_backbone.py begin there.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import bbr.command_line.fast_import

from bbr.backbones.extraction import states_of_pixels
from bbr.backbones.native_extraction import WINDOW, NativeImages, StoredOptions, while_writing
from bbr.backbones.options import BackboneOptions
from bbr.backbones.states_h5 import create_states, last_blocks
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
    output: Path = option(help="states.h5")


@dataclass(frozen=True, kw_only=True)
class Storage(StoredOptions):
    """What is stored, and how."""

    dtype: str = option("float32", "of the stored states", choices=("float16", "float32"))
    last_blocks_to_run: int = option(
        help="blocks left to run: those that training moves",
        min=1,
        flag="last_blocks",
        metavar="N",
    )


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
        at_once = partial(storage.images_at_once, f)
        how = {"backbone": f, "last": last, "at_once": at_once, "precision": compute.precision}
        observe = partial(states_of_pixels, **how)
        windows = source.windows(WINDOW)
        while_writing(windows, len(images), observe, lambda kept: writer.append(*kept))
        writer.note_skipped(source.skipped)


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
