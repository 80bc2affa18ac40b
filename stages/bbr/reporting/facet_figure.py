"""The table and the heat maps of a sweep over facets and blocks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..evaluation.sweep import Swept
from ..storage.figure_files import encode_figure
from .risk_figure import DPI
from .tables import Table

_CELL = 0.5  # inches
_SETTING = ("dataset", "backbone", "method", "facet", "block", "options")


def facet_table(found: Sequence[Swept]) -> Table:
    """A row for each setting, in the order given."""
    rows = [
        [
            *(str(getattr(each, name)) for name in _SETTING),
            str(each.images),
            f"{each.score:.1f}",
            *(f"{end:.1f}" for end in each.interval),
        ]
        for each in found
    ]
    return Table(
        [*_SETTING, "images", "CorLoc", "low", "high"],
        rows,
        "CorLoc in percent of what a heuristic finds in a facet of a block (-1: the last), with the"
        " 95 % bootstrap interval over images.",
    )


def draw_facets(found: Sequence[Swept]) -> bytes:
    """Heat maps as PNG: a row for each dataset and backbone, a column for each heuristic."""
    # Here, since the table needs none of it.
    from matplotlib.figure import Figure

    places = list(dict.fromkeys((each.dataset, each.backbone) for each in found))
    ways = list(dict.fromkeys((each.method, each.options) for each in found))
    facets = list(dict.fromkeys(each.facet for each in found))
    blocks = sorted({each.block for each in found}, key=lambda block: (block < 0, block))
    score = {
        (each.dataset, each.backbone, each.method, each.options, each.facet, each.block): each.score
        for each in found
    }
    width = (len(blocks) * _CELL + 0.6) * len(ways) + 1.8
    height = (len(facets) * _CELL * 0.7 + 0.8) * len(places)
    figure = Figure((width, height), layout="constrained")
    panels = figure.subplots(len(places), len(ways), squeeze=False, sharex=True, sharey=True)
    limits = min(score.values()), max(score.values())
    for row, place in zip(panels, places, strict=True):
        for panel, way in zip(row, ways, strict=True):
            values = np.array(
                [[score.get((*place, *way, f, b), np.nan) for b in blocks] for f in facets]
            )
            panel.imshow(values, vmin=limits[0], vmax=limits[1], cmap="viridis", aspect="auto")
            for y, x in np.argwhere(np.isfinite(values)):
                dark = values[y, x] < sum(limits) / 2
                panel.text(
                    *(x, y, f"{values[y, x]:.0f}"),
                    ha="center",
                    va="center",
                    fontsize="x-small",
                    color="white" if dark else "black",
                )
            panel.set_xticks(range(len(blocks)), map(str, blocks))
            panel.set_yticks(range(len(facets)), facets)
            panel.set_title("\n".join(way), fontsize="small")
        row[0].set_ylabel("\n".join(place))
    for panel in panels[-1]:
        panel.set_xlabel("block")
    return encode_figure(figure, DPI)
