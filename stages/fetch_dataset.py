"""Fetch a dataset of workflow/sources/datasets.yaml into the folder of data.

Downloads go on where they broke off, are checked, and are unpacked whole or not at all; what lies
in the folder already is left alone. Where the data may not be downloaded without a person, the
message says what to do. The output is a receipt: what was downloaded, with its SHA-256.
"""

from __future__ import annotations

import sys
from pathlib import Path

import bbr.command_line.fast_import

from bbr.command_line import cli
from bbr.errors import InputError
from bbr.fetch.sources import describe, fetch, read_sources
from bbr.storage.json_files import write_json


def run(*, sources: Path, name: str, folder: Path, output: Path) -> None:
    """Fetch `name` and write the receipt to `output`.

    Raises:
        InputError: the table has no such entry, or something is not to be had.
    """
    table = read_sources(sources)
    if name not in table:
        raise InputError(f"{sources}: has no {name}; choose from {', '.join(table)}")
    source = table[name]
    if source.terms:
        cli.log.info("%s: terms of use: %s", name, source.terms)
    write_json(output, describe(source, fetch(source, folder), folder))


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    parser = cli.stage_parser(__doc__)
    parser.add_argument("--sources", type=Path, required=True, help="the table, datasets.yaml")
    parser.add_argument("--name", required=True, help="an entry of the table")
    parser.add_argument("--folder", type=Path, required=True, help="of data")
    parser.add_argument("--output", type=Path, required=True, help="receipt, .json")
    return cli.execute(run, parser, argv)


if __name__ == "__main__":
    sys.exit(main())
