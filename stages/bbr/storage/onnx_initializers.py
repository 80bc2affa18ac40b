"""The weights in an ONNX file: the initialisers of its graph, read without ONNX's own package.

An ONNX file is one message of protocol buffers. A message is a run of fields, each of them a varint
(field number · 8 + wire type) and a value: a varint (wire type 0), 8 or 4 bytes (1 and 5), or a
length and that many bytes (2), which may be a message again. Of the fields of onnx.proto only these
are looked at:

    ModelProto.graph = 7 → GraphProto.initializer = 5 → TensorProto: dims = 1, data_type = 2,
    name = 8, raw_data = 9
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..errors import InputError

_GRAPH, _INITIALIZER = 7, 5
_DIMS, _TYPE, _NAME, _RAW = 1, 2, 8, 9
_FLOAT = 1  # of TensorProto.DataType
_FIXED_BYTES = {1: 8, 5: 4}


def read_initializers(path: Path | str) -> dict[str, np.ndarray]:
    """The float32 initialisers of an ONNX file by name.

    The arrays are views of the file, which is mapped and not read; to write into one changes no
    file. Initialisers of another type, or whose values lie elsewhere than in `raw_data`, are left
    out.

    Raises:
        InputError: no such file, or it is no ONNX file, or a damaged one.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file")
    found: dict[str, np.ndarray] = {}
    try:
        with open(path, "rb") as handle:
            data = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_COPY)
        for graph in _spans(data, 0, len(data), _GRAPH):
            for tensor in _spans(data, graph.start, graph.stop, _INITIALIZER):
                found |= _read_tensor(data, tensor)
    except (ValueError, IndexError) as error:
        raise InputError(f"{path}: not an ONNX file, or damaged ({error})") from error
    return found


def _read_tensor(data: mmap.mmap, span: slice) -> dict[str, np.ndarray]:
    """{name: array} of a TensorProto, or nothing where it holds no float32 bytes."""
    dims: list[int] = []
    kind, name = 0, ""
    raw: slice | None = None
    for number, value in _fields(data, span.start, span.stop):
        if number == _DIMS:
            dims += _integers(data, value)
        elif number == _TYPE:
            (kind,) = _integers(data, value)
        elif isinstance(value, int):
            continue
        elif number == _NAME:
            name = data[value].decode()
        elif number == _RAW:
            raw = value
    if kind != _FLOAT or raw is None:
        return {}
    count = (raw.stop - raw.start) // 4
    return {name: np.frombuffer(data, "<f4", count, raw.start).reshape(dims)}


def _integers(data: mmap.mmap, value: int | slice) -> list[int]:
    """A field of integers: one of them, or several packed into one value."""
    if isinstance(value, int):
        return [value]
    found, place = [], value.start
    while place < value.stop:
        integer, place = _varint(data, place)
        found.append(integer)
    return found


def _spans(data: mmap.mmap, start: int, stop: int, wanted: int) -> Iterator[slice]:
    """Where the messages of one field number lie in the message data[start:stop]."""
    for number, value in _fields(data, start, stop):
        if number == wanted and isinstance(value, slice):
            yield value


def _fields(data: mmap.mmap, start: int, stop: int) -> Iterator[tuple[int, int | slice]]:
    """(number, value) of each field of data[start:stop]: an integer, or where the value lies."""
    place = start
    while place < stop:
        tag, place = _varint(data, place)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, place = _varint(data, place)
            yield number, value
            continue
        size, place = _varint(data, place) if wire == 2 else (_FIXED_BYTES.get(wire, -1), place)
        if size < 0 or place + size > stop:
            raise ValueError(f"no field at byte {place}")
        yield number, slice(place, place + size)
        place += size


def _varint(data: mmap.mmap, place: int) -> tuple[int, int]:
    """The integer at `place`, seven bits a byte, the lowest first; and where it ends."""
    value = shift = 0
    while True:
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, place
