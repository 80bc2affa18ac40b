"""TokenCut against scipy's dense generalised eigensolver: agreement and speed, as one table.

Both ways start from the same features and end at a box; CPU seconds of this process, so that other
work on the machine counts little. The ratios that fail a run lie below the aims.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
import scipy.linalg
import torch
from literal import NO_GAP, cut_box
from torch import Tensor

from bbr.tokencut import affinity_graph, tokencut_boxes

pytestmark = pytest.mark.bench

THRESHOLD, EPSILON = 0.2, 1e-5
# Grid, images, and the aim of the ratio.
SIZES = [
    ((19, 19), 8, None), ((24, 32), 6, None), ((32, 32), 6, 5), ((40, 50), 3, 10),
    ((64, 64), 1, None),
]  # fmt: skip


def regions(grid: tuple[int, int], count: int, contrast: float) -> Tensor:
    """Three regions in noise, with edges as dense as on photographs; the lower the contrast, the
    narrower the gaps."""
    generator = torch.Generator().manual_seed(0)
    y = torch.linspace(0, 1, grid[0]).view(-1, 1)
    x = torch.linspace(0, 1, grid[1]).view(1, -1)
    features = torch.randn(count, *grid, 24, generator=generator)
    for image in features:
        for center in torch.rand(3, 2, generator=generator):
            near = ((y - center[0]) ** 2 + (x - center[1]) ** 2 < 0.06).unsqueeze(2)
            image += contrast * near * torch.randn(24, generator=generator)
    return features.flatten(1, 2)


def twins(grid: tuple[int, int], count: int) -> Tensor:
    """Two groups, of n and n + 1 patches, beside the rest and joined to it by epsilon alone."""
    patches = grid[0] * grid[1]
    labels = torch.zeros(patches, dtype=torch.long)
    labels[: patches // 5] = 1
    labels[-(patches // 5 + 1) :] = 2
    return torch.nn.functional.one_hot(labels, 24).float().expand(count, -1, -1).contiguous()


GAPS: dict[str, Callable[[tuple[int, int], int], Tensor]] = {
    "wide": lambda grid, count: regions(grid, count, 2.0),
    "narrow": lambda grid, count: regions(grid, count, 0.4),
    "near 0": twins,
}


def dense(features: Tensor, grid: tuple[int, int]) -> tuple[list[int], float]:
    """Box and gap, as public code computes them; ties and all as `literal.cut_box` has them."""
    units = torch.nn.functional.normalize(features, dim=1)
    affinity = np.where((units @ units.T > THRESHOLD).numpy(), 1.0, EPSILON)
    degrees = np.diag(affinity.sum(axis=1))
    values, vectors = scipy.linalg.eigh(degrees - affinity, degrees, subset_by_index=[1, 2])
    return cut_box(vectors[:, 0], grid), float(values[1] - values[0])


def seconds(work: Callable[[], object]) -> tuple[object, float]:
    start = time.process_time()
    result = work()
    return result, time.process_time() - start


def least_seconds(work: Callable[[], object], repeats: int = 3) -> float:
    return min(seconds(work)[1] for _ in range(repeats))


def row(kind: str, grid: tuple[int, int], count: int) -> tuple[list[str], float, bool]:
    features = GAPS[kind](grid, count)
    expected, slow = [], []
    for image in features:
        (box, gap), taken = seconds(lambda image=image: dense(image, grid))
        expected.append((box, gap))
        slow.append(taken)
    got = tokencut_boxes(features, grid, THRESHOLD, EPSILON).tolist()
    boxes = least_seconds(lambda: tokencut_boxes(features, grid, THRESHOLD, EPSILON)) / count
    graph = least_seconds(lambda: affinity_graph(features[:1], THRESHOLD, EPSILON))
    unique = [(g, e) for g, (e, gap) in zip(got, expected, strict=True) if gap > NO_GAP]
    same = sum(g == e for g, e in unique)
    gap = float(np.median([gap for _, gap in expected]))
    # One product reads the matrix once; how many of them the solver's time would hold.
    adjacency = affinity_graph(features[:1], THRESHOLD, EPSILON)
    vector = torch.ones(1, 1, grid[0] * grid[1])
    product = least_seconds(lambda: [vector @ adjacency.alike for _ in range(10)]) / 10
    ratio = min(slow) / boxes
    cells = [
        str(grid[0] * grid[1]), kind, f"{gap:.0e}", f"{same} of {len(unique)}",
        f"{1e3 * min(slow):.1f}", f"{1e3 * boxes:.1f}", f"{ratio:.1f}", f"{1e3 * graph:.1f}",
        f"{1e3 * product:.2f}", f"{4e-9 * (grid[0] * grid[1]) ** 2 / product:.0f}",
    ]  # fmt: skip
    return cells, ratio, same == len(unique)


def test_agreement_and_speed() -> None:
    head = ["patches", "gap", "λ₃ − λ₂", "equal boxes", "scipy ms", "ours ms", "ratio",
            "of ours: graph ms", "a product ms", "GB/s"]  # fmt: skip
    rows, slow, wrong = [], [], []
    for grid, count, aim in SIZES:
        for kind in GAPS:
            cells, ratio, agrees = row(kind, grid, count)
            rows.append([*cells, "" if aim is None else str(aim)])
            slow += [cells[:2]] if aim is not None and kind == "wide" and ratio < aim / 2 else []
            wrong += [] if agrees else [cells[:2]]
    lines = [[*head, "aim"], ["-" * len(name) for name in [*head, "aim"]], *rows]
    print(f"\nTokenCut, an image, {torch.get_num_threads()} thread(s)")
    print("\n".join(f"| {' | '.join(line)} |" for line in lines))
    assert wrong == []
    assert slow == []
