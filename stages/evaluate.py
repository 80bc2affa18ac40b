"""Score boxes against the ground truth of an index.

Prints the score in percent and its counts, and writes them with the bootstrap 95 % interval and
the outcome of every image, which is what paired comparisons and tables are made from.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from bbr import cli
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
    outcomes = TASKS[task](load_index(index), read_boxes(boxes), str(boxes))
    correct, count = sum(outcomes["correct"]), len(outcomes["correct"])
    score = 100 * correct / count
    metrics = {
        "task": task,
        "labels": named,
        "score": score,
        "interval": [100 * end for end in bootstrap_interval(outcomes["correct"])],
        "correct": correct,
        "count": count,
        "outcomes": outcomes,
        "provenance": provenance(
            "evaluate", {"task": task, "labels": named}, {"index": index, "boxes": boxes}
        ),
    }
    write_json(output, metrics)
    print(f"{score:.2f} ({correct} of {count})")


def corloc_outcomes(index: Index, records: list[Record], source: str) -> dict[str, list[Any]]:
    """Whether the top box of each image has IoU 0.5 or more with an object."""
    truth = {image["id"]: index.boxes_xyxy(image["id"]) for image in index.images}
    if not any(len(boxes) for boxes in truth.values()):
        raise InputError("the index has no ground-truth boxes: there is nothing to score against")
    require_known_images(records, truth, source)
    ious = best_ious({i: box_xyxy(record) for i, record in top_boxes(records).items()}, truth)
    return {
        "image_id": list(truth),
        "correct": (ious >= IOU_THRESHOLD).astype(int).tolist(),
        "iou": ious.round(6).tolist(),
    }


TASKS = {"corloc": corloc_outcomes}


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
