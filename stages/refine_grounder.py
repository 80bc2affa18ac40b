"""Refine g to g^h: train it through the frozen h towards boxes (paper section 3.2).

The output is a g like any other: extract_heatmaps.py and all that follows read it. Batch norms keep
their statistics, so that g^h is trained as it will be run.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import bbr.command_line.fast_import

import torch
from torch import Tensor

from bbr.clip.network import ClipOptions
from bbr.command_line import cli
from bbr.command_line.devices import device_name
from bbr.data.index import Index, load_index
from bbr.data.loading import SquareImages
from bbr.detector.networks import load_detector, require_channels
from bbr.detector.set_loss import LossWeights
from bbr.detector.targets import as_target_list
from bbr.grounding.batches import GroundingBatches
from bbr.grounding.contours import NMS_BOXES, ContourOptions
from bbr.grounding.heatmap_inputs import load_phrase_targets, map_targets
from bbr.grounding.losses import (
    REFINEMENT_WEIGHTS,
    GroundingWeights,
    toss_unions,
)
from bbr.grounding.network import load_grounder, save_grounder
from bbr.grounding.objective import GroundingObjective, Teacher, draw_maps
from bbr.grounding.texts import Entry, entries
from bbr.options import option
from bbr.storage.provenance import provenance
from bbr.training.checkpoint import Checkpoint
from bbr.training.distributed import launch
from bbr.training.loop import batch_indices, optimize, step_generator
from bbr.training.run_options import TrainingOptions
from bbr.training.schedule import Schedule

TARGETS = ("g", "current", "h")


SCHEDULE = Schedule(steps=10000, batch_size=36, lr=1e-7)


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    index: Path = option(help="index.json")
    weights: Path = option(help="g")
    detector: Path = option(help="h, .safetensors")
    boxes: Path = option(help="pseudo-boxes of g")
    output: Path = option(help="g^h, .safetensors")


@dataclass(frozen=True)
class Targets:
    """What h is asked for, on maps of which size."""

    image_size: int = option(304, "side to which images are resized", unit="px", min=1)
    heatmap_size: int = option(304, "side of the maps that h was trained on", unit="px", min=1)
    targets: str = option(
        "g",
        "boxes h is asked for: of g, of the maps of the current g^h (of g where those have none),"
        " or h's own on g's maps",
        choices=TARGETS,
    )
    nms_boxes: str = option(
        "xyxy", "of the current g^h's boxes; see heatmap_boxes.py", choices=NMS_BOXES
    )
    union_probability: float = option(
        0.5, "of asking for the union of the boxes instead", min=0, max=1
    )


def run(
    *,
    files: Files,
    clip: ClipOptions,
    options: Targets,
    schedule: Schedule = SCHEDULE,
    loss_weights: LossWeights,
    grounding_weights: GroundingWeights = REFINEMENT_WEIGHTS,
    training: TrainingOptions,
) -> None:
    """Train g^h and write it to `output` (safetensors).

    Raises:
        InputError: g, h, CLIP, boxes and index do not belong together, or an option is bad.
    """
    fabric = launch(training.device, training.precision)
    dataset = load_index(files.index)
    choices, wanted = _choices(files.boxes, dataset)
    side = options.heatmap_size
    h, g = load_detector(files.detector), load_grounder(files.weights)
    require_channels(h, (1, side**2, 1), "--heatmap-size")
    network, teacher = clip.load(), Teacher(h, (side, side), loss_weights)
    model = GroundingObjective(g, network, grounding_weights, teacher).eval()
    original = copy.deepcopy(g).requires_grad_(False)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, schedule.lr, weight_decay=schedule.weight_decay)
    wrapped, optimizer = fabric.setup(model, optimizer)
    fabric.to_device(original)
    images = SquareImages(dataset, options.image_size)
    batches = GroundingBatches(images, choices, g, network, fabric)
    batches.cache_features()

    def loss(step: int) -> Iterator[dict[str, Tensor]]:
        generator = step_generator(training.seed, step)
        chosen = batch_indices(len(batches), schedule.batch_size, training.seed, step)
        batch = batches.batch(chosen, generator)
        of_g = as_target_list(fabric.to_device(wanted[chosen]))

        def boxes_in(maps: Tensor) -> list[Tensor]:
            boxes = of_g
            if options.targets == "h":
                boxes = teacher.own_boxes(draw_maps(original, batch))
            if options.targets == "current":
                boxes = map_targets(maps, of_g, ContourOptions("pseudo", options.nms_boxes))
            return toss_unions(boxes, options.union_probability, generator)

        yield wrapped(batch, boxes_in)

    losses = {"loss": vars(loss_weights), "grounding_loss": vars(grounding_weights)}
    parameters = {**clip.recorded(), **vars(options), "schedule": vars(schedule), **losses}
    parameters |= {"seed": training.seed, "precision": training.precision}
    sources = {**vars(files), "clip": clip.file, "output": None}
    record = provenance("refine_grounder", parameters, sources, device_name(fabric.device))
    checkpoint = Checkpoint(files.output, record, training.checkpoint_seconds)
    optimize(wrapped, loss, optimizer, schedule, checkpoint, fabric, "refinement steps of g^h")
    save_grounder(files.output, g, record)
    checkpoint.discard()


def _choices(boxes: Path, dataset: Index) -> tuple[list[list[Entry]], Tensor]:
    """What g is taught with, each a choice of its own, and g's boxes of it."""
    found = entries(dataset, "training")
    rows = [(entry.image_id, entry.phrase_id) for entry in found]
    positions, wanted = load_phrase_targets(boxes, dataset, rows)
    return [[found[i]] for i in positions.tolist()], wanted


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
