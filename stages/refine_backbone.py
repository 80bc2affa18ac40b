"""Refine f to f^h: train it through the frozen h towards boxes (paper sections 3.2 and 4.1).

The output is a backbone like any other: extract_features.py and all that follows read it as f.
With --states, from cache_states.py, what the blocks that move read is not computed again.
It is the state after the last step or, with --select agreement, the state in which the boxes of h
and of the heuristic overlap most on images that are set aside for that; no ground truth is read.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import bbr.command_line.fast_import

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.nn import Parameter

from bbr.backbones.base import Backbone
from bbr.backbones.build import save_backbone
from bbr.backbones.options import BackboneOptions
from bbr.backbones.states_h5 import FrozenStates, StateOptions, as_inputs
from bbr.command_line import cli
from bbr.command_line.devices import device_name
from bbr.data.augmentation import CROPS
from bbr.data.index import Index, load_index
from bbr.data.loading import SquareImages
from bbr.detector.layout import InputOptions, parts_shape
from bbr.detector.networks import load_detector, require_channels
from bbr.detector.set_loss import LossWeights
from bbr.detector.targets import load_targets
from bbr.errors import InputError
from bbr.heuristics.registry import TrainingHeuristic
from bbr.options import option, recorded
from bbr.refinement.batches import RefinementBatches, Selector
from bbr.refinement.checkpoint_selection import SelectionOptions
from bbr.refinement.objective import Alternation, Refinement, RefinementOptions
from bbr.storage.provenance import provenance
from bbr.training.checkpoint import Checkpoint
from bbr.training.distributed import launch, run_in_processes
from bbr.training.loop import optimize, step_generator
from bbr.training.perturbation import PerturbationOptions, perturb
from bbr.training.run_options import AccumulationOptions, TrainingOptions
from bbr.training.schedule import Clipping, OptimizerOptions, Schedule, build_optimizer

SCHEDULE = Schedule(steps=10000, batch_size=36, lr=5e-7)


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


@dataclass(frozen=True)
class Augmentation:
    """How images are changed at each step."""

    augmentation: str = option(
        "none", "with crops boxes are proposed anew", choices=("none", *CROPS)
    )


def run(
    *,
    files: Files,
    backbone: BackboneOptions,
    kept: StateOptions,
    inputs: InputOptions,
    options: RefinementOptions,
    augmentation: Augmentation,
    heuristic: TrainingHeuristic,
    schedule: Schedule = SCHEDULE,
    optimizer: OptimizerOptions,
    clipping: Clipping,
    loss_weights: LossWeights,
    selection: SelectionOptions,
    alternation: Alternation,
    parallel: AccumulationOptions,
    start: PerturbationOptions,
    training: TrainingOptions,
) -> None:
    """Train f^h and write it to `output` (safetensors).

    Raises:
        InputError: f, h, boxes and index do not belong together, or an option is bad.
    """
    parallel.require_divisible(schedule.batch_size, parallel.grad_accum_steps)
    if kept.states and augmentation.augmentation != "none":
        raise InputError(f"--states: --augmentation {augmentation.augmentation} needs images")
    fabric = launch(training.device, training.precision, parallel.devices)
    f, h = backbone.load(training.seed), load_detector(files.detector)
    reader = None if files.surrogate is None else load_detector(files.surrogate)
    parameters = {
        "backbone": backbone.recorded(f), "schedule": recorded(schedule),
        "loss": vars(loss_weights), "options": recorded(options), **vars(inputs),
        "heuristic": heuristic.recorded(), "selection": vars(selection), **vars(augmentation),
        **vars(parallel), "optimizer": vars(optimizer), "alternation": recorded(alternation),
        "seed": training.seed, "precision": training.precision, **recorded(clipping),
        **recorded(start),
    }  # fmt: skip
    sources = {"weights": backbone.file, **vars(files), "output": None, **as_inputs(kept.states)}
    _, shape = parts_shape(f, inputs.image_size, inputs.parts)
    require_channels(h, shape, f"--weights {backbone.weights}")
    record = provenance("refine_backbone", parameters, sources, device_name(fabric.device))
    model = Refinement(
        f, h, inputs.parts, heuristic.method, heuristic.options, options, loss_weights,
        alternation.moves_detector, reader,
    )  # fmt: skip
    perturb(_trained(model), start.perturbation, training.seed)
    checkpoint = Checkpoint(files.output, record, training.checkpoint_seconds)
    images = _images(load_index(files.index), f, kept, inputs.image_size, model.moving)
    batches = _batches(files, images, augmentation.augmentation, schedule.batch_size, training.seed)
    batches, selector = _set_aside(batches, selection)
    work = partial(
        _refine, schedule=schedule, alternation=alternation,
        build=partial(build_optimizer, optimizer.optimizer, schedule, optimizer.beta2),
        batches=batches, selector=selector, grid=f.grid_of(inputs.image_size, inputs.image_size),
        grad_accum_steps=parallel.grad_accum_steps, max_gradient_norm=clipping.max_gradient_norm,
        checkpoint=checkpoint, output=files.output, record=record,
    )  # fmt: skip
    # As an argument of its own the model is copied for each process, not shared between them.
    run_in_processes(fabric, work, model)
    checkpoint.discard()


def _trained(model: Refinement) -> list[Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def _images(
    dataset: Index, f: Backbone, kept: StateOptions, size: int, moving: int
) -> SquareImages | FrozenStates:
    """What is trained on: images, or what the blocks that move read of them."""
    if not kept.states:
        return SquareImages(dataset, size)
    states = FrozenStates(kept.states, f, dataset)
    states.require_last(moving)
    states.require_squares(dataset, size)
    return states


def _batches(
    files: Files,
    images: SquareImages | FrozenStates,
    augmentation: str,
    batch_size: int,
    seed: int,
) -> RefinementBatches:
    """The images that have a target; all of them where targets are proposed anew."""
    dataset = load_index(files.index)
    positions, targets = load_targets(files.boxes, dataset)
    if augmentation in CROPS:
        positions, targets = torch.arange(len(dataset.images)), None
    native = augmentation == "native_crop_flip"
    return RefinementBatches(images, positions, targets, batch_size, seed, native)


def _set_aside(
    batches: RefinementBatches, selection: SelectionOptions
) -> tuple[RefinementBatches, Selector | None]:
    """What is trained on, and what compares states on images that are set aside."""
    if selection.select == "last":
        return batches, None
    batches, aside = batches.split(selection.select_fraction)
    return batches, Selector(selection, aside)


def _refine(
    fabric: Fabric,
    model: Refinement,
    *,
    schedule: Schedule,
    alternation: Alternation,
    build: Callable[[list[Parameter]], torch.optim.Optimizer],
    batches: RefinementBatches,
    selector: Selector | None,
    grid: tuple[int, int],
    grad_accum_steps: int,
    max_gradient_norm: float | None,
    checkpoint: Checkpoint,
    output: Path,
    record: dict[str, Any],
) -> None:
    """One process's part of the training; the first process writes the result."""
    whole = replace(schedule, steps=alternation.total(schedule.steps))
    if selector is not None:
        selector.begin(model)
    optimizer = build(_trained(model))
    if alternation.moves_detector:
        optimizer.add_param_group({"params": list(model.detector.parameters())})
    wrapped, optimizer = fabric.setup(model, optimizer)
    with fabric.autocast():
        batches.cache_features(model, fabric, whole.steps)
        if selector is not None:
            selector.aside.cache_features(model, fabric, whole.steps)

    def compare(step: int) -> None:
        if selector is not None:
            selector.compare(model, grid, fabric, step + 1, whole.steps)

    if not model.options.reinit_head:  # whose first state is random numbers, not f
        compare(-1)  # f itself; of a resumed run this is done again, and then read back

    def loss(step: int) -> Iterator[dict[str, Tensor]]:
        if alternation.moves_detector:
            model.set_phase(detectors=alternation.is_detectors(step, schedule.steps))
        generator = step_generator(batches.seed, step, fabric.global_rank)
        for chosen in batches.indices(step, fabric).chunk(grad_accum_steps):
            with fabric.autocast():
                fixed = batches.batch(chosen, generator, model, fabric)
            losses = wrapped(fixed, grid, generator)
            yield losses | {"total": losses["total"] / grad_accum_steps}
        if step + 1 < whole.steps:
            batches.prefetch(step + 1, fabric)

    if selector is None or not selector.is_over(model):
        optimize(
            wrapped, loss, optimizer, whole, checkpoint, fabric, "refinement steps of f^h",
            compare, max_gradient_norm,
        )  # fmt: skip
    if selector is not None:
        record = {**record, "selected": selector.restore(model)}
    if fabric.is_global_zero:
        save_backbone(output, model.refined, record)


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
