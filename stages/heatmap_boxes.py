"""Boxes from the heatmaps of phrases: pseudo-boxes for h, or those that are evaluated.

Contours of the thresholded map give the boxes; `bbr/grounding/contours.py` has the steps. A
phrase whose map has no box gets no record.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import bbr.command_line.fast_import

import numpy as np

from bbr.command_line import cli
from bbr.data.index import load_index
from bbr.errors import InputError
from bbr.grounding.contours import MODES, ContourOptions, heatmap_boxes
from bbr.grounding.heatmaps_h5 import HeatmapFile
from bbr.options import option
from bbr.storage.boxes_json import Record, write_boxes
from bbr.storage.provenance import provenance

_BATCH = 64


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    heatmaps: Path = option(help="heatmaps.h5")
    index: Path = option(help="has the sizes of the images")
    output: Path = option(help="boxes.json")


@dataclass(frozen=True)
class BoxOptions(ContourOptions):
    """How boxes are made."""

    mode: str = option(help="what the boxes are for", choices=MODES)


def run(*, files: Files, options: BoxOptions) -> None:
    """Write boxes.json: COCO results in image pixels, each with its phrase_id, best first.

    Raises:
        InputError: the heatmaps are not whole, or of other images than the index.
    """
    dataset = load_index(files.index)
    sizes = {image["id"]: dataset.image_size(image) for image in dataset.images}
    records: list[Record] = []
    with HeatmapFile(files.heatmaps) as file:
        unknown = sorted(set(file.image_id.tolist()) - sizes.keys())
        if unknown:
            raise InputError(
                f"heatmaps {files.heatmaps}: of {len(unknown)} images that {files.index} does not"
                f" have (first: {unknown[0]}); use the index that they were made from"
            )
        batches = file.batches(_BATCH)
        total = -(-len(file) // _BATCH)
        for positions, maps in cli.progress(batches, total, "batches of heatmaps"):
            for position, heatmap in zip(positions, maps, strict=True):
                unit = int(file.image_id[position]), int(file.phrase_id[position])
                records += _records(heatmap, unit, sizes[unit[0]], options)
    inputs = {"heatmaps": files.heatmaps, "index": files.index}
    write_boxes(files.output, records, provenance("heatmap_boxes", vars(options), inputs))


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
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
