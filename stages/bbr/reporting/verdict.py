"""What became of a refinement, in a sentence for whoever asked for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def verdict(selected: Mapping[str, Any]) -> str:
    """What `training.checkpoint_selection.Selector.restore` noted of a training.

    Args:
        selected: step (0 for f itself), agreement and agreement_of_f: mean IoU with h's boxes, of
            the images set aside; None where nothing was compared.
    """
    of_f = selected["agreement_of_f"]
    if selected["step"]:
        against = "" if of_f is None else f"; those of f overlap them by {of_f:.2f}"
        return (
            f"boxes of f^h after {selected['step']} steps: on images set aside they overlap h's by"
            f" {selected['agreement']:.2f}{against}"
        )
    overlap = "" if of_f is None else f": on images set aside they overlap h's by {of_f:.2f}"
    why = "h was not to be trusted, or f^h only led away from it"
    return f"boxes of f, which was kept{overlap}; {why}"
