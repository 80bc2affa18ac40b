"""Train a small BLIP on crops of images, with the phrases of what is in them.

The weights that ship in workflow/resources/scenes_captioner.safetensors were made by this stage.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import bbr.command_line.fast_import

import numpy as np
import torch
from torch import Tensor

from bbr.captioning.blip import new_small_captioner, save_small_captioner
from bbr.captioning.crops import draw_crops, text_of
from bbr.captioning.small_blip import SmallCaptionerSpec
from bbr.captioning.training import Telling, observe_crops, tokens_of, vocabulary_of
from bbr.command_line import cli
from bbr.command_line.devices import seed_everything
from bbr.data.index import load_index
from bbr.errors import InputError
from bbr.options import all_recorded, option
from bbr.training.distributed import launch
from bbr.training.plan import plan_training
from bbr.training.run_options import TrainingOptions
from bbr.training.schedule import Schedule

SCHEDULE = Schedule(
    steps=2000, batch_size=96, lr=1e-3, weight_decay=0.05, warmup=100, lr_schedule="cosine"
)


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    index: tuple[Path, ...] = option(help="one or more, with phrases of objects")
    output: Path = option(help="weights, .safetensors")


@dataclass(frozen=True)
class Crops:
    """What BLIP sees of an image."""

    object_crops: int = option(4, "around each object", unit="crops", min=1)
    window_crops: int = option(3, "anywhere in each image", unit="crops", min=0)


def run(
    *,
    files: Files,
    crops: Crops,
    spec: SmallCaptionerSpec,
    schedule: Schedule = SCHEDULE,
    training: TrainingOptions,
) -> None:
    """Train BLIP and write it to `output` (safetensors).

    Raises:
        InputError: no index has phrases of objects, an image cannot be read, or the sizes do not
            fit together.
    """
    fabric = launch(training.device, training.precision)
    datasets = [load_index(path) for path in files.index]
    amounts = crops.object_crops, crops.window_crops
    drawn = [draw_crops(dataset, *amounts, training.seed) for dataset in datasets]
    everything = [crop for of_dataset in drawn for crop in of_dataset]
    if not any(crop.texts for crop in everything):
        raise InputError(f"{files.index[0]}: no image has an object with a phrase of its own")
    seed_everything(training.seed)
    captioner = new_small_captioner(replace(spec, vocabulary=vocabulary_of(everything)))
    model = Telling(captioner.model.requires_grad_(True))
    optimizer = torch.optim.AdamW(
        model.parameters(), schedule.lr, weight_decay=schedule.weight_decay
    )
    wrapped, optimizer = fabric.setup(model, optimizer)
    fabric.to_device(captioner)
    seen = torch.cat(
        [observe_crops(*pair, captioner) for pair in zip(datasets, drawn, strict=True)]
    )

    def loss(step: int) -> Iterator[dict[str, Tensor]]:
        rng = np.random.default_rng(plan.generator(step).initial_seed())
        chosen = plan.indices(len(everything), step)
        texts = [text_of(everything[i], rng) for i in chosen.tolist()]
        tokens = tokens_of(texts, captioner, fabric)
        yield {"total": wrapped(fabric.to_device(seen[chosen].float()), *tokens)}

    known = {name: value for name, value in vars(spec).items() if name != "vocabulary"}
    parameters = all_recorded(crops, captioner=known)
    sources = {f"index{i}": path for i, path in enumerate(files.index)}
    plan = plan_training(
        "train_captioner", fabric, files.output, schedule, training, parameters, sources
    )
    wrapped.train()
    plan.optimize(fabric, wrapped, optimizer, loss, "training steps of BLIP")
    save_small_captioner(files.output, captioner, plan.record)
    plan.checkpoint.discard()


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
