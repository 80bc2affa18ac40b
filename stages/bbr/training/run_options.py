"""Options of every stage that trains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..command_line.run_options import ComputeOptions
from ..errors import InputError
from ..options import option


@dataclass(frozen=True)
class TrainingOptions(ComputeOptions):
    """How a training is run."""

    checkpoint_seconds: float = option(
        60.0, "how often the state of training is saved", unit="s", min=0
    )
    seed: int = option(0, "of all random numbers", min=0)

    def recorded(self) -> dict[str, Any]:
        """The same, and the seed."""
        return {**super().recorded(), "seed": self.seed}


@dataclass(frozen=True)
class ParallelOptions:
    """How a batch is spread over devices."""

    devices: int = option(1, "GPUs, or CPU processes", min=1)

    def require_divisible(self, batch_size: int, parts: int = 1) -> None:
        """Refuse batches that cannot be cut into as many parts for each device.

        Raises:
            InputError: the size cannot be divided.
        """
        if batch_size % (parts * self.devices):
            cut = f" --grad-accum-steps {parts} times" if parts > 1 else ""
            raise InputError(
                f"--batch-size {batch_size} must be divisible by{cut} --devices {self.devices}"
            )


@dataclass(frozen=True)
class AccumulationOptions(ParallelOptions):
    """How a batch is spread over devices and time."""

    grad_accum_steps: int = option(1, "parts into which a batch is cut to save memory", min=1)
