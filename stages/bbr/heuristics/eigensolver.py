"""The second smallest generalised eigenvector of a two-valued graph, for batches of graphs.

A = 1 between patches that are alike and ε between others; (D − A) y = λ D y is, with x = D^½ y,
the second largest eigenvalue 1 − λ of S = D^-½ A D^-½, whose largest is 1, of x = D^½ 1.

Only that one vector is wanted, and S is a matrix of zeros and ones between two scalings plus a
multiple of 1 1ᵀ. Dense solvers reduce all of S to tridiagonal form, 4/3 N³ operations of which
half are bound by memory. Here S is only ever multiplied by a block of 2 vectors:

1. Block Lanczos in float32 with full orthogonalisation, D^½ 1 deflated. A block reads the matrix
   as often as one vector does, but converges as fast as λ₂ is far from λ₄ and not from λ₃: on
   real features a dozen products do, and of three groups that ε alone joins both vectors fit.
2. The residual is measured in float64, in which the products with zeros and ones are exact to
   rounding. Divided by the distance to the next Ritz value it bounds the error of the vector, and
   the caller says whether what it reads off the vector is certain within that bound.
3. Where it is not, Lanczos goes on from the block in float64. What is uncertain when LAPACK would
   have been as quick, or when only rounding is left, has no gap to speak of; LAPACK decides there.

Where memory does not hold a matrix for LAPACK (`PackedGraph`), Lanczos goes on for longer, and the
vector that it ends with is taken.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.linalg
import torch
from torch import Tensor
from torch.nn import functional

from .graphs import TwoValuedGraph, products_in_float64

Accept = Callable[[Tensor, Tensor, Tensor], Tensor]

_BLOCK = 2
# Products of one cycle, of which from `_LOOK_FROM` on every `_LOOK_EVERY`th may be the last, and
# how many cycles there are, each begun where the one before ended.
_PASSES = {torch.float32: 40, torch.float64: 8}
_CYCLES = {torch.float32: 2, torch.float64: 4}
# Of float64 where LAPACK is not asked after all.
_PASSES_ALONE = 40
_LOOK_FROM = {torch.float32: 12, torch.float64: 2}
_LOOK_EVERY = {torch.float32: 4, torch.float64: 2}
# Of the first cycle at least, which begins from random rows: after two, of six patches, the next
# Ritz value was so far below its eigenvalue that the bound of the error was none.
_FROM_RANDOM = 4
# Residuals below which more of the type's arithmetic gains nothing.
_ENOUGH = {torch.float32: 5e-7, torch.float64: 1e-14}
# What is left of a product beside the basis is rounding below this: S has norm 1.
_NOTHING_NEW = {torch.float32: 1e-6, torch.float64: 1e-14}
# LAPACK takes about as long as the products with N / 4 vectors: no more of them are spent.
_LAPACK_PRODUCTS = 1 / 4
# Below so many patches LAPACK is faster than a dozen small products.
_DENSE_BELOW = 192


def second_eigenvectors(graph: TwoValuedGraph, accept: Accept) -> Tensor:
    """y of each graph: (B, N) float64, D-normalised, of either sign; zeros where N = 1.

    Args:
        accept: called with the positions of some graphs (n,), their y (n, N) and a bound of the
            absolute error of each of its entries (n, N); says of which y is good enough (n,) bool.
    """
    count = graph.degrees.shape[1]
    if count == 1:
        return torch.zeros_like(graph.degrees)
    if count < _DENSE_BELOW:
        return dense_eigenvectors(graph)
    return lanczos_eigenvectors(graph, accept)


def dense_eigenvectors(graph: TwoValuedGraph) -> Tensor:
    """As `second_eigenvectors`, by LAPACK for each graph."""
    dense = graph.dense()
    if dense.device.type == "cpu":
        vectors = torch.from_numpy(np.stack([_second_by_lapack(one) for one in dense.numpy()]))
    else:
        vectors = torch.linalg.eigh(dense).eigenvectors[:, :, -2]
    return vectors * graph.degrees.rsqrt()


def _second_by_lapack(matrix: np.ndarray) -> np.ndarray:
    """(N,) the second eigenvector from the top of (N, N), at a third of the price of all."""
    _, vectors = scipy.linalg.eigh(matrix, subset_by_index=[len(matrix) - 2] * 2)
    if not vectors.shape[1]:  # of an eigenvalue that most vectors share LAPACK may return none
        vectors = np.linalg.eigh(matrix)[1][:, -2:]
    return vectors[:, 0]


def lanczos_eigenvectors(graph: TwoValuedGraph, accept: Accept) -> Tensor:
    """As `second_eigenvectors`, by block Lanczos; N must be at least 2."""
    found = torch.empty_like(graph.degrees)
    left, block = torch.arange(len(found), device=found.device), _start(graph)
    count, width = found.shape[1], block.shape[1]
    budget, known = _LAPACK_PRODUCTS * count if graph.lapack else np.inf, False
    for dtype, cycles in _CYCLES.items():
        price = width * (products_in_float64(count) if dtype == torch.float64 else 1)
        last = False
        for cycle in range(cycles):
            room = (count - 1) // width  # with less of it, vectors may be missed
            passes = int(min(_passes(dtype, graph.lapack), budget // price, room))
            fewest = _LOOK_FROM[dtype] if known else max(_LOOK_FROM[dtype], _FROM_RANDOM)
            if last or passes < fewest:
                break
            values, block, done, last = _cycle(graph, block.to(dtype), passes)
            budget -= done * price
            again = cycle + 1 < cycles and budget >= price * _LOOK_FROM[dtype]
            if dtype == torch.float32 and again and not last:
                continue
            y, error = _checked(graph, values, block)
            found[left] = y
            known = True
            uncertain = ~accept(left, y, error)
            left, block, graph = left[uncertain], block[uncertain], graph.select(uncertain)
            if not len(left):
                return found
    if graph.lapack or not known:
        found[left] = dense_eigenvectors(graph)
    return found


def _passes(dtype: torch.dtype, lapack: bool) -> int:
    """Products of one cycle at most."""
    return _PASSES[dtype] if lapack or dtype == torch.float32 else _PASSES_ALONE


def _start(graph: TwoValuedGraph) -> Tensor:
    """(B, b, N) the same random rows for every graph, so that batches do not matter."""
    batch, count = graph.degrees.shape
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(min(_BLOCK, count - 1), count, generator=generator)
    return rows.to(graph.degrees.device).expand(batch, -1, -1)


def _cycle(graph: TwoValuedGraph, block: Tensor, passes: int) -> tuple[Tensor, Tensor, int, bool]:
    """Grow a Krylov space from a block of rows and take its best Ritz pairs.

    Args:
        passes: products at most.

    Returns:
        Ritz values (B, b) float64, descending, their vectors (B, b, N) in the type of the block,
        how many products there were, and whether more of them would gain nothing.
    """
    batch, width, count = block.shape
    basis = block.new_empty(batch, 1 + passes * width, count)
    basis[:, 0] = graph.trivial().to(block.dtype)
    products = block.new_empty(batch, passes * width, count)
    for done in range(1, passes + 1):
        new = slice((done - 1) * width, done * width)
        basis[:, 1:][:, new], exhausted = _orthonormal(block, basis[:, : 1 + new.start])
        block = products[:, new] = graph.product(basis[:, 1:][:, new])
        look = done >= _LOOK_FROM[block.dtype] and done % _LOOK_EVERY[block.dtype] == 0
        if look or exhausted or done == passes:
            known = basis[:, 1 : 1 + new.stop], products[:, : new.stop]
            values, vectors, residual = _ritz_pairs(*known, width)
            last = exhausted or residual <= _ENOUGH[block.dtype]
            if last:
                break
    return values, vectors, done, last


def _ritz_pairs(basis: Tensor, products: Tensor, width: int) -> tuple[Tensor, Tensor, float]:
    """What `_cycle` returns, from an orthonormal basis (B, m, N) and its products with S."""
    projected = (basis @ products.mT).double()
    # On the CPU: a GPU solves such small problems one after the other, and slowly.
    values, coefficients = torch.linalg.eigh(((projected + projected.mT) / 2).cpu())
    values, coefficients = values.to(basis.device), coefficients.to(basis.device)
    values = values.flip(-1)[:, :width]
    coefficients = coefficients.flip(-1)[:, :, :width].mT.to(basis.dtype)
    vectors = coefficients @ basis
    residual = coefficients[:, 0, None] @ products - values[:, :1, None] * vectors[:, :1]
    return values, vectors, residual.norm(dim=2).max().item()


def _orthonormal(rows: Tensor, basis: Tensor) -> tuple[Tensor, bool]:
    """(B, b, N) rows made orthonormal, and to the basis; and whether nothing was left of any.

    Twice, since what is left of rows that nearly lie in the basis is mostly rounding. Where nothing
    else is left, as in a graph of a few groups of equal patches, random rows go on; as they are
    orthogonal to a space that S maps to itself, no harm is done.
    """
    orthogonalized = _qr if rows.device.type == "cpu" else _gram_schmidt
    rows, sizes = orthogonalized(rows - (rows @ basis.mT) @ basis)
    lost = sizes < _NOTHING_NEW[rows.dtype]
    if lost.any():
        generator = torch.Generator().manual_seed(basis.shape[1])
        random = torch.randn(rows.shape[1:], generator=generator).to(rows)
        rows = torch.where(lost.unsqueeze(2), functional.normalize(random, dim=1), rows)
        rows, _ = orthogonalized(rows - (rows @ basis.mT) @ basis)
    rows, _ = orthogonalized(rows - (rows @ basis.mT) @ basis)
    return rows, bool(lost.all())


def _qr(rows: Tensor) -> tuple[Tensor, Tensor]:
    """(B, b, N) rows made orthonormal, and (B, b) how long each was without those before it."""
    q, r = torch.linalg.qr(rows.mT)
    return q.mT, r.diagonal(dim1=1, dim2=2).abs()


def _gram_schmidt(rows: Tensor) -> tuple[Tensor, Tensor]:
    """As the QR decomposition, which a GPU makes of such long matrices one after the other.

    Rows of which nothing is left are not of unit length.
    """
    found: list[tuple[Tensor, Tensor]] = []
    for row in rows.unbind(dim=1):
        for before, _ in found:
            row = row - (row * before).sum(dim=1, keepdim=True) * before
        found.append((functional.normalize(row, dim=1, eps=1e-30), row.norm(dim=1)))
    made, sizes = (torch.stack(part, dim=1) for part in zip(*found, strict=True))
    return made, sizes


def _checked(graph: TwoValuedGraph, values: Tensor, block: Tensor) -> tuple[Tensor, Tensor]:
    """y of the first Ritz vector and a bound of the error of its entries: (B, N) float64 each.

    The angle to the eigenvector is at most the residual over the distance to the next eigenvalue
    (Davis and Kahan 1970), for which the next Ritz value stands; a missed eigenvalue would need a
    random start orthogonal to its vector.
    """
    x = block[:, 0].double()
    trivial = graph.trivial()
    x = x - (x * trivial).sum(dim=1, keepdim=True) * trivial
    x = functional.normalize(x, dim=1)
    image = graph.product(x.unsqueeze(1))[:, 0]
    value = (image * x).sum(dim=1, keepdim=True)
    residual = (image - value * x).norm(dim=1, keepdim=True)
    if values.shape[1] > 1:
        gap = (value - values[:, 1:2]).clamp_min(1e-300)
    else:
        gap = torch.full_like(value, torch.inf)  # two patches have one such vector
    scale = graph.degrees.rsqrt()
    return x * scale, 1.5 * residual / gap * scale
