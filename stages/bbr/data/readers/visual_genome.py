"""Visual Genome: regions of an image, each with a phrase and a box."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import Any

from ...command_line.cli import existing_file
from ...errors import InputError
from ...storage.json_files import read_json
from .listing import Listing, existing_folder, numbered_files, read_list
from .phrase_annotations import PhraseAnnotations


def read_visual_genome(
    annotations: Path | str,
    source: Path | str,
    image_data: Path | str | None = None,
    image_list: Path | str | None = None,
) -> Listing:
    """Regions and their phrases; ids are Visual Genome's own.

    Args:
        annotations: `region_descriptions.json`.
        source: the folder of the images, or the one that holds VG_100K and VG_100K_2.
        image_data: `image_data.json`; with it, boxes are clipped to their image, and images whose
            file is of another size are found out.
        image_list: a text file of image ids or file names, one a line, such as the split lists of
            Akbari et al.; only these images are taken, in its order.

    Raises:
        InputError: a file is missing or malformed, or the list names unknown images.
    """
    root = existing_folder(source)
    path = existing_file(annotations, "--annotations")
    sources = {"annotations": path}
    sizes: dict[int, tuple[int, int]] = {}
    if image_data is not None:
        sources["image_data"] = existing_file(image_data, "--image-data")
        sizes = _sizes(sources["image_data"])
    regions = _regions(path)
    wanted = list(regions)
    if image_list is not None:
        sources["image_list"] = existing_file(image_list, "--image-list")
        wanted = _wanted(sources["image_list"], regions)
    files = numbered_files(root)
    images, found = [], PhraseAnnotations()
    for image_id in wanted:
        image = {"id": image_id, "file_name": files.get(image_id, f"VG_100K/{image_id}.jpg")}
        size = sizes.get(image_id)
        if size is not None:
            image["height"], image["width"] = size
        images.append(image)
        for region in regions[image_id]:
            _add_region(found, image_id, region, size, path)
    return Listing(root, images, found.annotations, [], sources, found.left_out)


def _regions(path: Path) -> dict[int, list[dict[str, Any]]]:
    content = read_json(path)
    try:
        regions = {entry["id"]: entry["regions"] for entry in content}
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{path}: not region_descriptions.json, a list of objects with id and regions"
        ) from error
    if not regions:
        raise InputError(f"{path}: has no images")
    return regions


def _sizes(path: Path) -> dict[int, tuple[int, int]]:
    try:
        return {entry["image_id"]: (entry["height"], entry["width"]) for entry in read_json(path)}
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{path}: not image_data.json, a list of objects with image_id, width and height"
        ) from error


def _wanted(path: Path, regions: dict[int, Any]) -> list[int]:
    stems = [PurePath(line).stem for line in read_list(path)]
    unknown = [stem for stem in stems if not stem.isdecimal() or int(stem) not in regions]
    if unknown:
        raise InputError(
            f"{path}: {len(unknown)} of its {len(stems)} images, such as {unknown[0]}, are not in"
            " the annotations"
        )
    return list(dict.fromkeys(map(int, stems)))


def _add_region(
    found: PhraseAnnotations,
    image_id: int,
    region: dict[str, Any],
    size: tuple[int, int] | None,
    path: Path,
) -> None:
    try:
        box = [float(region[key]) for key in ("x", "y", "width", "height")]
        found.add(image_id, int(region["region_id"]), [str(region["phrase"])], [box], size=size)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: a region of image {image_id} has no region_id, phrase, x, y, width or height"
        ) from error
