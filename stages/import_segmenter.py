"""Turn a published MOVE checkpoint and its frozen f into one file, a backbone like any other.

    python stages/import_segmenter.py --checkpoint move.pth --weights timm \\
        --architecture vit_small_patch8_224.dino --output move_vits8.safetensors
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import bbr.command_line.fast_import

from bbr.backbones.build import save_backbone
from bbr.backbones.masked import Segmenter
from bbr.backbones.options import add_backbone_options, take_backbone, weights_file
from bbr.command_line import cli
from bbr.errors import InputError
from bbr.fetch.segmenter_layout import load_published_segmenter
from bbr.storage.provenance import provenance


def run(*, checkpoint: Path, output: Path, **backbone_options: Any) -> None:
    """Write the segmenter to `output` (safetensors).

    Raises:
        InputError: the checkpoint holds no segmenter, or one that does not fit f.
    """
    weights = weights_file(backbone_options["weights"])
    features, parameters = take_backbone(backbone_options)
    if isinstance(features, Segmenter):
        raise InputError(f"--weights {weights}: is a segmenter already; give its f")
    segmenter = load_published_segmenter(checkpoint, features)
    sources = {"checkpoint": checkpoint, "weights": weights}
    record = provenance("import_segmenter", parameters, sources)
    save_backbone(output, segmenter, record)


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    parser = cli.stage_parser(__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True,
                        help="of MOVE's training, or the segmenter's state dict")  # fmt: skip
    add_backbone_options(parser)
    parser.add_argument("--output", type=Path, required=True, help="segmenter, .safetensors")
    return cli.execute(run, parser, argv)


if __name__ == "__main__":
    sys.exit(main())
