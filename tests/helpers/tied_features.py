"""Features for heuristics, with many ties and zeros."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp


@st.composite
def batches(draw):
    """Integer features with many ties and zeros, of any small grid."""
    grid = draw(st.tuples(st.integers(1, 5), st.integers(1, 6)).filter(lambda g: g != (1, 1)))
    shape = (draw(st.integers(1, 3)), grid[0] * grid[1], draw(st.integers(1, 3)))
    features = draw(hnp.arrays(np.int8, shape, elements=st.integers(-2, 2)))
    return torch.from_numpy(features.astype(np.float32)), grid
