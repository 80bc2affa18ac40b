"""Train g from scratch with CLIP alone as the teacher, as WWbL does.

See docs/protocol.md#training-of-g. The weights that ship in
workflow/resources/scenes_grounder.safetensors were made by this stage. No box of the index is read.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import bbr.command_line.fast_import

import torch
from torch import Tensor, nn

from bbr.clip.network import ClipOptions
from bbr.command_line import cli
from bbr.command_line.devices import seed_everything
from bbr.data.index import load_index
from bbr.data.loading import SquareImages
from bbr.grounding.batches import GroundingBatches, Mirroring
from bbr.grounding.losses import GroundingWeights, SimilarityOptions
from bbr.grounding.network import Grounder, GrounderSpec, initialize_trunk, save_grounder
from bbr.grounding.objective import GroundingObjective
from bbr.grounding.texts import by_image, entries
from bbr.options import all_recorded, option
from bbr.training.distributed import launch
from bbr.training.plan import plan_training
from bbr.training.run_options import TrainingOptions
from bbr.training.schedule import Clipping, Schedule

OPTIMIZERS = ("sgd", "adam")
SCHEDULE = Schedule(steps=30000, batch_size=32, lr=1.2e-3)


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    index: Path = option(help="index.json")
    output: Path = option(help="g, .safetensors")
    init: str = option("imagenet", "of the trunk: imagenet, random or a file")


@dataclass(frozen=True)
class Descent:
    """What g sees, and how it goes down."""

    image_size: int = option(304, "side to which images are resized", unit="px", min=1)
    optimizer: str = option("sgd", "the paper's sgd, or adam", choices=OPTIMIZERS)
    momentum: float = option(0.9, "of SGD", min=0)


def run(
    *,
    files: Files,
    clip: ClipOptions,
    spec: GrounderSpec,
    descent: Descent,
    schedule: Schedule = SCHEDULE,
    clipping: Clipping,
    weights: GroundingWeights,
    similarity: SimilarityOptions,
    seeing: Mirroring,
    training: TrainingOptions,
) -> None:
    """Train g and write it to `output` (safetensors).

    Raises:
        InputError: the index has no phrases, or weights cannot be had.
    """
    network = clip.load()
    with torch.no_grad():
        text_dim = network.encode_texts([""]).shape[1]
    seed_everything(training.seed)
    grounder = Grounder(replace(spec, text_dim=text_dim))
    initialize_trunk(grounder, files.init)
    init_file = None if files.init in ("imagenet", "random") else files.init
    fabric = launch(training.device, training.precision)
    parameters = all_recorded(
        clip, descent, similarity, seeing, grounder=grounder.spec, loss=weights
    ) | {"init": files.init if init_file is None else "file"}
    sources = {"index": files.index, "clip": clip.file, "init": init_file}
    plan = plan_training(
        "train_grounder", fabric, files.output, schedule, training, parameters, sources, clipping
    )
    dataset = load_index(files.index)
    model = GroundingObjective(grounder, network, weights, similarity=similarity.similarity).train()
    wrapped, optimizer = fabric.setup(model, _optimizer(model, descent, schedule))
    choices = by_image(entries(dataset, "training"))
    images = SquareImages(dataset, descent.image_size, clip.resizing)
    batches = GroundingBatches(images, choices, grounder, network, fabric, seeing.mirror)
    batches.cache_features()

    def loss(step: int) -> Iterator[dict[str, Tensor]]:
        chosen = plan.indices(len(batches), step)
        yield wrapped(batches.batch(chosen, plan.generator(step)))

    plan.optimize(fabric, wrapped, optimizer, loss, "training steps of g")
    save_grounder(files.output, grounder, plan.record)
    plan.checkpoint.discard()


def _optimizer(model: nn.Module, descent: Descent, schedule: Schedule) -> torch.optim.Optimizer:
    trained = [p for p in model.parameters() if p.requires_grad]
    common = {"lr": schedule.lr, "weight_decay": schedule.weight_decay}
    if descent.optimizer == "adam":
        return torch.optim.Adam(trained, **common)
    return torch.optim.SGD(trained, momentum=descent.momentum, **common)


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
