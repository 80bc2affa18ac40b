"""Refine f to f^h: train it through the frozen h towards boxes (paper sections 3.2 and 4.1).

The output is a backbone like any other: extract_features.py and all that follows read it as f.
With --states, from cache_states.py, what the blocks that move read is not computed again.
It is the state after the last step or, with --select agreement, the state in which the boxes of h
and of the heuristic overlap most on images that are set aside for that; no ground truth is read.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import bbr.command_line.fast_import

import torch

from bbr.backbones.frozen_states import StateOptions, as_inputs
from bbr.backbones.options import BackboneOptions
from bbr.command_line import cli
from bbr.data.augmentation import CROPS
from bbr.data.index import load_index
from bbr.detector.layout import InputOptions, parts_shape
from bbr.detector.networks import load_detector, require_channels
from bbr.detector.targets import load_targets
from bbr.errors import InputError
from bbr.options import all_recorded, option
from bbr.refinement.batches import RefinementBatches
from bbr.refinement.objective import Refinement
from bbr.refinement.training import Recipe, RefinementTraining, choose_images, trained_parameters
from bbr.training.distributed import launch, run_in_processes
from bbr.training.perturbation import perturb
from bbr.training.plan import plan_training


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    index: Path = option(help="index.json")
    detector: Path = option(help="h, .safetensors")
    boxes: Path = option(help="pseudo-boxes of f, boxes.json")
    output: Path = option(help="f^h, .safetensors")
    surrogate: Path | None = option(
        None,
        "a detector taught on all boxes of f, to be taught through in h's place, .safetensors [h]",
    )


def run(
    *,
    files: Files,
    backbone: BackboneOptions,
    kept: StateOptions,
    inputs: InputOptions,
    recipe: Recipe,
) -> None:
    """Train f^h and write it to `output` (safetensors).

    Raises:
        InputError: f, h, boxes and index do not belong together, or an option is bad.
    """
    schedule, training, clipping = recipe.schedule, recipe.training, recipe.clipping
    parallel = recipe.parallel
    parallel.require_divisible(schedule.batch_size, parallel.grad_accum_steps)
    if kept.states and recipe.augmentation.augmentation != "none":
        crops = recipe.augmentation.augmentation
        raise InputError(f"--states: --augmentation {crops} needs images")
    fabric = launch(training.device, training.precision, parallel.devices)
    f, h = backbone.load(training.seed), load_detector(files.detector)
    reader = None if files.surrogate is None else load_detector(files.surrogate)
    _, shape = parts_shape(f, inputs.image_size, inputs.parts)
    require_channels(h, shape, f"--weights {backbone.weights}")
    parameters = all_recorded(inputs, recipe, backbone=backbone.recorded(f))
    sources = {"weights": backbone.file, **vars(files), "output": None, **as_inputs(kept.states)}
    plan = plan_training(
        "refine_backbone", fabric, files.output, schedule, training, parameters, sources, clipping
    )
    model = recipe.objective(f, h, inputs.parts, reader)
    perturb(trained_parameters(model), recipe.start.perturbation, training.seed)
    batches, aside = _batches(files, model, kept, inputs.image_size, recipe)
    grid = f.grid_of(inputs.image_size, inputs.image_size)
    work = RefinementTraining(plan, recipe, batches, aside, grid)
    # As an argument of its own the model is copied for each process, not shared between them.
    run_in_processes(fabric, work, model)
    plan.checkpoint.discard()


def _batches(
    files: Files, model: Refinement, kept: StateOptions, image_size: int, recipe: Recipe
) -> tuple[RefinementBatches, RefinementBatches | None]:
    """The images that have a target, all of them where targets are proposed anew; and of
    these, what is set aside."""
    dataset, augmentation = load_index(files.index), recipe.augmentation.augmentation
    images = choose_images(dataset, model.refined, kept, image_size, model.moving)
    positions, targets = load_targets(files.boxes, dataset)
    if augmentation in CROPS:
        positions, targets = torch.arange(len(dataset.images)), None
    size, native = recipe.schedule.batch_size, augmentation == "native_crop_flip"
    batches = RefinementBatches(images, positions, targets, size, recipe.training.seed, native)
    return batches.set_aside(recipe.selection)


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
