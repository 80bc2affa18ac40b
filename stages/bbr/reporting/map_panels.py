"""Columns of a figure of maps: how they are named on a command line, and their cells from files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..backbones.features_h5 import FeatureFile
from ..data.index import Index
from ..errors import InputError
from ..heuristics.registry import heuristic_options
from ..heuristics.saliency import method_maps
from ..options import described
from ..storage.boxes_json import box_xyxy, read_boxes, require_known_images, top_boxes
from ..storage.metrics_json import parse_labels
from .map_figures import Cell, Column

REQUIRED = ("title", "network", "method", "features", "boxes")


@dataclass(frozen=True)
class Panel:
    """A column of the figure and where it comes from."""

    column: Column
    method: str
    options: Any
    features: list[Path]
    boxes: Path
    cad: Path | None


def parse_panel(words: Sequence[str]) -> Panel:
    """`title=... network=f|f^h method=... features=... boxes=...`, in any order.

    Further keys: `cad`, boxes; `shards`, how many files `features` with `{shard}` stands for; and
    the options of the method.

    Raises:
        InputError: a key is missing or unknown, or a value is not of its kind.
    """
    given = parse_labels(words, "--panel")
    missing = [key for key in REQUIRED if key not in given]
    if missing:
        raise InputError(f"--panel: {missing[0]} is missing; it needs {', '.join(REQUIRED)}")
    title, network, method, features, boxes = (given.pop(key) for key in REQUIRED)
    cad, shards = given.pop("cad", None), given.pop("shards", "1")
    if not shards.isdecimal():
        raise InputError(f"--panel: shards is {shards}, not a number")
    return Panel(
        column=Column(title, network),
        method=method,
        options=heuristic_options(method, _typed(method, given)),
        features=[Path(features.replace("{shard}", str(i))) for i in range(int(shards))],
        boxes=Path(boxes),
        cad=None if cad is None else Path(cad),
    )


def _typed(method: str, texts: dict[str, str]) -> dict[str, Any]:
    """Options of a method as the types that they are said to have."""
    kinds = {each.name: each.kind for each in described(type(heuristic_options(method, {})))}
    typed: dict[str, Any] = {}
    for name, text in texts.items():
        kind = kinds.get(name, str)
        try:
            typed[name] = text == "True" if kind is bool else kind(text)
        except ValueError:
            raise InputError(f"--panel: {name} is {text}, not of type {kind.__name__}") from None
    return typed


def panel_cells(panel: Panel, ids: Sequence[int], dataset: Index) -> dict[int, Cell]:
    """The panel's cell of each of these images that it has features of, by image id.

    Raises:
        InputError: its files do not belong together or to the dataset.
    """
    proposed = _read_top(panel.boxes, dataset)
    found_by_cad = {} if panel.cad is None else _read_top(panel.cad, dataset)
    cells = {}
    for path in panel.features:
        with FeatureFile(path) as file:
            positions = {image: i for i, image in enumerate(file.image_id.tolist())}
            for image in (image for image in ids if image in positions):
                at = positions[image]
                (batch,) = file.batches(1, among=range(at, at + 1))
                cells[image] = Cell(
                    map=method_maps(batch, panel.method, panel.options)[0],
                    heuristic=proposed.get(image),
                    cad=found_by_cad.get(image),
                )
    return cells


def _read_top(path: Path, dataset: Index) -> dict[int, list[float]]:
    records = read_boxes(path)
    require_known_images(records, {image["id"] for image in dataset.images}, path)
    return {image: box_xyxy(record) for image, record in top_boxes(records).items()}
