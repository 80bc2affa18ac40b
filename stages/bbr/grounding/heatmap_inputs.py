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
from ..detector.targets import TargetRules
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
    path: Path | str,
    index: Index,
    rows: Sequence[tuple[int, int]],
    rules: TargetRules | None = None,
    k: int = 0,
) -> tuple[Tensor, Tensor]:
    """The boxes of each phrase that are targets, of each that has any or of all: see `rules`.

    Args:
        path: boxes whose records carry `phrase_id`.
        rows: (image_id, phrase_id) of the heatmaps.
        rules: which boxes; None takes all.
        k: how many h predicts.

    Returns:
        positions (m,) int64 into `rows`, ascending, and boxes (m, T, 4) float32 cxcywh in
        fractions of the image, best first; rows of NaN fill up phrases with fewer than T.

    Raises:
        InputError: no phrase has a box, or there are boxes of phrases not in `rows`.
    """
    rules = rules or TargetRules()
    boxes = _boxes_of_phrases(path)
    if set(boxes) - set(rows):
        raise InputError(f"{path}: boxes of phrases that the heatmaps do not have; make it again")
    images = {image["id"]: image for image in index.images}
    targets = {}
    for i, row in enumerate(rows):
        own = torch.tensor(boxes.get(row, [])).view(-1, 4)
        own = rules.select(normalize_boxes(own, index.image_size(images[row[0]])), k)
        if len(own) or rules.empty_maps == "no_object":
            targets[i] = own
    if not any(map(len, targets.values())):
        raise InputError(f"{path}: holds no boxes to learn from")
    positions = torch.tensor(list(targets))
    return positions, pad_sequence(list(targets.values()), True, padding_value=torch.nan)


def _boxes_of_phrases(path: Path | str) -> dict[tuple[int, int], list[list[float]]]:
    """The `xyxy` boxes of each (image_id, phrase_id), as in the file: best first."""
    boxes: dict[tuple[int, int], list[list[float]]] = {}
    for record in read_boxes(path):
        if type(record.get("phrase_id")) is not int:
            raise InputError(f"{path}: its boxes have no phrase_id; make them from heatmaps")
        key = (record["image_id"], record["phrase_id"])
        boxes.setdefault(key, []).append(box_xyxy(record))
    return boxes


def map_targets(
    maps: Tensor,
    instead: list[Tensor],
    options: ContourOptions,
    rules: TargetRules | None = None,
    k: int = 0,
) -> list[Tensor]:
    """The boxes that are found in maps, as far as they are targets.

    Args:
        maps: (B, H, W).
        instead: the targets of maps in which there is no box, (n_i, 4) cxcywh in fractions; of no
            use where `rules` let maps be empty.
        rules: which boxes; None takes all.
        k: how many h predicts.

    Returns:
        (n_i, 4) float32 cxcywh in fractions for each map, on its device.
    """
    size = maps.shape[-2:]
    rules = rules or TargetRules()
    found = [heatmap_boxes(heatmap, options)[0] for heatmap in maps.cpu().numpy()]
    targets = [
        rules.select(normalize_boxes(torch.from_numpy(boxes).to(maps.device), size), k)
        for boxes in found
    ]
    if rules.empty_maps == "no_object":
        return targets
    return [own if len(own) else given for own, given in zip(targets, instead, strict=True)]
