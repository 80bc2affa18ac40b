"""Photographs from disk to upright 8-bit RGB arrays, whatever their mode."""

from __future__ import annotations

import contextlib
import os
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError

from ..command_line.memory import OutOfMemory, explained
from ..errors import InputError
from .image_files import FORMATS, HEIF

_ORIENTATION = 0x0112  # of EXIF's tags
# A comment of megabytes in a PNG, as editors and generators write them, is no reason to refuse the
# picture; Pillow allows one.
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = 2**27
# Modes whose pixel values have no fixed relation to sRGB.
_UNSUPPORTED_MODES = {"F": "floating-point pixels", "LAB": "Lab colours"}

# Pillow only warns of images above MAX_IMAGE_PIXELS. `_open_upright` refuses them by itself, since
# turning the warning into an error around one call (`catch_warnings`) is not safe among threads.
warnings.simplefilter("ignore", Image.DecompressionBombWarning)


class UnreadableImage(InputError):
    """An image file that cannot be decoded; `reason` says why, in a few words without the path."""

    def __init__(self, path: Path | str, reason: str) -> None:
        # Both as args, so that the exception survives pickling between worker processes.
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def read_rgb(path: Path | str) -> np.ndarray:
    """Decode an image file upright, as 8-bit RGB.

    The EXIF orientation is applied. Transparency (an alpha channel, or a transparent colour) is
    composited on white, as a page would show it; dropping it would uncover whatever colour lies
    hidden below. Grey values above 8 bits are scaled by the bits that they fill, 10, 12, 14 or 16:
    cameras and scanners that measure 12 bits mostly store them in 16. CMYK goes through the
    device-independent formula, without colour profiles. Of animations and multi-page files the
    first frame is read.

    Returns:
        (H, W, 3) uint8, writable, in RGB order.

    Raises:
        UnreadableImage: missing, empty, truncated, damaged, not an image, of an unsupported mode,
            or above Pillow's limit for decompression bombs.
        OutOfMemory: it is sound, but larger than memory.
    """
    with _open_upright(path) as image:
        return _to_rgb(image)


def upright_rgb(image: Image.Image) -> np.ndarray:
    """`read_rgb` of an image that is already open, which stays as it is.

    Raises:
        UnreadableImage: it cannot be decoded, or is of an unsupported mode or too large.
    """
    name = getattr(image, "filename", "") or "image"
    try:
        _refuse_unsupported(name, image)
        return _to_rgb(ImageOps.exif_transpose(image))
    except OSError as error:
        raise UnreadableImage(name, _reason(error)) from error


def shrunk_size(height: int, width: int, max_side: int | None) -> tuple[int, int]:
    """(height, width) of an image whose longer side is at most `max_side`."""
    if max_side is None or max(height, width) <= max_side:
        return height, width
    factor = max_side / max(height, width)
    return max(1, round(height * factor)), max(1, round(width * factor))


def shrunk(pixels: np.ndarray, max_side: int | None) -> np.ndarray:
    """(H, W, 3) uint8 to that size, bicubic with antialiasing; as they are where that is theirs."""
    height, width = shrunk_size(pixels.shape[0], pixels.shape[1], max_side)
    if (height, width) == pixels.shape[:2]:
        return pixels
    return np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))


def checksum(path: Path | str) -> int:
    """CRC-32 of a file's bytes, by which an index knows its images again.

    A JPEG with a flipped bit mostly decodes, to other pixels.

    Raises:
        UnreadableImage: the file cannot be read.
    """
    try:
        return zlib.crc32(Path(path).read_bytes())
    except OSError as error:
        raise UnreadableImage(path, error.strerror or "cannot be read") from error


def read_indexed(path: Path | str, record: dict[str, Any]) -> np.ndarray:
    """`read_rgb` of an image that an index lists, if it still is the file that was indexed.

    Args:
        record: the index's entry; its crc32, width and height are looked at where it has them.

    Raises:
        UnreadableImage: `read_rgb` does, or the file is another.
    """
    pixels = read_rgb(path)
    height, width = pixels.shape[:2]
    if (record.get("width", width), record.get("height", height)) != (width, height):
        stated = f"{record.get('width')}x{record.get('height')}"
        raise UnreadableImage(path, f"decodes to {width}x{height}, but was indexed as {stated}")
    if "crc32" in record and checksum(path) != record["crc32"]:
        raise UnreadableImage(path, "damaged or replaced since it was indexed; index again")
    return pixels


