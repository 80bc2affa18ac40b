"""Draw how well the scores of boxes tell right ones from wrong ones: risk over coverage.

Each metrics.json, of --task corloc, goes with the boxes that it was measured on. A panel for each
dataset has a curve for each method, and a dotted line where a random order would be. A CSV file and
its Markdown twin beside the PNG file have the numbers.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import bbr.command_line.fast_import

import numpy as np

from bbr.command_line import cli
from bbr.errors import InputError
from bbr.evaluation.risk_coverage import image_scores
from bbr.options import option
from bbr.reporting.risk_figure import Ranking, draw_risk, risk_table
from bbr.reporting.tables import label_of, write_table
from bbr.storage.atomic import require_ending, sha256, write_bytes
from bbr.storage.boxes_json import read_boxes
from bbr.storage.metrics_json import read_metrics


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    metrics: tuple[Path, ...] = option(help="metrics.json of each curve")
    boxes: tuple[Path, ...] = option(help="the boxes of each, in the same order")
    output: Path = option(help="risk_coverage.png")


def run(*, files: Files) -> None:
    """Write the figure to `output` (.png), and its numbers beside it.

    Raises:
        InputError: a file is not what it should be, or metrics are not of the boxes.
    """
    require_ending(files.output, ".png", "a figure")
    if len(files.metrics) != len(files.boxes):
        raise InputError(
            f"--metrics names {len(files.metrics)} files and --boxes {len(files.boxes)}: each"
            " metrics file goes with its boxes"
        )
    pairs = zip(files.metrics, files.boxes, strict=True)
    rankings = [_ranking(metrics, boxes) for metrics, boxes in pairs]
    table, figure = risk_table(rankings), draw_risk(rankings)
    write_table(files.output.with_suffix(".csv"), table)
    write_bytes(files.output, figure)


def _ranking(metrics: Path, boxes: Path) -> Ranking:
    measured = read_metrics(metrics)
    if measured["task"] != "corloc":
        raise InputError(f"{metrics}: is of task {measured['task']}; a curve is made of corloc")
    made_from = measured.get("provenance", {}).get("inputs", {}).get("boxes")
    if made_from not in (None, sha256(boxes)):
        raise InputError(f"{metrics}: was not measured on {boxes}; name each beside its boxes")
    labels, outcomes = measured["labels"], measured["outcomes"]
    method = label_of(labels, "method", str(metrics))
    return Ranking(
        dataset=label_of(labels, "dataset", str(metrics)),
        method=f"{method} + CAD" if labels.get("cad") == "yes" else method,
        scores=image_scores(read_boxes(boxes), outcomes["image_id"]),
        correct=np.array(outcomes["correct"]),
    )


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
