"""What every job shares: how its command is run, and how much memory it may ask for."""

from __future__ import annotations

import math
import os

from bbr.command_line.memory import MB, available_memory

from .sections import Config

# Bash's status of a command that SIGKILL ended; such a command cannot say anything itself.
_KILLED = 137
_WHY = (
    "killed (SIGKILL), most likely since the machine had no memory left: shrink the images"
    " (max_side), give less at once (batch_pixels, batch_size), allow more (memory_mb) or run fewer"
    " jobs at once (--cores)"
)


def announce_reasons() -> None:
    """Put what is said of killed jobs into the environment of the rules' commands."""
    os.environ["BBR_KILLED"] = _WHY


def logged(command: str) -> str:
    """The command of a stage, whose messages go to the log of its job.

    A job that was killed is told of in one line, in its log and where Snakemake runs.
    """
    told = 'echo "{log}: $BBR_KILLED" | tee -a {log} >&2'
    return (
        f"{command} --threads {{threads}} --memory-mb {{resources.memory_limit}} > {{log}} 2>&1"
        f" || {{{{ code=$?; [ $code -ne {_KILLED} ] || {told}; exit $code; }}}}"
    )


def memory_limit(config: Config) -> str:
    """What --memory-mb is told: a number, or `none` for what there is where the job runs."""
    return "none" if config["memory_mb"] is None else str(config["memory_mb"])


def most_memory(config: Config, local: bool) -> float:
    """Megabytes that a rule may ask for: `memory_mb`, or what this machine has for jobs on it.

    Args:
        local: jobs run here, and not on the nodes of a cluster, which may have more.
    """
    if config["memory_mb"] is not None:
        return config["memory_mb"]
    return available_memory() // MB if local else math.inf
