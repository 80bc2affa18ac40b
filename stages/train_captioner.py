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
from lightning_fabric import Fabric
from torch import Tensor, nn

from bbr.captioning.blip import Captioner, new_small_captioner, save_small_captioner
from bbr.captioning.crops import BACKGROUND, Crop, draw_crops, text_of
from bbr.captioning.small_blip import SmallCaptionerSpec
from bbr.clip.small_network import words_of
from bbr.command_line import cli
from bbr.command_line.devices import device_name, seed_everything
from bbr.data.images import read_indexed
from bbr.data.index import Index, load_index
from bbr.data.loading import chunks
from bbr.errors import InputError
from bbr.options import option, recorded
from bbr.storage.provenance import provenance
from bbr.training.checkpoint import Checkpoint
from bbr.training.distributed import launch
from bbr.training.loop import batch_indices, optimize, step_generator
from bbr.training.run_options import TrainingOptions
from bbr.training.schedule import Schedule

_OBSERVED_AT_ONCE = 64
_IGNORED = -100  # the label of what is no part of a text


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
    captioner = new_small_captioner(replace(spec, vocabulary=_vocabulary(everything)))
    model = _Telling(captioner.model.requires_grad_(True))
    optimizer = torch.optim.AdamW(
        model.parameters(), schedule.lr, weight_decay=schedule.weight_decay
    )
    wrapped, optimizer = fabric.setup(model, optimizer)
    fabric.to_device(captioner)
    seen = torch.cat([_observe(*pair, captioner) for pair in zip(datasets, drawn, strict=True)])

    def loss(step: int) -> Iterator[dict[str, Tensor]]:
        rng = np.random.default_rng(step_generator(training.seed, step).initial_seed())
        chosen = batch_indices(len(everything), schedule.batch_size, training.seed, step)
        texts = [text_of(everything[i], rng) for i in chosen.tolist()]
        tokens = _tokens(texts, captioner, fabric)
        yield {"total": wrapped(fabric.to_device(seen[chosen].float()), *tokens)}

    parameters = {
        "captioner": {k: v for k, v in vars(spec).items() if k != "vocabulary"}, **vars(crops),
        "schedule": recorded(schedule), "seed": training.seed, "precision": training.precision,
    }  # fmt: skip
    sources = {f"index{i}": path for i, path in enumerate(files.index)}
    record = provenance("train_captioner", parameters, sources, device_name(fabric.device))
    checkpoint = Checkpoint(files.output, record, training.checkpoint_seconds)
    wrapped.train()
    optimize(wrapped, loss, optimizer, schedule, checkpoint, fabric, "training steps of BLIP")
    save_small_captioner(files.output, captioner, record)
    checkpoint.discard()


def _observe(dataset: Index, crops: list[Crop], captioner: Captioner) -> Tensor:
    """What BLIP reads of the crops of a dataset: (n, C, s, s) float16 on the CPU."""
    images = {crop.position: dataset.images[crop.position] for crop in crops}
    pixels = {i: read_indexed(dataset.image_path(image), image) for i, image in images.items()}
    batches = list(chunks(crops, _OBSERVED_AT_ONCE))
    parts = []
    for batch in cli.progress(batches, len(batches), "batches of crops observed"):
        cut = [pixels[c.position][c.box[1] : c.box[3], c.box[0] : c.box[2]] for c in batch]
        parts.append(captioner.observe(cut).half().cpu())
    return torch.cat(parts)


def _tokens(texts: list[str], captioner: Captioner, fabric: Fabric) -> tuple[Tensor, Tensor]:
    """Token ids and their mask: (B, L) each."""
    encoded = captioner.tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
    return fabric.to_device(encoded["input_ids"]), fabric.to_device(encoded["attention_mask"])


class _Telling(nn.Module):
    """BLIP's language loss: each token from the image and the tokens before it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, observed: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
        """Observed crops (B, C, s, s), token ids (B, L) and their mask (B, L) to a scalar."""
        labels = tokens.masked_fill(mask == 0, _IGNORED)
        return self.model(observed, tokens, attention_mask=mask, labels=labels).loss


def _vocabulary(crops: list[Crop]) -> tuple[str, ...]:
    texts = [text for crop in crops for of_object in crop.texts for text in of_object]
    return tuple(sorted({word for text in [BACKGROUND, "and", *texts] for word in words_of(text)}))


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
