"""Turn a published file of weights, of any layout that fetch_weights.py knows, into a file of ours.

  --kind backbone   a vision transformer of DINO's: its own files, with or without the wrappers of
                    its training, and f^h of the paper's release; --architecture is timm's name
  --kind trunk      what h and CAD start from: DINO's ResNet-50, Detectron2's pickle of it, VGG16;
                    --architecture is torchvision's name
  --kind detector   h of the paper's release; --layout says what it reads
  --kind grounder   g of WWbL, g^h of the paper's release
  --kind segmenter  MOVE's segmenter, refined or not, on top of --needs, its f

Modules that were saved whole are read without their code; a file that would call a function of its
own is refused.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import bbr.command_line.fast_import

from bbr.command_line import cli
from bbr.detector.networks import LAYOUTS
from bbr.errors import InputError
from bbr.fetch.weight_registry import WeightEntry, convert
from bbr.options import option
from bbr.storage.provenance import provenance

_NAMED = ("backbone", "trunk")  # kinds whose files do not tell the network
KINDS = (*_NAMED, "detector", "grounder", "segmenter")


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    file: Path = option(help="published weights")
    output: Path = option(help="weights of ours, .safetensors")
    needs: Path | None = option(None, "f of a segmenter, of ours")


@dataclass(frozen=True)
class Kind:
    """What the weights are of."""

    kind: str = option(help="of network", choices=KINDS)
    architecture: str | None = option(None, "of kinds backbone and trunk")
    layout: str = option("qkv_image", "what h reads", choices=LAYOUTS)


def run(*, files: Files, network: Kind) -> None:
    """Write the weights to `output` (safetensors).

    Raises:
        InputError: the file is damaged, of another network, or would run code of its own.
    """
    if network.kind in _NAMED and network.architecture is None:
        raise InputError(
            f"--kind {network.kind}: its files do not name their network; add --architecture"
        )
    path = cli.existing_file(files.file, "--file")
    entry = WeightEntry(
        network.kind, network.kind, (), network.architecture or "", "--needs", network.layout
    )
    record = provenance("import_weights", vars(network), {"file": path, "needs": files.needs})
    convert(entry, path, files.output, record, files.needs)


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
