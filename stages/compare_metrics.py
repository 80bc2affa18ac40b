"""Compare two metrics of the same images in pairs: f against f^h, for example.

Writes the difference in points with its bootstrap 95 % interval, how many images only one of the
two gets right, and McNemar's exact p-value. Metrics of phrases are compared phrase by phrase; since
those of one image are not independent, the interval resamples whole images, and the p-value is of
the sign-flip test on them. Labels are those of the candidate unless given.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bbr.command_line.fast_import

from bbr.command_line import cli
from bbr.command_line.run_options import LabelOptions
from bbr.errors import InputError
from bbr.evaluation.statistics import compare_paired
from bbr.options import option
from bbr.storage.json_files import write_json
from bbr.storage.metrics_json import aligned_outcomes, parse_labels, read_metrics
from bbr.storage.provenance import provenance


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    baseline: Path = option(help="metrics.json of f")
    candidate: Path = option(help="metrics.json of f^h")
    output: Path = option(help="comparison.json")


def run(*, files: Files, labels: LabelOptions) -> None:
    """Compare the metrics files `candidate` and `baseline` and write `output`.

    Raises:
        InputError: the two are of different tasks or images, or not metrics files.
    """
    before, after = read_metrics(files.baseline), read_metrics(files.candidate)
    if before["task"] != after["task"]:
        raise InputError(
            f"{files.baseline} is of task {before['task']} and {files.candidate} of"
            f" {after['task']}: compare metrics of one task"
        )
    pair = compare_paired(*aligned_outcomes(before, after))
    named = {**after["labels"], **parse_labels(labels.labels)}
    comparison = {
        "task": before["task"],
        "labels": named,
        "baseline": _side(before),
        "candidate": _side(after),
        "difference": 100 * pair.difference,
        "interval": [100 * end for end in pair.interval],
        "fixed": pair.fixed,
        "broken": pair.broken,
        "p_value": pair.p_value,
        "count": len(before["outcomes"]["correct"]),
        "provenance": provenance(
            "compare_metrics",
            {"labels": named},
            {"baseline": files.baseline, "candidate": files.candidate},
        ),
    }
    write_json(files.output, comparison)
    low, high = comparison["interval"]
    print(
        f"{comparison['difference']:+.2f} points [{low:+.2f}, {high:+.2f}], "
        f"{pair.fixed} fixed, {pair.broken} broken, p = {pair.p_value:.2g}"
    )


def _side(metrics: dict[str, Any]) -> dict[str, Any]:
    return {key: metrics[key] for key in ("labels", "score", "interval", "correct", "count")}


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
