"""Figures as files: the same figure has the same bytes."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Of matplotlib's own account of a file: neither says when or by what it was made.
_METADATA = {
    "png": {"Software": None},
    "pdf": dict.fromkeys(("Creator", "Producer", "CreationDate")),
}


def encode_figure(figure: Figure, dpi: float | None = None, kind: str = "png") -> bytes:
    """A figure as `png` or `pdf`.

    Args:
        dpi: pixels an inch; those of the figure if None.
    """
    from matplotlib import rc_context  # here, since it takes half a second

    content = io.BytesIO()
    with rc_context({"pdf.fonttype": 42}):  # TrueType: text stays text
        figure.savefig(content, format=kind, dpi=dpi or "figure", metadata=_METADATA[kind])
    return content.getvalue()
