"""Self-distillation without labels: how the embedded scenes ViT came to be.

DINO (Caron et al. 2021) on the [CLS] tokens of two large crops and some small ones, and iBOT (Zhou
et al. 2022) on the patches of the large ones that the student does not see. Targets are
Sinkhorn-normalised instead of centred: with small networks and batches, plain centring drifts to
uniform targets.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..options import option
from .vit import TransformerBackbone


@dataclass(frozen=True)
class PretrainingOptions:
    """Self-distillation; sizes of crops are divisible by the patch size.

    Attributes:
        mask_ratio: greatest fraction of a large crop's patches hidden from the student.
        student_temperature, teacher_temperature: softmax temperatures.
        patch_weight: weight of the masked-patch term against the [CLS] term.
    """

    crop_size: int = option(128, "side of the two large crops", unit="px", min=1)
    crop_scale: tuple[float, float] = option(
        (0.4, 1.0), "smallest and largest area, as shares of the image", above=0, max=1
    )
    local_crops: int = option(4, "small crops of each image, which only the student sees", min=0)
    local_size: int = option(64, "their side", unit="px", min=1)
    local_scale: tuple[float, float] = option(
        (0.1, 0.4), "their smallest and largest area, as shares of the image", above=0, max=1
    )
    mask_ratio: float = 0.5
    prototypes: int = option(1024, "outputs of the projection head", min=1)
    student_temperature: float = 0.1
    teacher_temperature: float = 0.05
    momentum: float = option(0.996, "of the teacher, at the start; rises to 1", min=0, below=1)
    patch_weight: float = 1.0


class ProjectionHead(nn.Module):
    """Tokens (..., D) to prototype similarities (..., prototypes), cosine-normalised."""

    def __init__(self, dim: int, prototypes: int, hidden: int = 256, bottleneck: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(dim, hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            nn.Linear(hidden, bottleneck),
        )
        self.prototypes = nn.Parameter(torch.randn(prototypes, bottleneck))

    def forward(self, tokens: Tensor) -> Tensor:
        """See the class."""
        projected = functional.normalize(self.layers(tokens), dim=-1)
        return projected @ functional.normalize(self.prototypes, dim=-1).T


class Distillation(nn.Module):
    """Student, teacher and their heads; `forward` gives the loss of a batch.

    The teacher is the moving average of the student and gets no gradient.
    """

    def __init__(self, backbone: TransformerBackbone, options: PretrainingOptions) -> None:
        super().__init__()
        self.options = options
        dim = backbone.network.embed_dim
        self.student = backbone
        self.student_head = ProjectionHead(dim, options.prototypes)
        self.teacher = copy.deepcopy(backbone).requires_grad_(False)
        self.teacher_head = copy.deepcopy(self.student_head).requires_grad_(False)

    def forward(self, images: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Losses of a batch of images (B, 3, H, W), uint8: `cls`, `patch` and their `total`.

        `generator` is a CPU's, whatever the device: the same crops are drawn on all of them.
        """
        options = self.options
        large = self._crops(images, 2, options.crop_size, options.crop_scale, generator)
        side = options.crop_size // self.student.stride
        mask = random_block_masks(len(large), side, options.mask_ratio, generator)
        mask = mask.to(images.device)
        depth = self.student.depth
        seen = self.student.frozen_forward(large, depth, patch_mask=mask)
        tokens = self.student.trainable_forward(seen, depth, (side, side)).tokens
        with torch.no_grad():
            teacher = self.teacher(large).tokens
        assert tokens is not None, "transformers give tokens"
        assert teacher is not None
        with torch.no_grad():
            cls_target = self._targets(teacher[:, 0])
            patch_target = self._targets(teacher[:, 1:][mask])
        # Each large crop's [CLS] must predict what the teacher says of the *other* one,
        other = cls_target.roll(len(images), 0)
        cls = [cross_entropy(self.student_head(tokens[:, 0]), other, options)]
        if options.local_crops:
            cls.append(self._local_loss(images, cls_target, generator))
        patch = cross_entropy(self.student_head(tokens[:, 1:][mask]), patch_target, options)
        # all pairs of a crop and a target weighing the same: 2, and 2 for each small crop.
        pairs = torch.tensor([2.0, 2.0 * options.local_crops][: len(cls)], device=images.device)
        mean = (torch.stack(cls) * pairs).sum() / pairs.sum()
        return {"cls": mean, "patch": patch, "total": mean + options.patch_weight * patch}

    def _local_loss(self, images: Tensor, cls_target: Tensor, generator: torch.Generator) -> Tensor:
        """Small crops must predict what the teacher says of both large ones."""
        options = self.options
        small = self._crops(
            images, options.local_crops, options.local_size, options.local_scale, generator
        )
        logits = self.student_head(self.student(small).tokens[:, 0])
        both = cls_target.unflatten(0, (2, -1)).mean(dim=0).repeat(options.local_crops, 1)
        # Cross-entropy is linear in its target: against the mean of both is the mean of two.
        return cross_entropy(logits, both, options)

    def _crops(
        self,
        images: Tensor,
        count: int,
        size: int,
        scale: tuple[float, float],
        generator: torch.Generator,
    ) -> Tensor:
        """(count · B, 3, size, size), normalised; crop i of image b is row i · B + b."""
        crops = torch.cat([random_crops(images, size, scale, generator) for _ in range(count)])
        return (crops - self.student.mean) / self.student.std

    def _targets(self, tokens: Tensor) -> Tensor:
        """What the teacher says of these tokens (n, D): (n, prototypes), float32."""
        return sinkhorn(self.teacher_head(tokens).float() / self.options.teacher_temperature)

    def parameter_groups(self, weight_decay: float) -> list[dict[str, Any]]:
        """What is trained, for AdamW; as in DINO, biases and other vectors are not decayed."""
        trained = [p for p in self.parameters() if p.requires_grad]
        return [
            {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
            {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
        ]

    @torch.no_grad()
    def update_teacher(self, progress: float) -> None:
        """Move the teacher towards the student; `progress` in [0, 1] raises the momentum."""
        momentum = 1 - (1 - self.options.momentum) * (math.cos(math.pi * progress) + 1) / 2
        pairs = [(self.teacher, self.student), (self.teacher_head, self.student_head)]
        for teacher, student in pairs:
            of_teacher: list[Tensor] = list(teacher.parameters())
            of_student: list[Tensor] = list(student.parameters())
            torch._foreach_lerp_(of_teacher, of_student, 1 - momentum)


def cross_entropy(logits: Tensor, target: Tensor, options: PretrainingOptions) -> Tensor:
    """Mean cross-entropy between target distributions and student logits, both (n, prototypes)."""
    log_probability = functional.log_softmax(logits.float() / options.student_temperature, dim=-1)
    return -(target * log_probability).sum(dim=-1).mean()


def sinkhorn(logits: Tensor, iterations: int = 3) -> Tensor:
    """Scale exp(logits) (n, prototypes) so that prototypes share the batch evenly.

    Rows of the result sum to 1; columns sum to about n / prototypes (SwAV, Caron et al. 2020).
    """
    plan = (logits - logits.max()).exp()
    for _ in range(iterations):
        plan = plan / plan.sum(dim=0, keepdim=True).clamp_min(1e-12)
        plan = plan / plan.sum(dim=1, keepdim=True).clamp_min(1e-12)
    return plan


def random_crops(
    images: Tensor, size: int, scale: tuple[float, float], generator: torch.Generator
) -> Tensor:
    """A random, flipped, colour-jittered crop of each image.

    Args:
        images: (B, 3, H, W), uint8, on any device.
        size: side of the result in pixels.
        scale: least and greatest area of the crop, as fractions of the image.
        generator: of the CPU.

    Returns:
        (B, 3, size, size) float32 in [0, 1].
    """

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(len(images), generator=generator) * (high - low) + low

    side = uniform(*scale).sqrt()
    aspect = (uniform(math.log(3 / 4), math.log(4 / 3)) / 2).exp()
    width, height = (side * aspect).clamp(max=1), (side / aspect).clamp(max=1)
    flip = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
    zero = torch.zeros_like(side)
    # In affine_grid's coordinates an image spans [-1, 1], so a free margin of 1 - width is moved.
    rows = [
        torch.stack((width * flip, zero, uniform(-1, 1) * (1 - width)), dim=1),
        torch.stack((zero, height, uniform(-1, 1) * (1 - height)), dim=1),
    ]
    placement = torch.stack(rows, dim=1).to(images.device)
    shape = [len(images), 3, size, size]
    grid = functional.affine_grid(placement, shape, align_corners=False)
    pixels = images.float() / 255
    crops = functional.grid_sample(pixels, grid, padding_mode="reflection", align_corners=False)
    return jitter_colors(crops, generator)


def jitter_colors(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Random hue, saturation, brightness and contrast, one draw per image of (B, 3, H, W)."""

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(len(pixels), generator=generator) * (high - low) + low

    # Hue is a rotation about the grey axis; saturation scales what is left of that axis.
    angle, saturation = uniform(-0.6, 0.6), uniform(0.4, 1.5)
    saturation = torch.where(uniform(0, 1) < 0.1, 0.0, saturation)
    grey = torch.full((3, 3), 1 / 3)
    cross = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) / math.sqrt(3)
    cosine, sine = (angle.cos() * saturation), (angle.sin() * saturation)
    matrix = (
        grey + cosine.view(-1, 1, 1) * (torch.eye(3) - grey) + sine.view(-1, 1, 1) * cross
    ).to(pixels.device)
    mean = pixels.mean(dim=(1, 2, 3), keepdim=True)
    colored = torch.einsum("bij,bjhw->bihw", matrix, pixels)
    contrast, brightness = (
        uniform(*span).view(-1, 1, 1, 1).to(pixels.device) for span in ((0.6, 1.4), (-0.2, 0.2))
    )
    return ((colored - mean) * contrast + mean + brightness).clamp(0, 1)


def random_block_masks(
    count: int, side: int, max_ratio: float, generator: torch.Generator
) -> Tensor:
    """Rectangular masks over a side × side patch grid: (count, side²) bool, each with some True.

    Blocks, not scattered patches: a scattered patch can be guessed from its neighbours' texture,
    a block only from what the object is.
    """

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(count, generator=generator) * (high - low) + low

    area, aspect = uniform(0.1, max_ratio) * side * side, uniform(-0.7, 0.7).exp()
    height = (area * aspect).sqrt().round().clamp(1, side)
    width = (area / aspect).sqrt().round().clamp(1, side)
    top, left = (
        (uniform(0, 1) * (side - height + 1)).floor(),
        (uniform(0, 1) * (side - width + 1)).floor(),
    )
    axis = torch.arange(side)
    rows = (axis >= top[:, None]) & (axis < (top + height)[:, None])
    columns = (axis >= left[:, None]) & (axis < (left + width)[:, None])
    return (rows[:, :, None] & columns[:, None, :]).flatten(1)
