"""Snakemake that looks every second whether its jobs have ended.

The SLURM plugin waits 10 s longer after each look that found none, and no option changes that:
right for jobs of hours, but half of all the time that jobs of seconds take.
"""

from __future__ import annotations

import signal
import sys

from snakemake.cli import main
from snakemake_executor_plugin_slurm import Executor

Executor.next_seconds_between_status_checks = property(lambda _: 1, lambda _, longer: None)

if __name__ == "__main__":
    # Of tests that a shell runs in the background, Ctrl-C would be ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main())
