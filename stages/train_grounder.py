"""Train g from scratch with CLIP alone as the teacher, as WWbL does (PROTOCOL section 2).

The weights that ship in workflow/resources/scenes_grounder.safetensors were made by this stage. No
box of the index is read.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bbr.command_line.fast_import

import torch
from torch import Tensor

from bbr.clip.network import add_clip_options, take_clip
from bbr.command_line import cli
from bbr.command_line.devices import device_name, seed_everything
from bbr.data.index import load_index
from bbr.data.loading import SquareImages
from bbr.grounding.batches import GroundingBatches
from bbr.grounding.losses import add_grounding_weights, pop_grounding_weights
from bbr.grounding.network import TRUNKS, Grounder, GrounderSpec, initialize_trunk, save_grounder
from bbr.grounding.objective import GroundingObjective
from bbr.grounding.texts import by_image, entries
from bbr.storage.provenance import provenance
from bbr.training.checkpoint import Checkpoint
from bbr.training.distributed import launch
from bbr.training.loop import batch_indices, optimize, step_generator
from bbr.training.schedule import Schedule, add_training_options, pop_schedule

OPTIMIZERS = ("sgd", "adam")


def run(
    *,
    index: Path,
    output: Path,
    trunk: str,
    init: str,
    width: int,
    scale: float,
    frozen_trunk: bool,
    image_size: int,
    optimizer: str,
    momentum: float,
    seed: int,
    checkpoint_seconds: float,
    device: str,
    precision: str,
    **rest: Any,
) -> None:
    """Train g and write it to `output` (safetensors).

    Raises:
        InputError: the index has no phrases, or weights cannot be had.
    """
    schedule, weights = pop_schedule(rest), pop_grounding_weights(rest)
    clip, used, clip_file = take_clip(rest)
    with torch.no_grad():
        text_dim = clip.encode_texts([""]).shape[1]
    spec = GrounderSpec(trunk, text_dim, width, scale, frozen_trunk)
    seed_everything(seed)
    grounder = Grounder(spec)
    initialize_trunk(grounder, init)
    parameters = {
        **used, "grounder": vars(spec), "init": init if init in ("imagenet", "random") else "file",
        "image_size": image_size, "optimizer": optimizer, "momentum": momentum,
        "schedule": vars(schedule), "loss": vars(weights), "seed": seed, "precision": precision,
    }  # fmt: skip
    init_file = None if init in ("imagenet", "random") else init
    fabric = launch(device, precision)
    record = provenance(
        "train_grounder", parameters, {"index": index, "clip": clip_file, "init": init_file},
        device_name(fabric.device),
    )  # fmt: skip
    dataset = load_index(index)
    model = GroundingObjective(grounder, clip, weights).train()
    trained = [p for p in model.parameters() if p.requires_grad]
    common = {"lr": schedule.lr, "weight_decay": schedule.weight_decay}
    if optimizer == "adam":
        steps_by = torch.optim.Adam(trained, **common)
    else:
        steps_by = torch.optim.SGD(trained, momentum=momentum, **common)
    wrapped, steps_by = fabric.setup(model, steps_by)
    choices = by_image(entries(dataset, "training"))
    batches = GroundingBatches(SquareImages(dataset, image_size), choices, grounder, clip, fabric)
    batches.keep()

    def loss(step: int) -> Iterator[dict[str, Tensor]]:
        chosen = batch_indices(len(batches), schedule.batch_size, seed, step)
        yield wrapped(batches.batch(chosen, step_generator(seed, step)))

    checkpoint = Checkpoint(output, record, checkpoint_seconds)
    optimize(wrapped, loss, steps_by, schedule, checkpoint, fabric, "training steps of g")
    save_grounder(output, grounder, record)
    checkpoint.discard()


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    default = GrounderSpec()
    parser = cli.stage_parser(__doc__)
    parser.add_argument("--index", type=Path, required=True)
    add_clip_options(parser)
    parser.add_argument("--output", type=Path, required=True, help="g, .safetensors")
    parser.add_argument("--trunk", choices=TRUNKS, default=default.trunk)
    parser.add_argument("--init", default="imagenet",
                        help="of the trunk: imagenet, random or a file [imagenet]")  # fmt: skip
    parser.add_argument("--width", type=cli.positive_int, default=default.width,
                        help="channels of the first up-block [512]")  # fmt: skip
    parser.add_argument("--scale", type=float, default=default.scale,
                        help="resize images by this factor for the trunk [1]")  # fmt: skip
    parser.add_argument("--frozen-trunk", action="store_true",
                        help="leave the trunk as it was pretrained")  # fmt: skip
    parser.add_argument("--image-size", type=cli.positive_int, default=304,
                        help="side in pixels to which images are resized [304]")  # fmt: skip
    parser.add_argument("--optimizer", choices=OPTIMIZERS, default="sgd")
    parser.add_argument("--momentum", type=float, default=0.9, help="of SGD [0.9]")
    add_training_options(parser, Schedule(steps=30000, batch_size=32, lr=1.2e-3))
    add_grounding_weights(parser)
    return cli.execute(run, parser, argv)


if __name__ == "__main__":
    sys.exit(main())
