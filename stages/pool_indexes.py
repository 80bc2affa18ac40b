"""Pool the indexes of several datasets into one, with their ground truth.

Images get new ids, in the order in which the indexes are named; categories of one name become one.
Image files stay where they are.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import bbr.command_line.fast_import

from bbr.command_line import cli
from bbr.data.index import load_index, save_index
from bbr.data.pooling import pool
from bbr.options import option
from bbr.storage.provenance import provenance


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    indexes: tuple[Path, ...] = option(help="index.json of each dataset")
    output: Path = option(help="index.json")


def run(*, files: Files) -> None:
    """Write the pool of all of `indexes` to `output`.

    Raises:
        InputError: one is not an index, or they do not fit together; see `pool`.
    """
    pooled = pool([load_index(path) for path in files.indexes], files.output)
    inputs = {f"index_{i}": path for i, path in enumerate(files.indexes)}
    info = {**pooled.info, "provenance": provenance("pool_indexes", {}, inputs)}
    save_index(replace(pooled, info=info))
    cli.log.info(
        "%s: %d images, %d boxes", files.output, len(pooled.images), len(pooled.annotations)
    )


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
