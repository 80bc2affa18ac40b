"""Refine f to f^h: train it through the frozen h towards boxes (paper sections 3.2 and 4.1).

The output is a backbone like any other: extract_features.py and all that follows read it as f.
With --states, from cache_states.py, what the blocks that move read is not computed again.
It is the state after the last step or, with --select agreement, the state in which the boxes of h
and of the heuristic overlap most on images that are set aside for that; no ground truth is read.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import bbr.command_line.fast_import

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.nn import Parameter

from bbr.backbones.build import save_backbone
from bbr.backbones.options import add_backbone_options, take_backbone, weights_file
from bbr.backbones.states_h5 import FrozenStates, add_states_option, as_inputs
from bbr.command_line import cli
from bbr.command_line.devices import device_name
from bbr.data.augmentation import add_channel_dropout
from bbr.data.index import load_index
from bbr.data.loading import SquareImages
from bbr.detector.layout import PARTS, parts_shape
from bbr.detector.networks import load_detector, require_channels
from bbr.detector.set_loss import add_loss_options, pop_loss_weights
from bbr.detector.targets import load_targets
from bbr.errors import InputError
from bbr.heuristics.registry import (
    METHODS,
    add_heuristic_options,
    heuristic_options,
    pop_heuristic_options,
)
from bbr.refinement.batches import RefinementBatches, Selector
from bbr.refinement.checkpoint_selection import add_selection_options, pop_selection
from bbr.refinement.objective import (
    REGULARIZERS,
    TARGETS,
    Alternation,
    Refinement,
    RefinementOptions,
)
from bbr.storage.provenance import provenance
from bbr.training.checkpoint import Checkpoint
from bbr.training.distributed import launch, run_in_processes
from bbr.training.loop import optimize, step_generator
from bbr.training.schedule import (
    Schedule,
    add_optimizer_options,
    add_training_options,
    build_optimizer,
    pop_schedule,
)


def run(
    *,
    index: Path,
    detector: Path,
    surrogate: Path | None,
    boxes: Path,
    output: Path,
    image_size: int,
    parts: str,
    heuristic: str,
    augmentation: str,
    accumulate: int,
    rounds: int,
    detector_steps: int,
    optimizer: str,
    beta2: float,
    seed: int,
    checkpoint_seconds: float,
    device: str,
    devices: int,
    precision: str,
    states: Sequence[Path] = (),
    **rest: Any,
) -> None:
    """Train f^h and write it to `output` (safetensors).

    Raises:
        InputError: f, h, boxes and index do not belong together, or an option is bad.
    """
    schedule, loss_weights = pop_schedule(rest), pop_loss_weights(rest)
    selection = pop_selection(rest)
    method_options = heuristic_options(heuristic, pop_heuristic_options(rest))
    options = RefinementOptions(**{name: rest.pop(name) for name in vars(RefinementOptions())})
    if schedule.batch_size % (accumulate * devices):
        raise InputError(
            f"--batch-size {schedule.batch_size} must be divisible by --accumulate {accumulate}"
            f" times --devices {devices}"
        )
    if states and augmentation != "none":
        raise InputError(f"--states: --augmentation {augmentation} needs images; leave one out")
    alternation = Alternation(rounds, detector_steps)
    fabric = launch(device, precision, devices)
    weights = weights_file(rest["weights"])
    backbone, used = take_backbone(rest, seed)
    network = load_detector(detector)
    reader = None if surrogate is None else load_detector(surrogate)
    _, shape = parts_shape(backbone, image_size, parts)
    grid = backbone.grid_of(image_size, image_size)
    require_channels(network, shape, f"--weights {weights}")
    parameters = {
        "backbone": used, "schedule": vars(schedule), "loss": vars(loss_weights),
        "options": vars(options), "image_size": image_size, "parts": parts,
        "heuristic": {"method": heuristic, **vars(method_options)},
        "selection": vars(selection),
        "augmentation": augmentation, "accumulate": accumulate, "devices": devices,
        "optimizer": {"name": optimizer, "beta2": beta2}, "alternation": vars(alternation),
        "seed": seed, "precision": precision,
    }  # fmt: skip
    sources = {
        "index": index,
        "weights": weights,
        "detector": detector,
        "surrogate": surrogate,
        "boxes": boxes,
    }
    sources |= as_inputs(states)
    record = provenance("refine_backbone", parameters, sources, device_name(fabric.device))
    dataset = load_index(index)
    positions, targets = load_targets(boxes, dataset)
    model = Refinement(
        backbone, network, parts, heuristic, method_options, options, loss_weights,
        alternation.moves_detector, reader,
    )  # fmt: skip
    checkpoint = Checkpoint(output, record, checkpoint_seconds)
    if augmentation == "crop_flip":
        positions, targets = torch.arange(len(dataset.images)), None
    images: SquareImages | FrozenStates = SquareImages(dataset, image_size)
    if states:
        images = FrozenStates(states, backbone, dataset)
        images.require_last(model.moving)
        images.require_squares(dataset, image_size)
    batches = RefinementBatches(images, positions, targets, schedule.batch_size, seed)
    selector = None
    if selection.select == "agreement":
        batches, aside = batches.split(selection.select_fraction)
        selector = Selector(selection, aside)
    work = partial(
        _refine, schedule=schedule, alternation=alternation,
        build=partial(build_optimizer, optimizer, schedule, beta2), batches=batches,
        selector=selector, grid=grid, accumulate=accumulate, checkpoint=checkpoint,
        output=output, record=record,
    )  # fmt: skip
    # As an argument of its own the model is copied for each process, not shared between them.
    run_in_processes(fabric, work, model)
    checkpoint.discard()


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
    accumulate: int,
    checkpoint: Checkpoint,
    output: Path,
    record: dict[str, Any],
) -> None:
    """One process's part of the training; the first process writes the result."""
    whole = replace(schedule, steps=alternation.total(schedule.steps))
    if selector is not None:
        selector.begin(model)
    optimizer = build([p for p in model.parameters() if p.requires_grad])
    if alternation.moves_detector:
        optimizer.add_param_group({"params": list(model.detector.parameters())})
    wrapped, optimizer = fabric.setup(model, optimizer)
    with fabric.autocast():
        batches.keep(model, fabric, whole.steps)
        if selector is not None:
            selector.aside.keep(model, fabric, whole.steps)

    def compare(step: int) -> None:
        if selector is not None:
            selector.compare(model, grid, fabric, step + 1, whole.steps)

    if not model.options.fresh_head:  # whose first state is random numbers, not f
        compare(-1)  # f itself; of a resumed run this is done again, and then read back

    def loss(step: int) -> Iterator[dict[str, Tensor]]:
        if alternation.moves_detector:
            model.turn(detectors=alternation.is_detectors(step, schedule.steps))
        generator = step_generator(batches.seed, step, fabric.global_rank)
        for chosen in batches.indices(step, fabric).chunk(accumulate):
            with fabric.autocast():
                fixed = batches.batch(chosen, generator, model, fabric)
            losses = wrapped(fixed, grid, generator)
            yield losses | {"total": losses["total"] / accumulate}
        if step + 1 < whole.steps:
            batches.prefetch(step + 1, fabric)

    optimize(
        wrapped, loss, optimizer, whole, checkpoint, fabric, "refinement steps of f^h", compare
    )
    if selector is not None:
        record = {**record, "selected": selector.restore(model)}
    if fabric.is_global_zero:
        save_backbone(output, model.refined, record)


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    default = RefinementOptions()
    parser = cli.stage_parser(__doc__)
    parser.add_argument("--index", type=Path, required=True)
    add_backbone_options(parser)
    add_states_option(parser)
    parser.add_argument("--detector", type=Path, required=True, help="h, .safetensors")
    parser.add_argument("--surrogate", type=Path,
                        help="a detector taught on all boxes of f, to be taught through in h's"
                        " place, .safetensors [h]")  # fmt: skip
    parser.add_argument("--boxes", type=Path, required=True, help="pseudo-boxes of f")
    parser.add_argument("--output", type=Path, required=True, help="f^h, .safetensors")
    parser.add_argument("--image-size", type=cli.positive_int, default=304)
    parser.add_argument("--parts", choices=PARTS, default="qkv", help="that h reads [qkv]")
    parser.add_argument("--targets", choices=TARGETS, default=default.targets,
                        help="whose boxes f^h learns [f]")  # fmt: skip
    parser.add_argument("--regularize", choices=REGULARIZERS, default=default.regularize,
                        help="what L_f compares [tokens]")  # fmt: skip
    parser.add_argument("--regularize-weight", type=float, default=default.regularize_weight)
    parser.add_argument("--trainable-blocks", type=int, default=default.trainable_blocks,
                        help="last blocks of f that move, 0 for all [0]")  # fmt: skip
    parser.add_argument("--heuristic", choices=METHODS, default="lost")
    add_heuristic_options(parser)
    parser.add_argument("--augmentation", choices=("none", "crop_flip"), default="none")
    add_channel_dropout(parser)
    add_training_options(parser, Schedule(steps=10000, batch_size=36, lr=5e-7))
    add_loss_options(parser)
    add_selection_options(parser)
    add_optimizer_options(parser)
    parser.add_argument("--fresh-head", action="store_true",
                        help="train a segmenter's head from random numbers")  # fmt: skip
    parser.add_argument("--rounds", type=cli.positive_int, default=1,
                        help="times --steps, between which h is trained on f^h [1]")  # fmt: skip
    parser.add_argument("--detector-steps", type=cli.non_negative_int, default=0,
                        help="steps of h between two rounds [0]")  # fmt: skip
    parser.add_argument("--accumulate", type=cli.positive_int, default=1,
                        help="parts into which a batch is cut to save memory [1]")  # fmt: skip
    parser.add_argument("--devices", type=cli.positive_int, default=1,
                        help="GPUs, or CPU processes [1]")  # fmt: skip
    return cli.execute(run, parser, argv)


if __name__ == "__main__":
    sys.exit(main())
