"""What batching and keeping save, against the straightforward way, in one run: `make bench`.

Every row runs both ways in turn, several times, and compares medians. Machines are noisy and a
batch gains most on a GPU, so the bounds that fail a run lie far below the aims.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import render_scenes
import torch
from in_turns import median_seconds_in_turns
from scipy import ndimage
from torch import Tensor, nn

from bbr.backbones.base import Backbone, BackboneSpec
from bbr.backbones.build import build_backbone
from bbr.data.index import load_index
from bbr.data.loading import SquareImages
from bbr.detector.inputs_h5 import DetectorInputs, create_detector_inputs
from bbr.detector.layout import arrange, stack_parts
from bbr.detector.networks import DetectorSpec, build_detector
from bbr.detector.set_loss import LossWeights, set_loss
from bbr.detector.targets import as_target_list
from bbr.heuristics.lost import lost_boxes
from bbr.heuristics.registry import heuristic_options, propose_training_boxes
from bbr.refinement.detector_batches import CachedBatches
from bbr.refinement.objective import Refinement, RefinementOptions

pytestmark = pytest.mark.bench

LOWEST = 100
# The two embedded backbones, without their weights; scenes have 128 pixels a side.
SCENES_VIT = BackboneSpec(
    "vit_tiny_patch16_224",
    {"patch_size": 8, "img_size": 64, "embed_dim": 128, "depth": 4, "num_heads": 4},
)
EFFICIENTNET = BackboneSpec("tf_efficientnet_lite0", normalization="center", scale=1.5)


@dataclass(frozen=True)
class Row:
    """Milliseconds of both ways for one unit of work; `least` is the ratio below which it fails."""

    what: str
    slow: float
    fast: float
    aim: str
    least: float

    @property
    def ratio(self) -> float:
        return self.slow / self.fast


def both(
    slow: Callable[[], object], fast: Callable[[], object], repeats: int = 5
) -> tuple[float, float]:
    """Median milliseconds of each, in turns."""
    first, second = median_seconds_in_turns([slow, fast], repeats)
    return 1e3 * first, 1e3 * second


def box_at(inside: np.ndarray, seed: int) -> list[int]:
    labels, _ = ndimage.label(inside)
    rows, columns = np.where(labels == labels.flat[seed])
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def lost_by_matrix(features: Tensor, grid: tuple[int, int]) -> list[int]:
    """One image, its whole similarity matrix at once: how public code does it."""
    similarity = features @ features.T
    positive = similarity.clone()
    positive.fill_diagonal_(0)
    positive[positive < 0] = 0
    order = (positive > 0).sum(dim=1).argsort(stable=True)
    chosen = order[:LOWEST]
    chosen = chosen[similarity[order[0], chosen] > 0]
    return box_at((similarity[chosen].sum(dim=0) > 0).view(grid).numpy(), int(order[0]))


def lost_by_patch(features: Tensor, grid: tuple[int, int]) -> list[int]:
    """One image, patch by patch: equations 12 to 15 as they read."""
    degrees = [int((features @ patch > 0).sum()) - int(patch @ patch > 0) for patch in features]
    order = sorted(range(len(degrees)), key=degrees.__getitem__)
    seed, support = features[order[0]], torch.zeros(len(features))
    for patch in order[:LOWEST]:
        if features[patch] @ seed > 0:
            support += features @ features[patch]
    return box_at((support > 0).view(grid).numpy(), order[0])


def random_features(grid: tuple[int, int], count: int, dim: int = 384) -> Tensor:
    """Centred features that are alike among neighbours: (B, N, d)."""
    noise = torch.randn(count, *grid, dim, generator=torch.Generator().manual_seed(0))
    features = (noise.cumsum(dim=1) + noise.cumsum(dim=2)).flatten(1, 2)
    return features - features.mean(dim=1, keepdim=True)


def lost_rows(grid: tuple[int, int], count: int, aim: str) -> list[Row]:
    features = random_features(grid, count)
    expected = lost_boxes(features, grid, LOWEST).tolist()
    rows = []
    for name, one, its_aim, least in (
        ("patch by patch", lost_by_patch, aim, 1.5),
        ("image by image", lost_by_matrix, "", 0.5),
    ):
        assert [one(image, grid) for image in features] == expected
        slow, fast = both(
            lambda one=one: [one(image, grid) for image in features],
            lambda: lost_boxes(features, grid, LOWEST),
        )
        what = f"LOST, {grid[0] * grid[1]} patches x 384, an image: {name} / batches of {count}"
        rows.append(Row(what, slow / count, fast / count, its_aim, least))
    return rows


def random_backbone(spec: BackboneSpec) -> Backbone:
    torch.manual_seed(0)
    return build_backbone(spec).eval()


@torch.inference_mode()
def features_row(spec: BackboneSpec, size: int, count: int) -> Row:
    backbone = random_backbone(spec)
    images = torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8)
    slow, fast = both(
        lambda: [backbone(backbone.prepare(image[None])) for image in images],
        lambda: backbone(backbone.prepare(images)),
    )
    what = f"features of {name(spec)}, {size} pixels, an image: one by one / batches of {count}"
    return Row(what, slow / count, fast / count, "", 0.5)


def name(spec: BackboneSpec) -> str:
    return {SCENES_VIT.architecture: "scenes ViT"}.get(spec.architecture, spec.architecture)


def keep_inputs(path: Path, images: SquareImages, backbone: Backbone) -> Path:
    with torch.no_grad():
        maps = backbone(backbone.prepare(images.batch(range(len(images)))))
    stacked = stack_parts(maps, "k")
    with create_detector_inputs(
        path,
        count=len(images),
        shape=tuple(stacked.shape[1:]),
        grid=maps.grid,
        image_size=images.size,
        parts="k",
        dtype="float16",
        provenance={},
    ) as file:
        file["image_id"][:] = range(len(images))
        file["maps"][:] = stacked.numpy()
    return path


def training_step(network: nn.Module, maps: Tensor, boxes: Tensor) -> None:
    logits, predicted = network(maps)
    network.zero_grad()
    set_loss(logits, predicted, as_target_list(boxes), LossWeights())["total"].backward()


def detector_row(folder: Path, images: SquareImages, spec: BackboneSpec) -> Row:
    """Both ways keep decoded images in memory, so that only f and LOST are saved."""
    backbone = random_backbone(spec)
    lost = heuristic_options("lost", {"k_patches": 12})
    network = build_detector(DetectorSpec("attention", "spatial", backbone.dim))
    everything = torch.arange(len(images))

    def recomputed() -> None:
        with torch.no_grad():
            maps = backbone(backbone.prepare(images.batch(everything)))
            boxes = propose_training_boxes(maps, "lost", lost)
            inputs = arrange(stack_parts(maps, "k"), maps.grid, "spatial")
        training_step(network, inputs, boxes)

    with DetectorInputs(keep_inputs(folder / "inputs.h5", images, backbone)) as kept:
        source = CachedBatches(kept, everything, torch.rand(len(images), 4), "spatial")

        def cached() -> None:
            training_step(network, *source.batch(everything, torch.Generator()))

        slow, fast = both(recomputed, cached)
    what = f"h on {name(spec)}, a step of {len(images)}: features and boxes anew / kept on disk"
    return Row(what, slow, fast, "3", 1.2)


def refinement_row(images: SquareImages, spec: BackboneSpec) -> Row:
    backbone = random_backbone(spec)
    detector = build_detector(DetectorSpec("attention", "spatial", backbone.dim))
    lost = heuristic_options("lost", {})
    options = RefinementOptions(trainable_blocks=2)
    model = Refinement(backbone, detector, "k", "lost", lost, options, LossWeights())
    pixels = images.batch(range(len(images)))
    boxes, grid = torch.rand(len(images), 4), backbone.grid_of(images.size, images.size)
    fixed = model.precompute(pixels, boxes)
    slow, fast = both(
        lambda: model(model.precompute(pixels, boxes), grid)["total"].backward(),
        lambda: model(fixed, grid)["total"].backward(),
    )
    blocks = f"last 2 of {backbone.depth} blocks"
    what = f"f^h of {name(spec)}, a step of {len(images)}, {blocks}: all of f anew / kept"
    return Row(what, slow, fast, "", 1.2)


def table(rows: list[Row]) -> str:
    head = [
        f"Milliseconds, medians, {torch.get_num_threads()} thread(s)",
        "straightforward",
        "ours",
        "ratio",
        "aim",
    ]
    cells = [
        [row.what, f"{row.slow:.2f}", f"{row.fast:.2f}", f"{row.ratio:.1f}", row.aim]
        for row in rows
    ]
    widths = [max(len(line[i]) for line in [head, *cells]) for i in range(len(head))]
    rule = ["-" * width for width in widths]
    return "\n".join(
        "| " + " | ".join(text.ljust(w) for text, w in zip(line, widths, strict=True)) + " |"
        for line in [head, rule, *cells]
    )


def test_throughput(tmp_path: Path) -> None:
    path = tmp_path / "index.json"
    render = ["--preset", "scenes07", "--count", "16", "--output", str(path)]
    assert render_scenes.main(render) == 0
    images = SquareImages(load_index(path), 128)
    rows = [
        *lost_rows((19, 19), 16, aim="10"),
        *lost_rows((30, 40), 8, aim="4"),
        features_row(SCENES_VIT, 128, 8),
        features_row(EFFICIENTNET, 128, 8),
        features_row(BackboneSpec("vit_small_patch16_224"), 224, 8),
        detector_row(tmp_path, images, SCENES_VIT),
        detector_row(tmp_path, images, EFFICIENTNET),
        refinement_row(images, SCENES_VIT),
        refinement_row(images, EFFICIENTNET),
    ]
    print(f"\n{table(rows)}")
    assert [row.what for row in rows if row.ratio < row.least] == []
