"""Pretrain a small vision transformer on unlabelled images by self-distillation (DINO, iBOT).

The weights that ship in workflow/resources/scenes_vit.safetensors were made by this stage. No
box, category or phrase of the index is read.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

from bbr import cli
from bbr.backbones import (
    BackboneSpec,
    TransformerBackbone,
    build_backbone,
    parse_arguments,
    save_backbone,
)
from bbr.cli import log
from bbr.errors import InputError
from bbr.image_batches import SquareImages
from bbr.index import load_index
from bbr.pretraining import Distillation, PretrainingOptions
from bbr.provenance import provenance
from bbr.training import Checkpoint, batch_indices, learning_rate, set_learning_rate, step_generator


def run(
    index: Path,
    output: Path,
    architecture: str,
    architecture_args: dict[str, Any],
    image_size: int,
    steps: int,
    batch_size: int,
    lr: float,
    weight_decay: float,
    seed: int,
    checkpoint_seconds: float,
    device: str,
    precision: str,
) -> None:
    """Train for `steps` steps and write the teacher's weights to `output` (safetensors)."""
    place = cli.choose_device(device)
    cli.seed_everything(seed)
    parameters = {
        "architecture": architecture, "architecture_args": architecture_args,
        "image_size": image_size, "steps": steps, "batch_size": batch_size, "lr": lr,
        "weight_decay": weight_decay, "seed": seed, "precision": precision,
    }  # fmt: skip
    record = provenance("pretrain_backbone", parameters, {"index": index}, cli.device_name(place))
    spec = BackboneSpec(architecture, architecture_args, normalization="center")
    backbone = build_backbone(spec)
    if not isinstance(backbone, TransformerBackbone):
        raise InputError(f"architecture {architecture} is not a vision transformer")
    images = SquareImages(load_index(index), image_size)
    model = Distillation(backbone, PretrainingOptions()).to(place)
    trained = [p for p in model.parameters() if p.requires_grad]
    # As in DINO, biases and other vectors are not decayed.
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=lr)
    checkpoint = Checkpoint(output, record, checkpoint_seconds)
    start = 0
    if (state := checkpoint.load()) is not None:
        start = state["step"]
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
    model.train()
    for step in cli.progress(range(start, steps), steps - start, "pretraining steps"):
        set_learning_rate(optimizer, learning_rate("cosine", lr, step, steps, steps // 20))
        batch = images.batch(batch_indices(len(images), batch_size, seed, step)).to(place)
        with cli.autocast(place, precision):
            losses = model(batch, step_generator(seed, step))
        optimizer.zero_grad()
        losses["total"].backward()
        torch.nn.utils.clip_grad_norm_(trained, 3.0)
        optimizer.step()
        model.update_teacher(step / steps)
        if step % 50 == 0:
            log.info("step %d %s", step, " ".join(f"{k} {v.item():.3f}" for k, v in losses.items()))
        checkpoint.save_when_due(
            step + 1,
            lambda: {"model": model.state_dict(), "optimizer": optimizer.state_dict()},
        )
    save_backbone(output, model.teacher, record)
    checkpoint.discard()


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    parser = cli.stage_parser(__doc__)
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True, help="weights, .safetensors")
    parser.add_argument("--architecture", default="vit_tiny_patch16_224", help="a timm model")
    parser.add_argument("--architecture-args", type=parse_arguments, default={},
                        help="JSON of overrides for timm.create_model")  # fmt: skip
    parser.add_argument("--image-size", type=cli.positive_int, default=128)
    parser.add_argument("--steps", type=cli.positive_int, default=4000)
    parser.add_argument("--batch-size", type=cli.positive_int, default=64)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--weight-decay", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--checkpoint-seconds", type=float, default=60)
    cli.add_device_options(parser)
    return cli.execute(run, parser, argv)


if __name__ == "__main__":
    sys.exit(main())
