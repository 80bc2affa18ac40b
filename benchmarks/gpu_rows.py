"""What gpu_throughput.py reports: a row a measurement, beside what the device could do at most."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from gpu_limits import Demand, Rates, arithmetic, demand, median_seconds
from gpu_scales import Scale

from bbr.training.distributed import launch
from bbr.training.schedule import Schedule, build_optimizer

_MAX_GRADIENT_NORM = 1.0  # as optimize() has it
_GIB = 2**30


@dataclass(frozen=True)
class Bench:
    """Where and how large: what every measurement needs.

    Attributes:
        index: of synthetic photographs; `boxes`: one of each image.
    """

    device: torch.device
    scale: Scale
    rates: Rates
    folder: Path
    index: Path
    boxes: Path


@dataclass(frozen=True)
class Way:
    """What could make a training step faster, with the same result but for rounding.

    Attributes:
        fused: the optimizer's arithmetic in one kernel.
        channels_last: kernels and maps of convolutions in that order.
        compiled: by torch.compile, with CUDA graphs on a GPU; on a CPU it is traced alone.
    """

    name: str = ""
    fused: bool = False
    channels_last: bool = False
    compiled: bool = False


AS_IT_IS = Way()
WAYS = (
    AS_IT_IS,
    Way("fused optimizer", fused=True),
    Way("channels_last", channels_last=True),
    Way("compiled", compiled=True),
)


@dataclass(frozen=True)
class Row:
    """`units` images or steps in `seconds`; without a demand there is no limit to compare with."""

    what: str
    mode: str
    unit: str
    units: int
    seconds: float
    demand: Demand | None = None
    peak: int | None = None
    note: str = ""

    def record(self, rates: Rates) -> dict[str, Any]:
        """For JSON: rates and limits per second, and for a unit FLOPs and bytes."""
        limits = self.demand.seconds(rates, self.mode) if self.demand else None
        return asdict(self) | {
            "per_second": self.units / self.seconds if self.seconds else None,
            "arithmetic_seconds": limits and limits[0],
            "traffic_seconds": limits and limits[1],
        }

    def cells(self, rates: Rates) -> list[str]:
        """For the table: milliseconds are those of a unit."""
        name = f"{self.what}{f' ({self.note})' if self.note else ''}"
        peak = "" if self.peak is None else f"{self.peak / _GIB:.1f}"
        if not self.seconds:
            return [name, self.mode, "", "", "", "", "", "", peak]
        each = 1e3 / self.units
        cells = [name, self.mode, f"{self.units / self.seconds:.4g} {self.unit}/s"]
        cells.append(f"{each * self.seconds:.4g}")
        if self.demand is None:
            return [*cells, "", "", "", "", peak]
        limits = self.demand.seconds(rates, self.mode)
        flops = (self.demand.convolution + self.demand.other) / self.units
        share = max(limits) / self.seconds
        return [
            *cells,
            f"{flops / 1e9:.4g}",
            *(f"{each * limit:.3g}" for limit in limits),
            f"{100 * share:.0f} %",
            peak,
        ]


HEAD = [
    "what",
    "mode",
    "rate",
    "ms",
    "GFLOP",
    "ms by arithmetic",
    "ms by traffic",
    "share of limit",
    "peak GiB",
]


def table(rows: list[Row], rates: Rates) -> str:
    """All rows as Markdown."""
    lines = [HEAD, ["---"] * 2 + ["--:"] * (len(HEAD) - 2), *(row.cells(rates) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


@contextlib.contextmanager
def memory_to_itself(device: torch.device) -> Iterator[None]:
    """What was there before is freed, and the peak counts from here."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    yield


def peak_memory(device: torch.device) -> int | None:
    """The most bytes that tensors held since `memory_to_itself`."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None


def steps_row(
    bench: Bench,
    what: str,
    mode: str,
    build: Any,
    repeats: int | None = None,
    sgd: bool = False,
    way: Way = AS_IT_IS,
) -> Row:
    """Training steps as `loop.optimize` makes them: gradients, clipping, the optimizer.

    Args:
        build: given Fabric, returns the model (of which all that needs a gradient is trained), and
            a function of the wrapped model and the step's number that returns the step's loss.
        sgd: as CAD is trained, without clipping, instead of Adam.
        way: other than that of the stages.
    """
    what = f"{what}, {way.name}" if way.name else what
    with memory_to_itself(bench.device), arithmetic(mode):
        fabric = launch(bench.device.type, mode)
        try:
            return _steps(
                bench, what, mode, build, fabric, repeats or bench.scale.repeats, sgd, way
            )
        except torch.cuda.OutOfMemoryError:
            return Row(
                what,
                mode,
                "steps",
                1,
                0.0,
                None,
                peak_memory(bench.device),
                "does not fit the device's memory",
            )


def _steps(
    bench: Bench, what: str, mode: str, build: Any, fabric: Any, repeats: int, sgd: bool, way: Way
) -> Row:
    model, loss = build(fabric)
    if way.channels_last:
        model = model.to(memory_format=torch.channels_last)
    trained = [p for p in model.parameters() if p.requires_grad]
    if sgd:
        optimizer = torch.optim.SGD(trained, 1e-7, momentum=0.9)
    else:
        optimizer = build_optimizer("adam", Schedule(1, 1, 1e-7), 0.999, trained)
    for group in optimizer.param_groups if way.fused else []:
        group["fused"] = True
    wrapped, optimizer = fabric.setup(model, optimizer)
    if way.compiled:
        on_gpu = bench.device.type == "cuda"
        how = {"mode": "reduce-overhead"} if on_gpu else {"backend": "aot_eager"}
        wrapped = torch.compile(wrapped, **how)
    number = iter(range(10**9))

    def step() -> None:
        optimizer.zero_grad()
        fabric.backward(loss(wrapped, next(number)))
        if not sgd:
            fabric.clip_gradients(wrapped, optimizer, max_norm=_MAX_GRADIENT_NORM)
        optimizer.step()

    seconds = median_seconds(step, bench.device, repeats)
    peak = peak_memory(bench.device)  # before counting, which may keep tensors alive
    # What was compiled cannot be counted by operators.
    return Row(what, mode, "steps", 1, seconds, None if way.compiled else demand(step), peak)
