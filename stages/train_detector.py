"""Train h to predict pseudo-boxes from f's own maps, or g's heatmaps (paper sections 3.1, 4.1).

With --augmentation none or flip_maps, h reads cached maps (--inputs), in the latter half of them
mirrored; with crop_flip, f runs on freshly augmented images and the heuristic proposes their boxes.
The released code does so with native_crop_flip: crops of images as they lie on disk.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import bbr.command_line.fast_import

from bbr.command_line import cli
from bbr.data.augmentation import CROPS
from bbr.data.index import load_index
from bbr.detector.networks import save_detector
from bbr.grounding.heatmap_inputs import open_inputs
from bbr.options import all_recorded, option
from bbr.refinement.detector_batches import BatchSource
from bbr.refinement.detector_training import Recipe, new_detector, train_detector
from bbr.training.distributed import launch
from bbr.training.perturbation import perturb
from bbr.training.plan import plan_training


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    index: Path = option(help="index.json")
    inputs: Path = option(help="detector_inputs.h5, or heatmaps.h5")
    boxes: Path = option(help="pseudo-boxes, boxes.json")
    output: Path = option(help="h, .safetensors")
    init: Path | None = option(None, "pretrained ResNet or VGG16, .safetensors")


def run(*, files: Files, recipe: Recipe) -> None:
    """Train h and write it to `output` (safetensors).

    Raises:
        InputError: inputs, boxes and index do not belong together, or an option is bad.
    """
    schedule, training, clipping = recipe.schedule, recipe.training, recipe.clipping
    fabric = launch(training.device, training.precision)
    dataset = load_index(files.index)
    sources = {**vars(files), "output": None}
    with open_inputs(files.inputs) as cached:
        found = recipe.find_targets(files.boxes, dataset, cached)
        detector = new_detector(recipe.network, cached, files.init, training.seed)
        perturb(detector.parameters(), recipe.start.perturbation, training.seed)
        parameters = all_recorded(recipe, detector=detector.spec)
        if recipe.augmentation.augmentation in CROPS:
            f = fabric.to_device(recipe.load_backbone(cached))
            sources["weights"] = recipe.backbone.file
            named = {"backbone": recipe.backbone.recorded(f), "heuristic": recipe.heuristic}
            parameters |= all_recorded(**named)
            source: BatchSource = recipe.augmented(dataset, cached, f)
        else:
            source = recipe.cached(cached, *found)
        plan = plan_training(
            "train_detector",
            fabric,
            files.output,
            schedule,
            training,
            parameters,
            sources,
            clipping,
        )
        train_detector(fabric, detector, source, recipe.loss_weights, plan)
    save_detector(files.output, detector, plan.record)
    plan.checkpoint.discard()


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
