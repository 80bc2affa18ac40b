"""The figure and the table of risk over coverage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..evaluation.risk_coverage import area, best_area, corloc_at, risk_curve
from ..storage.figure_files import encode_figure
from .tables import Table

_COVERAGES = (0.2, 0.5, 0.8, 1.0)
DPI = 150
_WIDTH, _HEIGHT = 3.6, 3.0  # inches, of one dataset


@dataclass(frozen=True)
class Ranking:
    """The boxes of one method on one dataset, as their scores rank them.

    Attributes:
        scores: (n,) of each image's box.
        correct: (n,) 0 or 1.
    """

    dataset: str
    method: str
    scores: np.ndarray
    correct: np.ndarray


def risk_table(rankings: Sequence[Ranking]) -> Table:
    """CorLoc of the most certain shares, and the area under each curve."""
    shares = [f"CorLoc of {100 * coverage:.0f} %" for coverage in _COVERAGES]
    rows = []
    for ranking in rankings:
        risks = risk_curve(ranking.scores, ranking.correct)
        areas = area(risks), float(risks[-1]), best_area(ranking.correct)
        rows.append(
            [
                ranking.dataset,
                ranking.method,
                str(len(risks)),
                *(f"{corloc_at(risks, coverage):.1f}" for coverage in _COVERAGES),
                *(f"{value:.3f}" for value in areas),
            ]
        )
    return Table(
        ["dataset", "method", "images", *shares, "area", "random", "best"],
        rows,
        "CorLoc in percent of the most certain share of the images, by the score of their boxes."
        " Area: under the curve of risk over coverage, the mean share of wrong boxes; random and"
        " best: that of a random order, and of an order that knows the truth.",
    )


def draw_risk(rankings: Sequence[Ranking]) -> bytes:
    """The curves as PNG: a panel for each dataset, in the order in which they come."""
    # Here, since the table needs none of it.
    from matplotlib.figure import Figure

    from .contact_sheets import PALETTE

    datasets = list(dict.fromkeys(ranking.dataset for ranking in rankings))
    methods = list(dict.fromkeys(ranking.method for ranking in rankings))
    colours = {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(methods)}
    figure = Figure((_WIDTH * len(datasets), _HEIGHT), layout="constrained")
    panels = figure.subplots(1, len(datasets), sharey=True, squeeze=False)[0]
    for panel, dataset in zip(panels, datasets, strict=True):
        for ranking in (r for r in rankings if r.dataset == dataset):
            risks = risk_curve(ranking.scores, ranking.correct)
            coverage = np.arange(1, len(risks) + 1) / len(risks)
            colour = colours[ranking.method]
            panel.plot(100 * coverage, 100 * risks, color=colour, label=ranking.method)
            panel.axhline(100 * risks[-1], color=colour, linewidth=0.8, linestyle=":")
        panel.set(title=dataset, xlabel="coverage, % of the images", xlim=(0, 100), ylim=(0, None))
        panel.legend(frameon=False, fontsize="small")
    panels[0].set_ylabel("risk, % of wrong boxes")
    return encode_figure(figure, DPI)
