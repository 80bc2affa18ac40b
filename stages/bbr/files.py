"""Files that are either complete or absent: atomic writing, digests, JSON and safetensors."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialize_tensors
from torch import Tensor, uint8

from .errors import InputError

_CONTENT_DIGEST = "content_sha256"


@contextlib.contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yield a temporary neighbour of `path`; on success sync it and rename it to `path`.

    A reader therefore sees the old file, the new file or none, never a part of one. On an
    exception the neighbour is removed and `path` is left as it was. Neighbours that a killed
    process of this machine left behind are swept away.

    Raises:
        InputError: the folder of `path` cannot be written to.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path}: cannot make its folder ({error.strerror})") from error
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"{path}: folder {path.parent} is not writable; choose another --output")
    _sweep_abandoned(path)
    # The original ending stays last: some writers choose their format by it.
    temporary = path.with_name(
        f".{path.name}.{socket.gethostname()}-{os.getpid()}.tmp{path.suffix}"
    )
    try:
        yield temporary
        with open(temporary, "rb") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _sweep_abandoned(path: Path) -> None:
    prefix = f".{path.name}.{socket.gethostname()}-"
    for stale in path.parent.glob(f"{_escape_glob(prefix)}*.tmp{_escape_glob(path.suffix)}"):
        pid = stale.name[len(prefix) :].split(".", 1)[0]
        if pid.isdigit() and not _is_running(int(pid)):
            stale.unlink(missing_ok=True)


def _escape_glob(text: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in text)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def sha256(path: Path | str) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def write_bytes(path: Path | str, content: bytes) -> None:
    """Write `content` to `path` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path | str, content: Any) -> None:
    """Write `content` as JSON, atomically and byte for byte reproducibly."""
    write_bytes(path, encode_json(content))


def encode_json(content: Any) -> bytes:
    """The bytes that `write_json` writes: UTF-8, NaN refused, a newline at the end."""
    return (json.dumps(content, ensure_ascii=False, allow_nan=False) + "\n").encode()


def read_json(path: Path | str) -> Any:
    """Parse a JSON file.

    Raises:
        InputError: the file is missing, unreadable or not JSON.
    """
    try:
        return json.loads(Path(path).read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise InputError(f"{path}: not valid JSON ({error}); make it again") from error


def write_tensors(path: Path | str, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> None:
    """Write tensors as safetensors, atomically, with JSON-encoded metadata and a content digest."""
    tensors = {name: t.detach().cpu().contiguous() for name, t in sorted(tensors.items())}
    encoded = {key: json.dumps(value, sort_keys=True) for key, value in metadata.items()}
    encoded[_CONTENT_DIGEST] = json.dumps(_tensor_digest(tensors))
    write_bytes(path, _with_sorted_header(serialize_tensors(tensors, encoded)))


def _with_sorted_header(content: bytes) -> bytes:
    """The same safetensors file with its JSON header in one fixed key order.

    The library orders metadata by a hash that changes from process to process, which would break
    "same inputs, same bytes".
    """
    size = int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8 : 8 + size]), sort_keys=True).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + content[8 + size :]


def read_tensors(path: Path | str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a safetensors file: its tensors by name, and its metadata.

    Files of ours carry a digest of their content, which is checked; other people's files need
    not.

    Raises:
        InputError: the file is missing, not safetensors, truncated or altered.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file")
    try:
        with safe_open(path, framework="pt") as handle:
            metadata = {k: _decode(v) for k, v in (handle.metadata() or {}).items()}
            tensors = {name: handle.get_tensor(name) for name in sorted(handle.keys())}
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path}: not a complete safetensors file ({error})") from error
    digest = metadata.pop(_CONTENT_DIGEST, None)
    if digest is not None and digest != _tensor_digest(tensors):
        raise InputError(
            f"{path}: content does not match its digest; the file was damaged, make it again"
        )
    return tensors, metadata


def _decode(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value


def _tensor_digest(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, tensor in tensors.items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().flatten().view(uint8).numpy().tobytes())
    return digest.hexdigest()
