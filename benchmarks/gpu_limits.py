"""What a device can do at most, and how much a piece of work asks of it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from bbr.command_line.devices import allow_tf32

# How a stage computes. Under `fp32`, torch's default, convolutions of a GPU are TF32 all the same.
MODES = ("fp32", "tf32", "bf16")


@dataclass(frozen=True)
class Rates:
    """Measured: FLOP/s of square matrix products in each mode, and bytes/s of a copy."""

    matmul: dict[str, float]
    bandwidth: float


@dataclass(frozen=True)
class Demand:
    """What one unit of work asks for.

    Attributes:
        convolution: FLOPs of convolutions, backward included.
        other: FLOPs of matrix products and attention.
        traffic: bytes that the operators read and write, each as it is called: fused operators
            would need less.
    """

    convolution: float
    other: float
    traffic: float

    def seconds(self, rates: Rates, mode: str) -> tuple[float, float]:
        """The least time for the arithmetic, and for the traffic."""
        of_convolutions = rates.matmul["tf32" if mode == "fp32" else mode]
        arithmetic = self.convolution / of_convolutions + self.other / rates.matmul[mode]
        return arithmetic, self.traffic / rates.bandwidth


@contextmanager
def arithmetic(mode: str) -> Iterator[None]:
    """float32 matrix products of a GPU in TF32 where the mode is `tf32`."""
    before = torch.get_float32_matmul_precision()
    allow_tf32("cuda" if torch.cuda.is_available() else "cpu", mode)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def finish(device: torch.device) -> None:
    """Wait for all that the device was told to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def median_seconds(
    work: Callable[[], object], device: torch.device, repeats: int, warm_up: int = 2
) -> float:
    """Median time of a call, each from one synchronisation to the next."""
    seconds = []
    for turn in range(warm_up + repeats):
        finish(device)
        start = time.perf_counter()
        work()
        finish(device)
        if turn >= warm_up:
            seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def measure_rates(device: torch.device, side: int, copied: int, repeats: int) -> Rates:
    """Products of side × side matrices, and copies of `copied` bytes, read and written."""
    matmul = {}
    for mode in MODES:
        dtype = torch.bfloat16 if mode == "bf16" else torch.float32
        a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
        with arithmetic(mode):
            taken = median_seconds(lambda a=a, b=b: a @ b, device, repeats)
        matmul[mode] = 2 * side**3 / taken
    source = torch.empty(copied, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    taken = median_seconds(lambda: target.copy_(source), device, repeats)
    return Rates(matmul, 2 * copied / taken)


class _Counter(TorchDispatchMode):
    """Adds up the FLOPs of operators and the bytes that they read and write; views move nothing.

    torch's own FlopCounterMode tracks modules as well, and fails where gradients are taken with
    respect to a leaf, as relevancy maps do.
    """

    def __init__(self) -> None:
        super().__init__()
        self.convolution = self.other = self.traffic = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        formula = flop_registry.get(func._overloadpacket)
        if formula is None:
            # What is made of other operators is counted as these.
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        result = func(*args, **kwargs)
        if formula is not None:
            flops = formula(*args, **kwargs, out_val=result)
            if "convolution" in str(func):
                self.convolution += flops
            else:
                self.other += flops
        returns = func._schema.returns
        view = any(r.alias_info is not None and not r.alias_info.is_write for r in returns)
        if not view and "empty" not in str(func):
            tensors = tree_leaves((args, kwargs, result))
            self.traffic += sum(t.nbytes for t in tensors if isinstance(t, Tensor))
        return result


def demand(work: Callable[[], object]) -> Demand:
    """Run the work once and count; it takes several times as long as otherwise."""
    with _Counter() as counter:
        work()
    return Demand(counter.convolution, counter.other, counter.traffic)
