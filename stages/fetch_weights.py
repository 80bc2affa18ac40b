"""Fetch pretrained weights of workflow/sources/weights.yaml and make a file of ours of them.

The published file is downloaded, unless it lies in the folder of downloads or --file names it;
it is checked against its digest, and its tensors must fit the network key for key. Nothing that a
file may hold of code is run.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import bbr.command_line.fast_import

from bbr.command_line import cli
from bbr.errors import InputError
from bbr.fetch.weight_registry import WeightEntry, convert, obtain, read_registry
from bbr.options import option
from bbr.storage.digests import check_digest, file_digest, known_digest
from bbr.storage.provenance import provenance


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    registry: Path = option(help="the table, weights.yaml")
    name: str = option(help="an entry of the table")
    downloads: Path = option(help="folder of downloaded files")
    output: Path = option(help="weights of ours")
    file: Path | None = option(None, "the published file [downloaded]")
    needs: Path | None = option(None, "weights that these are built on, of ours")


def run(*, files: Files) -> None:
    """Write the weights to `output`.

    Raises:
        InputError: the registry has no such entry, or its file is not to be had or another one.
    """
    table = read_registry(files.registry)
    if files.name not in table:
        raise InputError(f"{files.registry}: has no {files.name}; choose from {', '.join(table)}")
    entry = table[files.name]
    path, sha256 = (
        obtain(entry, files.downloads) if files.file is None else _given(entry, files.file)
    )
    parameters = {"name": files.name, "kind": entry.kind, "architecture": entry.architecture}
    # Of a folder, the last of its files stands for all.
    parameters["sha256"] = sha256
    record = provenance("fetch_weights", parameters, {"needs": files.needs})
    convert(entry, path, files.output, record, files.needs)
    cli.log.info("%s: of %s, SHA-256 %s; licence: %s", files.name, path.name, sha256, entry.licence)


def _given(entry: WeightEntry, file: Path) -> tuple[Path, str]:
    """A file of the user's; one that has the name of a published file must be that file."""
    path = cli.existing_file(file, "--file")
    for source in entry.sources:
        if source.file == path.name and source.sha256 is not None:
            return path, check_digest(path, known_digest(path.name, source.sha256))
    return path, file_digest(path, "sha256")


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
