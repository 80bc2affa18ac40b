"""Masks of cells: patches of a transformer, or pixels of a segmenter's map, and their images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class CellMask:
    """An object as the cells that it takes.

    Attributes:
        cells: (r, c) bool, from the top left corner of the image; they may reach over its edges.
        cell: (2,) height and width of one, in pixels of the image as the network saw it.
    """

    cells: np.ndarray
    cell: np.ndarray

    def in_image(self, seen: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """The mask at an image's size, (height, width) bool: a pixel is of the cell at its middle.

        Args:
            seen: (2,) height and width of the image as the network saw it, in pixels.
            size: height and width of the image itself.
        """
        places = [
            np.minimum((np.arange(length) + 0.5) * (by / length / cell), count - 1).astype(int)
            for length, by, cell, count in zip(size, seen, self.cell, self.cells.shape, strict=True)
        ]
        return self.cells[np.ix_(*places)]