@dataclass(frozen=True)
class Look:
    """What one look at an image file tells.

    Attributes:
        height, width: in pixels of what `read_rgb` returns, the upright image.
        orientation: EXIF's, 1 to 8, by which the stored image is turned; 1 is upright.
        bits: of the grey values that `read_rgb` scales, 16 or fewer; None of 8-bit images.
    """

    height: int
    width: int
    orientation: int = 1
    bits: int | None = None

    @property
    def stored_size(self) -> tuple[int, int]:
        """(height, width) of the image as the file has it, before it is turned."""
        return (self.width, self.height) if self.orientation > 4 else (self.height, self.width)


def look_at(path: Path | str) -> Look:
    """Size, orientation and depth of an image file.

    Every pixel is decoded: a truncated file has a sound header, so a size read from the header
    alone would not tell that `read_rgb` can read the rest.

    Raises:
        UnreadableImage: exactly when `read_rgb` does.
    """
    turned = [1]
    with _open_upright(path, turned) as image:
        bits = _filled_bits(np.asarray(image)) if _is_deep(image) else None
        return Look(image.height, image.width, turned[0], bits)


def image_size(path: Path | str) -> tuple[int, int]:
    """(height, width) in pixels of what `read_rgb` returns; see `look_at`."""
    look = look_at(path)
    return look.height, look.width


@contextlib.contextmanager
def _open_upright(path: Path | str, turned: list[int] | None = None) -> Iterator[Image.Image]:
    """The decoded image with its EXIF orientation applied, in its own mode.

    Args:
        turned: its element is set to that orientation.
    """
    try:
        if not os.path.isfile(path):
            raise UnreadableImage(path, "no such file")
        if os.path.getsize(path) == 0:
            raise UnreadableImage(path, "empty file")
        with Image.open(path, formats=_formats(path)) as image:
            _refuse_unsupported(path, image)
            # Loading turns a TIFF and forgets how; the others are asked once they are loaded, since
            # a PNG loads itself to answer, and its damage would pass unseen here.
            tags = getattr(image, "tag_v2", {})
            image.load()
            if turned is not None:
                turned[0] = _orientation(image, tags)
            _turn_upright(image)
            yield image
    except UnreadableImage:
        raise
    except MemoryError as error:
        raise OutOfMemory(explained(error, str(path))) from error
    # Pillow's decoders raise almost any exception on damaged files, and one of them must not end a
    # run over many thousands.
    except Exception as error:
        raise UnreadableImage(path, _reason(error)) from error


def _formats(path: Path | str) -> tuple[str, ...]:
    if Path(path).suffix.lower() not in HEIF:
        return FORMATS
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        raise UnreadableImage(path, "HEIC needs a package: pip install pillow-heif") from None
    register_heif_opener()
    return (*FORMATS, "HEIF")


def _refuse_unsupported(path: Path | str, image: Image.Image) -> None:
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and image.width * image.height > limit:
        size = f"{image.width}x{image.height}"
        raise UnreadableImage(path, f"{size} pixels are more than the limit of {limit}")
    if image.mode in _UNSUPPORTED_MODES:
        raise UnreadableImage(path, f"{_UNSUPPORTED_MODES[image.mode]} are not supported")


def _orientation(image: Image.Image, tags: Any) -> int:
    with contextlib.suppress(Exception):  # likewise
        found = tags.get(_ORIENTATION) or image.getexif().get(_ORIENTATION, 1)
        return int(found) if found in range(1, 9) else 1
    return 1


def _turn_upright(image: Image.Image) -> None:
    """Apply the EXIF orientation in place; a damaged EXIF block does not cost the picture."""
    with contextlib.suppress(Exception):
        ImageOps.exif_transpose(image, in_place=True)


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "not an image of a kind that is read"
    if isinstance(error, Image.DecompressionBombError):
        return f"more pixels than the limit of {Image.MAX_IMAGE_PIXELS}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"damaged: {' '.join(str(error).split())[:120] or type(error).__name__}"


def _to_rgb(image: Image.Image) -> np.ndarray:
    if _is_deep(image):
        return _deep_grey_to_rgb(np.asarray(image))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return np.array(image.convert("RGB"))


def _is_deep(image: Image.Image) -> bool:
    return image.mode == "I" or image.mode.startswith("I;16")


def _filled_bits(grey: np.ndarray) -> int:
    """The least of 10, 12, 14 and 16 bits that hold all values; 16 also where some are larger."""
    largest = int(grey.max(initial=0))
    return next((bits for bits in (10, 12, 14) if largest < 2**bits), 16)


def _deep_grey_to_rgb(grey: np.ndarray) -> np.ndarray:
    """(H, W) integers of more than 8 bits to (H, W, 3) uint8, rounded; values outside are clipped.

    The largest value that their bits hold becomes 255.
    """
    white = 2 ** _filled_bits(grey) - 1
    grey = np.clip(grey, 0, white).astype(np.uint32)
    grey = (grey * 255 + white // 2) // white
    return np.repeat(grey.astype(np.uint8)[:, :, None], 3, axis=2)
