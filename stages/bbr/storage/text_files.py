"""Text files as people have them: UTF-8, or UTF-16 and UTF-8 that a byte-order mark announces."""

from __future__ import annotations

import codecs
from pathlib import Path

from ..errors import InputError

_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def read_text(path: Path | str) -> str:
    """What a text file says, without its byte-order mark.

    Raises:
        InputError: it cannot be read, or is in another encoding; the message has the line.
    """
    try:
        return decode_text(Path(path).read_bytes(), path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error


def decode_text(content: bytes, path: Path | str) -> str:
    """`read_text` of bytes that were read; `path` is named in the message.

    Raises:
        InputError: they are neither UTF-8 nor UTF-16 with its mark.
    """
    encoding = next((name for mark, name in _MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path}: line {line} is not {encoding.removesuffix('-sig').upper()} text (byte"
            f" 0x{content[error.start]:02x}); save the file as UTF-8"
        ) from error
