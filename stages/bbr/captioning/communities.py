"""Captions that say the same, found by their embeddings ("what is where by looking").

The paper cites Louvain (Blondel et al. 2008); the released code takes, one after the other, the
largest set of captions that are alike to one of them. Both link captions whose cosine reaches a
threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import networkx
import numpy as np

from ..options import option

GROUPINGS = ("louvain", "threshold")


ALONE = ("each", "none")


@dataclass(frozen=True)
class CommunityOptions:
    """How captions are grouped."""

    communities: str = option(
        "louvain", "Louvain's (the paper), or the released code's", choices=GROUPINGS
    )
    threshold: float = option(0.85, "cosine from which two captions are alike", min=-1, max=1)
    min_community: int = option(2, "below which a community is dropped", unit="captions", min=1)
    community_seed: int = option(0, "of the order in which Louvain looks at captions", min=0)
    no_community: str = option(
        "each",
        "where no captions are alike: each is one; or none, as in WWbL's code, and no description",
        choices=ALONE,
        later=True,
    )


def find_communities(embeddings: np.ndarray, options: CommunityOptions) -> list[list[int]]:
    """Communities of n captions, the largest first, then by their first caption.

    Args:
        embeddings: (n, d) of unit length; n may be 0.

    Returns:
        Positions, ascending in each; no caption is in two. Where there is no community of the least
        size each caption is one, for then none is more telling than another; a lone caption, too;
        or there is none.
    """
    alike = similarity(embeddings)
    found = COMMUNITIES[options.communities](alike, options)
    large = [community for community in found if len(community) >= options.min_community]
    if not large and options.no_community == "none":
        return []
    if not large:
        return [[i] for i in range(len(embeddings))]
    return sorted((sorted(c) for c in large), key=lambda c: (-len(c), c[0]))


def similarity(embeddings: np.ndarray) -> np.ndarray:
    """Cosines (n, n) float64 of unit embeddings.

    Rounded, so that equal captions are alike to the last digit whatever their place in a batch.
    """
    wide = np.asarray(embeddings, dtype=np.float64)
    return (wide @ wide.T).round(5)


def louvain(alike: np.ndarray, options: CommunityOptions) -> list[list[int]]:
    """Communities of greatest modularity in the graph of alike captions, weighted by cosine."""
    graph = networkx.Graph()
    graph.add_nodes_from(range(len(alike)))
    rows, columns = np.nonzero(np.triu(alike >= options.threshold, k=1))
    graph.add_weighted_edges_from(
        zip(rows.tolist(), columns.tolist(), alike[rows, columns].tolist(), strict=True)
    )
    found = networkx.community.louvain_communities(graph, seed=options.community_seed)
    return [list(community) for community in found]


def threshold_communities(alike: np.ndarray, options: CommunityOptions) -> list[list[int]]:
    """The set of what is alike to one caption, the largest set first, without what is taken.

    Of sets of one size that of the first caption comes first. Sets below the least size do not
    count, before or after others took their share.
    """
    near = alike >= options.threshold
    np.fill_diagonal(near, True)
    sizes = near.sum(1)
    taken = np.zeros(len(near), dtype=bool)
    found = []
    for i in np.argsort(-sizes, kind="stable"):
        if sizes[i] < options.min_community:
            break
        free = np.flatnonzero(near[i] & ~taken)
        if len(free) >= options.min_community:
            taken[free] = True
            found.append(free.tolist())
    return found


COMMUNITIES = dict(zip(GROUPINGS, (louvain, threshold_communities), strict=True))


def representatives(embeddings: np.ndarray, communities: Sequence[Sequence[int]]) -> list[int]:
    """The caption nearest to the mean of each community, by cosine; the first of several.

    Args:
        embeddings: (n, d) of unit length.
    """
    chosen = []
    for community in communities:
        own = np.asarray(embeddings, dtype=np.float64)[list(community)]
        chosen.append(community[int((own @ own.mean(0)).round(5).argmax())])
    return chosen
