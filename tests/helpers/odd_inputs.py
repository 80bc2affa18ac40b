"""Small datasets and folders as people have them, and what the index made of them says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import index_dataset
import pytest
from PIL import Image

from bbr.data.index import Index, load_index


def photo(path: Path, width: int = 64, height: int = 48, **saved: Any) -> Path:
    """A photograph, and its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), "green").save(path, **saved)
    return path


def turned(path: Path, orientation: int, width: int = 64, height: int = 48) -> Path:
    """A photograph stored with this size, which viewers turn by EXIF's orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return photo(path, width, height, exif=exif)


def indexed(output: Path, layout: str, source: Path, *options: Any) -> Index:
    """The index of a dataset, by the stage's command line."""
    arguments = ["--format", layout, "--source", source, *options, "--output", output]
    assert index_dataset.main([str(argument) for argument in arguments]) == 0
    return load_index(output)


def refused(capsys: pytest.CaptureFixture[str], output: Path, layout: str, *options: Any) -> str:
    """The one line by which the stage refuses a dataset."""
    arguments = ["--format", layout, *options, "--output", output]
    assert index_dataset.main([str(argument) for argument in arguments]) == 1
    assert not output.exists()
    lines = capsys.readouterr().err.strip().splitlines()
    (message,) = [line for line in lines if ": error: " in line]
    return message.partition(": error: ")[2]


def voc_object(sides: tuple[Any, Any, Any, Any] = (10, 10, 40, 40), more: str = "") -> str:
    """A cat."""
    box = "".join(
        f"<{side}>{value}</{side}>"
        for side, value in zip(("xmin", "ymin", "xmax", "ymax"), sides, strict=True)
    )
    return f"<object><name>cat</name>{more}<bndbox>{box}</bndbox></object>"


def voc(
    root: Path,
    images: dict[str, str],
    listed: bytes | None = None,
    size: tuple[Any, Any] = (64, 48),
) -> Path:
    """A dataset in VOC's layout.

    Args:
        images: file names below JPEGImages to the text of their annotation's `filename`.
        listed: the list's bytes; the stems, one a line, if None.
        size: that annotations state.
    """
    for name, stated in images.items():
        photo(root / "JPEGImages" / name)
        xml = (root / "Annotations" / name).with_suffix(".xml")
        xml.parent.mkdir(parents=True, exist_ok=True)
        xml.write_text(
            f"<annotation><filename>{stated}</filename><size><width>{size[0]}</width><height>"
            f"{size[1]}</height></size>{voc_object()}</annotation>",
            encoding="utf-8",
        )
    stems = "".join(f"{Path(name).with_suffix('')}\n" for name in images)
    path = root / "ImageSets/Main/trainval.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(stems.encode() if listed is None else listed)
    return root


def coco(path: Path, images: list[dict[str, Any]], annotations: list[dict[str, Any]]) -> Path:
    """A COCO file; images are numbered from 1, and annotations are of category 7."""
    content = {
        "images": [{"id": i, "width": 64, "height": 48, **im} for i, im in enumerate(images, 1)],
        "annotations": [
            {"id": i, "category_id": 7, "bbox": [10, 10, 30, 30], "iscrowd": 0, **annotation}
            for i, annotation in enumerate(annotations, 1)
        ],
        "categories": [{"id": 7, "name": "thing"}],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path
