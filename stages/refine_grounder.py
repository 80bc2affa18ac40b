"""Refine g to g^h: train it through the frozen h towards boxes (paper section 3.2).

What is minimised is the four terms by which g learned from CLIP, L_h of the frozen h, and with
--mask-weight a term that takes boxes as foreground masks (section 3): the values of g's map are to
be high inside and low outside them. Masks are the boxes of h on g's maps, or as a control g's own,
which no h has seen.

The output is a g like any other: extract_heatmaps.py and all that follows read it. Batch norms keep
their statistics, so that g^h is trained as it will be run; or see --norm-statistics.

With --rounds and --detector-steps g^h and h take turns: h learns the boxes of g^h's maps, and g^h
is refined through that h. With --select agreement the output is the state in which the boxes of
g^h's maps overlap most with h's on g's, on images set aside, and rounds end where they lead no
nearer; no ground truth is read.
"""

from __future__ import annotations

import copy
import sys
from dataclasses import dataclass
from pathlib import Path

import bbr.command_line.fast_import

from bbr.clip.network import ClipOptions
from bbr.command_line import cli
from bbr.data.index import load_index
from bbr.data.loading import SquareImages
from bbr.detector.networks import load_detector, require_channels
from bbr.grounding.batches import GroundingBatches
from bbr.grounding.network import load_grounder, save_grounder
from bbr.grounding.refinement import (
    LessonPlan,
    Lessons,
    Recipe,
    Targets,
    require_something_to_learn,
    taught_texts,
)
from bbr.grounding.refinement_training import GrounderRefinement
from bbr.options import all_recorded, option
from bbr.training.distributed import launch
from bbr.training.perturbation import perturb
from bbr.training.plan import plan_training


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    index: Path = option(help="index.json")
    weights: Path = option(help="g")
    detector: Path = option(help="h, .safetensors")
    boxes: Path = option(help="pseudo-boxes of g")
    output: Path = option(help="g^h, .safetensors")


def run(
    *,
    files: Files,
    clip: ClipOptions,
    options: Targets,
    lessons: Lessons,
    recipe: Recipe,
) -> None:
    """Train g^h and write it to `output` (safetensors).

    Raises:
        InputError: g, h, CLIP, boxes and index do not belong together, or an option is bad.
    """
    schedule, training, clipping = recipe.schedule, recipe.training, recipe.clipping
    require_something_to_learn(options.targets, recipe.grounding_weights, lessons)
    fabric = launch(training.device, training.precision)
    dataset = load_index(files.index)
    h, g = load_detector(files.detector), load_grounder(files.weights)
    choices, stored = taught_texts(files.boxes, dataset, options, h.spec.num_boxes)
    require_channels(h, (1, options.heatmap_size**2, 1), "--heatmap-size")
    network = clip.load()
    teacher = lessons.teacher(h, recipe.loss_weights, options.heatmap_size)
    model = recipe.objective(g, network, teacher)
    original = copy.deepcopy(g).eval().requires_grad_(False)
    planned = LessonPlan(original, teacher, options, lessons.mask_source)
    trained = [p for p in model.parameters() if p.requires_grad]
    perturb(trained, recipe.start.perturbation, training.seed)
    parameters = all_recorded(clip, options, lessons, recipe)
    sources = {**vars(files), "clip": clip.file, "output": None}
    plan = plan_training(
        "refine_grounder", fabric, files.output, schedule, training, parameters, sources, clipping
    )
    images = SquareImages(dataset, options.image_size, clip.resizing)
    batches = GroundingBatches(images, choices, g, network, fabric, recipe.seeing.mirror)
    record = GrounderRefinement(plan, recipe, planned, batches, stored)(fabric, model)
    save_grounder(files.output, g, record)
    plan.checkpoint.discard()


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
