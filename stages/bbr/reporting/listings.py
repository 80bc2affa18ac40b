"""What was found for phrases and captions, as lists of plain objects for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..captioning.descriptions import located_captions
from ..data.index import Index
from ..data.phrases import index_phrases
from ..evaluation.phrase_metrics import Target, heatmap_points
from ..grounding.heatmaps_h5 import HeatmapFile


def list_captions(dataset: Index, boxes: Path) -> list[dict[str, Any]]:
    """Each box of each caption, image by image: a COCO result with words.

    Raises:
        InputError: the boxes are not of this index.
    """
    return [
        {
            "image_id": image["id"],
            "file_name": image["file_name"],
            "caption_id": located.unit[1],
            "caption": located.caption,
            **{key: record[key] for key in ("category_id", "bbox", "score")},
            "regions": len(located.regions),
        }
        for image, captions in located_captions(dataset, boxes)
        for located in captions
        for record in located.boxes
    ]


def list_phrases(dataset: Index, boxes: Path, heatmaps: Path) -> list[dict[str, Any]]:
    """Each phrase, image by image, with the highest point of its heatmap and its boxes, in pixels.

    Raises:
        InputError: the boxes or the heatmaps are not of this index.
    """
    sizes = {image["id"]: dataset.image_size(image) for image in dataset.images}
    targets = [Target(phrase, sizes[phrase.image_id]) for phrase in index_phrases(dataset)]
    with HeatmapFile(heatmaps) as file:
        points = heatmap_points(targets, file)
    return [
        {
            "file_name": image["file_name"],
            "phrase": located.caption,
            "point": list(points[located.unit]),
            "boxes": [{key: record[key] for key in ("bbox", "score")} for record in located.boxes],
        }
        for image, phrases in located_captions(dataset, boxes)
        for located in phrases
    ]
