"""What the readers of phrase datasets collect: an annotation for each box, and what has none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class PhraseAnnotations:
    """Annotations with phrases, numbered as they come.

    Attributes:
        annotations: COCO annotations with `phrase_id` and `phrases`.
        left_out: [{"image_id", "phrase_id", "reason"}], phrases without a usable box.
    """

    def __init__(self) -> None:
        self.annotations: list[dict[str, Any]] = []
        self.left_out: list[dict[str, Any]] = []

    def add(
        self,
        image_id: int,
        phrase_id: int,
        phrases: Sequence[str],
        boxes: Sequence[Sequence[float]],
        *,
        category_id: int = 1,
        size: tuple[int, int] | None = None,
        without_box: str = "has no box",
    ) -> None:
        """Add a phrase id of an image.

        Args:
            phrases: its words; empty ones are dropped. Repeats stay: they have more weight in the
                mean over the sentences of a phrase id.
            boxes: `xywh` in pixels; those that are empty, also after clipping, are left out.
            size: (height, width) that boxes are clipped to; None leaves them.
            without_box: the reason to note where `boxes` is empty.
        """
        texts = [text for text in (" ".join(phrase.split()) for phrase in phrases) if text]
        usable = [box for box in (_clipped(box, size) for box in boxes) if box[2] > 0 < box[3]]
        reason = without_box if not boxes else "its boxes are empty or outside the image"
        if not texts:
            reason = "has no words"
        if not texts or not usable:
            self.left_out.append({"image_id": image_id, "phrase_id": phrase_id, "reason": reason})
            return
        for x, y, width, height in usable:
            self.annotations.append(
                {
                    "id": len(self.annotations) + 1,
                    "image_id": image_id,
                    "bbox": [x, y, width, height],
                    "area": width * height,
                    "category_id": category_id,
                    "iscrowd": 0,
                    "phrase_id": phrase_id,
                    "phrases": texts,
                }
            )


def _clipped(box: Sequence[float], size: tuple[int, int] | None) -> list[float]:
    x, y, width, height = box
    if size is None:
        return [x, y, width, height]
    left, top = max(x, 0), max(y, 0)
    return [left, top, min(x + width, size[1]) - left, min(y + height, size[0]) - top]
