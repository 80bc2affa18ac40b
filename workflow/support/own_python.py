"""The Python that stages run by: that of Snakemake, whether or not its environment is active."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

from .validation import ConfigurationError

_NEEDED = ("threadpoolctl", "h5py", "torch")  # of the stages, and of nothing that Snakemake needs


def lead_path(conda_deployed: bool = False) -> None:
    """Let `python` be an interpreter that has what stages need, for the jobs of this run.

    Args:
        conda_deployed: each job has an environment of its own; then nothing is done.

    Raises:
        ConfigurationError: neither this interpreter nor the `python` of the search path has it.
    """
    if conda_deployed:
        return
    if all(importlib.util.find_spec(name) for name in _NEEDED):
        folder = str(Path(sys.executable).parent)
        paths = os.environ.get("PATH", "").split(os.pathsep)
        if paths[0] != folder:
            os.environ["PATH"] = os.pathsep.join((folder, *paths))
        return
    python = shutil.which("python")
    looked = f"import importlib.util as u; assert all(map(u.find_spec, {_NEEDED}))"
    if python is None or _fails(python, "-c", looked):
        raise ConfigurationError(
            f"stages would run by {python or 'no python at all'}, which lacks {_NEEDED[-1]} and"
            " others: call the snakemake of .venv (`make` sets it up), or activate the environment"
        )


def _fails(*command: str) -> bool:
    return subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode != 0
