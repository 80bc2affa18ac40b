"""Refine g to g^h: train it through the frozen h towards boxes (paper section 3.2).

What is minimised is the four terms by which g learned from CLIP, L_h of the frozen h, and with
--mask-weight a term that takes boxes as foreground masks (section 3): the values of g's map are to
be high inside and low outside them. Masks are the boxes of h on g's maps, or as a control g's own,
which no h has seen.

The output is a g like any other: extract_heatmaps.py and all that follows read it. Batch norms keep
their statistics, so that g^h is trained as it will be run.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bbr.command_line.fast_import

import torch
from torch import Tensor

from bbr.clip.network import add_clip_options, take_clip
from bbr.command_line import cli
from bbr.command_line.devices import device_name
from bbr.data.index import load_index
from bbr.data.loading import SquareImages
from bbr.detector.networks import load_detector, require_channels
from bbr.detector.set_loss import add_loss_options, pop_loss_weights
from bbr.detector.targets import as_target_list
from bbr.errors import InputError
from bbr.grounding.batches import GroundingBatches
from bbr.grounding.contours import NMS_BOXES, THRESHOLDS, ContourOptions
from bbr.grounding.heatmap_inputs import load_phrase_targets, map_targets
from bbr.grounding.losses import (
    REFINEMENT_WEIGHTS,
    GroundingWeights,
    add_grounding_weights,
    pop_grounding_weights,
    toss_coins,
    with_unions,
)
from bbr.grounding.network import load_grounder, save_grounder
from bbr.grounding.objective import GroundingObjective, Lesson, Teacher, draw_maps
from bbr.grounding.texts import entries
from bbr.storage.provenance import provenance
from bbr.training.checkpoint import Checkpoint
from bbr.training.distributed import launch
from bbr.training.loop import batch_indices, optimize, step_generator
from bbr.training.schedule import Schedule, add_training_options, pop_schedule

TARGETS = ("g", "current", "h")
MASK_SOURCES = ("h", "g")


def run(
    *,
    index: Path,
    weights: Path,
    detector: Path,
    boxes: Path,
    output: Path,
    targets: str,
    nms_boxes: str,
    box_threshold: str,
    union_probability: float,
    detector_weight: float,
    mask_weight: float,
    mask_source: str,
    inside_share: float,
    flips: bool,
    image_size: int,
    heatmap_size: int,
    seed: int,
    checkpoint_seconds: float,
    device: str,
    precision: str,
    **rest: Any,
) -> None:
    """Train g^h and write it to `output` (safetensors).

    Raises:
        InputError: g, h, CLIP, boxes and index do not belong together, or an option is bad.
    """
    schedule, loss_weights = pop_schedule(rest), pop_loss_weights(rest)
    grounding_weights = pop_grounding_weights(rest)
    _require_something_to_learn(targets, grounding_weights, detector_weight, mask_weight)
    contours = ContourOptions("pseudo", nms_boxes, box_threshold)
    clip, used, clip_file = take_clip(rest)
    parameters = {
        **used, "targets": targets, "nms_boxes": nms_boxes, "box_threshold": box_threshold,
        "union_probability": union_probability, "detector_weight": detector_weight,
        "mask_weight": mask_weight, "mask_source": mask_source,
        "inside_share": inside_share, "flips": flips,
        "image_size": image_size, "heatmap_size": heatmap_size,
        "schedule": vars(schedule), "loss": vars(loss_weights),
        "grounding_loss": vars(grounding_weights), "seed": seed, "precision": precision,
    }  # fmt: skip
    sources = {
        "index": index, "weights": weights, "detector": detector, "boxes": boxes,
        "clip": clip_file,
    }  # fmt: skip
    fabric = launch(device, precision)
    record = provenance("refine_grounder", parameters, sources, device_name(fabric.device))
    dataset = load_index(index)
    found = entries(dataset, "training")
    rows = [(entry.image_id, entry.phrase_id) for entry in found]
    positions, wanted = load_phrase_targets(boxes, dataset, rows)
    size = (heatmap_size, heatmap_size)
    network = load_detector(detector)
    require_channels(network, (1, heatmap_size**2, 1), "--heatmap-size")
    grounder = load_grounder(weights)
    teacher = Teacher(
        network, size, loss_weights, detector_weight, mask_weight, inside_share, flips
    )
    model = GroundingObjective(grounder, clip, grounding_weights, teacher).eval()
    original = copy.deepcopy(grounder).requires_grad_(False)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, schedule.lr, weight_decay=schedule.weight_decay)
    wrapped, optimizer = fabric.setup(model, optimizer)
    fabric.to_device(original)
    choices = [[found[i]] for i in positions.tolist()]
    batches = GroundingBatches(SquareImages(dataset, image_size), choices, grounder, clip, fabric)
    batches.keep()

    def loss(step: int) -> Iterator[dict[str, Tensor]]:
        generator = step_generator(seed, step)
        chosen = batch_indices(len(batches), schedule.batch_size, seed, step)
        batch = batches.batch(chosen, generator)

        def teach(maps: Tensor) -> Lesson:
            of_g = as_target_list(fabric.to_device(wanted[chosen]))
            before = draw_maps(original, batch)
            boxes_by = {
                "g": lambda: of_g,
                "current": lambda: map_targets(maps, of_g, contours),
                "h": lambda: teacher.own_boxes(before),
            }
            # A text is not drawn as its stored boxes were found: words of captions are left out.
            masks_by = {**boxes_by, "g": lambda: map_targets(before, of_g, contours)}
            coins = toss_coins(len(chosen), union_probability, generator)
            return Lesson(with_unions(boxes_by[targets](), coins), masks_by[mask_source]())

        yield wrapped(batch, teach)

    checkpoint = Checkpoint(output, record, checkpoint_seconds)
    optimize(wrapped, loss, optimizer, schedule, checkpoint, fabric, "refinement steps of g^h")
    save_grounder(output, grounder, record)
    checkpoint.discard()


def _require_something_to_learn(
    targets: str, weights: GroundingWeights, detector_weight: float, mask_weight: float
) -> None:
    held = mask_weight or any(vars(weights).values())
    if not held and not detector_weight:
        raise InputError("every term has weight 0, so that there is nothing to learn")
    if targets == "current" and not held:
        raise InputError(
            "--targets current with the weights of all other terms at 0: nothing holds g^h, whose"
            " boxes then grow to the whole image; give one of them a weight, or --targets g or h"
        )


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    parser = cli.stage_parser(__doc__)
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True, help="g")
    add_clip_options(parser)
    parser.add_argument("--detector", type=Path, required=True, help="h, .safetensors")
    parser.add_argument("--boxes", type=Path, required=True, help="pseudo-boxes of g")
    parser.add_argument("--output", type=Path, required=True, help="g^h, .safetensors")
    parser.add_argument("--image-size", type=cli.positive_int, default=304,
                        help="side in pixels to which images are resized [304]")  # fmt: skip
    parser.add_argument("--heatmap-size", type=cli.positive_int, default=304,
                        help="side of the maps that h was trained on [304]")  # fmt: skip
    parser.add_argument("--targets", choices=TARGETS, default="g",
                        help="boxes h is asked for: of g, of the maps of the current g^h (of g "
                        "where those have none), or h's own on g's maps [g]")  # fmt: skip
    parser.add_argument("--nms-boxes", choices=NMS_BOXES, default="xyxy",
                        help="of the current g^h's boxes; see heatmap_boxes.py [xyxy]")  # fmt: skip
    parser.add_argument("--box-threshold", choices=THRESHOLDS, default="minmax",
                        help="likewise [minmax]")  # fmt: skip
    parser.add_argument("--union-probability", type=float, default=0.5,
                        help="of asking h for the union of the boxes instead [0.5]")  # fmt: skip
    parser.add_argument("--detector-weight", type=cli.non_negative_float, default=1.0,
                        help="of L_h as a whole [1]")  # fmt: skip
    parser.add_argument("--mask-weight", type=cli.non_negative_float, default=0.0,
                        help="of boxes as foreground masks [0]")  # fmt: skip
    parser.add_argument("--mask-source", choices=MASK_SOURCES, default="h",
                        help="whose boxes these are: h's on g's maps, or g's own [h]")  # fmt: skip
    parser.add_argument("--inside-share", type=cli.open_fraction, default=0.5,
                        help="weight of a mask's inside, against its outside; below 0.5 maps "
                        "become narrower [0.5]")  # fmt: skip
    parser.add_argument("--flips", action="store_true",
                        help="boxes of h are the mean over a map and its mirror image")  # fmt: skip
    add_training_options(parser, Schedule(steps=10000, batch_size=36, lr=1e-7))
    add_loss_options(parser)
    add_grounding_weights(parser, REFINEMENT_WEIGHTS)
    return cli.execute(run, parser, argv)


if __name__ == "__main__":
    sys.exit(main())
