"""LOST and TokenCut on the device, against the same functions on the CPU and against scipy."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from gpu_limits import demand, median_seconds
from gpu_rows import Bench, Row, memory_to_itself, peak_memory
from test_tokencut_speed import EPSILON, THRESHOLD, dense, regions
from torch import Tensor

from bbr.heuristics.lost import lost_boxes
from bbr.heuristics.tokencut import tokencut_boxes

_Boxes = Callable[[Tensor, tuple[int, int]], np.ndarray]
_CPU_IMAGES = 4


def _tokencut(features: Tensor, grid: tuple[int, int]) -> np.ndarray:
    return tokencut_boxes(features, grid, THRESHOLD, EPSILON)


METHODS: dict[str, _Boxes] = {"LOST": lost_boxes, "TokenCut": _tokencut}


def features_of(grid: tuple[int, int], count: int, dim: int) -> Tensor:
    """Regions in noise, as `regions` makes them, turned into `dim` channels."""
    narrow = regions(grid, count, 2.0)
    generator = torch.Generator().manual_seed(1)
    turn = torch.linalg.qr(torch.randn(dim, narrow.shape[2], generator=generator)).Q
    return narrow @ turn.T


def heuristic_rows(bench: Bench) -> Iterator[Row]:
    """Boxes of a batch, as pseudo_boxes.py asks for them, features on the device."""
    left, before = bench.scale.dense_seconds, (0, 0.0)
    for grid in bench.scale.grids:
        patches = grid[0] * grid[1]
        features = features_of(grid, bench.scale.heuristic_batch, bench.scale.dim)
        for name, boxes in METHODS.items():
            yield from _on_both(bench, name, boxes, features, grid)
        # The cube of the sizes foretells the next time.
        expected = before[1] * (patches / before[0]) ** 3 if before[0] else 0.0
        if expected > left:
            continue
        start = time.perf_counter()
        dense(features[0], grid)
        before = (patches, time.perf_counter() - start)
        left -= before[1]
        yield Row(f"TokenCut, {patches} patches, scipy", "cpu", "images", 1, before[1])


def _on_both(
    bench: Bench, name: str, boxes: _Boxes, features: Tensor, grid: tuple[int, int]
) -> Iterator[Row]:
    what = f"{name}, {grid[0] * grid[1]} patches"
    some = features[:_CPU_IMAGES]
    seconds = median_seconds(lambda: boxes(some, grid), torch.device("cpu"), 3)
    own = boxes(some, grid)
    yield Row(f"{what}, batches of {len(some)}", "cpu", "images", len(some), seconds)
    if bench.device.type == "cpu":
        return
    there = features.to(bench.device)
    with memory_to_itself(bench.device):
        seconds = median_seconds(lambda: boxes(there, grid), bench.device, bench.scale.repeats)
        peak = peak_memory(bench.device)
    # Rounding of the products differs, and may decide near ties of degrees: told, not hidden.
    equal = (boxes(there, grid)[: len(some)] == own).all(axis=1).sum()
    note = f"boxes equal to the CPU's: {equal} of {len(some)}"
    counted = demand(lambda: boxes(there, grid))
    yield Row(
        f"{what}, batches of {len(there)}",
        "fp32",
        "images",
        len(there),
        seconds,
        counted,
        peak,
        note,
    )
