"""TokenCut against scipy's dense generalised eigensolver: agreement and speed, as one table.

Both ways start from the same features and end at a box. On the CPU the times are CPU seconds of
this process, so that other work on the machine counts little; on a GPU ours are wall time, and
scipy's those of the CPU beside it. The ratios that fail a run lie below the aims.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import torch
from literal import NO_GAP, cut_box
from PIL import Image
from torch import Tensor

from bbr.backbones.build import load_backbone
from bbr.heuristics.tokencut import affinity_graph, tokencut_boxes

pytestmark = pytest.mark.bench

Grid = tuple[int, int]
THRESHOLD, EPSILON = 0.2, 1e-5
# Grid, images, and the aim of the ratio where the gap is wide.
SIZES: list[tuple[Grid, int, float | None]] = [
    ((19, 19), 4, None),
    ((24, 32), 3, None),
    ((32, 32), 3, 5),
    ((40, 50), 2, 10),
    ((64, 64), 1, None),
]
PHOTOS = Path(__file__).parents[2] / "shared/data/voc07_test395/VOCdevkit/VOC2007/JPEGImages"
# Of each thing that is timed there are so many repeats; from this size on one must do.
_REPEATS, _LARGE = 3, 2000


def regions(grid: Grid, count: int, contrast: float) -> Tensor:
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


def twins(grid: Grid, count: int) -> Tensor:
    """Two groups, of n and n + 1 patches, beside the rest and joined to it by epsilon alone."""
    patches = grid[0] * grid[1]
    labels = torch.zeros(patches, dtype=torch.long)
    labels[: patches // 5] = 1
    labels[-(patches // 5 + 1) :] = 2
    return torch.nn.functional.one_hot(labels, 24).float().expand(count, -1, -1).contiguous()


def islands(grid: Grid, count: int) -> Tensor:
    """Four groups in noise, each with channels of its own: four eigenvalues within epsilon of 1."""
    generator = torch.Generator().manual_seed(0)
    patches = grid[0] * grid[1]
    labels = (4 * torch.linspace(0, 1, patches) ** 1.3).long().clamp(max=3)
    own = torch.nn.functional.one_hot(labels, 4).repeat_interleave(6, dim=1)
    return torch.randn(count, patches, 24, generator=generator) * own


def photographs(grid: Grid, count: int) -> Tensor:
    """EfficientNet-Lite0's features, of stride 16, of photographs that are resized to the grid."""
    files = sorted(PHOTOS.glob("*.jpg"))
    if not files:
        pytest.skip(f"no photographs at {PHOTOS}")
    size = (16 * grid[1], 16 * grid[0])
    chosen = files[:: len(files) // count][:count]
    images = [np.array(Image.open(file).convert("RGB").resize(size)) for file in chosen]
    with torch.inference_mode():
        pixels = _backbone().prepare(torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2))
        return _backbone()(pixels).key.clone()


@cache
def _backbone() -> torch.nn.Module:
    return load_backbone("efficientnet_lite0", normalization="layernorm")


KINDS: dict[str, Callable[[Grid, int], Tensor]] = {
    "wide gap": lambda grid, count: regions(grid, count, 2.0),
    "narrow": lambda grid, count: regions(grid, count, 0.4),
    "twin groups": twins,
    "four islands": islands,
    "photographs": photographs,
}


def dense(features: Tensor, grid: Grid) -> tuple[list[int], float]:
    """Box and gap, as public code computes them; ties and all as `literal.cut_box` has them."""
    units = torch.nn.functional.normalize(features, dim=1)
    affinity = np.where((units @ units.T > THRESHOLD).numpy(), 1.0, EPSILON)
    degrees = np.diag(affinity.sum(axis=1))
    values, vectors = scipy.linalg.eigh(degrees - affinity, degrees, subset_by_index=[1, 2])
    return cut_box(vectors[:, 0], grid), float(values[1] - values[0])


