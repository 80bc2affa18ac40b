"""CorLoc of every facet of every block, as a table and as heat maps.

Each file of swept boxes, from sweep_facets.py, goes with the index of its images. The figure has a
heat map of facets by blocks for each heuristic with its options, a row of them for each dataset and
backbone.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import bbr.command_line.fast_import

from bbr.command_line import cli
from bbr.data.index import load_index
from bbr.errors import InputError
from bbr.evaluation.sweep import Swept, swept_corloc
from bbr.options import option
from bbr.reporting.facet_figure import draw_facets, facet_table
from bbr.reporting.tables import write_table
from bbr.storage.atomic import require_ending, write_bytes
from bbr.storage.swept_boxes_h5 import SweptBoxes


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    index: tuple[Path, ...] = option(help="index.json of each sweep")
    boxes: tuple[Path, ...] = option(help="swept_boxes.h5 of each, in the same order")
    output: Path = option(help="facets.csv; its Markdown twin and .png are written beside it")


def run(*, files: Files) -> None:
    """Write table and figure.

    Raises:
        InputError: a file is not what it should be, or boxes are of other images.
    """
    require_ending(files.output, ".csv", "a table")
    if len(files.index) != len(files.boxes):
        raise InputError(
            f"--index names {len(files.index)} files and --boxes {len(files.boxes)}: each goes with"
            " its boxes"
        )
    found = [
        result
        for index, boxes in zip(files.index, files.boxes, strict=True)
        for result in _swept(index, boxes)
    ]
    table, figure = facet_table(found), draw_facets(found)
    write_bytes(files.output.with_suffix(".png"), figure)
    write_table(files.output, table)


def _swept(index: Path, boxes: Path) -> list[Swept]:
    with SweptBoxes(boxes) as file:
        return swept_corloc(load_index(index), file, boxes)


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
