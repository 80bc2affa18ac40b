"""Fetch pretrained weights of workflow/sources/weights.yaml and make a file of ours of them.

The published file is downloaded, unless it lies in the folder of downloads or --file names it;
it is checked against its digest, and its tensors must fit the network key for key. Nothing that a
file may hold of code is run.
"""

from __future__ import annotations

import sys
from pathlib import Path

import bbr.command_line.fast_import

from bbr.command_line import cli
from bbr.errors import InputError
from bbr.fetch.weight_registry import WeightEntry, convert, obtain, read_registry
from bbr.storage.digests import check_digest, file_digest, known_digest
from bbr.storage.provenance import provenance


def run(
    *,
    registry: Path,
    name: str,
    downloads: Path,
    output: Path,
    file: Path | None = None,
    needs: Path | None = None,
) -> None:
    """Write the weights to `output`.

    Raises:
        InputError: the registry has no such entry, or its file is not to be had or another one.
    """
    table = read_registry(registry)
    if name not in table:
        raise InputError(f"{registry}: has no {name}; choose from {', '.join(table)}")
    entry = table[name]
    path, sha256 = obtain(entry, downloads) if file is None else _given(entry, file)
    parameters = {"name": name, "kind": entry.kind, "architecture": entry.architecture}
    # Of a folder, the last of its files stands for all.
    parameters["sha256"] = sha256
    record = provenance("fetch_weights", parameters, {"needs": needs})
    convert(entry, path, output, record, needs)
    cli.log.info("%s: of %s, SHA-256 %s; licence: %s", name, path.name, sha256, entry.licence)


def _given(entry: WeightEntry, file: Path) -> tuple[Path, str]:
    """A file of the user's; one that has the name of a published file must be that file."""
    path = cli.existing_file(file, "--file")
    for source in entry.sources:
        if source.file == path.name and source.sha256 is not None:
            return path, check_digest(path, known_digest(path.name, source.sha256))
    return path, file_digest(path, "sha256")


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    parser = cli.stage_parser(__doc__)
    parser.add_argument("--registry", type=Path, required=True, help="the table, weights.yaml")
    parser.add_argument("--name", required=True, help="an entry of the table")
    parser.add_argument("--downloads", type=Path, required=True, help="folder of downloaded files")
    parser.add_argument("--file", type=Path, help="the published file [downloaded]")
    parser.add_argument("--needs", type=Path, help="weights that these are built on, of ours")
    parser.add_argument("--output", type=Path, required=True, help="weights of ours")
    return cli.execute(run, parser, argv)


if __name__ == "__main__":
    sys.exit(main())
