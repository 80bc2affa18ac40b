"""Slow, plain versions of what tests compare with, from docs/protocol.md and not from the code."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import scipy.linalg

Cell = tuple[int, int]


def component(inside: set[Cell], start: Cell) -> set[Cell]:
    """The 4-connected component of a set of (row, column) cells that holds `start`."""
    found, waiting = {start}, [start]
    while waiting:
        row, column = waiting.pop()
        for cell in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
            if cell in inside and cell not in found:
                found.add(cell)
                waiting.append(cell)
    return found


def components(inside: set[Cell]) -> list[set[Cell]]:
    """All components, by their first cell in row-major order."""
    found: list[set[Cell]] = []
    for cell in sorted(inside):
        if not any(cell in known for known in found):
            found.append(component(inside, cell))
    return found


def bounding_box(cells: set[Cell]) -> list[int]:
    """x1 y1 x2 y2 in cells, right and bottom exclusive."""
    rows, columns = [row for row, _ in cells], [column for _, column in cells]
    return [min(columns), min(rows), max(columns) + 1, max(rows) + 1]


def lost_box(features: list[list[float]], grid: tuple[int, int], k_patches: int) -> list[int]:
    """LOST's box in patches, patch by patch; `features` are N rows of d numbers."""
    _, width = grid
    patches = range(len(features))
    similarity = [[dot(features[p], features[q]) for q in patches] for p in patches]
    degree = [sum(similarity[p][q] > 0 for q in patches if q != p) for p in patches]
    by_degree = sorted(patches, key=lambda p: degree[p])  # Python's sort keeps the order of ties
    seed = by_degree[0]
    expanded = [p for p in by_degree[:k_patches] if similarity[seed][p] > 0]
    support = [sum(similarity[p][q] for p in expanded) for q in patches]
    inside = {divmod(q, width) for q in patches if support[q] > 0}
    return bounding_box(component(inside, divmod(seed, width)))


def dot(a: list[float], b: list[float]) -> float:
    """Inner product."""
    return sum(x * y for x, y in zip(a, b, strict=True))


# Parts of the largest |y| below which entries are equal, and of λ below which eigenvalues are: the
# entries that LAPACK returns are good to about 1e-15 over the gap.
TIE, NO_GAP = 1e-9, 1e-7


def tokencut_box(
    features: np.ndarray, grid: tuple[int, int], threshold: float, epsilon: float
) -> list[int] | None:
    """TokenCut's box in patches by a dense generalised eigensolver, from (N, d) features.

    Among equal entries the first is the seed. None where the vector is not unique.
    """
    y = cut_vector(alike(features, threshold), epsilon)
    return None if y is None else cut_box(y, grid)


def alike(features: np.ndarray, threshold: float) -> np.ndarray:
    """(N, N) bool: cosine above the threshold."""
    return cosines(features) > threshold


def cosines(features: np.ndarray) -> np.ndarray:
    """(N, N) float64; 0 with a patch of zero features."""
    features = np.asarray(features, dtype=np.float64)
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    units = features / np.where(norms == 0, 1, norms)
    return units @ units.T


def cut_vector(similar: np.ndarray, epsilon: float) -> np.ndarray | None:
    """The second generalised eigenvector of (D − A) y = λ D y; None where λ is a double one."""
    affinity = np.where(similar, 1.0, epsilon)
    degrees = np.diag(affinity.sum(axis=1))
    last = min(2, len(affinity) - 1)
    values, vectors = scipy.linalg.eigh(degrees - affinity, degrees, subset_by_index=[1, last])
    return None if last == 2 and values[1] - values[0] < NO_GAP else vectors[:, 0]


def cut_box(y: np.ndarray, grid: tuple[int, int]) -> list[int]:
    """The box of the component of the seed on its side of the mean."""
    size = abs(y)
    seed = int(np.flatnonzero(size >= size.max() * (1 - TIE))[0])
    y = y / y[seed]
    inside = {divmod(int(p), grid[1]) for p in np.flatnonzero(y > y.mean() + TIE)}
    return bounding_box(component(inside, divmod(seed, grid[1])))


