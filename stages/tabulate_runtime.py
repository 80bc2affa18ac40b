"""Table 7: hours by stage and device, from the benchmark files of the jobs, beside the paper's.

Each --job names what a stage made and the benchmark file that Snakemake wrote of it. A benchmark
file that is missing (the artifact was made elsewhere) leaves its cells open, and is named in one
line. Resumed jobs count with their last run alone. A Markdown twin is written beside the CSV file.
"""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass
from pathlib import Path

import bbr.command_line.fast_import

from bbr.command_line import cli
from bbr.options import option
from bbr.reporting.runtime import job_cost, parse_job, read_published, runtime_table
from bbr.reporting.tables import write_table
from bbr.storage.atomic import require_ending

log = logging.getLogger("bbr")


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    job: tuple[tuple[str, ...], ...] = option(
        help="network, task, dataset, stage, artifact and benchmark; and seed, and shards of paths"
        " that hold {shard}; once for each job",
        metavar="KEY=VALUE",
        repeats=True,
    )
    output: Path = option(help="table7.csv")
    published: Path | None = option(None, "the paper's values, in long form [none]")


def run(*, files: Files) -> None:
    """Write the table of these jobs to `output` (.csv) and its Markdown twin.

    Raises:
        InputError: a job is not well described, or a file is not what it should be.
    """
    require_ending(files.output, ".csv", "a table")
    theirs = []
    if files.published is not None:
        theirs = read_published(cli.existing_file(files.published, "--published"))
    jobs = list(map(parse_job, files.job))
    missing = [str(p) for each in jobs for p in each.paths("benchmark") if not p.is_file()]
    if missing:
        names = ", ".join(dict.fromkeys(missing))
        log.warning("no benchmark file, hence no hours: %s", names)
    table = runtime_table([(each, job_cost(each)) for each in jobs], theirs)
    write_table(files.output, table)


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
