"""What can be chosen of CAD; the defaults are the paper's (Detectron2's R50-C4)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CadSpec:
    """All that is needed to build CAD but its weights; travels in the weights file's metadata.

    Attributes:
        network: see `trunk.build_levels`.
        map_level: the level that proposals are made on and regions are cut from: 4 for C4. The
            next level is the head.
        frozen_levels: the first levels, which stay as they are: 2 for stem and res2.
        roi_size: cells to a side of a cut region.
        anchor_sizes: square roots of the anchors' areas in pixels of the resized image.
        anchor_ratios: their heights over their widths.
        max_size: the longer side of a resized image is at most this.
    """

    network: str = "resnet50"
    map_level: int = 4
    frozen_levels: int = 2
    roi_size: int = 14
    anchor_sizes: tuple[int, ...] = (32, 64, 128, 256, 512)
    anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    max_size: int = 1333


@dataclass(frozen=True)
class CadTraining:
    """What is free in training.

    Attributes:
        train_sizes: the shorter side of a resized image is one of these, drawn anew each time.
        train_proposals: how many proposals go into NMS, and how many come out of it at most.
        rpn_batch: anchors of an image that the proposal network learns from.
        roi_batch: regions of an image that the head learns from.
    """

    train_sizes: tuple[int, ...] = tuple(range(480, 801, 32))
    train_proposals: tuple[int, int] = (12000, 2000)
    rpn_batch: int = 256
    roi_batch: int = 512


@dataclass(frozen=True)
class CadPrediction:
    """What is free in prediction.

    Attributes:
        test_size: the shorter side of a resized image.
        test_proposals: how many proposals go into NMS, and how many come out of it at most.
        score_threshold: boxes with a lower score are dropped.
        nms_threshold: of two boxes whose IoU is higher, the one with the lower score is dropped.
        max_boxes: of an image.
    """

    test_size: int = 800
    test_proposals: tuple[int, int] = (6000, 1000)
    score_threshold: float = 0.01
    nms_threshold: float = 0.4
    max_boxes: int = 100
