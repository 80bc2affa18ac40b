"""Pseudo-boxes as training targets of h: one box per image, in fractions of the image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..data.box_ops import normalize_boxes
from ..data.index import Index
from ..errors import InputError
from ..options import option
from ..storage.boxes_json import box_xyxy, read_boxes, require_known_images, top_boxes

MORE_THAN_K = ("all", "best")
EMPTY_MAPS = ("skip", "no_object")


@dataclass(frozen=True)
class TargetRules:
    """Which boxes of a heatmap are targets (docs/protocol.md#further-differences)."""

    more_than_k: str = option(
        "all",
        "of more boxes in a heatmap than h predicts: all, of which it is matched with k, or the k"
        " of highest score",
        choices=MORE_THAN_K,
        later=True,
    )
    min_target_side: float = option(
        0.0,
        "of a heatmap's box, as a share of the map's side; others are no target",
        min=0,
        below=1,
        later=True,
    )
    empty_maps: str = option(
        "skip",
        "heatmaps without a target: left out (of a current g^h, g's boxes stand in for them), or"
        " to be answered by no object",
        choices=EMPTY_MAPS,
        later=True,
    )

    def select(self, boxes: Tensor, k: int) -> Tensor:
        """Those of (n, 4) boxes cxcywh in fractions, best first, that are targets."""
        kept = boxes[:k] if self.more_than_k == "best" else boxes
        return kept[(kept[:, 2:] >= self.min_target_side).all(dim=1)]


def load_targets(
    path: Path | str, index: Index, share: float = 1.0, min_images: int = 1
) -> tuple[Tensor, Tensor]:
    """The best-scoring box of each image of the index that has one.

    Args:
        share: of these images, the ones whose boxes have the highest scores: with the heuristics'
            scores, those whose object stands out. Of equal scores the first images count.
        min_images: so many images have to have a box.

    Returns:
        positions (m,) int64 into `index.images`, ascending, and boxes (m, 4) float32 cxcywh in
        fractions of the image.

    Raises:
        InputError: too few images have a box, or there are boxes of images not in the index.
    """
    records = read_boxes(path)
    require_known_images(records, {image["id"] for image in index.images}, path)
    best = top_boxes(records)
    positions = [i for i, image in enumerate(index.images) if image["id"] in best]
    if not positions:
        raise InputError(f"{path}: holds no boxes to learn from")
    if len(positions) < min_images:
        raise InputError(
            f"{path}: has boxes of {len(positions)} images, and h learns nothing that holds from"
            f" fewer than {min_images}; take f's boxes as they are (without refine=true)"
        )
    scores = [best[index.images[i]["id"]]["score"] for i in positions]
    first = sorted(range(len(positions)), key=lambda n: -scores[n])
    kept = first[: max(1, round(share * len(positions)))]
    positions = sorted(positions[n] for n in kept)
    chosen = [index.images[i] for i in positions]
    boxes = torch.tensor([box_xyxy(best[image["id"]]) for image in chosen])
    sizes = torch.tensor([index.image_size(image) for image in chosen])
    return torch.tensor(positions), normalize_boxes(boxes, sizes.float())


def as_target_list(boxes: Tensor) -> list[Tensor]:
    """Targets as the list of B tensors (n_i, 4) that `set_loss` takes.

    Args:
        boxes: (B, 4), one target an image; or (B, T, 4), where rows of NaN fill up.
    """
    rows = boxes if boxes.ndim == 3 else boxes.unsqueeze(1)
    kept = ~rows.isnan().any(dim=2)
    # Not image by image: a GPU would be waited for each time.
    return list(rows[kept].split(kept.sum(dim=1).tolist()))
