"""Join the shards of a run into one file: boxes, heatmaps of phrases, or described images.

Which of them is told from the files. Boxes are sorted by image id; the others are in the order in
which the shards are named.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import bbr.command_line.fast_import

from bbr.command_line import cli
from bbr.options import option
from bbr.storage.shards import kind_of_shards, merge_boxes


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    shards: tuple[Path, ...] = option(help="one file per shard, all of one kind")
    output: Path = option(help="a file of that kind")


def run(*, files: Files) -> None:
    """Write what all files in `shards` hold to `output`.

    Raises:
        InputError: they are of several kinds or not of one run, an image is in two of them, or a
            file is damaged.
    """
    kind = kind_of_shards(files.shards)
    # Imported where needed: boxes do without HDF5 and NumPy.
    if kind == "heatmaps":
        from bbr.grounding.heatmap_shards import merge_heatmaps as merge
    elif kind == "described images":
        from bbr.captioning.described_shards import merge_descriptions as merge
    else:
        merge = merge_boxes
    merge(files.shards, files.output)


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
