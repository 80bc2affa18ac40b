"""Turn a published MOVE checkpoint and its frozen f into one file, a backbone like any other.

    python stages/import_segmenter.py --checkpoint move.pth --weights timm \\
        --architecture vit_small_patch8_224.dino --output move_vits8.safetensors
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import bbr.command_line.fast_import

from bbr.backbones.build import save_backbone
from bbr.backbones.masked import Segmenter
from bbr.backbones.options import BackboneOptions
from bbr.command_line import cli
from bbr.errors import InputError
from bbr.fetch.segmenter_layout import load_published_segmenter
from bbr.options import option
from bbr.storage.provenance import provenance


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    checkpoint: Path = option(help="of MOVE's training, or the segmenter's state dict")
    output: Path = option(help="segmenter, .safetensors")


def run(*, files: Files, backbone: BackboneOptions) -> None:
    """Write the segmenter to `output` (safetensors).

    Raises:
        InputError: the checkpoint holds no segmenter, or one that does not fit f.
    """
    features = backbone.load()
    if isinstance(features, Segmenter):
        raise InputError(f"--weights {backbone.weights}: is a segmenter already; give its f")
    segmenter = load_published_segmenter(files.checkpoint, features)
    sources = {"checkpoint": files.checkpoint, "weights": backbone.file}
    record = provenance("import_segmenter", backbone.recorded(features), sources)
    save_backbone(files.output, segmenter, record)


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
