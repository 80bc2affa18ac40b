"""Print what is there of each dataset: images, boxes and phrases, and what is missing.

In brackets is what was expected, where it differs: the paper's counts, some of which it rounds.
Nothing is opened but the annotations, and nothing is fetched.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import Any

import bbr.command_line.fast_import

from bbr.command_line import cli
from bbr.errors import InputError
from bbr.fetch.data_check import check_dataset, table_of
from bbr.options import option


def parse_datasets(text: str) -> dict[str, dict[str, Any]]:
    """`--datasets`: a JSON object of sections of the configuration.

    Raises:
        InputError: it is not one.
    """
    try:
        content = json.loads(text)
        return {name: {**section} for name, section in content.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError(f"--datasets is not an object of datasets by name ({error})") from error


@dataclass(frozen=True)
class Datasets:
    """What is looked at."""

    datasets: dict[str, dict[str, Any]] = option(
        help="JSON: sections of the configuration by name", parse=parse_datasets
    )


def run(*, options: Datasets) -> None:
    """Print the table."""
    found = {}
    for name in cli.progress(options.datasets, len(options.datasets), "datasets"):
        found[name] = check_dataset(options.datasets[name])
    print(table_of(options.datasets, found))


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
