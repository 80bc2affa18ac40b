"""Train a small CLIP on images and their phrases by the contrastive loss.

The weights that ship in workflow/resources/scenes_clip.safetensors were made by this stage. An
image's text is, each as often, one of its phrases or all that the image has, joined.
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
from torch.nn import functional

from bbr.clip.network import PREFIX, Clip, new_small_clip, prompt, save_small_clip
from bbr.clip.small_network import SmallClipSpec, words_of
from bbr.command_line import cli
from bbr.command_line.devices import seed_everything
from bbr.data.index import Index, load_index
from bbr.data.loading import SquareImages
from bbr.grounding.batches import observe_images
from bbr.grounding.texts import Entry, by_image, draw_entry, entries
from bbr.options import option
from bbr.training.distributed import launch
from bbr.training.plan import plan_training
from bbr.training.run_options import TrainingOptions
from bbr.training.schedule import Schedule

_MAX_LOGIT_SCALE = 4.6052  # ln 100, as CLIP bounds it


SCHEDULE = Schedule(
    steps=600, batch_size=128, lr=1e-3, weight_decay=0.05, warmup=50, lr_schedule="cosine"
)


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    index: tuple[Path, ...] = option(help="one or more, so that it knows several kinds of phrases")
    output: Path = option(help="weights, .safetensors")


def run(
    *, files: Files, spec: SmallClipSpec, schedule: Schedule = SCHEDULE, training: TrainingOptions
) -> None:
    """Train both towers and write them to `output` (safetensors).

    Raises:
        InputError: the index has no phrases, or the sizes do not fit together.
    """
    fabric = launch(training.device, training.precision)
    datasets = [load_index(path) for path in files.index]
    choices = [group for dataset in datasets for group in by_image(entries(dataset, "training"))]
    seed_everything(training.seed)
    clip = new_small_clip(replace(spec, vocabulary=_vocabulary(choices)))
    model = _Contrast(clip.model.requires_grad_(True))
    tower = clip.model.visual
    if tower.trunk is not None:
        tower.trunk.requires_grad_(False)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, schedule.lr, weight_decay=schedule.weight_decay)
    wrapped, optimizer = fabric.setup(model, optimizer)
    fabric.to_device(clip)
    seen = torch.cat([_observe(dataset, clip, fabric) for dataset in datasets])

    def loss(step: int) -> Iterator[dict[str, Tensor]]:
        generator, chosen = plan.generator(step), plan.indices(len(choices), step)
        texts = [prompt(_text(choices[i], generator)) for i in chosen.tolist()]
        planes = fabric.to_device(seen[chosen])
        yield {"total": wrapped(planes, fabric.to_device(clip.tokenize(texts)))}

    known = {name: value for name, value in vars(spec).items() if name != "vocabulary"}
    sources = {f"index{i}": path for i, path in enumerate(files.index)}
    plan = plan_training(
        "train_clip", fabric, files.output, schedule, training, {"clip": known}, sources
    )
    plan.optimize(fabric, wrapped, optimizer, loss, "training steps of CLIP")
    save_small_clip(files.output, clip, plan.record)
    plan.checkpoint.discard()


def _observe(dataset: Index, clip: Clip, fabric: Fabric) -> Tensor:
    """What the image tower's transformer reads of each image that has texts."""
    positions = [group[0].position for group in by_image(entries(dataset, "training"))]
    described = replace(dataset, images=[dataset.images[i] for i in positions])

    def observe(images: Tensor) -> Tensor:
        return clip.model.visual.observe(clip.prepare(images))

    return observe_images(SquareImages(described, clip.size[0]), observe, fabric)


class _Contrast(nn.Module):
    """CLIP's symmetric cross-entropy over the pairs of a batch (Radford et al. 2021)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, planes: Tensor, tokens: Tensor) -> Tensor:
        """What the image tower observed (B, ...), and tokens (B, L), to a scalar."""
        images = functional.normalize(self.model.visual.transformer(planes), dim=-1)
        texts = functional.normalize(self.model.encode_text(tokens), dim=-1)
        logits = self.model.logit_scale.clamp(max=_MAX_LOGIT_SCALE).exp() * images @ texts.T
        # Equal texts are no negatives of each other.
        same = (tokens.unsqueeze(1) == tokens).all(dim=-1)
        wanted = same / same.sum(dim=1, keepdim=True)
        both = (functional.cross_entropy(side.float(), wanted) for side in (logits, logits.T))
        return sum(both) / 2


def _vocabulary(choices: list[list[Entry]]) -> tuple[str, ...]:
    """Every word of the texts, and of the prompt."""
    texts = [sentence for group in choices for entry in group for sentence in entry.sentences]
    return tuple(sorted({word for text in [PREFIX, "and", *texts] for word in words_of(text)}))


def _text(group: list[Entry], generator: torch.Generator) -> str:
    """A text of an image: of one entry, or of all of its phrases."""
    if torch.rand((), generator=generator) < 0.5 or group[0].caption:
        group = [draw_entry(group, generator)]
    drawn = torch.rand(len(group), generator=generator).tolist()
    return " and ".join(
        e.sentences[int(r * len(e.sentences))] for e, r in zip(group, drawn, strict=True)
    )


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
