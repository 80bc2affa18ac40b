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
from pathlib import Path

import bbr.command_line.fast_import

from bbr.command_line import cli
from bbr.detector.networks import LAYOUTS
from bbr.errors import InputError
from bbr.fetch.weight_registry import WeightEntry, convert
from bbr.storage.provenance import provenance

_NAMED = ("backbone", "trunk")  # kinds whose files do not tell the network
KINDS = (*_NAMED, "detector", "grounder", "segmenter")


def run(
    *,
    kind: str,
    file: Path,
    output: Path,
    architecture: str | None,
    layout: str,
    needs: Path | None,
) -> None:
    """Write the weights to `output` (safetensors).

    Raises:
        InputError: the file is damaged, of another network, or would run code of its own.
    """
    if kind in _NAMED and architecture is None:
        raise InputError(f"--kind {kind}: its files do not name their network; add --architecture")
    path = cli.existing_file(file, "--file")
    entry = WeightEntry(kind, kind, (), architecture or "", "--needs", layout)
    parameters = {"kind": kind, "architecture": architecture, "layout": layout}
    record = provenance("import_weights", parameters, {"file": path, "needs": needs})
    convert(entry, path, output, record, needs)


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    parser = cli.stage_parser(__doc__)
    parser.add_argument("--kind", choices=KINDS, required=True)
    parser.add_argument("--file", type=Path, required=True)
    parser.add_argument("--architecture", help="of kinds backbone and trunk")
    parser.add_argument("--layout", choices=LAYOUTS, default="qkv_image",
                        help="what h reads [qkv_image]")  # fmt: skip
    parser.add_argument("--needs", type=Path, help="f of a segmenter, of ours")
    parser.add_argument("--output", type=Path, required=True, help="weights of ours, .safetensors")
    return cli.execute(run, parser, argv)


if __name__ == "__main__":
    sys.exit(main())
