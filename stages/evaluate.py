"""Score a method against the ground truth of an index.

  --task corloc         the top box of each image: --boxes
  --task ap             COCO's average precision (AP50) of all boxes of each image, beside it AP,
                        AP75 and AR100: --boxes
  --task mask_iou       the mask of that top box: its mean IoU with the object it covers best, and
                        the measures of salient object detection; --boxes with masks
  --task mask_ap        AP50 of all masks: --boxes with masks
  --task pointing_game  the highest point of the heatmap of each phrase: --heatmaps; or the centre
                        of the box around its boxes, of what has no heatmap: --boxes
  --task bbox_accuracy  the box around all boxes of each phrase: --boxes with phrase ids
  --task wwbl           the same two ("what is where by looking") of captions that no phrase asked
                        for: --heatmaps or --boxes of captions, and --matches, by which each phrase
                        has the caption that is nearest to it; without one it is a miss

The two before that also take --control random or center: a point, or a box, that is drawn uniformly
or lies in the middle. Tasks of phrases leave out target boxes below --min-area of the image (see
--counted), and score groups of phrases as well: by words, relational or plain, size of the target,
category.

Prints the score in percent and its counts, and writes them with the bootstrap 95 % interval and
the outcome of every image or phrase, which is what paired comparisons and tables are made from.
Intervals of phrases resample whole images.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import bbr.command_line.fast_import

from bbr.command_line import cli
from bbr.command_line.run_options import LabelOptions
from bbr.data.index import load_index
from bbr.evaluation.outcomes import TASKS_OF_IMAGES, score
from bbr.evaluation.tasks import Task, require_matches, require_one_source, score_phrases
from bbr.options import option
from bbr.storage.json_files import write_json
from bbr.storage.metrics_json import parse_labels
from bbr.storage.provenance import provenance


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    index: Path = option(help="index.json with ground truth")
    output: Path = option(help="metrics.json")
    boxes: Path | None = option(None, "COCO results")
    heatmaps: Path | None = option(None, "heatmaps.h5")
    matches: Path | None = option(None, "matches.json, for --task wwbl")


def run(*, files: Files, options: Task, labels: LabelOptions) -> None:
    """Evaluate on the images or phrases of `index` and write `output`.

    Raises:
        InputError: the files are not what they should be or do not belong together.
    """
    named, dataset = parse_labels(labels.labels), load_index(files.index)
    require_one_source(
        options.task, boxes=files.boxes, heatmaps=files.heatmaps, control=options.control
    )
    require_matches(options.task, files.matches)
    parameters = {"task": options.task, "labels": named}
    if options.task in TASKS_OF_IMAGES:
        outcomes, scores = TASKS_OF_IMAGES[options.task](dataset, files.boxes)
    else:
        sources = (files.boxes, files.heatmaps, files.matches)
        outcomes, scores = score_phrases(dataset, options, *sources)
        parameters |= options.recorded()
    inputs = {**vars(files), "output": None}
    metrics = {
        "task": options.task,
        "labels": named,
        **score(outcomes["correct"], outcomes["image_id"]),
        **scores,
        "outcomes": outcomes,
        "provenance": provenance("evaluate", parameters, inputs),
    }
    write_json(files.output, metrics)
    print(f"{metrics['score']:.2f} ({metrics['correct']} of {metrics['count']})")


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
