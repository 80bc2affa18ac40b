"""The device of tests/gpu, and how they are skipped without one.

BBR_GPU_TESTS_DEVICE=cpu runs them without a GPU: that checks the tests themselves, little else.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

DEVICE = os.environ.get("BBR_GPU_TESTS_DEVICE", "cuda")
ON_GPU = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        DEVICE == "cuda" and not torch.cuda.is_available(),
        reason="needs a CUDA device; BBR_GPU_TESTS_DEVICE=cpu tries the test itself",
    ),
]
# float32 keeps 24 bits: sums of a few thousand products in another order differ by about 1e-6, and
# cuDNN's fast convolutions (Winograd) by some 1e-5; a few layers multiply that. TF32, or a wrong
# operation, would show: 1e-3 and more.
SAME_FLOAT32 = 1e-4


@contextmanager
def full_float32() -> Iterator[None]:
    """Convolutions in float32: cuDNN would use TF32, which keeps 11 bits."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def apart(first: Tensor, second: Tensor) -> float:
    """Norm of the difference over the norm of the first, wherever they lie."""
    first, second = first.detach().double().cpu(), second.detach().double().cpu()
    return float((first - second).norm() / first.norm())