@dataclass
class Clock:
    """Times work on a device."""

    device: str

    def seconds(self, work: Callable[[], object]) -> tuple[object, float]:
        """What the work gives, and how long it took."""
        start = self._now()
        result = work()
        return result, self._now() - start

    def least(self, work: Callable[[], object], repeats: int) -> float:
        """The shortest of some repeats."""
        return min(self.seconds(work)[1] for _ in range(repeats))

    def _now(self) -> float:
        if self.device == "cpu":
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()


def bandwidth(clock: Clock, megabytes: int = 256) -> float:
    """GB/s at which a product reads a matrix that no cache holds."""
    matrix = torch.ones(1, 1024, megabytes * 256, device=clock.device)
    row = torch.ones(1, 1, 1024, device=clock.device)
    return megabytes / 1024 * 1.073741824 / clock.least(lambda: row @ matrix, _REPEATS)


def row(kind: str, grid: Grid, count: int, clock: Clock) -> tuple[list[str], float, bool]:
    """The cells of a row, the ratio, and whether all boxes are the dense solver's."""
    patches = grid[0] * grid[1]
    repeats = 1 if patches >= _LARGE else _REPEATS
    features = KINDS[kind](grid, count)
    found = [Clock("cpu").seconds(lambda image=image: dense(image, grid)) for image in features]
    slow = min(taken for _, taken in found)
    placed = features.to(clock.device)
    work = lambda: tokencut_boxes(placed, grid, THRESHOLD, EPSILON)  # noqa: E731
    got = work().tolist()
    ours = clock.least(work, repeats) / count
    one = clock.least(lambda: affinity_graph(placed[:1], THRESHOLD, EPSILON), repeats)
    unique = [(g, e) for g, ((e, gap), _) in zip(got, found, strict=True) if gap > NO_GAP]
    same = sum(g == e for g, e in unique)
    gap = float(np.median([gap for (_, gap), _ in found]))
    # One product reads the matrix once; how many of them the solver's time would hold.
    alike = affinity_graph(placed[:1], THRESHOLD, EPSILON).alike
    vector = torch.ones(1, 1, patches, device=clock.device)
    product = clock.least(lambda: [vector @ alike for _ in range(10)], _REPEATS) / 10
    cells = [
        str(patches),
        kind,
        f"{gap:.0e}",
        f"{same} of {len(unique)}",
        f"{1e3 * slow:.1f}",
        f"{1e3 * ours:.1f}",
        f"{slow / ours:.1f}",
        f"{1e3 * one:.1f}",
        f"{1e3 * product:.2f}",
        f"{4e-9 * patches**2 / product:.0f}",
    ]
    return cells, slow / ours, same == len(unique)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_agreement_and_speed(device: str) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU")
    clock = Clock(device)
    head = [
        "patches",
        "graph",
        "λ₃ − λ₂",
        "equal boxes",
        "scipy ms",
        "ours ms",
        "ratio",
        "of ours: affinities",
        "a product",
        "GB/s",
        "aim",
    ]
    where = "cpu" if device == "cpu" else torch.cuda.get_device_name()
    print(
        f"\nTokenCut, ms an image, {where}, {torch.get_num_threads()} CPU thread(s);"
        f" memory is read at {bandwidth(clock):.0f} GB/s"
    )
    for line in (head, ["---"] * len(head)):
        print(f"| {' | '.join(line)} |")
    slow, wrong = [], []
    for grid, count, aim in SIZES:
        for kind in KINDS:
            cells, ratio, agrees = row(kind, grid, count, clock)
            aimed = aim is not None and kind == "wide gap"
            print(f"| {' | '.join([*cells, f'{aim:g}' if aimed else ''])} |", flush=True)
            slow += [cells[:2]] if aimed and ratio < aim / 2 else []
            wrong += [] if agrees else [cells[:2]]
    assert wrong == []
    assert slow == []
