"""What h reads in grounding: heatmaps of g, with the boxes found in each of them as targets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ..data.box_ops import normalize_boxes
from ..data.index import Index
from ..detector.inputs_h5 import DetectorInputs
from ..errors import InputError
from ..storage.boxes_json import box_xyxy, read_boxes
from .contours import ContourOptions, heatmap_boxes
from .heatmaps_h5 import HeatmapFile, is_heatmaps


class HeatmapInputs(HeatmapFile):
    """A heatmaps file as `DetectorInputs`: each pixel a patch of one channel.

    Attributes:
        parts: `mask`.
        grid: (H, W).
        image_size: H.
        shape: (1, H·W, 1).
    """

    parts = "mask"

    def __init__(self, path: Path | str) -> None:
        super().__init__(path)
        self.grid = (int(self.size[0]), int(self.size[1]))
        self.image_size = self.grid[0]
        self.shape = (1, self.grid[0] * self.grid[1], 1)

    def batch(self, positions: Tensor) -> Tensor:
        """Maps at these positions, in their order, repeats allowed: (B, 1, H·W, 1) float32."""
        return torch.from_numpy(self.read(positions.numpy())).flatten(1)[:, None, :, None]


def open_inputs(path: Path | str) -> DetectorInputs | HeatmapInputs:
    """What h reads, whichever of the two kinds of files it is."""
    return HeatmapInputs(path) if is_heatmaps(path) else DetectorInputs(path)


def load_phrase_targets(
    path: Path | str, index: Index, rows: Sequence[tuple[int, int]]
) -> tuple[Tensor, Tensor]:
    """All boxes of each phrase that has any.

    Args:
        path: boxes whose records carry `phrase_id`.
        rows: (image_id, phrase_id) of the heatmaps.

    Returns:
        positions (m,) int64 into `rows`, ascending, and boxes (m, T, 4) float32 cxcywh in
        fractions of the image; rows of NaN fill up phrases with fewer than T.

    Raises:
        InputError: no phrase has a box, or there are boxes of phrases not in `rows`.
    """
    boxes: dict[tuple[int, int], list[list[float]]] = {}
    for record in read_boxes(path):
        if type(record.get("phrase_id")) is not int:
            raise InputError(f"{path}: its boxes have no phrase_id; make them from heatmaps")
        key = (record["image_id"], record["phrase_id"])
        boxes.setdefault(key, []).append(box_xyxy(record))
    if set(boxes) - set(rows):
        raise InputError(f"{path}: boxes of phrases that the heatmaps do not have; make it again")
    positions = [i for i, row in enumerate(rows) if row in boxes]
    if not positions:
        raise InputError(f"{path}: holds no boxes to learn from")
    images = {image["id"]: image for image in index.images}
    targets = []
    for i in positions:
        size = index.image_size(images[rows[i][0]])
        targets.append(normalize_boxes(torch.tensor(boxes[rows[i]]), size))
    return torch.tensor(positions), pad_sequence(targets, True, padding_value=torch.nan)


def map_targets(maps: Tensor, instead: list[Tensor], options: ContourOptions) -> list[Tensor]:
    """The boxes that are found in maps.

    Args:
        maps: (B, H, W).
        instead: the targets of maps in which there is no box, (n_i, 4) cxcywh in fractions.

    Returns:
        (n_i, 4) float32 cxcywh in fractions for each map, on its device.
    """
    size = maps.shape[-2:]
    found = [heatmap_boxes(heatmap, options)[0] for heatmap in maps.cpu().numpy()]
    return [
        normalize_boxes(torch.from_numpy(boxes).to(maps.device), size) if len(boxes) else given
        for boxes, given in zip(found, instead, strict=True)
    ]
