"""Train MOVE's segmenter on unlabelled images: a mask whose foreground can be moved (MOVE 2022).

The output is a backbone like any other, f with a mask head. No box, category or phrase of the
index is read.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bbr.command_line.fast_import

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.nn import functional

from bbr.backbones.base import SegmenterSpec
from bbr.backbones.build import PACKAGED, load_backbone, save_backbone
from bbr.backbones.cnn import ConvolutionalBackbone
from bbr.backbones.masked import Segmenter, full_upsamplings
from bbr.backbones.options import add_backbone_options, take_backbone, weights_file
from bbr.command_line import cli
from bbr.command_line.devices import device_name, seed_everything
from bbr.data.augmentation import crop_and_flip
from bbr.data.index import load_index
from bbr.data.loading import SquareImages
from bbr.errors import InputError
from bbr.move.discriminator import ProjectedDiscriminator
from bbr.move.mask_losses import MaskLossWeights
from bbr.move.masked_autoencoder import load_autoencoder
from bbr.move.segmenter_training import Seen, SegmenterTraining
from bbr.storage.provenance import provenance
from bbr.training.checkpoint import Checkpoint
from bbr.training.distributed import launch
from bbr.training.loop import batch_indices, optimize, step_generator
from bbr.training.schedule import Schedule, add_training_options, pop_schedule

_KEPT_BYTES = 4 * 2**30


def run(
    *,
    index: Path,
    inpainter: Path,
    output: Path,
    image_size: int,
    upsamplings: int | None,
    least_width: int,
    augmentation: str,
    shift: float,
    discriminator_weights: str,
    discriminator_architecture: str | None,
    discriminator_size: int,
    discriminator_width: int,
    seed: int,
    checkpoint_seconds: float,
    device: str,
    precision: str,
    **rest: Any,
) -> None:
    """Train the segmenter and write it to `output` (safetensors).

    Raises:
        InputError: f is a segmenter already, the discriminator's network is not convolutional, or
            an option does not fit the others.
    """
    schedule = pop_schedule(rest)
    weights = MaskLossWeights(**{name: rest.pop(name) for name in vars(MaskLossWeights())})
    fabric = launch(device, precision)
    f_weights = weights_file(rest["weights"])
    features, used = take_backbone(rest, seed)
    if isinstance(features, Segmenter):
        raise InputError(f"--weights {f_weights}: is a segmenter already; give its f")
    judged = load_backbone(discriminator_weights, discriminator_architecture)
    if not isinstance(judged, ConvolutionalBackbone):
        raise InputError("--discriminator-weights: give a convolutional network")
    autoencoder = load_autoencoder(inpainter)
    seed_everything(seed)
    steps_up = full_upsamplings(features.stride) if upsamplings is None else upsamplings
    packaged = used["weights"] if used["weights"] in PACKAGED else None
    segmenter = Segmenter(features, SegmenterSpec(steps_up, least_width, packaged))
    discriminator = ProjectedDiscriminator(judged, discriminator_size, discriminator_width)
    parameters = {
        "backbone": used, "schedule": vars(schedule), "loss": vars(weights),
        "segmenter": vars(segmenter.spec.segmenter), "augmentation": augmentation, "shift": shift,
        "discriminator": {
            "architecture": judged.spec.architecture, "size": discriminator_size,
            "width": discriminator_width,
        },
        "image_size": image_size, "seed": seed, "precision": precision,
    }  # fmt: skip
    sources = {
        "index": index, "weights": f_weights, "inpainter": inpainter,
        "discriminator_weights": weights_file(discriminator_weights),
    }  # fmt: skip
    record = provenance("train_segmenter", parameters, sources, device_name(fabric.device))
    model = SegmenterTraining(segmenter, discriminator, autoencoder, weights, shift)
    images = SquareImages(load_index(index), image_size)
    optimizer = torch.optim.Adam(
        model.parameter_groups(), schedule.lr, weight_decay=schedule.weight_decay
    )
    wrapped, optimizer = fabric.setup(model.train(), optimizer)
    for method in ("compose", "segmenter_losses", "discriminator_losses"):
        wrapped.mark_forward_method(method)
    batches = _Batches(images, autoencoder.spec.image_size, augmentation, model, fabric)
    if schedule.steps * schedule.batch_size > len(images):
        batches.keep(schedule.batch_size)

    def loss(step: int) -> Iterator[dict[str, Tensor]]:
        generator = step_generator(seed, step)
        chosen = batch_indices(len(images), schedule.batch_size, seed, step)
        made = wrapped.compose(batches.batch(chosen, generator), generator)
        yield wrapped.discriminator_losses(made, generator)
        yield wrapped.segmenter_losses(made, step, generator)

    checkpoint = Checkpoint(output, record, checkpoint_seconds)
    optimize(
        wrapped, loss, optimizer, schedule, checkpoint, fabric, "steps of the segmenter",
        max_gradient_norm=None,
    )  # fmt: skip
    save_backbone(output, segmenter, record)
    checkpoint.discard()


class _Batches:
    """Images as f and the inpainter see them.

    But for crops, f's planes of all images are kept, made in an order of their own so that a
    resumed run has the same bits; mirroring a plane stands in for mirroring its image.
    """

    def __init__(
        self,
        images: SquareImages,
        drawn_size: int,
        augmentation: str,
        model: SegmenterTraining,
        fabric: Fabric,
    ) -> None:
        self.images, self.drawn_size, self.augmentation = images, drawn_size, augmentation
        self.model, self.fabric = model, fabric
        self._kept: Tensor | None = None

    def keep(self, size: int) -> None:
        """Keep f's planes of all images, where they can be and fit in memory."""
        count = len(self.images)
        one = self._plane(self.images.batch([0]))
        if self.augmentation == "crop_flip" or one.nbytes * count > _KEPT_BYTES:
            return
        parts = torch.arange(count).split(size)
        seen = cli.progress(parts, len(parts), "batches observed")
        self._kept = torch.cat([self._plane(self.images.batch(part)).cpu() for part in seen])

    def batch(self, chosen: Tensor, generator: torch.Generator) -> Seen:
        """The images at these positions, augmented by `generator`."""
        images = self.images.batch(chosen)
        if self.augmentation == "crop_flip":
            images = crop_and_flip(images, generator)
            return Seen(self._plane(images), self._drawn(images))
        plane = self._plane(images) if self._kept is None else self._kept[chosen]
        mirrored = torch.rand(len(images), generator=generator) < 0.5
        if self.augmentation == "flip_maps":
            mirrored = mirrored.view(-1, 1, 1, 1)
            plane = torch.where(mirrored.to(plane.device), plane.flip(2), plane)
            images = torch.where(mirrored, images.flip(-1), images)
        return Seen(self.fabric.to_device(plane), self._drawn(images))

    def _plane(self, images: Tensor) -> Tensor:
        with self.fabric.autocast():
            return self.model.observe(self.fabric.to_device(images)).float()

    def _drawn(self, images: Tensor) -> Tensor:
        pixels = self.fabric.to_device(images).float() / 255
        if pixels.shape[-1] == self.drawn_size:
            return pixels
        size = (self.drawn_size, self.drawn_size)
        return functional.interpolate(pixels, size, mode="bilinear", antialias=True)


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    default = MaskLossWeights()
    parser = cli.stage_parser(__doc__)
    parser.add_argument("--index", type=Path, required=True)
    add_backbone_options(parser)
    parser.add_argument("--inpainter", type=Path, required=True,
                        help="autoencoder: of pretrain_inpainter.py, or MAE's .pth")  # fmt: skip
    parser.add_argument("--output", type=Path, required=True, help="segmenter, .safetensors")
    parser.add_argument("--image-size", type=cli.positive_int, default=224,
                        help="side in pixels of the images that f sees [224]")  # fmt: skip
    parser.add_argument("--upsamplings", type=cli.non_negative_int,
                        help="doublings of the patch grid [log2 of the patch size]")  # fmt: skip
    parser.add_argument("--least-width", type=cli.positive_int, default=128,
                        help="of the head's layers, in channels [128]")  # fmt: skip
    parser.add_argument("--augmentation", choices=("none", "flip_maps", "crop_flip"),
                        default="crop_flip")  # fmt: skip
    parser.add_argument("--shift", type=cli.open_fraction, default=0.125,
                        help="greatest move of the foreground, of the side [0.125]")  # fmt: skip
    parser.add_argument("--area-weight", type=float, default=default.area_weight)
    parser.add_argument("--least-area", type=cli.open_fraction, default=default.least_area,
                        help="share of the image that a mask should cover [0.05]")  # fmt: skip
    parser.add_argument("--greatest-area", type=float, default=default.greatest_area,
                        help="and at most; MOVE sets no bound [1]")  # fmt: skip
    parser.add_argument("--area-warmup", type=cli.non_negative_int, default=default.area_warmup,
                        help="steps over which the latter bound sinks from 1 [0]")  # fmt: skip
    parser.add_argument("--binary-weight", type=float, default=default.binary_weight)
    parser.add_argument("--binary-warmup", type=cli.non_negative_int,
                        default=default.binary_warmup, help="steps")  # fmt: skip
    parser.add_argument("--discriminator-weights", default="timm",
                        help="of its frozen network, as --weights [timm]")  # fmt: skip
    parser.add_argument("--discriminator-architecture", help="as --architecture")
    parser.add_argument("--discriminator-size", type=cli.positive_int, default=224,
                        help="side in pixels of the images that it sees [224]")  # fmt: skip
    parser.add_argument("--discriminator-width", type=cli.positive_int, default=64,
                        help="channels of its projected maps [64]")  # fmt: skip
    add_training_options(parser, Schedule(steps=26000, batch_size=32, lr=2e-4, weight_decay=0.0))
    return cli.execute(run, parser, argv)


if __name__ == "__main__":
    sys.exit(main())
