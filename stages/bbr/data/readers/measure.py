"""The sizes of a listing's images, all of which are decoded once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...command_line.cli import log, progress
from ...errors import InputError
from ..images import Look, UnreadableImage, checksum, look_at
from .frames import fits, is_doubtful, is_turned, turn_box
from .listing import Listing, encode_name
from .masks import read_mask

_BATCH = 1024


def measure_images(
    listing: Listing, threads: int = 1, max_skipped: int | None = None, frame: str = "auto"
) -> tuple[Listing, list[dict[str, str]]]:
    """Decode every image, and leave out those that cannot be used.

    The width and height of the result are those of the decoded, upright image, in which all boxes
    of the result lie. Where the dataset states the size of the image as its file has it, before
    EXIF's orientation turns it, the boxes are turned with the image (`frames`). Where it states
    another size, its boxes cannot be placed: the image is skipped rather than evaluated against
    wrong boxes.

    Args:
        threads: how many images are decoded at a time.
        max_skipped: how many images may be left out; None is 1 % of them, but at least 10.
        frame: of the annotations, one of `frames.FRAMES`.

    Returns:
        The listing of the readable images, with sizes and checksums, and [{file_name, reason}] of
        the others, `listing.unusable` first.

    Raises:
        InputError: more than `max_skipped` images are unusable, or all are.
    """
    readable, skipped = [], list(listing.unusable)
    looks: dict[int, Look] = {}
    for image, found in zip(listing.images, _look_at_all(listing, threads), strict=True):
        try:
            look, crc32 = _looked_at(image, found, frame)
        except UnreadableImage as error:
            name = encode_name(image["file_name"]).decode("utf-8", "replace")
            skipped.append({"file_name": name, "reason": error.reason})
            continue
        looks[image["id"]] = look
        readable.append({**image, "width": look.width, "height": look.height, "crc32": crc32})
    _check_skipped(listing, skipped, max_skipped)
    return _upright(listing, readable, looks, frame), skipped


def _upright(
    listing: Listing, readable: list[dict[str, Any]], looks: dict[int, Look], frame: str
) -> Listing:
    """The readable images, all boxes in the upright frame, with notes of what that took."""
    stated = {image["id"]: image for image in listing.images if image["id"] in looks}
    kept = listing.only(readable)
    annotated = {annotation["image_id"] for annotation in kept.annotations}
    turned = {i for i in annotated if is_turned(stated[i], looks[i], frame)}
    turned = {i for i in turned if looks[i].orientation != 1}
    doubtful = [i for i in annotated if is_doubtful(stated[i], looks[i], frame)]
    if doubtful:
        log.warning(
            "%s: EXIF turns %s and %d more annotated images, and their sizes do not say whether"
            " the boxes were drawn before or after; taken to be after. --frame stored, or upright,"
            " says so",
            listing.root,
            stated[min(doubtful)]["file_name"],
            len(doubtful) - 1,
        )
    notes = [{"image_id": i, "what": "boxes turned with their image (EXIF)"} for i in turned]
    notes += [{"image_id": i, "what": "boxes taken to be upright; EXIF turns"} for i in doubtful]
    notes += [
        {"image_id": i, "what": f"image of {look.bits}-bit grey values: scaled to 8"}
        for i, look in looks.items()
        if look.bits not in (None, 16)
    ]
    annotations = [
        _in_upright(a, looks[a["image_id"]], a["image_id"] in turned) for a in kept.annotations
    ]
    for annotation in annotations:
        if annotation.get("segmentation", ...) is None:
            del annotation["segmentation"]
            what = "object whose mask is not of its image, or empty"
            notes.append({"image_id": annotation["image_id"], "what": what})
    return replace(kept, annotations=annotations, notes=kept.notes + notes)


def _in_upright(annotation: dict[str, Any], look: Look, turned: bool) -> dict[str, Any]:
    """The annotation with box and mask, if it has one, as they lie in the upright image."""
    placed = dict(annotation)
    if turned:
        placed["bbox"] = turn_box(annotation["bbox"], look)
    if "segmentation" in annotation:
        size = look.stored_size if turned else (look.height, look.width)
        orientation = look.orientation if turned else 1
        placed["segmentation"] = read_mask(annotation["segmentation"], size, orientation)
    return placed


def _look_at_all(listing: Listing, threads: int) -> Iterator[tuple[Look, int] | UnreadableImage]:
    """A look at each image in order, and its checksum, or why it has none."""
    paths = [listing.root / image["file_name"] for image in listing.images]
    with ThreadPoolExecutor(threads) as pool:
        # In batches, so that an interrupt does not wait for the whole dataset.
        batches = (
            pool.map(_try_image, paths[i : i + _BATCH]) for i in range(0, len(paths), _BATCH)
        )
        found = (image for batch in batches for image in batch)
        yield from progress(found, len(paths), "reading images")


def _try_image(path: Path) -> tuple[Look, int] | UnreadableImage:
    try:
        return look_at(path), checksum(path)
    except UnreadableImage as error:
        return error


def _looked_at(
    image: dict[str, Any], found: tuple[Look, int] | UnreadableImage, frame: str
) -> tuple[Look, int]:
    """The look at an image and its checksum, if it can be used.

    Raises:
        UnreadableImage: it has none, the dataset states another size, or JSON cannot hold its name.
    """
    if isinstance(found, UnreadableImage):
        raise found
    look, name = found[0], image["file_name"]
    if not fits(image, look, frame):
        stated = f"{image.get('width', look.width)}x{image.get('height', look.height)}"
        reason = f"annotated at {stated} pixels, but decodes to {look.width}x{look.height}"
        raise UnreadableImage(name, reason)
    try:
        name.encode()
    except UnicodeEncodeError:
        raise UnreadableImage(name, "its file name is not UTF-8; rename it") from None
    return found


def _check_skipped(
    listing: Listing, skipped: list[dict[str, str]], max_skipped: int | None
) -> None:
    if not skipped:
        return
    total = len(listing.images) + len(listing.unusable)
    allowed = max(10, total // 100) if max_skipped is None else max_skipped
    first = f"the first is {skipped[0]['file_name']}: {skipped[0]['reason']}"
    if len(skipped) == total:
        raise InputError(f"{listing.root}: none of {total} images can be used; {first}")
    if len(skipped) > allowed:
        raise InputError(
            f"{listing.root}: {len(skipped)} of {total} images cannot be used, more than"
            f" --max-skipped {allowed}; {first}"
        )
    log.info("skipped %d of %d images; %s", len(skipped), total, first)
