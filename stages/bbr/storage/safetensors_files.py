"""Tensors on disk: safetensors with JSON metadata and digests of both."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialize_tensors
from torch import Tensor, nn, uint8

from ..errors import InputError
from .atomic import write_bytes
from .json_files import METADATA_DIGEST, metadata_digest

_CONTENT_DIGEST = "content_sha256"


def write_tensors(path: Path | str, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> None:
    """Write tensors as safetensors, atomically, with JSON-encoded metadata and digests of both."""
    tensors = {name: t.detach().cpu().contiguous() for name, t in sorted(tensors.items())}
    encoded = {key: json.dumps(value, sort_keys=True) for key, value in metadata.items()}
    encoded[_CONTENT_DIGEST] = json.dumps(_tensor_digest(tensors))
    encoded[METADATA_DIGEST] = metadata_digest(encoded)
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

    Files of ours carry digests of their tensors and of their metadata, which are checked; other
    people's files need not.

    Raises:
        InputError: the file is missing, not safetensors, truncated or altered.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file")
    _refuse_torch_file(path)
    try:
        with safe_open(path, framework="pt") as handle:
            texts = handle.metadata() or {}
            tensors = {name: handle.get_tensor(name) for name in sorted(handle.keys())}
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path}: not a complete safetensors file ({error})") from error
    expected = texts.pop(METADATA_DIGEST, None)
    unaltered = expected is None or expected == metadata_digest(texts)
    metadata = {key: _decode(value) for key, value in texts.items()}
    digest = metadata.pop(_CONTENT_DIGEST, None)
    if not unaltered or (digest is not None and digest != _tensor_digest(tensors)):
        raise InputError(
            f"{path}: content does not match its digest; the file was damaged, make it again"
        )
    return tensors, metadata


def _refuse_torch_file(path: Path | str) -> None:
    """Name what turns published weights into a file of ours, and why a file does not open."""
    try:
        with open(path, "rb") as file:
            start = file.read(9)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    # torch's zip, and pickles; the length of a header may begin likewise, but "{" follows it.
    if (start[:2] == b"PK" or start[:1] == b"\x80") and start[8:] != b"{":
        raise InputError(
            f"{path}: a torch file, not safetensors; make one of it: python"
            f" stages/import_weights.py --file {path} --kind ... --output FILE.safetensors"
        )


def read_any_tensors(path: Path | str) -> dict[str, Tensor]:
    """The state dict in a safetensors file, or in a torch file that holds nothing else.

    Raises:
        InputError: the file is missing, damaged, or holds more than tensors by name: nothing is
            unpickled.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        return read_tensors(path)[0]
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for what is not such a file
        raise InputError(
            f"{path}: not a torch file of tensors alone ({type(error).__name__}); save its"
            " state_dict() as .safetensors"
        ) from error
    if not isinstance(content, dict) or not all(map(torch.is_tensor, content.values())):
        raise InputError(f"{path}: not tensors by name; save its state_dict() as .safetensors")
    return content


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


def fit_weights(network: nn.Module, tensors: dict[str, Tensor], path: str, name: str) -> None:
    """Load a state dict that must fit key for key and shape for shape.

    Raises:
        InputError: it does not; the message names the first misfit.
    """
    expected = network.state_dict()
    misfit = sorted(set(expected) ^ set(tensors))
    misfit += [k for k in expected if k in tensors and expected[k].shape != tensors[k].shape]
    if misfit:
        raise InputError(
            f"{path}: {len(misfit)} tensors do not fit architecture {name}"
            f" (first: {misfit[0]}); give the file's own --architecture and --architecture-args,"
            " or, if it has a head or other names, python stages/import_weights.py makes it fit"
        )
    network.load_state_dict(tensors)
