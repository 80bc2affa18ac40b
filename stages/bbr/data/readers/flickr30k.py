"""Flickr30k Entities: phrases of five captions an image, and the boxes that they refer to."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

from ...errors import InputError
from ...storage.text_files import read_text
from .listing import Listing, existing_folder, read_list
from .phrase_annotations import PhraseAnnotations

# [/EN#283585/people A young child]; an id may have several types, and 0 is of nothing to be seen.
_PHRASE = re.compile(r"\[/EN#(?P<id>\d+)(?P<types>(?:/\w+)+) (?P<text>[^\]]+)\]")
_NOT_VISUAL = 0
TYPES = ("people", "clothing", "bodyparts", "animals", "vehicles", "instruments", "scene", "other")


def read_flickr30k(
    source: Path | str,
    split: str = "test",
    annotations: Path | str | None = None,
    inclusive_boxes: bool = False,
) -> Listing:
    """The images of a split in the official layout, one annotation for each box of a phrase id.

    A phrase id is one entity of an image; its `phrases` are the words for it in all captions. The
    category is the entity's type, "other" where it has a type that the documentation does not
    list. Phrases without a box are listed in `left_out` with the reason: they name nothing to be
    seen, the whole scene, or something that the annotators found no box for.

    Args:
        source: the folder of the photographs, or one above it.
        split: the list of image ids, {split}.txt, beside or in the folder of the annotations;
            several are joined by +, as train+val+test.
        annotations: the folder that holds Sentences and Annotations; found below `source` if None.
        inclusive_boxes: boxes end at their last pixels, a pixel earlier: Flickr30k Entities' own
            reader has them so, and WWbL's code with it.

    Raises:
        InputError: a folder or file is missing or malformed.
    """
    root = existing_folder(source)
    entities = _entities(root, annotations)
    folders = (entities, entities.parent, root)
    splits = {part: _first_file(f"{part}.txt", folders) for part in split.split("+")}
    names = [name for file in splits.values() for name in read_list(file)]
    photographs = _photographs(root, names[0])
    images, found = [], PhraseAnnotations()
    for image_id, name in enumerate(names, 1):
        images.append(
            {
                "id": image_id,
                "file_name": f"{name}.jpg",
                "captions": _captions(entities / "Sentences" / f"{name}.txt"),
            }
        )
        _add_phrases(found, image_id, entities, name, 0 if inclusive_boxes else 1)
    return Listing(
        photographs,
        images,
        found.annotations,
        [{"id": i, "name": name} for i, name in enumerate(TYPES, 1)],
        splits if len(splits) > 1 else {"split": splits[split]},
        found.left_out,
    )


def _entities(root: Path, annotations: Path | str | None) -> Path:
    given = [Path(annotations).expanduser()] if annotations is not None else []
    candidates = given or [root, *sorted(root.glob("*/")), *sorted(root.parent.glob("*/"))]
    for folder in candidates:
        if (folder / "Sentences").is_dir() and (folder / "Annotations").is_dir():
            return folder
    where = given[0] if given else f"{root}, in it or beside it"
    raise InputError(
        f"{where}: no folder that holds Sentences and Annotations of Flickr30k Entities; name it"
        " with --annotations"
    )


def _first_file(name: str, folders: tuple[Path, ...]) -> Path:
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    places = ", ".join(dict.fromkeys(map(str, folders)))
    raise InputError(f"no list of images {name} in {places}; choose another --image-set")


def _photographs(root: Path, name: str) -> Path:
    """The folder of the photographs: `root` or the first below it that holds the first image."""
    if (root / f"{name}.jpg").is_file():
        return root
    for file in sorted(root.glob(f"*/{name}.jpg")) + sorted(root.glob(f"*/*/{name}.jpg")):
        return file.parent
    raise InputError(f"--source {root}: no photograph {name}.jpg in it or two levels below")


def _captions(path: Path) -> list[str]:
    """Captions without their mark-up."""
    return [
        _PHRASE.sub(r"\g<text>", line).strip()
        for line in read_text(path).splitlines()
        if line.strip()
    ]


def _add_phrases(
    found: PhraseAnnotations, image_id: int, entities: Path, name: str, last_pixel: int
) -> None:
    texts: dict[int, list[str]] = {}
    types: dict[int, str] = {}
    for match in _PHRASE.finditer(read_text(entities / "Sentences" / f"{name}.txt")):
        entity = int(match["id"])
        texts.setdefault(entity, []).append(match["text"])
        types.setdefault(entity, match["types"].split("/")[1])
    boxes, reasons = _boxes(entities / "Annotations" / f"{name}.xml", last_pixel)
    for entity, words in texts.items():
        kind = types[entity] if types[entity] in TYPES else "other"
        found.add(
            image_id,
            entity,
            words,
            boxes.get(entity, []),
            category_id=TYPES.index(kind) + 1,
            without_box=(
                "names nothing to be seen"
                if entity == _NOT_VISUAL
                else reasons.get(entity, "has no entry in the annotations")
            ),
        )


_SIDES = ("xmin", "ymin", "xmax", "ymax")


def _boxes(path: Path, last_pixel: int) -> tuple[dict[int, list[list[float]]], dict[int, str]]:
    """`xywh` boxes of each entity, and why others have none.

    Corners are written 1-based and inclusive, as in VOC; `last_pixel` is 1 to count it in.
    """
    try:
        root = ElementTree.parse(path).getroot()
        boxes: dict[int, list[list[float]]] = {}
        reasons: dict[int, str] = {}
        for item in root.iter("object"):
            names = [int(name.text or "") for name in item.findall("name")]
            box = item.find("bndbox")
            if box is None:
                scene = item.findtext("scene") == "1"
                reason = "is of the whole scene" if scene else "has no box"
                reasons.update(dict.fromkeys(names, reason))
                continue
            x1, y1, x2, y2 = (float(box.findtext(k) or "") for k in _SIDES)
            for entity in names:
                size = [x2 - x1 + last_pixel, y2 - y1 + last_pixel]
                boxes.setdefault(entity, []).append([x1 - 1, y1 - 1, *size])
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except (ElementTree.ParseError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not an annotation of Flickr30k Entities ({error})") from error
    return boxes, reasons
