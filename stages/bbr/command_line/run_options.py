"""Options that stages of every kind share: where and how they run, and what they put up with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..options import option

DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("fp32", "tf32", "bf16", "auto")


@dataclass(frozen=True)
class DeviceOptions:
    """Where the work is done."""

    device: str = option("auto", "auto takes a GPU where there is one", choices=DEVICES)


@dataclass(frozen=True)
class ComputeOptions(DeviceOptions):
    """Where and how networks are run."""

    precision: str = option(
        "fp32",
        "arithmetic of the networks; weights stay float32, and tf32 is fp32 on a CPU; auto is bf16"
        " where the hardware of the job multiplies matrices in it, else fp32",
        choices=PRECISIONS,
    )

    def __post_init__(self) -> None:
        # Here, so that what is recorded and compared is what is done.
        if self.precision == "auto":
            from .devices import fast_precision  # imports torch, and --help need not wait for it

            object.__setattr__(self, "precision", fast_precision(self.device))

    def recorded(self) -> dict[str, Any]:
        """What the provenance says: all that changes the result, besides the device's name."""
        return {"precision": self.precision}


@dataclass(frozen=True)
class SkipOptions:
    """What is put up with."""

    max_skipped: int = option(0, "unreadable images to tolerate", unit="images", min=0)


@dataclass(frozen=True)
class LabelOptions:
    """What the numbers are."""

    labels: tuple[str, ...] = option(
        (),
        "what this is in a table, such as dataset=VOC07 method=LOST seed=0",
        flag="label",
        metavar="KEY=VALUE",
        repeats=True,
    )
