"""Where each phrase of one's own photographs was found: one JSON file to read on.

A list of {"file_name", "phrase", "point": [x, y], "boxes": [{"bbox": [x, y, width, height],
"score"}]}: the highest point of the phrase's heatmap, and its boxes, best first, in pixels of the
upright image. A phrase whose map has no box has an empty list.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import bbr.command_line.fast_import

from bbr.command_line import cli
from bbr.data.index import load_index
from bbr.data.phrases import index_phrases
from bbr.evaluation.phrase_metrics import Target, Unit, heatmap_points, require_phrases
from bbr.grounding.heatmaps_h5 import HeatmapFile
from bbr.options import option
from bbr.storage.boxes_json import Record, read_boxes
from bbr.storage.json_files import write_json


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    index: Path = option(help="index.json with phrases")
    heatmaps: Path = option(help="heatmaps.h5")
    boxes: Path = option(help="boxes.json of those heatmaps")
    output: Path = option(help="grounding.json")


def run(*, files: Files) -> None:
    """Write grounding.json.

    Raises:
        InputError: the files do not belong together.
    """
    dataset = load_index(files.index)
    images = {image["id"]: image for image in dataset.images}
    targets = [
        Target(phrase, dataset.image_size(images[phrase.image_id]))
        for phrase in index_phrases(dataset)
    ]
    with HeatmapFile(files.heatmaps) as file:
        points = heatmap_points(targets, file)
    found: dict[Unit, list[Record]] = {target.unit: [] for target in targets}
    records = read_boxes(files.boxes)
    require_phrases(records, found, files.boxes)
    for record in records:
        found[record["image_id"], record["phrase_id"]].append(record)
    listed = [
        {
            "file_name": images[target.phrase.image_id]["file_name"],
            "phrase": target.phrase.texts[0],
            "point": list(points[target.unit]),
            "boxes": [{key: r[key] for key in ("bbox", "score")} for r in found[target.unit]],
        }
        for target in targets
    ]
    write_json(files.output, listed)


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
