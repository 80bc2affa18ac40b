"""Fetch a dataset of workflow/sources/datasets.yaml into the folder of data.

Downloads go on where they broke off, are checked, and are unpacked whole or not at all; what lies
in the folder already is left alone. Where the data may not be downloaded without a person, the
message says what to do. The output is a receipt: what was downloaded, with its SHA-256.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import bbr.command_line.fast_import

from bbr.command_line import cli
from bbr.errors import InputError
from bbr.fetch.sources import describe, fetch, read_sources
from bbr.options import option
from bbr.storage.json_files import write_json


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    sources: Path = option(help="the table, datasets.yaml")
    name: str = option(help="an entry of the table")
    folder: Path = option(help="of data")
    output: Path = option(help="receipt, .json")


def run(*, files: Files) -> None:
    """Fetch `name` and write the receipt to `output`.

    Raises:
        InputError: the table has no such entry, or something is not to be had.
    """
    table = read_sources(files.sources)
    if files.name not in table:
        raise InputError(f"{files.sources}: has no {files.name}; choose from {', '.join(table)}")
    source = table[files.name]
    if source.terms:
        cli.log.info("%s: terms of use: %s", files.name, source.terms)
    write_json(files.output, describe(source, fetch(source, files.folder), files.folder))


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
