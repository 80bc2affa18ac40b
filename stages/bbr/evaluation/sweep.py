"""CorLoc of boxes by many settings at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..data.index import Index
from ..errors import InputError
from ..storage.swept_boxes_h5 import SweptBoxes
from .corloc import IOU_THRESHOLD, best_ious
from .statistics import bootstrap_interval


@dataclass(frozen=True)
class Swept:
    """CorLoc by one setting.

    Attributes:
        dataset, backbone: as their labels say.
        method, facet, block, options: of the setting; options in words.
        images: how many it is of.
        score: CorLoc in percent.
        interval: its 95 % interval over images.
    """

    dataset: str
    backbone: str
    method: str
    facet: str
    block: int
    options: str
    images: int
    score: float
    interval: tuple[float, float]


def swept_corloc(index: Index, swept: SweptBoxes, path: Path) -> list[Swept]:
    """CorLoc by each setting, in their order.

    Args:
        path: of the boxes, for messages.

    Raises:
        InputError: the index has no boxes, or lacks images of the file; or a label is missing.
    """
    truth = {image["id"]: index.boxes_xyxy(image["id"]) for image in index.images}
    if not any(map(len, truth.values())):
        raise InputError(f"{index.path}: has no boxes to compare with; index it with annotations")
    ids = swept.image_id.tolist()
    unknown = sorted(set(ids) - truth.keys())
    if unknown:
        raise InputError(f"{path}: has image {unknown[0]}, which {index.path} does not list")
    absent = [label for label in ("dataset", "backbone") if label not in swept.labels]
    if absent:
        raise InputError(f"{path}: has no label {absent[0]}; sweep with --label {absent[0]}=...")
    dataset, backbone = (str(swept.labels[name]) for name in ("dataset", "backbone"))
    found = []
    for setting, boxes in zip(swept.settings, swept.boxes.transpose(1, 0, 2), strict=True):
        correct = best_ious(dict(zip(ids, boxes, strict=True)), truth) >= IOU_THRESHOLD
        low, high = bootstrap_interval(correct)
        score, interval = 100 * float(np.mean(correct)), (100 * low, 100 * high)
        found.append(
            Swept(dataset, backbone, **setting, images=len(truth), score=score, interval=interval)
        )
    return found
