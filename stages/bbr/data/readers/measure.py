"""The sizes of a listing's images, all of which are decoded once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ...command_line.cli import log, progress
from ...errors import InputError
from ..images import UnreadableImage, checksum, image_size
from .listing import Listing, encode_name

_BATCH = 1024


def measure_images(
    listing: Listing, threads: int = 1, max_skipped: int | None = None
) -> tuple[Listing, list[dict[str, str]]]:
    """Decode every image, and leave out those that cannot be used.

    The width and height of the result are those of the decoded, upright image, in which all boxes
    are understood to lie. Where the dataset states another size, its boxes cannot be placed (the
    file was resized, or turned by an EXIF orientation that the annotator did not see): the image is
    skipped rather than evaluated against wrong boxes.

    Args:
        threads: how many images are decoded at a time.
        max_skipped: how many images may be left out; None is 1 % of them, but at least 10.

    Returns:
        The listing of the readable images, with sizes and checksums, and [{file_name, reason}] of
        the others.

    Raises:
        InputError: more than `max_skipped` images are unusable, or all are.
    """
    readable, skipped = [], []
    for image, found in zip(listing.images, _look_at_all(listing, threads), strict=True):
        try:
            readable.append(_measured(image, found))
        except UnreadableImage as error:
            name = encode_name(image["file_name"]).decode("utf-8", "replace")
            skipped.append({"file_name": name, "reason": error.reason})
    _check_skipped(listing, skipped, max_skipped)
    return listing.only(readable), skipped


def _look_at_all(
    listing: Listing, threads: int
) -> Iterator[tuple[int, int, int] | UnreadableImage]:
    """Height, width and checksum of each image in order, or why it has none."""
    paths = [listing.root / image["file_name"] for image in listing.images]
    with ThreadPoolExecutor(threads) as pool:
        # In batches, so that an interrupt does not wait for the whole dataset.
        batches = (
            pool.map(_try_image, paths[i : i + _BATCH]) for i in range(0, len(paths), _BATCH)
        )
        found = (image for batch in batches for image in batch)
        yield from progress(found, len(paths), "reading images")


def _try_image(path: Path) -> tuple[int, int, int] | UnreadableImage:
    try:
        return *image_size(path), checksum(path)
    except UnreadableImage as error:
        return error


def _measured(
    image: dict[str, Any], found: tuple[int, int, int] | UnreadableImage
) -> dict[str, Any]:
    """The image's entry with its decoded size and its checksum.

    Raises:
        UnreadableImage: it has none, the dataset states another, or JSON cannot hold its name.
    """
    if isinstance(found, UnreadableImage):
        raise found
    height, width, crc32 = found
    stated = image.get("width", width), image.get("height", height)
    name = image["file_name"]
    if stated != (width, height):
        reason = f"annotated at {stated[0]}x{stated[1]} pixels, but decodes to {width}x{height}"
        raise UnreadableImage(name, reason)
    try:
        name.encode()
    except UnicodeEncodeError:
        raise UnreadableImage(name, "its file name is not UTF-8; rename it") from None
    return {**image, "width": width, "height": height, "crc32": crc32}


def _check_skipped(
    listing: Listing, skipped: list[dict[str, str]], max_skipped: int | None
) -> None:
    if not skipped:
        return
    total = len(listing.images)
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
