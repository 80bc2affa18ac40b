"""How large the work of gpu_throughput.py is: the paper's sizes, or such that a CPU can try it."""

from __future__ import annotations

from dataclasses import dataclass

from bbr.cad.options import CadSpec, CadTraining
from bbr.detector.networks import DetectorSpec
from bbr.grounding.network import LITE0, GrounderSpec


@dataclass(frozen=True)
class Scale:
    """Sizes of everything.

    Attributes:
        matmul, copied: side of the matrices and bytes by which the device's rates are measured.
        repeats: times that are measured, of which the median counts.
        architecture, arguments: f.
        photograph: height and width of the synthetic photographs.
        files: JPEG files that are written; `listed`: images of the index, which names files again.
        extract_batch: as extract_features.py has it.
        image_size: of h's and f^h's inputs; `batch`: their images to a step.
        detector: h on q, k and v.
        cad, cad_training, cad_batch: CAD; its resized side is the paper's largest.
        grounder, clip, heatmap_detector: g, open_clip's name and h on heatmaps.
        grids: of TokenCut's and LOST's features; `dim`: their channels; `heuristic_batch`: as
            pseudo_boxes.py has it.
        dense_seconds: what scipy may take in all.
    """

    matmul: int
    copied: int
    repeats: int
    architecture: str
    arguments: dict[str, int]
    photograph: tuple[int, int]
    files: int
    listed: int
    extract_batch: int
    image_size: int
    batch: int
    detector: DetectorSpec
    cad: CadSpec
    cad_training: CadTraining
    cad_batch: int
    grounder: GrounderSpec
    clip: str
    heatmap_detector: DetectorSpec
    grids: tuple[tuple[int, int], ...]
    dim: int
    heuristic_batch: int
    dense_seconds: float


PAPER = Scale(
    matmul=8192,
    copied=2**31,
    repeats=5,
    architecture="vit_small_patch16_224",
    arguments={},
    photograph=(375, 500),
    files=48,
    listed=1536,
    extract_batch=32,
    image_size=304,
    batch=36,
    detector=DetectorSpec("resnet50", "qkv_image", 3),
    cad=CadSpec(),
    cad_training=CadTraining(train_sizes=(800,)),
    cad_batch=16,
    grounder=GrounderSpec(),
    clip="ViT-B-32-quickgelu",
    heatmap_detector=DetectorSpec("vgg16", "spatial", 1),
    grids=((19, 19), (24, 32), (32, 32), (40, 50), (64, 64)),
    dim=384,
    heuristic_batch=32,
    dense_seconds=10.0,
)
TINY = Scale(
    matmul=256,
    copied=2**20,
    repeats=1,
    architecture="vit_tiny_patch16_224",
    arguments={"embed_dim": 32, "depth": 2, "num_heads": 2, "img_size": 64},
    photograph=(48, 64),
    files=3,
    listed=6,
    extract_batch=2,
    image_size=64,
    batch=2,
    detector=DetectorSpec("attention", "spatial", 3 * 32, width=8),
    cad=CadSpec("tf_efficientnet_lite0", 2, 1, 4, (16, 32)),
    cad_training=CadTraining((64,), (50, 8), 16, 4),
    cad_batch=2,
    grounder=GrounderSpec(LITE0, text_dim=16, width=8),
    clip="",
    heatmap_detector=DetectorSpec("attention", "spatial", 1, width=8, cell=8),
    grids=((4, 4), (14, 14)),
    dim=384,
    heuristic_batch=2,
    dense_seconds=1.0,
)
