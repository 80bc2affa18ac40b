"""Propose one box per image from its pixels alone, by a classical method.

  selective_search  the first proposal of the fast mode, in the order of the paper: large regions
                    first, by chance among them (OpenCV's order is the reverse)
  edge_boxes        the box of highest score; edges are those of --model, a structured forest, or
                    plain gradients without it

Published tables do not say more than that the highest-ranked proposal stands for the image.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import bbr.command_line.fast_import

from bbr.baselines.image_methods import METHODS, first_box, make_proposer
from bbr.command_line import cli
from bbr.command_line.cli import log
from bbr.data.images import UnreadableImage, read_indexed
from bbr.data.index import load_index, parse_shard
from bbr.errors import InputError
from bbr.storage.boxes_json import Record, write_boxes
from bbr.storage.provenance import provenance


def run(
    *,
    method: str,
    index: Path,
    output: Path,
    shard: tuple[int, int],
    max_side: int,
    seed: int,
    model: str | None,
    max_skipped: int,
) -> None:
    """Write boxes.json (COCO results) of one shard of an index, in its order.

    Raises:
        InputError: more than `max_skipped` images cannot be read, or an input is bad.
    """
    propose = make_proposer(method, seed, model)
    dataset = load_index(index)
    images = dataset.shard(*shard)
    records: list[Record] = []
    skipped: list[dict[str, Any]] = []
    for image in cli.progress(images, len(images), "images"):
        try:
            pixels = read_indexed(dataset.image_path(image), image)
        except UnreadableImage as error:
            skipped.append({"image_id": image["id"], "reason": error.reason})
            if len(skipped) > max_skipped:
                raise InputError(
                    f"{index}: {len(skipped)} images cannot be read (last: {error});"
                    " mend them, index again, or raise --max-skipped"
                ) from error
            log.warning("skipped: %s", error)
            continue
        x1, y1, x2, y2 = first_box(pixels, propose, max_side).tolist()
        records.append({"image_id": image["id"], "bbox": [x1, y1, x2 - x1, y2 - y1], "score": 1.0})
    parameters = {"method": method, "shard": list(shard), "max_side": max_side, "seed": seed}
    record = provenance("propose_regions", parameters, {"index": index, "model": model})
    write_boxes(output, records, record, skipped)


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    parser = cli.stage_parser(__doc__)
    parser.add_argument("--method", required=True, help=", ".join(METHODS))
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True, help="boxes.json")
    parser.add_argument("--shard", type=parse_shard, default=(0, 1), metavar="i/n",
                        help="this part of the images only, i from 0 [0/1]")  # fmt: skip
    parser.add_argument("--max-side", type=cli.positive_int, default=500,
                        help="larger images are shrunk to this [500]")  # fmt: skip
    parser.add_argument("--seed", type=cli.non_negative_int, default=0,
                        help="selective_search: of its random factors [0]")  # fmt: skip
    parser.add_argument("--model", help="edge_boxes: OpenCV's structured-edge model [gradients]")
    parser.add_argument("--max-skipped", type=cli.non_negative_int, default=0,
                        help="unreadable images to tolerate [0]")  # fmt: skip
    return cli.execute(run, parser, argv)


if __name__ == "__main__":
    sys.exit(main())
