"""Propose one box per image, or several, from f's patch features by a heuristic.

Reads any features.h5 of the documented layout, wherever it was made.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import bbr.command_line.fast_import

from bbr.backbones.features_h5 import FeatureFile
from bbr.command_line import cli
from bbr.command_line.devices import choose_device, device_name
from bbr.heuristics.multi_box import SEVERAL, propose_scored
from bbr.heuristics.registry import (
    METHODS,
    add_heuristic_options,
    heuristic_options,
    pop_heuristic_options,
)
from bbr.storage.boxes_json import write_boxes
from bbr.storage.provenance import provenance


def run(
    *,
    method: str,
    features: Path,
    output: Path,
    max_boxes: int,
    batch_size: int,
    device: str,
    **given: Any,
) -> None:
    """Write boxes.json (COCO results), in the order of the features' images.

    Scores say how far objects stand out (`bbr.heuristics.multi_box`); 1 of methods without a mask.

    Raises:
        InputError: an unknown method or option, or a features file that is not whole.
    """
    place = choose_device(device)
    chosen = pop_heuristic_options(given)
    options = heuristic_options(method, chosen)
    found: dict[int, list[tuple[list[float], float]]] = {}
    with FeatureFile(features) as file:
        order, skipped = file.image_id.tolist(), file.skipped
        batches = file.batches(batch_size, place)
        for batch in cli.progress(batches, None, "batches of images"):
            boxes = propose_scored(batch, method, options, max_boxes)
            found.update(zip(batch.image_ids, boxes, strict=True))
    records = [
        {"image_id": i, "category_id": 1, "bbox": _xywh(box), "score": score}
        for i in order
        for box, score in found[i]
    ]
    parameters = {"method": method, **vars(options), "max_boxes": max_boxes}
    record = provenance("pseudo_boxes", parameters, {"features": features}, device_name(place))
    write_boxes(output, records, record, skipped)


def _xywh(box: list[float]) -> list[float]:
    return [box[0], box[1], box[2] - box[0], box[3] - box[1]]


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    parser = cli.stage_parser(__doc__)
    parser.add_argument("--method", required=True, help=", ".join(METHODS))
    parser.add_argument("--features", type=Path, required=True, help="features.h5")
    parser.add_argument("--output", type=Path, required=True, help="boxes.json")
    parser.add_argument("--max-boxes", type=cli.positive_int, default=1,
                        help=f"of an image; several by {', '.join(SEVERAL)} only [1]")  # fmt: skip
    parser.add_argument("--batch-size", type=cli.positive_int, default=32)
    add_heuristic_options(parser)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    return cli.execute(run, parser, argv)


if __name__ == "__main__":
    sys.exit(main())
