"""Slow, plain versions of what tests compare with; written from PROTOCOL, not from the code."""

from __future__ import annotations

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


def lost_box(features: list[list[float]], grid: tuple[int, int], lowest: int) -> list[int]:
    """LOST's box in patches, patch by patch; `features` are N rows of d numbers."""
    _, width = grid
    patches = range(len(features))
    similarity = [[dot(features[p], features[q]) for q in patches] for p in patches]
    degree = [sum(similarity[p][q] > 0 for q in patches if q != p) for p in patches]
    by_degree = sorted(patches, key=lambda p: degree[p])  # Python's sort keeps the order of ties
    seed = by_degree[0]
    expanded = [p for p in by_degree[:lowest] if similarity[seed][p] > 0]
    support = [sum(similarity[p][q] for p in expanded) for q in patches]
    inside = {divmod(q, width) for q in patches if support[q] > 0}
    return bounding_box(component(inside, divmod(seed, width)))


def dot(a: list[float], b: list[float]) -> float:
    """Inner product."""
    return sum(x * y for x, y in zip(a, b, strict=True))
