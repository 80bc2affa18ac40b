"""Render a dataset of scenes: shaded, textured objects on cluttered photographs.

Writes the images into `images/` beside --output, and at last --output itself: a COCO-format index
with the objects' boxes and categories, and with phrases for them or captions of whole images.
`bbr/scenes/presets.py` holds each preset's statistics. Nothing is downloaded.

    python stages/render_scenes.py --preset scenes07 --count 500 --seed 0 \\
        --output results/scenes07/index.json
"""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import bbr.command_line.fast_import

import cv2
import numpy as np

from bbr.command_line import cli
from bbr.data.images import checksum
from bbr.errors import InputError
from bbr.options import option, recorded
from bbr.scenes.annotations import annotate
from bbr.scenes.categories import CATEGORY_IDS
from bbr.scenes.compose import render_scene, scene_rng
from bbr.scenes.presets import PRESETS, SceneStyle
from bbr.storage.atomic import only_user_of
from bbr.storage.json_files import write_json
from bbr.storage.provenance import provenance

_MIN_SIZE, _MAX_SIZE = 32, 1024
_FOLDER = "images"
_MARK = ".rendered-scenes"  # tells our image folder from one that a user keeps beside the index


@dataclass(frozen=True)
class Files:
    """Files read and written."""

    output: Path = option(help="the index, index.json")


@dataclass(frozen=True)
class Scenes:
    """Which scenes."""

    preset: str = option(help=f"one of {', '.join(PRESETS)}")
    count: int = option(help="how many", unit="scenes", min=1)
    seed: int = option(0, "of the whole dataset", min=0)
    size: int = option(128, "side of the images", unit="px", min=_MIN_SIZE, max=_MAX_SIZE)
    masks: bool = option(False, "each object's visible pixels, as COCO's run lengths", later=True)


def run(*, files: Files, scenes: Scenes) -> None:
    """Render scenes 1..count of a preset.

    Scene i depends on preset, seed, size and i only: a longer dataset begins with a shorter one.

    Raises:
        InputError: an option is out of range, or `output` cannot be written there.
    """
    style = _style(scenes)
    files.output.parent.mkdir(parents=True, exist_ok=True)
    # Two runs would render into one folder.
    with only_user_of(files.output.parent):
        _render(style, scenes, files.output)


def _render(style: SceneStyle, scenes: Scenes, output: Path) -> None:
    folder, partial, stale = _prepare_folders(output)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    phrase_id = 1
    for number in cli.progress(range(1, scenes.count + 1), scenes.count, "scenes"):
        scene = render_scene(style, scene_rng(style, scenes.seed, number))
        name = f"{number:06d}.jpg"
        crc32 = _write_jpeg(partial / name, scene.image)
        captions = {"captions": scene.captions} if scene.captions else {}
        entry = {"id": number, "file_name": name, "width": style.size, "height": style.size}
        images.append({**entry, "crc32": crc32, **captions})
        annotations += annotate(scene, number, phrase_id, scenes.masks)
        phrase_id += len(scene.mentions)
    annotations = [{"id": i, **annotation} for i, annotation in enumerate(annotations, 1)]
    os.sync()  # once: syncing each small file by itself would take longer than rendering it
    # From here to the last line there is no index, hence no index beside images not its own.
    output.unlink(missing_ok=True)
    if folder.exists():
        folder.rename(stale)
    partial.rename(folder)
    shutil.rmtree(stale, ignore_errors=True)
    photographs = f"scikit-image {version('scikit-image')}"
    asked = {k: v for k, v in recorded(scenes).items() if k not in ("preset", "size")}  # of style
    parameters = {**asked, "style": asdict(style), "photographs": photographs}
    record = provenance("render_scenes", parameters, inputs={})
    content = {
        "info": {"image_root": _FOLDER, "provenance": record},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": i, "name": name} for name, i in CATEGORY_IDS.items()],
    }
    write_json(output, content)


def _style(scenes: Scenes) -> SceneStyle:
    """The preset at the wanted size, once every option is found valid."""
    if scenes.preset not in PRESETS:
        raise InputError(f"--preset {scenes.preset}: unknown; choose one of {', '.join(PRESETS)}")
    return replace(PRESETS[scenes.preset], size=scenes.size)


def _prepare_folders(output: Path) -> tuple[Path, Path, Path]:
    """The image folder beside `output`; an empty one to render into; where an old one goes."""
    if output.is_dir():
        raise InputError(f"--output {output}: is a folder; name a .json file in it")
    folder = output.parent / _FOLDER
    if folder.exists() and not (folder / _MARK).is_file():
        raise InputError(f"{folder}: holds images not rendered here; choose another --output")
    partial, stale = output.parent / f".{_FOLDER}.partial", output.parent / f".{_FOLDER}.stale"
    for left_by_a_kill in (partial, stale):
        shutil.rmtree(left_by_a_kill, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        (partial / _MARK).touch()
    except OSError as error:
        raise InputError(f"--output {output}: cannot write there ({error.strerror})") from error
    return folder, partial, stale


def _write_jpeg(path: Path, image: np.ndarray) -> int:
    """Write an (h, w, 3) uint8 RGB image; the file's checksum."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(".jpg", bgr, (cv2.IMWRITE_JPEG_QUALITY, 92))
    path.write_bytes(encoded.tobytes())
    return checksum(path)


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage; returns the exit status."""
    return cli.execute(run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
