"""Slow, plain versions of what tests compare with, from docs/protocol.md and not from the code."""

from __future__ import annotations

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
    """(N, N) bool: cosine above the threshold; 0 with a patch of zero features."""
    features = np.asarray(features, dtype=np.float64)
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    units = features / np.where(norms == 0, 1, norms)
    return units @ units.T > threshold


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
