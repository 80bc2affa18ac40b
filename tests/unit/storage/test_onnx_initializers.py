"""Initialisers of an invented ONNX file, written by a literal encoder of protocol buffers."""

import struct

import numpy as np
import pytest

from bbr.errors import InputError
from bbr.storage.onnx_initializers import read_initializers


def varint(value: int) -> bytes:
    digits = [value & 127]
    while value := value >> 7:
        digits.append(value & 127)
    return bytes([*(digit | 128 for digit in digits[:-1]), digits[-1]])


def integer(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value)


def message(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def tensor(name: str, array: np.ndarray, packed: bool = False, kind: int = 1) -> bytes:
    """TensorProto: dims 1, data_type 2, name 8, raw_data 9."""
    if packed:
        dims = message(1, b"".join(map(varint, array.shape)))
    else:
        dims = b"".join(integer(1, side) for side in array.shape)
    return dims + integer(2, kind) + message(8, name.encode()) + message(9, array.tobytes())


def model(*tensors: bytes) -> bytes:
    """ModelProto with versions, a producer and a graph of nodes, a name and initialisers."""
    nodes = message(1, message(1, b"input") + message(4, b"MatMul"))
    graph = nodes + message(2, b"graph") + b"".join(message(5, content) for content in tensors)
    # Fields of fixed sizes, which ONNX has in tensors only: a reader has to step over them.
    fixed = varint(90 << 3 | 5) + struct.pack("<f", 1.5) + varint(91 << 3 | 1) + b"\xff" * 8
    return integer(1, 7) + message(2, b"test") + fixed + message(7, graph) + message(8, b"\x10\x0e")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "f.onnx"


def test_names_shapes_and_values(path):
    matrix = np.arange(6, dtype=np.float32).reshape(2, 3)
    long = np.linspace(-1, 1, 300, dtype=np.float32)  # its length takes two bytes
    path.write_bytes(model(tensor("a.weight", matrix), tensor("b", long, packed=True)))
    found = read_initializers(path)
    assert list(found) == ["a.weight", "b"]
    assert np.array_equal(found["a.weight"], matrix)
    assert np.array_equal(found["b"], long)
    assert found["a.weight"].dtype == np.float32


def test_a_number_has_no_dimensions(path):
    path.write_bytes(model(tensor("x", np.float32(2.5))))
    assert read_initializers(path)["x"].shape == ()


def test_other_types_are_left_out(path):
    path.write_bytes(model(tensor("shape", np.array([1, 2]), kind=7), tensor("x", np.float32(1))))
    assert list(read_initializers(path)) == ["x"]


def test_writing_into_an_array_leaves_the_file_alone(path):
    path.write_bytes(model(tensor("x", np.ones(3, np.float32))))
    read_initializers(path)["x"][:] = 0
    assert read_initializers(path)["x"].tolist() == [1, 1, 1]


def test_a_file_without_initialisers(path):
    path.write_bytes(model())
    assert read_initializers(path) == {}


@pytest.mark.parametrize("content", [b"", b"\x07", b"\x80", b"PK\x03\x04" + b"\xff" * 60])
def test_what_is_no_onnx_file_is_told_in_one_line(path, content):
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"f\.onnx: not an ONNX file, or damaged") as caught:
        read_initializers(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("lost", [1, 5, 30])
def test_a_truncated_file(path, lost):
    path.write_bytes(model(tensor("x", np.ones(20, np.float32)))[: -lost - 4])
    with pytest.raises(InputError, match="not an ONNX file, or damaged"):
        read_initializers(path)


def test_a_shape_that_its_values_do_not_fill(path):
    short = integer(1, 5) + integer(2, 1) + message(8, b"x") + message(9, b"\0" * 16)
    path.write_bytes(model(short))
    with pytest.raises(InputError, match="not an ONNX file, or damaged"):
        read_initializers(path)


def test_no_such_file(path):
    with pytest.raises(InputError, match="no such file"):
        read_initializers(path)
