"""How long several ways to do the same take, in one run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence


def median_seconds_in_turns(
    ways: Sequence[Callable[[], object]],
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
) -> list[float]:
    """Median seconds of each way, all in turns, after one round of warm-up."""
    taken: list[list[float]] = [[] for _ in ways]
    for turn in range(repeats + 1):
        for way, kept in zip(ways, taken, strict=True):
            start = clock()
            way()
            if turn:
                kept.append(clock() - start)
    return [statistics.median(kept) for kept in taken]
