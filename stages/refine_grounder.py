"""Refine g to g^h: train it through the frozen h towards boxes (paper section 3.2).

What is minimised is the four terms by which g learned from CLIP, L_h of the frozen h, and with
--mask-weight a term that takes boxes as foreground masks (section 3): the values of g's map are to
be high inside and low outside them. Masks are the boxes of h on g's maps, or as a control g's own,
which no h has seen.

The output is a g like any other: extract_heatmaps.py and all that follows read it. Batch norms keep
their statistics, so that g^h is trained as it will be run; or see --norm-statistics.
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
from bbr.detector.targets import TargetRules, as_target_list
from bbr.errors import InputError
from bbr.grounding.batches import GroundingBatches, Mirroring
from bbr.grounding.contours import NMS_BOXES, THRESHOLDS, ContourOptions
from bbr.grounding.heatmap_inputs import load_phrase_targets, map_targets
from bbr.grounding.losses import (
    REFINEMENT_WEIGHTS,
    GroundingWeights,
    SimilarityOptions,
    toss_coins,
    with_unions,
)
from bbr.grounding.network import load_grounder, save_grounder
from bbr.grounding.objective import GroundingObjective, Lesson, Teacher, draw_maps
from bbr.grounding.texts import Entry, entries
from bbr.options import option, recorded
from bbr.storage.provenance import provenance
from bbr.training.checkpoint import Checkpoint
from bbr.training.distributed import launch
from bbr.training.loop import batch_indices, optimize, step_generator
from bbr.training.perturbation import PerturbationOptions, perturb
from bbr.training.run_options import TrainingOptions
from bbr.training.schedule import Clipping, Schedule

TARGETS = ("g", "current", "h")
UNION_COINS = ("image", "batch")
NORM_STATISTICS = ("running", "batch")
MASK_SOURCES = ("h", "g")
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
class Targets(TargetRules):
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
    box_threshold: str = option(
        "minmax", "of the current g^h's boxes; see heatmap_boxes.py", choices=THRESHOLDS
    )
    union_probability: float = option(
        0.5, "of asking h for the union of the boxes instead", min=0, max=1
    )
    union_coin: str = option(
        "image",
        "whether that is drawn for each image or for a whole batch, as in the released code",
        choices=UNION_COINS,
        later=True,
    )


@dataclass(frozen=True)
class Lessons:
    """What h and its boxes teach."""

    detector_weight: float = option(1.0, "of L_h as a whole", min=0)
    mask_weight: float = option(0.0, "of boxes as foreground masks", min=0)
    mask_source: str = option(
        "h", "whose boxes these are: h's on g's maps, or g's own", choices=MASK_SOURCES
    )
    inside_share: float = option(
        0.5,
        "weight of a mask's inside, against its outside; below 0.5 maps become narrower",
        above=0,
        below=1,
    )
    flips: bool = option(False, "boxes of h are the mean over a map and its mirror image")


@dataclass(frozen=True)
class Seeing(Mirroring):
    """How g^h sees images while it is trained."""

    norm_statistics: str = option(
        "running",
        "of g's batch norms: those that g has, which stay; or those of each batch, which g^h's are"
        " gathered from, as in the released code",
        choices=NORM_STATISTICS,
        later=True,
    )


def run(
    *,
    files: Files,
    clip: ClipOptions,
    options: Targets,
    lessons: Lessons,
    schedule: Schedule = SCHEDULE,
    clipping: Clipping,
    loss_weights: LossWeights,
    grounding_weights: GroundingWeights = REFINEMENT_WEIGHTS,
    similarity: SimilarityOptions,
    seeing: Seeing,
    start: PerturbationOptions,
    training: TrainingOptions,
) -> None:
    """Train g^h and write it to `output` (safetensors).

    Raises:
        InputError: g, h, CLIP, boxes and index do not belong together, or an option is bad.
    """
    _require_something_to_learn(options.targets, grounding_weights, lessons)
    fabric = launch(training.device, training.precision)
    dataset = load_index(files.index)
    side = options.heatmap_size
    h, g = load_detector(files.detector), load_grounder(files.weights)
    choices, wanted = _choices(files.boxes, dataset, options, h.spec.num_boxes)
    require_channels(h, (1, side**2, 1), "--heatmap-size")
    network = clip.load()
    teacher = Teacher(
        h, (side, side), loss_weights, lessons.detector_weight, lessons.mask_weight,
        lessons.inside_share, lessons.flips,
    )  # fmt: skip
    model = GroundingObjective(g, network, grounding_weights, teacher, similarity.similarity).train(
        seeing.norm_statistics == "batch"
    )
    original = copy.deepcopy(g).eval().requires_grad_(False)
    trained = [p for p in model.parameters() if p.requires_grad]
    perturb(trained, start.perturbation, training.seed)
    optimizer = torch.optim.Adam(trained, schedule.lr, weight_decay=schedule.weight_decay)
    wrapped, optimizer = fabric.setup(model, optimizer)
    fabric.to_device(original)
    images = SquareImages(dataset, options.image_size, clip.resizing)
    batches = GroundingBatches(images, choices, g, network, fabric, seeing.mirror)
    batches.cache_features()

    def loss(step: int) -> Iterator[dict[str, Tensor]]:
        generator = step_generator(training.seed, step)
        chosen = batch_indices(len(batches), schedule.batch_size, training.seed, step)
        batch = batches.batch(chosen, generator)
        of_g = as_target_list(fabric.to_device(batch.turn(wanted[chosen])))
        before = draw_maps(original, batch)

        def teach(maps: Tensor) -> Lesson:
            return _lesson(maps, before, of_g, teacher, options, lessons.mask_source, generator)

        yield wrapped(batch, teach)

    losses = {"loss": vars(loss_weights), "grounding_loss": vars(grounding_weights)}
    parameters = {**clip.recorded(), **recorded(options), **vars(lessons), **losses}
    parameters |= {
        "schedule": recorded(schedule),
        **recorded(start),
        "seed": training.seed,
        "precision": training.precision,
        **recorded(clipping),
        **recorded(similarity),
        **recorded(seeing),
    }
    sources = {**vars(files), "clip": clip.file, "output": None}
    record = provenance("refine_grounder", parameters, sources, device_name(fabric.device))
    checkpoint = Checkpoint(files.output, record, training.checkpoint_seconds)
    optimize(
        wrapped, loss, optimizer, schedule, checkpoint, fabric, "refinement steps of g^h",
        max_gradient_norm=clipping.max_gradient_norm,
    )  # fmt: skip
    save_grounder(files.output, g, record)
    checkpoint.discard()


def _lesson(
    maps: Tensor,
    before: Tensor,
    of_g: list[Tensor],
    teacher: Teacher,
    options: Targets,
    mask_source: str,
    generator: torch.Generator,
) -> Lesson:
    """What h is asked for, and the boxes that are masks.

    Args:
        maps: of g^h as it stands, (B, H, W).
        before: those of g.
        of_g: g's boxes, as they were stored.
    """
    k = teacher.detector.spec.num_boxes
    contours = ContourOptions("pseudo", options.nms_boxes, options.box_threshold)
    boxes_by = {
        "g": lambda: of_g,
        "current": lambda: map_targets(maps, of_g, contours, options, k),
        "h": lambda: teacher.own_boxes(before),
    }
    # A text is not drawn as its stored boxes were found: words of captions are left out.
    masks_by = {**boxes_by, "g": lambda: map_targets(before, of_g, contours)}
    of_each = options.union_coin == "image"
    coins = toss_coins(len(of_g), options.union_probability, generator, of_each)
    return Lesson(with_unions(boxes_by[options.targets](), coins), masks_by[mask_source]())


def _require_something_to_learn(targets: str, weights: GroundingWeights, lessons: Lessons) -> None:
    held = lessons.mask_weight or any(vars(weights).values())
    if not held and not lessons.detector_weight:
        raise InputError("every term has weight 0, so that there is nothing to learn")
    if targets == "current" and not held:
        raise InputError(
            "--targets current with the weights of all other terms at 0: nothing holds g^h, whose"
            " boxes then grow to the whole image; give one of them a weight, or --targets g or h"
        )


def _choices(
    boxes: Path, dataset: Index, rules: TargetRules, k: int
) -> tuple[list[list[Entry]], Tensor]:
    """What g is taught with, each a choice of its own, and g's boxes of it."""
    found = entries(dataset, "training")
    rows = [(entry.image_id, entry.phrase_id) for entry in found]
    positions, wanted = load_phrase_targets(boxes, dataset, rows, rules, k)
    return [[found[i]] for i in positions.tolist()], wanted


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
