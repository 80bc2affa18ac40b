"""segment_boxes.py on its command line, by a tiny random SAM."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import evaluate
import numpy as np
import pytest
import render_scenes
import segment_boxes
import torch
from small_runs import command, make_boxes
from transformers import SamImageProcessorPil, SamModel, SamProcessor
from upper_bound_data import write_owlv2, write_sam

from bbr.data.images import read_indexed
from bbr.data.index import load_index
from bbr.storage.boxes_json import box_xyxy, read_boxes
from bbr.storage.rle import decode_mask


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scenes with masks, boxes, and SAM; tests must not change it."""
    folder = tmp_path_factory.mktemp("sam")
    scenes = command(preset="scenes07", count=3, size=64, seed=1, output=folder / "index.json")
    assert render_scenes.main([*scenes, "--masks"]) == 0
    make_boxes(folder / "index.json", folder / "boxes.json")
    first, *others = json.loads((folder / "boxes.json").read_text())
    more = {**first, "bbox": [8, 4, 40, 30], "score": 0.5, "phrase_id": 7}
    # Boxes of one image need not stand together, and have their order.
    (folder / "boxes.json").write_text(json.dumps([first, *others, more]))
    write_sam(folder / "sam")
    assert segment(folder, folder / "masks.json") == 0
    return folder


def arguments(folder: Path, weights: str = "sam") -> list[str]:
    files = command(index=folder / "index.json", boxes=folder / "boxes.json")
    return [*files, *command(weights=folder / weights, device="cpu", threads=1)]


def segment(folder: Path, output: Path, *more: object) -> int:
    return segment_boxes.main([*arguments(folder), *map(str, more), "--output", str(output)])


def test_boxes_stay_and_have_the_masks_of_transformers_used_by_hand(made: Path) -> None:
    given, records = read_boxes(made / "boxes.json"), read_boxes(made / "masks.json")
    kept = [{k: v for k, v in r.items() if k != "segmentation"} for r in records]
    assert kept == [{**record, "category_id": 1} for record in given]
    index = load_index(made / "index.json")
    images = {image["id"]: image for image in index.images}
    model = SamModel.from_pretrained(made / "sam").eval()
    processor = SamProcessor(SamImageProcessorPil.from_pretrained(made / "sam"))
    shares = []
    for record in records:
        image = images[record["image_id"]]
        pixels = read_indexed(index.image_path(image), image)
        inputs = processor(images=pixels, input_boxes=[[box_xyxy(record)]], return_tensors="pt").to(
            torch.float32
        )
        with torch.no_grad():
            outputs = model(**inputs, multimask_output=False)
        (expected,) = processor.image_processor.post_process_masks(
            outputs.pred_masks, inputs["original_sizes"].int(), inputs["reshaped_input_sizes"].int()
        )
        mask = decode_mask(record["segmentation"])
        assert mask.shape == (64, 64)
        # Boxes that are seen together, or alone: a pixel may lie on the other side by rounding.
        assert (mask != expected[0, 0].numpy()).mean() < 0.002
        shares.append(mask.mean())
    assert 0 < min(shares) < max(shares) < 1


def test_the_same_bytes_twice(made: Path, tmp_path: Path) -> None:
    assert segment(made, tmp_path / "again.json") == 0
    assert (tmp_path / "again.json").read_bytes() == (made / "masks.json").read_bytes()
    assert segment(made, tmp_path / "one.json", "--batch-size", 1) == 0
    for one, many in zip(
        read_boxes(tmp_path / "one.json"), read_boxes(made / "masks.json"), strict=True
    ):
        differ = decode_mask(one["segmentation"]) != decode_mask(many["segmentation"])
        assert np.mean(differ) < 0.002


def test_masks_are_scored_as_any(made: Path, tmp_path: Path) -> None:
    for task in ("mask_iou", "mask_ap"):
        options = command(task=task, index=made / "index.json", boxes=made / "masks.json")
        assert evaluate.main([*options, "--output", str(tmp_path / f"{task}.json")]) == 0


def test_another_folder_and_boxes_of_other_images(
    made: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    output = tmp_path / "out" / "masks.json"
    write_owlv2(tmp_path / "owlv2")
    given = arguments(made)
    given[given.index(str(made / "sam"))] = str(tmp_path / "owlv2")
    message = refused(segment_boxes, *given, output=output)
    assert "is of 'owlv2', not of sam; name that network's folder" in message
    (tmp_path / "boxes.json").write_text('[{"image_id": 99, "bbox": [0, 0, 1, 1], "score": 1}]')
    given = arguments(made)
    given[given.index(str(made / "boxes.json"))] = str(tmp_path / "boxes.json")
    assert "boxes of 1 image ids" in refused(segment_boxes, *given, output=output)
