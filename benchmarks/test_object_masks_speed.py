"""MaskCut's rounds and MOST's pools against straightforward versions: masks and seconds.

CPU seconds of this process for one image, from its features to its masks.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from literal import maskcut_masks as maskcut_by_scipy
from scipy import ndimage
from test_tokencut_speed import KINDS, Clock, Grid
from torch import Tensor

from bbr.backbones.feature_maps import FeatureMaps
from bbr.heuristics.multi_box import propose_several
from bbr.heuristics.registry import heuristic_options

pytestmark = pytest.mark.bench

GRIDS = [(24, 32), (60, 60)]
ROUNDS, POOLS = 3, 5  # masks of an image at most
_TIE = 1e-9


def clear_threshold(features: Tensor, about: float) -> float:
    """The middle of the widest gap between cosines near a value, so that rounding decides none."""
    units = torch.nn.functional.normalize(features, dim=1)
    cosines = (units @ units.T).flatten()
    near, _ = cosines[(cosines - about).abs() < 1e-3].double().sort()
    widest = near.diff().argmax()
    return float(near[widest : widest + 2].mean())


def through_rounds(
    method: str, features: Tensor, grid: Grid, threshold: float, most: int
) -> list[np.ndarray]:
    """Up to `most` masks of one image, as the stage finds them."""
    options = heuristic_options(method, {"threshold": threshold})
    (found,) = propose_several(FeatureMaps(features[None], grid), method, options, most)
    return [each.mask.cells for each in found if each.mask is not None]


def entropy(values: np.ndarray) -> float:
    """In bits."""
    shares = np.unique(values, return_counts=True)[1] / values.size
    return float(-(shares * np.log2(shares)).sum())


def most_by_token(features: Tensor, grid: Grid, threshold: float) -> list[np.ndarray]:
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
    while tokens.any() and len(masks) < POOLS:
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


def maskcut_by_rounds(features: Tensor, grid: Grid, threshold: float) -> list[np.ndarray]:
    """One image, a dense generalised eigenproblem for each round."""
    drawn = []
    for cells in maskcut_by_scipy(features.numpy(), grid, threshold, 1e-5, ROUNDS)[0]:
        drawn.append(np.zeros(grid, dtype=bool))
        drawn[-1][tuple(np.transpose(list(cells)))] = True
    return drawn


# What it is called, the straightforward way, the threshold about which it lies, and masks at most.
WAYS: dict[str, tuple[str, Callable[[Tensor, Grid, float], list[np.ndarray]], float, int]] = {
    "maskcut": (f"MaskCut, {ROUNDS} rounds", maskcut_by_rounds, 0.15, ROUNDS),
    "most": (f"MOST, {POOLS} pools", most_by_token, 0.2, POOLS),
}


@pytest.mark.parametrize("kind", ["wide gap", "photographs"])
def test_agreement_and_speed(kind: str) -> None:
    clock = Clock("cpu")
    print(f"\nCPU seconds an image, {kind}, {torch.get_num_threads()} thread(s)")
    head = ["", "patches", "equal masks", "straightforward", "ours", "ratio"]
    for line in (head, ["---"] * len(head)):
        print(f"| {' | '.join(line)} |")
    slow, unequal = [], []
    for grid in GRIDS:
        (features,) = KINDS[kind](grid, 1)
        for method, (name, plain, about, most) in WAYS.items():
            given = features, grid, clear_threshold(features, about)
            through_rounds(method, *given, 1)
            got, ours = clock.seconds(partial(through_rounds, method, *given, most))
            expected, theirs = clock.seconds(partial(plain, *given))
            same = sum(map(np.array_equal, got, expected))
            cells = [name, str(len(features)), f"{same} of {len(expected)}"]
            cells += [f"{theirs:.3f}", f"{ours:.3f}", f"{theirs / ours:.1f}"]
            print(f"| {' | '.join(cells)} |", flush=True)
            unequal += [cells] if same < len(expected) else []
            slow += [cells] if theirs < ours else []
    assert unequal == []
    assert slow == []
