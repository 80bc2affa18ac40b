"""Two-valued graphs: A = 1 between patches that are alike and ε between others, for a batch.

Which patches are alike is a matrix of zeros and ones. `DenseGraph` keeps it as float32, the
narrowest type in which products on a CPU are accurate to float32; each product reads its 4 N² bytes
once, which is the limit: see benchmarks. `PackedGraph` keeps the same matrix in N² / 8 bytes, a bit
an entry, and makes rows of it into float32 as they are needed. That takes some ten times as long.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

# What is kept of float64's 53 bits, relative to the largest entry of a row.
_FLOAT64_BITS = 50
# Of rows that are unpacked at a time, of 4 bytes each; and the side of the blocks that are packed.
_UNPACKED = 2**22
_PACKED_SIDE = 2048  # a multiple of 8, so that a block ends with a byte
_OF_BYTE = torch.arange(7, -1, -1)


@dataclass(frozen=True)
class TwoValuedGraph(ABC):
    """B graphs of N patches.

    Attributes:
        epsilon: weight of the pairs that are not alike.
        degrees: (B, N) float64 row sums D of A.
    """

    epsilon: float
    degrees: Tensor
    # Whether LAPACK's 40 N² bytes are there.
    lapack: ClassVar[bool] = True

    @abstractmethod
    def select(self, images: Tensor) -> TwoValuedGraph:
        """Some of the graphs."""

    @abstractmethod
    def zeros_and_ones(self) -> Tensor:
        """(B, N, N) float32, symmetric: 1 where patches are alike."""

    @abstractmethod
    def _sums(self, rows: Tensor) -> Tensor:
        """(B, b, N) float32 rows times the zeros and ones."""

    def trivial(self) -> Tensor:
        """(B, N) the eigenvector of eigenvalue 1 of S, of unit length."""
        return functional.normalize(self.degrees.sqrt(), dim=1)

    def product(self, rows: Tensor) -> Tensor:
        """(B, b, N) rows times S, in float32 or float64 arithmetic as the rows are."""
        scale = self.degrees.rsqrt().unsqueeze(1).to(rows.dtype)
        scaled = rows * scale
        sums = scaled.sum(dim=2, keepdim=True)
        alike = self._sums64(scaled) if rows.dtype == torch.float64 else self._sums(scaled)
        return (alike * (1 - self.epsilon) + self.epsilon * sums) * scale

    def _sums64(self, rows: Tensor) -> Tensor:
        """(B, b, N) float64 rows times the zeros and ones, by float32 products that are exact.

        Rows are cut into whole numbers so short that N of them add up to less than 2^24. Their
        sums have no rounding, in any order, and the matrix is not needed in float64.
        """
        count, width = rows.shape[2], rows.shape[1]
        bits = _bits(count)
        unit = torch.exp2(rows.abs().amax(dim=2, keepdim=True).clamp_min(1e-300).log2().ceil())
        units, wholes = [], []
        for _ in range(products_in_float64(count)):
            unit = unit * 2.0**-bits
            whole = (rows / unit).round()
            rows = rows - whole * unit
            units.append(unit)
            wholes.append(whole.float())
        sums = self._sums(torch.cat(wholes, dim=1)).split(width, dim=1)
        total = torch.zeros_like(rows)
        for part, unit in zip(sums, units, strict=True):
            total += part * unit
        return total

    def dense(self) -> Tensor:
        """(B, N, N) float64 S."""
        scale = self.degrees.rsqrt()
        affinity = self.zeros_and_ones().double() * (1 - self.epsilon) + self.epsilon
        return affinity * scale.unsqueeze(1) * scale.unsqueeze(2)


def _bits(count: int) -> int:
    """Of whole numbers so short that `count` of them add up to less than 2^24."""
    return 24 - count.bit_length()


def products_in_float64(count: int) -> int:
    """How many float32 products make one in float64."""
    return -(-_FLOAT64_BITS // _bits(count))


def _degrees(ones: Tensor, epsilon: float) -> Tensor:
    """(B, N) float64 row sums of A from those of the zeros and ones, which are whole numbers."""
    return (1 - epsilon) * ones.double() + epsilon * ones.shape[1]


@dataclass(frozen=True)
class DenseGraph(TwoValuedGraph):
    """Attributes: alike, (B, N, N) float32, symmetric, of zeros and ones."""

    alike: Tensor

    @classmethod
    def build(cls, alike: Tensor, epsilon: float) -> DenseGraph:
        """The graphs with their degrees, which are exact: counts below 2^24 are whole numbers."""
        return cls(epsilon, _degrees(alike.sum(dim=2), epsilon), alike)

    def select(self, images: Tensor) -> DenseGraph:
        """Some of the graphs."""
        return DenseGraph(self.epsilon, self.degrees[images], self.alike[images])

    def zeros_and_ones(self) -> Tensor:
        """`alike` itself."""
        return self.alike

    def _sums(self, rows: Tensor) -> Tensor:
        if rows.device.type != "cpu":
            return rows @ self.alike
        # Row by row the matrix streams through; for a few rows at once BLAS would copy it.
        return torch.cat([row @ self.alike for row in rows.split(1, dim=1)], dim=1)


@dataclass(frozen=True)
class PackedGraph(TwoValuedGraph):
    """Attributes: bits, (B, N, N / 8 rounded up) uint8; the first patch is the highest bit."""

    bits: Tensor
    lapack: ClassVar[bool] = False

    @classmethod
    def build(
        cls,
        shape: tuple[int, int],
        block: Callable[[slice, slice], Tensor],
        epsilon: float,
        device: torch.device,
    ) -> PackedGraph:
        """The graphs, of which no more than a block at a time is there as float32.

        Args:
            shape: B and N.
            block: the zeros and ones of some rows and columns, (B, r, c) float32. It is asked for
                one half of the matrix; the other mirrors it.
        """
        batch, count = shape
        bits = torch.zeros(batch, count, -(-count // 8), dtype=torch.uint8, device=device)
        ones = torch.zeros(shape, dtype=torch.float64, device=device)
        starts = range(0, count, _PACKED_SIDE)
        spans = [slice(start, min(start + _PACKED_SIDE, count)) for start in starts]
        for i, rows in enumerate(spans):
            for columns in spans[i:]:
                alike = block(rows, columns)
                if columns is rows:
                    alike = torch.maximum(alike, alike.mT)
                else:
                    bits[:, columns, _of_bytes(rows)] = _packed(alike.mT)
                    ones[:, columns] += alike.sum(dim=1)
                bits[:, rows, _of_bytes(columns)] = _packed(alike)
                ones[:, rows] += alike.sum(dim=2)
        return cls(epsilon, _degrees(ones, epsilon), bits)

    def select(self, images: Tensor) -> PackedGraph:
        """Some of the graphs."""
        return PackedGraph(self.epsilon, self.degrees[images], self.bits[images])

    def zeros_and_ones(self) -> Tensor:
        """All of the matrix at once, which is what such a graph is there to avoid."""
        return _unpacked(self.bits)[:, :, : self.bits.shape[1]]

    def _sums(self, rows: Tensor) -> Tensor:
        count = self.bits.shape[1]
        size = max(1, _UNPACKED // (len(rows) * count))
        sums = torch.empty_like(rows)
        for start in range(0, count, size):
            some = slice(start, start + size)
            alike = _unpacked(self.bits[:, some])[:, :, :count]
            sums[:, :, some] = rows @ alike.mT  # the matrix is symmetric
        return sums


def _of_bytes(columns: slice) -> slice:
    """The bytes that hold these columns, which begin with one."""
    return slice(columns.start // 8, -(-columns.stop // 8))


def _packed(ones: Tensor) -> Tensor:
    """(B, r, c) float32 zeros and ones as (B, r, c / 8 rounded up) uint8."""
    ones = functional.pad(ones, (0, -ones.shape[2] % 8))
    weights = torch.exp2(_OF_BYTE.to(ones))
    return (ones.unflatten(2, (-1, 8)) @ weights).to(torch.uint8)


def _unpacked(bits: Tensor) -> Tensor:
    """(B, r, m) uint8 as (B, r, 8 m) float32."""
    table = ((torch.arange(256).unsqueeze(1) >> _OF_BYTE) & 1).float().to(bits.device)
    return table.index_select(0, bits.flatten().int()).view(*bits.shape[:2], -1)
