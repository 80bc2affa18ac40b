"""Train h to predict pseudo-boxes from f's own maps, or g's heatmaps (paper sections 3.1, 4.1).

With --augmentation none or flip_maps, h reads cached maps (--inputs), in the latter half of them
mirrored; with crop_flip, f runs on freshly augmented images and the heuristic proposes their boxes.
The released code does so with native_crop_flip: crops of images as they lie on disk.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import bbr.command_line.fast_import

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from bbr.backbones.options import BackboneOptions
from bbr.command_line import cli
from bbr.command_line.devices import device_name, seed_everything
from bbr.data.augmentation import AUGMENTATIONS, CROPS, ChannelDropout
from bbr.data.index import Index, load_index
from bbr.data.loading import SquareImages
from bbr.detector.inputs_h5 import DetectorInputs
from bbr.detector.layout import layout_channels
from bbr.detector.networks import DetectorSpec, build_detector, initialize_trunk, save_detector
from bbr.detector.set_loss import LossWeights, set_loss
from bbr.detector.targets import TargetRules, as_target_list, load_targets
from bbr.errors import InputError
from bbr.grounding.heatmap_inputs import HeatmapInputs, load_phrase_targets, open_inputs
from bbr.heuristics.registry import TrainingHeuristic
from bbr.options import option, recorded
from bbr.refinement.detector_batches import AugmentedBatches, BatchSource, CachedBatches
from bbr.storage.provenance import provenance
from bbr.training.checkpoint import Checkpoint
from bbr.training.distributed import launch
from bbr.training.loop import batch_indices, optimize, step_generator
from bbr.training.perturbation import PerturbationOptions, perturb
from bbr.training.run_options import TrainingOptions
from bbr.training.schedule import Clipping, Schedule

SCHEDULE = Schedule(steps=3000, batch_size=36, lr=1e-5)


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    index: Path = option(help="index.json")
    inputs: Path = option(help="detector_inputs.h5, or heatmaps.h5")
    boxes: Path = option(help="pseudo-boxes, boxes.json")
    output: Path = option(help="h, .safetensors")
    init: Path | None = option(None, "pretrained ResNet or VGG16, .safetensors")


@dataclass(frozen=True)
class Targets(TargetRules):
    """What h learns."""

    target_share: float = option(1.0, "of the boxes, those of highest score", above=0, max=1)
    min_images: int | None = option(
        None, "with boxes, below which nothing is learned [50 of one's own photographs, else 1]",
        unit="images", min=1, later=True,
    )  # fmt: skip


@dataclass(frozen=True)
class Augmentation(ChannelDropout):
    """How images, or what f makes of them, are changed at each step."""

    augmentation: str = option(
        "none", "none, of cached maps, or of images, which f sees at each step",
        choices=AUGMENTATIONS,
    )  # fmt: skip


@dataclass(frozen=True)
class AugmentedBackbone(BackboneOptions):
    """f, which --augmentation crop_flip runs."""

    weights: str | None = option(
        None, "f: a .safetensors file, or timm, random, efficientnet_lite0"
    )


def run(
    *,
    files: Files,
    network: DetectorSpec,
    targets: Targets,
    augmentation: Augmentation,
    schedule: Schedule = SCHEDULE,
    clipping: Clipping,
    loss_weights: LossWeights,
    backbone: AugmentedBackbone,
    heuristic: TrainingHeuristic,
    start: PerturbationOptions,
    training: TrainingOptions,
) -> None:
    """Train h and write it to `output` (safetensors).

    Raises:
        InputError: inputs, boxes and index do not belong together, or an option is bad.
    """
    fabric = launch(training.device, training.precision)
    dataset = load_index(files.index)
    sources = vars(files).copy()
    output = sources.pop("output")
    with open_inputs(files.inputs) as cached:
        positions, wanted = _targets(files.boxes, dataset, cached, targets, network.num_boxes)
        detector = _detector(network, files, cached, training.seed)
        perturb(detector.parameters(), start.perturbation, training.seed)
        parameters = {
            "detector": vars(detector.spec), "schedule": recorded(schedule),
            "loss": vars(loss_weights), **recorded(targets), **vars(augmentation),
            **recorded(start),
            "seed": training.seed,
            "precision": training.precision, **recorded(clipping),
        }  # fmt: skip
        source: BatchSource = CachedBatches(
            cached, positions, wanted, network.layout, augmentation.augmentation == "flip_maps",
            augmentation.channel_dropout,
        )  # fmt: skip
        count = len(positions)
        if augmentation.augmentation in CROPS:
            _require_backbone(backbone, cached)
            sources["weights"] = backbone.file
            f = fabric.to_device(backbone.load(training.seed))
            parameters |= {"backbone": backbone.recorded(f), "heuristic": heuristic.recorded()}
            source = AugmentedBatches(
                SquareImages(dataset, cached.image_size),
                f, cached.parts, network.layout,
                heuristic.method, heuristic.options, augmentation.channel_dropout,
                augmentation.augmentation == "native_crop_flip",
            )  # fmt: skip
            count = len(dataset.images)
        record = provenance("train_detector", parameters, sources, device_name(fabric.device))
        checkpoint = Checkpoint(output, record, training.checkpoint_seconds)
        descent = (schedule, clipping.max_gradient_norm)
        _train(detector, source, count, descent, loss_weights, training.seed, checkpoint, fabric)
    save_detector(output, detector, record)
    checkpoint.discard()


def _detector(
    options: DetectorSpec, files: Files, cached: DetectorInputs | HeatmapInputs, seed: int
) -> nn.Module:
    """h for these inputs, before training."""
    if any(side % options.cell for side in cached.grid):
        raise InputError(
            f"--cell {options.cell}: does not divide maps of {cached.grid} ({files.inputs})"
        )
    channels = layout_channels(cached.shape[0], cached.shape[2], options.layout)
    seed_everything(seed)
    detector = build_detector(replace(options, channels=channels))
    if files.init is not None:
        initialize_trunk(detector, files.init)
    return detector


def _require_backbone(backbone: BackboneOptions, cached: DetectorInputs | HeatmapInputs) -> None:
    if isinstance(cached, HeatmapInputs):
        raise InputError("--augmentation of images: runs f, not g; use flip_maps or none")
    if backbone.weights is None:
        raise InputError("--augmentation of images: needs f; add --weights")


def _train(
    detector: nn.Module,
    source: BatchSource,
    count: int,
    descent: tuple[Schedule, float | None],
    loss_weights: LossWeights,
    seed: int,
    checkpoint: Checkpoint,
    fabric: Fabric,
) -> None:
    """Train h on the `count` images of a source of batches; `descent` ends in the longest
    gradient."""
    schedule, max_gradient_norm = descent
    optimizer = torch.optim.Adam(
        detector.parameters(), schedule.lr, weight_decay=schedule.weight_decay
    )
    model, optimizer = fabric.setup(detector.train(), optimizer)

    def indices(step: int) -> Tensor:
        return batch_indices(count, schedule.batch_size, seed, step)

    def loss(step: int) -> Iterator[dict[str, Tensor]]:
        maps, boxes_of_batch = source.batch(indices(step), step_generator(seed, step))
        logits, predicted = model(fabric.to_device(maps))
        wanted = as_target_list(fabric.to_device(boxes_of_batch))
        yield set_loss(logits.float(), predicted.float(), wanted, loss_weights)
        if step + 1 < schedule.steps:
            source.prefetch(indices(step + 1))

    optimize(
        model, loss, optimizer, schedule, checkpoint, fabric, "training steps of h",
        max_gradient_norm=max_gradient_norm,
    )  # fmt: skip


def _targets(
    boxes: Path, dataset: Index, cached: DetectorInputs | HeatmapInputs, targets: Targets, k: int
) -> tuple[Tensor, Tensor]:
    """Where among the inputs there are targets, and these; see `load_targets`."""
    if isinstance(cached, HeatmapInputs):
        rows = list(zip(cached.image_id.tolist(), cached.phrase_id.tolist(), strict=True))
        if targets.target_share != 1:
            raise InputError("--target-share: heatmaps' boxes are all learned; leave it at 1")
        return load_phrase_targets(boxes, dataset, rows, targets, k)
    if cached.image_id.tolist() != [image["id"] for image in dataset.images]:
        raise InputError(
            f"inputs {cached.path}: of other images than {dataset.path}; make them again"
        )
    return load_targets(boxes, dataset, targets.target_share, targets.min_images or 1)


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