def maskcut_masks(
    features: np.ndarray, grid: tuple[int, int], threshold: float, epsilon: float, rounds: int = 3
) -> tuple[list[set[Cell]], int]:
    """MaskCut's masks round by round, from (N, d) features, and how many cuts were reversed.

    It ends before the first round whose vector is not unique. Ties are as in `cut_box`.
    """
    height, width = grid
    corners = [(0, 0), (0, width - 1), (height - 1, 0), (height - 1, width - 1)]
    features, masks, reversals = np.array(features, dtype=np.float64), [], 0
    left = set(range(len(features)))
    while left and len(masks) < rounds:
        y = cut_vector(alike(features, threshold), epsilon)
        if y is None:
            break
        y, seed = _at_seed(y, left, absolute=True)
        inside = {p for p in left if y[p] > y.mean() + TIE} | {seed}
        held = sum(divmod(p, width) == corner for p in inside for corner in corners)
        if held >= 3 and left - inside:
            reversals += 1
            y, seed = _at_seed(-y, left, absolute=False)
            inside = {p for p in left if y[p] > y.mean() + TIE} | {seed}
        masks.append(component({divmod(p, width) for p in inside}, divmod(seed, width)))
        for row, column in masks[-1]:
            left.remove(row * width + column)
            features[row * width + column] = 0
    return masks, reversals


def _at_seed(y: np.ndarray, left: set[int], absolute: bool) -> tuple[np.ndarray, int]:
    """The first patch of largest y, or |y|, and y of size 1 there; positive if |y| was meant."""
    size = abs(y) if absolute else y
    largest = max(size[p] for p in left)
    seed = min(p for p in left if size[p] >= largest - TIE * abs(y).max())
    return y / (y[seed] if absolute else abs(y[seed])), seed


def most_masks(
    features: np.ndarray, grid: tuple[int, int], threshold: float, scales: int
) -> list[set[Cell]]:
    """MOST's masks, largest pool first, from (N, d) features, patch by patch and box by box."""
    patches = range(len(features))
    cosine = cosines(features).tolist()
    similar = [[value > threshold for value in row] for row in cosine]
    degree = [sum(row) for row in similar]
    sides = range(1, min(scales, *grid) + 1)
    votes = [0 for _ in patches]
    for side in sides:
        entropy = [_box_entropy(similar[p], grid, side) for p in patches]
        mean = sum(entropy) / len(entropy)
        votes = [votes[p] + (entropy[p] <= mean + TIE) for p in patches]
    tokens = {p for p in patches if votes[p] > len(sides) / 2 and degree[p] <= len(patches) / 2}
    tokens = tokens or {min(patches, key=lambda p: degree[p])}
    masks: list[set[Cell]] = []
    while tokens:
        pool = max(components({divmod(p, grid[1]) for p in tokens}), key=len)
        members = sorted(row * grid[1] + column for row, column in pool)
        core = min(members, key=lambda p: degree[p])
        kept = [p for p in members if similar[core][p]]
        inside = {q for q in patches if sum(cosine[p][q] - threshold for p in kept) > 0} | {core}
        known = set().union(*masks)
        cells = {divmod(q, grid[1]) for q in inside} - known
        masks.append(component(cells, divmod(core, grid[1])))
        tokens -= {row * grid[1] + column for row, column in masks[-1]}
    return masks


def _box_entropy(similar: list[bool], grid: tuple[int, int], side: int) -> float:
    """In bits, of how many patches of each whole box of a map are similar."""
    counts = Counter(
        sum(similar[(top + i) * grid[1] + left + j] for i in range(side) for j in range(side))
        for top in range(0, grid[0] - side + 1, side)
        for left in range(0, grid[1] - side + 1, side)
    )
    return -sum(n / counts.total() * math.log2(n / counts.total()) for n in counts.values())
