"""Join the heatmaps of several shards into one file, in the order in which they are named."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import bbr.command_line.fast_import

from bbr.command_line import cli
from bbr.data.shards import claim
from bbr.errors import InputError
from bbr.grounding.heatmaps_h5 import HeatmapFile, create_heatmaps
from bbr.options import option
from bbr.storage.provenance import provenance

_BATCH = 64


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    heatmaps: tuple[Path, ...] = option(help="heatmaps.h5 of each shard")
    output: Path = option(help="heatmaps.h5")


def run(*, paths: Files) -> None:
    """Write the maps of all files in `heatmaps` to `output`.

    Raises:
        InputError: a file is not whole, maps are of two sizes, or an image is in two shards.
    """
    with ExitStack() as stack:
        files = [stack.enter_context(HeatmapFile(path)) for path in paths.heatmaps]
        size, owners = files[0].size, {}
        for path, file in zip(paths.heatmaps, files, strict=True):
            claim(set(file.image_id.tolist()), path, owners)
            if file.size != size:
                raise InputError(
                    f"heatmaps {file.path}: maps of {file.size}, those of {files[0].path} are of"
                    f" {size}; name shards of one run"
                )
        inputs = {f"heatmaps_{i}": path for i, path in enumerate(paths.heatmaps)}
        history = provenance("merge_heatmaps", {}, inputs)
        history["sources"] = [json.loads(file.provenance) for file in files]
        with create_heatmaps(paths.output, size=size, provenance=history) as merged:
            for file in cli.progress(files, len(files), "shards"):
                for positions, maps in file.batches(_BATCH):
                    for i, heatmap in zip(positions, maps, strict=True):
                        unit = int(file.image_id[i]), int(file.phrase_id[i])
                        merged.append(*unit, heatmap, tuple(file.peak[i]))


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
