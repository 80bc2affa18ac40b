"""What can be chosen of CAD; the defaults are the paper's (Detectron2's R50-C4)."""

from __future__ import annotations

from dataclasses import dataclass

from ..options import option

TORCHVISION_BETA = 1 / 9


@dataclass(frozen=True)
class CadSpec:
    """All that is needed to build CAD but its weights; travels in the weights file's metadata.

    Level 4 of a ResNet is C4, and its first two levels are its stem and res2; see
    `trunk.build_levels`.
    """

    network: str = option("resnet50", "a network of timm's")
    map_level: int = option(4, "that regions are cut from; the next is the head", min=1, max=4)
    frozen_levels: int = option(2, "first levels that stay as they are", min=0, max=4)
    roi_size: int = option(14, "cells to a side of a region", min=1)
    anchor_sizes: tuple[int, ...] = option(
        (32, 64, 128, 256, 512), "square roots of areas in the resized image", unit="px", min=1
    )
    anchor_ratios: tuple[float, ...] = option((0.5, 1.0, 2.0), "heights over widths", above=0)
    max_size: int = option(1333, "longest side of a resized image", unit="px", min=1)


@dataclass(frozen=True)
class CadTraining:
    """What is free in training CAD."""

    train_sizes: tuple[int, ...] = option(
        tuple(range(480, 801, 32)), "shortest side, drawn from these", unit="px", min=1
    )
    train_proposals: tuple[int, int] = option(
        (12000, 2000),
        "before and after non-maximum suppression",
        min=1,
        metavar=("BEFORE", "AFTER"),
    )
    rpn_batch: int = option(256, "of an image to learn from", unit="anchors", min=1)
    roi_batch: int = option(512, "of an image to learn from", unit="regions", min=1)
    smooth_l1_beta: float = option(
        TORCHVISION_BETA,
        "below which the box losses are squares; 0 in Detectron2",
        min=0,
        later=True,
    )


@dataclass(frozen=True)
class CadPrediction:
    """What is free in CAD's predictions."""

    test_size: int = option(800, "shortest side of a resized image", unit="px", min=1)
    test_proposals: tuple[int, int] = option(
        (6000, 1000),
        "before and after non-maximum suppression",
        min=1,
        metavar=("BEFORE", "AFTER"),
    )
    score_threshold: float = option(0.01, "below which boxes are dropped", min=0, max=1)
    nms_threshold: float = option(
        0.4, "IoU above which the box of lower score is dropped", min=0, max=1
    )
    max_boxes: int = option(100, "of an image", unit="boxes", min=1)
