"""Score boxes against the ground truth of an index: CorLoc, or COCO's average precision (AP50).

Prints the score in percent and its counts of images, and writes them with the bootstrap 95 %
interval and the outcome of every image, which is what paired comparisons and tables are made from.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from bbr import cli
from bbr.average_precision import average_precision
from bbr.box_files import Record, box_xyxy, read_boxes, require_known_images, top_boxes
from bbr.corloc import IOU_THRESHOLD, best_ious
from bbr.errors import InputError
from bbr.files import write_json
from bbr.index import Index, load_index
from bbr.metric_files import add_label_option, parse_labels
from bbr.provenance import provenance
from bbr.statistics import bootstrap_interval


def run(*, task: str, index: Path, boxes: Path, labels: list[str], output: Path) -> None:
    """Evaluate `boxes` on the images of `index` and write `output`.

    Raises:
        InputError: the files are not what they should be or do not belong together.
    """
    named = parse_labels(labels)
    dataset, records = load_index(index), read_boxes(boxes)
    known = {image["id"] for image in dataset.images}
    if not any(len(dataset.boxes_xyxy(image_id)) for image_id in known):
        raise InputError("the index has no ground-truth boxes: there is nothing to score against")
    require_known_images(records, known, boxes)
    metrics = {
        "task": task,
        "labels": named,
        **TASKS[task](dataset, records),
        "provenance": provenance(
            "evaluate", {"task": task, "labels": named}, {"index": index, "boxes": boxes}
        ),
    }
    write_json(output, metrics)
    print(f"{metrics['score']:.2f} ({metrics['correct']} of {metrics['count']})")


def corloc(index: Index, records: list[Record]) -> dict[str, Any]:
    """CorLoc, and whether the top box of each image has IoU 0.5 or more with an object."""
    truth = {image["id"]: index.boxes_xyxy(image["id"]) for image in index.images}
    ious = best_ious({i: box_xyxy(record) for i, record in top_boxes(records).items()}, truth)
    correct = (ious >= IOU_THRESHOLD).astype(int).tolist()
    return {
        "score": 100 * sum(correct) / len(correct),
        "interval": [100 * end for end in bootstrap_interval(correct)],
        "correct": sum(correct),
        "count": len(correct),
        "outcomes": {
            "image_id": list(truth),
            "correct": correct,
            "iou": ious.round(6).tolist(),
        },
    }


def ap(index: Index, records: list[Record]) -> dict[str, Any]:
    """AP50 of all boxes, whatever their class, and whether any object of an image was found.

    The counts are those of images in which one was.
    """
    found = average_precision(index, records)
    correct = [int(count > 0) for count in found.found]
    return {
        "score": found.ap50,
        "ap": found.ap,
        "ap75": found.ap75,
        "interval": list(found.interval),
        "correct": sum(correct),
        "count": len(correct),
        "outcomes": {
            "image_id": sorted(image["id"] for image in index.images),
            "correct": correct,
            "objects": found.objects,
            "found": found.found,
        },
    }


TASKS = {"corloc": corloc, "ap": ap}


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    parser = cli.stage_parser(__doc__)
    parser.add_argument("--task", choices=TASKS, required=True)
    parser.add_argument("--index", type=Path, required=True, help="index.json with ground truth")
    parser.add_argument("--boxes", type=Path, required=True, help="COCO results")
    add_label_option(parser)
    parser.add_argument("--output", type=Path, required=True, help="metrics.json")
    return cli.execute(run, parser, argv)


if __name__ == "__main__":
    sys.exit(main())
