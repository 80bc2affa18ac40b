"""MaskCut's three rounds and MOST's pools against straightforward versions: masks and seconds.

CPU seconds of this process for one image, from its features to all its masks.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from literal import maskcut_masks as maskcut_by_scipy
from scipy import ndimage
from test_tokencut_speed import KINDS, Clock, Grid
from torch import Tensor

from bbr.heuristics.maskcut import maskcut_masks
from bbr.heuristics.most import most_masks

pytestmark = pytest.mark.bench

GRIDS = [(24, 32), (60, 60)]
ROUNDS = 3
_TIE = 1e-9


def one_after_the_other(masks: Callable[..., np.ndarray], features: Tensor, grid: Grid, most: int):
    """Up to `most` masks of one image, each outside of those before it."""
    found = torch.zeros(1, len(features), dtype=torch.bool)
    masks_found: list[np.ndarray] = []
    while len(masks_found) < most and not found.all():
        (mask,) = masks(features[None], grid, found=found)
        if not mask.any():
            break
        found |= torch.from_numpy(mask).view(1, -1)
        masks_found.append(mask)
    return masks_found


def entropy(values: np.ndarray) -> float:
    """In bits."""
    shares = np.unique(values, return_counts=True)[1] / values.size
    return float(-(shares * np.log2(shares)).sum())


def most_by_token(features: Tensor, grid: Grid, threshold: float = 0.2) -> list[np.ndarray]:
    """One image, one map and one size of boxes after the other, as docs/protocol.md has it."""
    units = torch.nn.functional.normalize(features, dim=1)
    cosine = (units @ units.T).numpy()
    degrees, entropies = (cosine > threshold).sum(axis=1), np.empty((len(cosine), 5))
    for token, row in enumerate(cosine):
        similar = (row > threshold).reshape(grid)
        for side in range(1, 6):
            rows, columns = grid[0] // side, grid[1] // side
            boxes = similar[: rows * side, : columns * side].reshape(rows, side, columns, side)
            entropies[token, side - 1] = entropy(boxes.sum(axis=(1, 3)))
    votes = (entropies <= entropies.mean(axis=0) + _TIE).sum(axis=1)
    tokens = (votes > 2) & (degrees <= len(cosine) / 2)
    if not tokens.any():
        tokens[degrees.argmin()] = True
    masks: list[np.ndarray] = []
    while tokens.any():
        pools, _ = ndimage.label(tokens.reshape(grid))
        pool = np.flatnonzero(pools == 1 + np.bincount(pools.ravel())[1:].argmax())
        core = pool[degrees[pool].argmin()]
        kept = pool[cosine[core, pool] > threshold]
        inside = (cosine[kept] - threshold).sum(axis=0) > 0
        inside[core] = True
        inside &= ~np.any([np.zeros(len(inside), bool), *(m.ravel() for m in masks)], axis=0)
        labels, _ = ndimage.label(inside.reshape(grid))
        masks.append(labels == labels.flat[core])
        tokens &= ~masks[-1].ravel()
    return masks


def maskcut_by_rounds(features: Tensor, grid: Grid) -> list[np.ndarray]:
    """One image, a dense generalised eigenproblem for each round."""
    drawn = []
    for cells in maskcut_by_scipy(features.numpy(), grid, 0.15, 1e-5, ROUNDS)[0]:
        drawn.append(np.zeros(grid, dtype=bool))
        drawn[-1][tuple(np.transpose(list(cells)))] = True
    return drawn


WAYS: dict[str, tuple[Callable[..., list[np.ndarray]], Callable[..., np.ndarray], int]] = {
    f"MaskCut, {ROUNDS} rounds": (maskcut_by_rounds, maskcut_masks, ROUNDS),
    "MOST, all pools": (most_by_token, most_masks, 100),
}


@pytest.mark.parametrize("kind", ["wide gap", "photographs"])
def test_agreement_and_speed(kind: str) -> None:
    clock = Clock("cpu")
    print(f"\nCPU seconds an image, {kind}, {torch.get_num_threads()} thread(s)")
    head = ["", "patches", "masks", "equal", "straightforward", "ours", "ratio"]
    for line in (head, ["---"] * len(head)):
        print(f"| {' | '.join(line)} |")
    slow, unequal = [], []
    for grid in GRIDS:
        (features,) = KINDS[kind](grid, 1)
        for name, (plain, masks, most) in WAYS.items():
            ours = lambda m=masks, f=features, g=grid, n=most: one_after_the_other(m, f, g, n)  # noqa: E731
            ours()
            got, fast = clock.seconds(ours)
            expected, taken = clock.seconds(lambda p=plain, f=features, g=grid: p(f, g))
            equal = len(expected) <= len(got) and np.array_equal(got[: len(expected)], expected)
            cells = [name, str(len(features)), str(len(expected)), "yes" if equal else "no"]
            cells += [f"{taken:.3f}", f"{fast:.3f}", f"{taken / fast:.1f}"]
            print(f"| {' | '.join(cells)} |", flush=True)
            unequal += [] if equal else [cells]
            slow += [cells] if taken < fast else []
    assert unequal == []
    assert slow == []
