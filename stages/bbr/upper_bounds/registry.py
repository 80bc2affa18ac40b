"""The networks that find a box for a phrase, by name."""

from __future__ import annotations

from pathlib import Path

from .grounding_dino import GroundingDino
from .owlv2 import Owlv2
from .phrase_detector import PhraseDetector
from .sam3 import Sam3

_NETWORKS: dict[str, type[GroundingDino] | type[Owlv2] | type[Sam3]] = {
    "grounding_dino": GroundingDino,
    "owlv2": Owlv2,
    "sam3": Sam3,
}
NETWORKS = tuple(_NETWORKS)


def load_phrase_detector(name: str, folder: Path) -> PhraseDetector:
    """The network of that name, with the weights of a folder.

    Raises:
        InputError: the folder is not that network's, or not whole.
    """
    return _NETWORKS[name](folder)
