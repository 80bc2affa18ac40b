"""Train h to predict pseudo-boxes from f's own maps, or g's heatmaps (paper sections 3.1, 4.1).

With --augmentation none or flip_maps, h reads cached maps (--inputs), in the latter half of them
mirrored; with crop_flip, f runs on freshly augmented images and the heuristic proposes their boxes,
as the released code does.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bbr.command_line.fast_import

import torch
from torch import Tensor

from bbr.backbones.options import add_backbone_options, take_backbone, weights_file
from bbr.command_line import cli
from bbr.command_line.devices import device_name, seed_everything
from bbr.data.augmentation import AUGMENTATIONS, add_channel_dropout
from bbr.data.index import Index, load_index
from bbr.data.loading import SquareImages
from bbr.detector.inputs_h5 import DetectorInputs
from bbr.detector.layout import layout_channels
from bbr.detector.networks import (
    LAYOUTS,
    DetectorSpec,
    build_detector,
    initialize_trunk,
    save_detector,
)
from bbr.detector.set_loss import add_loss_options, pop_loss_weights, set_loss
from bbr.detector.targets import as_target_list, load_targets
from bbr.errors import InputError
from bbr.grounding.heatmap_inputs import HeatmapInputs, load_phrase_targets, open_inputs
from bbr.heuristics.registry import (
    METHODS,
    add_heuristic_options,
    heuristic_options,
    pop_heuristic_options,
)
from bbr.refinement.detector_batches import AugmentedBatches, BatchSource, CachedBatches
from bbr.storage.provenance import provenance
from bbr.training.checkpoint import Checkpoint
from bbr.training.distributed import launch
from bbr.training.loop import batch_indices, optimize, step_generator
from bbr.training.schedule import Schedule, add_training_options, pop_schedule


def run(
    *,
    index: Path,
    inputs: Path,
    boxes: Path,
    output: Path,
    network: str,
    layout: str,
    num_boxes: int,
    width: int,
    cell: int,
    init: Path | None,
    augmentation: str,
    channel_dropout: float,
    heuristic: str,
    seed: int,
    checkpoint_seconds: float,
    device: str,
    precision: str,
    **rest: Any,
) -> None:
    """Train h and write it to `output` (safetensors).

    Raises:
        InputError: inputs, boxes and index do not belong together, or an option is bad.
    """
    schedule, loss_weights = pop_schedule(rest), pop_loss_weights(rest)
    options = heuristic_options(heuristic, pop_heuristic_options(rest))
    dataset = load_index(index)
    with open_inputs(inputs) as cached:
        positions, targets = _targets(boxes, dataset, cached)
        channels = layout_channels(cached.shape[0], cached.shape[2], layout)
        if any(side % cell for side in cached.grid):
            raise InputError(f"--cell {cell}: does not divide maps of {cached.grid} ({inputs})")
        spec = DetectorSpec(network, layout, channels, num_boxes, width, cell)
        seed_everything(seed)
        detector = build_detector(spec)
        if init is not None:
            initialize_trunk(detector, init)
        parameters = {
            "detector": vars(spec), "schedule": vars(schedule), "loss": vars(loss_weights),
            "augmentation": augmentation, "channel_dropout": channel_dropout,
            "seed": seed, "precision": precision,
        }  # fmt: skip
        sources = {"index": index, "inputs": inputs, "boxes": boxes, "init": init}
        source: BatchSource = CachedBatches(
            cached, positions, targets, layout, augmentation == "flip_maps", channel_dropout
        )
        fabric = launch(device, precision)
        if augmentation == "crop_flip":
            if isinstance(cached, HeatmapInputs):
                raise InputError("--augmentation crop_flip: runs f, not g; use flip_maps or none")
            if rest["weights"] is None:
                raise InputError("--augmentation crop_flip: needs f; add --weights")
            sources["weights"] = weights_file(rest["weights"])
            backbone, used = take_backbone(rest, seed)
            parameters |= {"backbone": used, "heuristic": heuristic, **vars(options)}
            source = AugmentedBatches(
                SquareImages(dataset, cached.image_size),
                fabric.to_device(backbone),
                cached.parts,
                layout,
                heuristic,
                options,
                channel_dropout,
            )
            positions = torch.arange(len(dataset.images))
        record = provenance("train_detector", parameters, sources, device_name(fabric.device))
        optimizer = torch.optim.Adam(
            detector.parameters(), schedule.lr, weight_decay=schedule.weight_decay
        )
        model, optimizer = fabric.setup(detector.train(), optimizer)

        def indices(step: int) -> Tensor:
            return batch_indices(len(positions), schedule.batch_size, seed, step)

        def loss(step: int) -> Iterator[dict[str, Tensor]]:
            maps, boxes_of_batch = source.batch(indices(step), step_generator(seed, step))
            logits, predicted = model(fabric.to_device(maps))
            wanted = as_target_list(fabric.to_device(boxes_of_batch))
            yield set_loss(logits.float(), predicted.float(), wanted, loss_weights)
            if step + 1 < schedule.steps:
                source.prefetch(indices(step + 1))

        checkpoint = Checkpoint(output, record, checkpoint_seconds)
        optimize(model, loss, optimizer, schedule, checkpoint, fabric, "training steps of h")
    save_detector(output, detector, record)
    checkpoint.discard()


def _targets(
    boxes: Path, dataset: Index, cached: DetectorInputs | HeatmapInputs
) -> tuple[Tensor, Tensor]:
    """Where among the inputs there are targets, and these; see `load_targets`."""
    if isinstance(cached, HeatmapInputs):
        rows = list(zip(cached.image_id.tolist(), cached.phrase_id.tolist(), strict=True))
        return load_phrase_targets(boxes, dataset, rows)
    if cached.image_id.tolist() != [image["id"] for image in dataset.images]:
        raise InputError(
            f"inputs {cached.path}: of other images than {dataset.path}; make them again"
        )
    return load_targets(boxes, dataset)


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    parser = cli.stage_parser(__doc__)
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument(
        "--inputs", type=Path, required=True, help="detector_inputs.h5, or heatmaps.h5"
    )
    parser.add_argument("--boxes", type=Path, required=True, help="pseudo-boxes, boxes.json")
    parser.add_argument("--output", type=Path, required=True, help="h, .safetensors")
    parser.add_argument(
        "--network", default="resnet50", help="attention, vgg16 or a torchvision ResNet"
    )
    parser.add_argument("--layout", choices=LAYOUTS, default="qkv_image")
    parser.add_argument("--num-boxes", type=int, default=10, help="k [10]")
    parser.add_argument("--width", type=cli.positive_int, default=64,
                        help="hidden channels of network attention [64]")  # fmt: skip
    parser.add_argument("--cell", type=cli.positive_int, default=1,
                        help="side of the squares that attention takes as one [1]")  # fmt: skip
    parser.add_argument("--init", type=Path, help="pretrained ResNet or VGG16, .safetensors")
    parser.add_argument("--augmentation", choices=AUGMENTATIONS, default="none")
    add_channel_dropout(parser)
    add_training_options(parser, Schedule(steps=3000, batch_size=36, lr=1e-5))
    add_loss_options(parser)
    augmented = parser.add_argument_group("f and its heuristic, for --augmentation crop_flip")
    add_backbone_options(augmented, required=False)
    augmented.add_argument("--heuristic", choices=METHODS, default="lost")
    add_heuristic_options(augmented)
    return cli.execute(run, parser, argv)


if __name__ == "__main__":
    sys.exit(main())
