"""Train a small BLIP on crops of images, with the phrases of what is in them.

The weights that ship in workflow/resources/scenes_captioner.safetensors were made by this stage.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
from bbr.storage.provenance import provenance
from bbr.training.checkpoint import Checkpoint
from bbr.training.distributed import launch
from bbr.training.loop import batch_indices, optimize, step_generator
from bbr.training.schedule import Schedule, add_training_options, pop_schedule

_OBSERVED_AT_ONCE = 64
_IGNORED = -100  # the label of what is no part of a text


def run(
    *,
    index: list[Path],
    output: Path,
    object_crops: int,
    window_crops: int,
    image_size: int,
    width: int,
    layers: int,
    heads: int,
    context_length: int,
    seed: int,
    checkpoint_seconds: float,
    device: str,
    precision: str,
    **rest: Any,
) -> None:
    """Train BLIP and write it to `output` (safetensors).

    Raises:
        InputError: no index has phrases of objects, an image cannot be read, or the sizes do not
            fit together.
    """
    schedule = pop_schedule(rest)
    datasets = [load_index(path) for path in index]
    crops = [draw_crops(dataset, object_crops, window_crops, seed) for dataset in datasets]
    everything = [crop for of_dataset in crops for crop in of_dataset]
    if not any(crop.texts for crop in everything):
        raise InputError(f"{index[0]}: no image has an object with a phrase of its own")
    spec = SmallCaptionerSpec(
        vocabulary=_vocabulary(everything), image_size=image_size, width=width, layers=layers,
        heads=heads, context_length=context_length,
    )  # fmt: skip
    fabric = launch(device, precision)
    seed_everything(seed)
    captioner = new_small_captioner(spec)
    parameters = {"captioner": {k: v for k, v in vars(spec).items() if k != "vocabulary"},
                  "object_crops": object_crops, "window_crops": window_crops,
                  "schedule": vars(schedule), "seed": seed, "precision": precision}  # fmt: skip
    sources = {f"index{i}": path for i, path in enumerate(index)}
    record = provenance("train_captioner", parameters, sources, device_name(fabric.device))
    model = _Telling(captioner.model.requires_grad_(True))
    optimizer = torch.optim.AdamW(model.parameters(), schedule.lr,
                                  weight_decay=schedule.weight_decay)  # fmt: skip
    wrapped, optimizer = fabric.setup(model, optimizer)
    fabric.to_device(captioner)
    seen = torch.cat([_observe(*pair, captioner) for pair in zip(datasets, crops, strict=True)])

    def loss(step: int) -> Iterator[dict[str, Tensor]]:
        rng = np.random.default_rng(step_generator(seed, step).initial_seed())
        chosen = batch_indices(len(everything), schedule.batch_size, seed, step)
        texts = [text_of(everything[i], rng) for i in chosen.tolist()]
        yield {"total": wrapped(fabric.to_device(seen[chosen].float()),
                                *_tokens(texts, captioner, fabric))}  # fmt: skip

    checkpoint = Checkpoint(output, record, checkpoint_seconds)
    wrapped.train()
    optimize(wrapped, loss, optimizer, schedule, checkpoint, fabric, "training steps of BLIP")
    save_small_captioner(output, captioner, record)
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
    default = SmallCaptionerSpec(())
    parser = cli.stage_parser(__doc__)
    parser.add_argument("--index", type=Path, required=True, nargs="+",
                        help="one or more, with phrases of objects")  # fmt: skip
    parser.add_argument("--output", type=Path, required=True, help="weights, .safetensors")
    parser.add_argument("--object-crops", type=cli.positive_int, default=4,
                        help="around each object [4]")  # fmt: skip
    parser.add_argument("--window-crops", type=cli.non_negative_int, default=3,
                        help="anywhere in each image [3]")  # fmt: skip
    for name in ("image_size", "width", "layers", "heads", "context_length"):
        value = getattr(default, name)
        parser.add_argument(f"--{name.replace('_', '-')}", type=cli.positive_int, default=value,
                            help=f"of the network [{value}]")  # fmt: skip
    add_training_options(
        parser,
        Schedule(steps=2000, batch_size=96, lr=1e-3, weight_decay=0.05, warmup=100, shape="cosine"),
    )
    return cli.execute(run, parser, argv)


if __name__ == "__main__":
    sys.exit(main())
