"""Heatmaps of several shards as one file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from ..command_line.cli import progress
from ..errors import InputError
from ..storage.shards import claim, history_of_shards
from .heatmaps_h5 import HeatmapFile, create_heatmaps

_BATCH = 64


def merge_heatmaps(paths: Sequence[Path], output: Path) -> None:
    """Write the maps of all shards, in the order in which these are named.

    Raises:
        InputError: a file is not whole, maps are of two sizes, or an image is in two shards.
    """
    with ExitStack() as stack:
        files = [stack.enter_context(HeatmapFile(path)) for path in paths]
        size = files[0].size
        owners: dict[int, Path] = {}
        for path, file in zip(paths, files, strict=True):
            claim(set(file.image_id.tolist()), path, owners)
            if file.size != size:
                raise InputError(
                    f"heatmaps {path}: maps of {file.size}, those of {paths[0]} are of {size}; name"
                    " shards of one run"
                )
        sources = [json.loads(file.provenance) for file in files]
        history = history_of_shards("heatmaps", paths, sources)
        with create_heatmaps(output, size=size, provenance=history) as merged:
            for file in progress(files, len(files), "shards"):
                for positions, maps in file.batches(_BATCH):
                    for i, heatmap in zip(positions, maps, strict=True):
                        unit = int(file.image_id[i]), int(file.phrase_id[i])
                        merged.append(*unit, heatmap, tuple(file.peak[i]))
