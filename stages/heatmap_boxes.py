"""Boxes from the heatmaps of phrases: pseudo-boxes for h, or those that are evaluated.

Contours of the thresholded map give the boxes; `bbr/grounding/contours.py` has the steps. A
phrase whose map has no box gets no record.
"""

from __future__ import annotations

import sys
from pathlib import Path

import bbr.command_line.fast_import

import numpy as np

from bbr.command_line import cli
from bbr.data.index import load_index
from bbr.errors import InputError
from bbr.grounding.contours import MODES, NMS_BOXES, THRESHOLDS, ContourOptions, heatmap_boxes
from bbr.grounding.heatmaps_h5 import HeatmapFile
from bbr.storage.boxes_json import Record, write_boxes
from bbr.storage.provenance import provenance

_BATCH = 64


def run(
    *, heatmaps: Path, index: Path, mode: str, nms_boxes: str, box_threshold: str, output: Path
) -> None:
    """Write boxes.json: COCO results in image pixels, each with its phrase_id, best first.

    Raises:
        InputError: the heatmaps are not whole, or of other images than the index.
    """
    options = ContourOptions(mode, nms_boxes, box_threshold)
    dataset = load_index(index)
    sizes = {image["id"]: dataset.image_size(image) for image in dataset.images}
    records: list[Record] = []
    with HeatmapFile(heatmaps) as file:
        unknown = sorted(set(file.image_id.tolist()) - sizes.keys())
        if unknown:
            raise InputError(
                f"heatmaps {heatmaps}: of {len(unknown)} images that {index} does not have (first: "
                f"{unknown[0]}); use the index that they were made from"
            )
        batches = file.batches(_BATCH)
        total = -(-len(file) // _BATCH)
        for positions, maps in cli.progress(batches, total, "batches of heatmaps"):
            for position, heatmap in zip(positions, maps, strict=True):
                unit = int(file.image_id[position]), int(file.phrase_id[position])
                records += _records(heatmap, unit, sizes[unit[0]], options)
    inputs = {"heatmaps": heatmaps, "index": index}
    write_boxes(output, records, provenance("heatmap_boxes", vars(options), inputs))


def _records(
    heatmap: np.ndarray, unit: tuple[int, int], size: tuple[int, int], options: ContourOptions
) -> list[Record]:
    boxes, scores = heatmap_boxes(heatmap, options)
    (map_height, map_width), (height, width) = heatmap.shape, size
    scale = np.array([width / map_width, height / map_height])
    xywh = np.concatenate((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), axis=1) * np.tile(scale, 2)
    image_id, phrase_id = unit
    return [
        {"image_id": image_id, "phrase_id": phrase_id, "bbox": box, "score": score}
        for box, score in zip(xywh.tolist(), scores.tolist(), strict=True)
    ]


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    parser = cli.stage_parser(__doc__)
    parser.add_argument("--heatmaps", type=Path, required=True, help="heatmaps.h5")
    parser.add_argument("--index", type=Path, required=True, help="has the sizes of the images")
    parser.add_argument("--mode", choices=MODES, required=True, help="what the boxes are for")
    parser.add_argument(
        "--box-threshold", choices=THRESHOLDS, default="minmax",
        help="minmax, as the released code: greys up to half of the largest are nothing; absolute,"
        " as the paper's text: pseudo cuts at half of the maximum, evaluation at 0.5 [minmax]",
    )  # fmt: skip
    parser.add_argument("--nms-boxes", choices=NMS_BOXES, default="xyxy",
                        help="xywh suppresses boxes as the released code does, which takes their "
                        "sizes for corners [xyxy]")  # fmt: skip
    parser.add_argument("--output", type=Path, required=True, help="boxes.json")
    return cli.execute(run, parser, argv)


if __name__ == "__main__":
    sys.exit(main())
