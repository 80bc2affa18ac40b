"""JSON files, byte for byte reproducible, that show damage to whoever reads them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError
from .atomic import write_bytes
from .text_files import decode_text

METADATA_DIGEST = "metadata_sha256"
_DIGEST = "content_sha256"
# Escapes from left to right: both halves of a character; one half alone, the group; any other.
_ESCAPES = re.compile(r"\\u[dD][89abAB]..\\u[dD][c-fC-F]..|(\\u[dD][89a-fA-F]..)|\\.")


def metadata_digest(metadata: Mapping[str, str]) -> str:
    """SHA-256 of a safetensors file's metadata, `METADATA_DIGEST` among them left out."""
    texts = {key: value for key, value in metadata.items() if key != METADATA_DIGEST}
    return hashlib.sha256(json.dumps(texts, sort_keys=True).encode()).hexdigest()


def write_json(path: Path | str, content: Any) -> None:
    """Write `content` as JSON, atomically and byte for byte reproducibly.

    An object gets a last member `content_sha256`, the digest of its bytes without that member.
    `read_json` checks it: a flipped bit mostly leaves valid JSON behind, with another number in it.
    """
    encoded = encode_json(content)
    write_bytes(path, _sealed(encoded) if isinstance(content, dict) else encoded)


def _sealed(encoded: bytes) -> bytes:
    digest = hashlib.sha256(encoded).hexdigest()
    separator = b"" if encoded == b"{}\n" else b", "
    return b'%s%s"%s": "%s"}\n' % (encoded[:-2], separator, _DIGEST.encode(), digest.encode())


def _is_sealed(content: bytes, digest: Any) -> bool:
    """Whether this is the digest of an object's bytes without its last member."""
    rest = content[: content.rfind(b'"%s"' % _DIGEST.encode())]
    return digest == hashlib.sha256(rest.removesuffix(b", ") + b"}\n").hexdigest()


def encode_json(content: Any) -> bytes:
    """The bytes that `write_json` writes: UTF-8, NaN refused, a newline at the end."""
    return (json.dumps(content, ensure_ascii=False, allow_nan=False) + "\n").encode()


def read_json(path: Path | str) -> Any:
    """Parse a JSON file, ours or anyone's; the digest that ours carry is checked and left out.

    Raises:
        InputError: the file is missing, unreadable or not JSON, ours and altered since, or has half
            of a character (a lone surrogate), which nothing could be written with.
    """
    try:
        content = Path(path).read_bytes()
        text = decode_text(content, path)
        parsed = json.loads(text)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid JSON ({error}); make it again") from error
    _refuse_half_characters(text, path)
    digest = parsed.pop(_DIGEST, None) if isinstance(parsed, dict) else None
    if digest is not None and not _is_sealed(content, digest):
        raise InputError(
            f"{path}: does not match its digest, so it is damaged or was edited; make it again, or"
            f" delete its member {_DIGEST} if the change is meant"
        )
    return parsed


def _refuse_half_characters(text: str, path: Path | str) -> None:
    if "\\ud" not in text and "\\uD" not in text:
        return
    for escape in _ESCAPES.finditer(text):
        if escape[1]:
            line = text.count("\n", 0, escape.start()) + 1
            raise InputError(
                f"{path}: line {line} has half of a character, {escape[1]}; put the whole character"
                " there, or nothing"
            )
