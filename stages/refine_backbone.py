"""Refine f to f^h: train it through the frozen h towards boxes (paper sections 3.2 and 4.1).

The output is a backbone like any other: extract_features.py and all that follows read it as f.
It is the state after the last step or, with --select agreement, the state in which the boxes of h
and of the heuristic overlap most on images that are set aside for that; no ground truth is read.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.nn import Parameter

from bbr import cli
from bbr.augmentation import add_channel_dropout, crop_and_flip
from bbr.backbone_options import add_backbone_options, take_backbone, weights_file
from bbr.backbones import save_backbone
from bbr.criterion import add_loss_options, pop_loss_weights
from bbr.detector_inputs import PARTS, parts_shape
from bbr.detectors import load_detector, require_channels
from bbr.devices import device_name
from bbr.errors import InputError
from bbr.heuristics import METHODS, add_heuristic_options, heuristic_options, pop_heuristic_options
from bbr.image_batches import SquareImages
from bbr.index import load_index
from bbr.provenance import provenance
from bbr.refinement import REGULARIZERS, TARGETS, Fixed, Refinement, RefinementOptions
from bbr.selection import (
    BestState,
    SelectionOptions,
    add_selection_options,
    hold_out,
    pop_selection,
)
from bbr.targets import load_targets
from bbr.training import (
    Checkpoint,
    Schedule,
    add_optimizer_options,
    add_schedule_options,
    batch_indices,
    build_optimizer,
    launch,
    optimize,
    pop_schedule,
    run_in_processes,
    step_generator,
)

_KEPT_BYTES = 4 * 2**30


def run(
    *,
    index: Path,
    detector: Path,
    boxes: Path,
    output: Path,
    image_size: int,
    parts: str,
    heuristic: str,
    augmentation: str,
    accumulate: int,
    optimizer: str,
    beta2: float,
    seed: int,
    checkpoint_seconds: float,
    device: str,
    devices: int,
    precision: str,
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
    fabric = launch(device, precision, devices)
    weights = weights_file(rest["weights"])
    backbone, used = take_backbone(rest, seed)
    network = load_detector(detector)
    _, shape = parts_shape(backbone, image_size, parts)
    grid = backbone.grid_of(image_size, image_size)
    require_channels(network, shape, f"--weights {weights}")
    parameters = {
        "backbone": used, "schedule": vars(schedule), "loss": vars(loss_weights),
        "options": vars(options), "image_size": image_size, "parts": parts,
        "heuristic": {"method": heuristic, **vars(method_options)},
        "selection": vars(selection),
        "augmentation": augmentation, "accumulate": accumulate, "devices": devices,
        "optimizer": {"name": optimizer, "beta2": beta2},
        "seed": seed, "precision": precision,
    }  # fmt: skip
    sources = {"index": index, "weights": weights, "detector": detector, "boxes": boxes}
    record = provenance("refine_backbone", parameters, sources, device_name(fabric.device))
    dataset = load_index(index)
    positions, targets = load_targets(boxes, dataset)
    model = Refinement(backbone, network, parts, heuristic, method_options, options, loss_weights)
    checkpoint = Checkpoint(output, record, checkpoint_seconds)
    if augmentation == "crop_flip":
        positions, targets = torch.arange(len(dataset.images)), None
    batches = _Batches(SquareImages(dataset, image_size), positions, targets, schedule, seed)
    held_out = None
    if selection.select == "agreement":
        batches, held_out = batches.split(selection.select_fraction)
    optimizers = partial(build_optimizer, optimizer, schedule, beta2)
    run_in_processes(
        fabric, _refine, model, optimizers, batches, held_out, selection, grid, accumulate,
        checkpoint, output, record,
    )  # fmt: skip
    checkpoint.discard()


class _Batches:
    """The images of a step, or a process's part of them, as f sees them.

    Without augmentation that is the same at every step, so it is kept for all images, made in an
    order of its own: a resumed run then has the same bits.
    """

    def __init__(
        self,
        images: SquareImages,
        positions: Tensor,
        targets: Tensor | None,
        schedule: Schedule,
        seed: int,
    ) -> None:
        self.images, self.positions, self.targets = images, positions, targets
        self.schedule, self.seed = schedule, seed
        self._kept: Fixed | None = None

    def split(self, fraction: float) -> tuple[_Batches, _Batches]:
        """Those to train on, and `fraction` of them that is set aside, which is not augmented."""
        rest, aside = hold_out(len(self.positions), fraction, self.seed)
        shared = (self.schedule, self.seed)
        targets = None if self.targets is None else self.targets[rest]
        unused = torch.zeros(len(aside), 4)  # boxes to be learned, which here none are
        return (
            _Batches(self.images, self.positions[rest], targets, *shared),
            _Batches(self.images, self.positions[aside], unused, *shared),
        )

    def keep(self, model: Refinement, fabric: Fabric) -> None:
        """Observe all images once, where that is less work and fits in memory."""
        count = len(self.positions)
        if self.targets is None or self.schedule.steps * self.schedule.batch_size <= count:
            return
        one = self._observe(torch.arange(1), model, fabric, None)
        if sum(tensor.nbytes for tensor in one) * count > _KEPT_BYTES:
            return
        parts = torch.arange(count).split(self.schedule.batch_size)
        seen = [
            self._observe(part, model, fabric, None).map(Tensor.cpu)
            for part in cli.progress(parts, len(parts), "batches observed")
        ]
        self._kept = Fixed(*map(torch.cat, zip(*seen, strict=True)))

    def indices(self, step: int, fabric: Fabric) -> Tensor:
        """What this process works on in a step."""
        chosen = batch_indices(len(self.positions), self.schedule.batch_size, self.seed, step)
        return chosen[fabric.global_rank :: fabric.world_size]

    def batch(
        self, chosen: Tensor, generator: torch.Generator | None, model: Refinement, fabric: Fabric
    ) -> Fixed:
        """What f makes of these images, augmented by `generator` if at all."""
        if self._kept is not None:
            return self._kept.map(lambda tensor: fabric.to_device(tensor[chosen]))
        return self._observe(chosen, model, fabric, generator)

    def _observe(
        self,
        chosen: Tensor,
        model: Refinement,
        fabric: Fabric,
        generator: torch.Generator | None,
    ) -> Fixed:
        images = self.images.batch(self.positions[chosen])
        if self.targets is not None:
            return model.observe(fabric.to_device(images), self.targets[chosen])
        return model.observe(fabric.to_device(crop_and_flip(images, generator)), None)


def _agreement(
    held_out: _Batches, model: Refinement, grid: tuple[int, int], fabric: Fabric
) -> float:
    """Mean IoU of h's and the heuristic's box on f^h's maps of images set aside.

    Every process looks at all of them, so that all come to the same number.
    """
    ious = []
    for chosen in torch.arange(len(held_out.positions)).split(held_out.schedule.batch_size):
        with fabric.autocast():
            fixed = held_out.batch(chosen, None, model, fabric)
            ious.append(model.agreement(fixed, grid).double())
    return torch.cat(ious).mean().item()


def _refine(
    fabric: Fabric,
    model: Refinement,
    optimizers: Callable[[list[Parameter]], torch.optim.Optimizer],
    batches: _Batches,
    held_out: _Batches | None,
    selection: SelectionOptions,
    grid: tuple[int, int],
    accumulate: int,
    checkpoint: Checkpoint,
    output: Path,
    record: dict[str, Any],
) -> None:
    """One process's part of the training; the first process writes the result."""
    schedule = batches.schedule
    trained = [p for p in model.parameters() if p.requires_grad]
    if held_out is not None:
        model.best = BestState(model.changing())
    optimizer = optimizers(trained)
    wrapped, optimizer = fabric.setup(model, optimizer)
    with fabric.autocast():
        batches.keep(model, fabric)
        if held_out is not None:
            held_out.keep(model, fabric)

    def compare(step: int) -> None:
        if held_out is not None and selection.looks_after(step + 1, schedule.steps):
            score = _agreement(held_out, model, grid, fabric)
            model.best.offer(score, step + 1, model.changing())
            if fabric.is_global_zero:
                cli.log.info(
                    "agreement of h and the heuristic after %d steps: %.4f", step + 1, score
                )

    def loss(step: int) -> Iterator[dict[str, Tensor]]:
        generator = step_generator(batches.seed, step, fabric.global_rank)
        for chosen in batches.indices(step, fabric).chunk(accumulate):
            with fabric.autocast():
                fixed = batches.batch(chosen, generator, model, fabric)
            losses = wrapped(fixed, grid, generator)
            yield losses | {"total": losses["total"] / accumulate}

    optimize(
        wrapped, loss, optimizer, schedule, checkpoint, fabric, "refinement steps of f^h", compare
    )
    if held_out is not None:
        model.best.restore(model.changing())
        chosen = {"step": model.best.step.item(), "agreement": round(model.best.score.item(), 6)}
        record = {**record, "selected": chosen}
    if fabric.is_global_zero:
        save_backbone(output, model.refined, record)


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    default = RefinementOptions()
    parser = cli.stage_parser(__doc__)
    parser.add_argument("--index", type=Path, required=True)
    add_backbone_options(parser)
    parser.add_argument("--detector", type=Path, required=True, help="h, .safetensors")
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
    add_schedule_options(parser, Schedule(steps=10000, batch_size=36, lr=5e-7))
    add_loss_options(parser)
    add_selection_options(parser)
    add_optimizer_options(parser)
    parser.add_argument("--fresh-head", action="store_true",
                        help="train a segmenter's head from random numbers")  # fmt: skip
    parser.add_argument("--accumulate", type=cli.positive_int, default=1,
                        help="parts into which a batch is cut to save memory [1]")  # fmt: skip
    parser.add_argument("--devices", type=cli.positive_int, default=1,
                        help="GPUs, or CPU processes [1]")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0)
    cli.add_device_options(parser)
    return cli.execute(run, parser, argv)


if __name__ == "__main__":
    sys.exit(main())
