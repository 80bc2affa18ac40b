"""A training run's state on disk, from which a killed run goes on exactly."""

from __future__ import annotations

import hashlib
import json
import time
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..command_line.cli import log
from ..storage.atomic import PatientFile, atomic_path


class Checkpoint:
    """A training run's state on disk, beside its output, until the output exists.

    The file carries a fingerprint of what determines the run; a checkpoint of other parameters
    or inputs, or a damaged one, is ignored and training starts anew.
    """

    def __init__(self, output: Path | str, identity: dict[str, Any], every_seconds: float) -> None:
        output = Path(output)
        self.path = output.with_name(f".{output.name}.checkpoint.pt")
        self.every_seconds = every_seconds
        encoded = json.dumps(identity, sort_keys=True).encode()
        self.fingerprint = hashlib.sha256(encoded).hexdigest()
        self._last = time.monotonic()

    def resume(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
        """Load the saved state into both and return how many steps it holds; 0 without one."""
        if not self.path.exists():
            return 0
        try:
            _require_undamaged(self.path)
            state = torch.load(self.path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many kinds for a damaged archive
            log.warning("%s: unreadable checkpoint ignored (%s)", self.path, type(error).__name__)
            return 0
        if not isinstance(state, dict) or state.get("fingerprint") != self.fingerprint:
            log.warning("%s: checkpoint of another run ignored", self.path)
            return 0
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        log.info("resuming after step %d from %s", state["step"], self.path)
        return state["step"]

    def save_when_due(self, step: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Save the state after `step` steps if `every_seconds` have passed since the last save."""
        if time.monotonic() - self._last < self.every_seconds:
            return
        state = {
            "fingerprint": self.fingerprint,
            "step": step,
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
        }
        with atomic_path(self.path) as temporary, PatientFile(temporary, "w") as file:
            torch.save(state, file)
            file.check()
        self._last = time.monotonic()

    def discard(self) -> None:
        """Remove the file, once the output stands."""
        self.path.unlink(missing_ok=True)


def _require_undamaged(path: Path) -> None:
    """Check the sums that torch writes with each tensor, and does not look at when it reads."""
    with zipfile.ZipFile(path) as archive:
        if damaged := archive.testzip():
            raise zipfile.BadZipFile(damaged)
