"""Fabric on the device that is asked for, and work in a process for each device."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any, Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment
from lightning_fabric.strategies import DDPStrategy
from torch.multiprocessing import ProcessRaisedException

from ..command_line.devices import allow_tf32, choose_device
from ..command_line.fast_import import loaded
from ..errors import InputError

_FABRIC_PRECISION: dict[str, Literal["32-true", "bf16-mixed"]] = {
    "fp32": "32-true",
    "tf32": "32-true",
    "bf16": "bf16-mixed",
}


def launch(device: str, precision: str, devices: int = 1) -> Fabric:
    """Fabric on the device and in the arithmetic that the command line asks for.

    With several devices, the caller runs its work through `run_in_processes`.
    """
    kind = choose_device(device).type
    allow_tf32(kind, precision)
    return Fabric(
        accelerator=kind,
        devices=devices,
        # Where only keys are read, what follows them in f gets no gradient.
        strategy=(
            "auto"
            if devices == 1
            else DDPStrategy(start_method="spawn", find_unused_parameters=True)
        ),
        precision=_FABRIC_PRECISION[precision],
        # A job of SLURM's is one task that starts its processes itself, wherever it was submitted.
        plugins=[LightningEnvironment()],
    )


def run_in_processes(fabric: Fabric, work: Callable[..., None], *arguments: Any) -> None:
    """Call `work(fabric, *arguments)` in a process for each device, or here where there is one.

    Raises:
        InputError: one of the processes did.
    """
    try:
        # Its annotation leaves out what it hands on.
        fabric.launch(
            _work_in_process,  # type: ignore[arg-type]
            torch.get_num_threads(),
            torch.get_float32_matmul_precision(),
            work,
            *arguments,
        )
    except ProcessRaisedException as error:
        # Other processes' exceptions arrive as text, the last line of which names the kind.
        kind, _, message = str(error).strip().splitlines()[-1].partition(": ")
        if kind.startswith("bbr."):
            raise InputError(message) from error
        raise


def _work_in_process(
    fabric: Fabric, threads: int, products: str, work: Callable[..., None], *arguments: Any
) -> None:
    """A new process has no log yet, and not this one's settings; one of them tells for all."""
    loaded()
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision(products)
    if fabric.is_global_zero:
        logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    work(fabric, *arguments)
