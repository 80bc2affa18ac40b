"""bbr.command_line.memory: the limit of a machine and its control groups, and one-line errors."""

import os
from functools import partial

import numpy as np
import pytest
import torch

from bbr.command_line import memory
from bbr.errors import InputError

MACHINE = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.fixture(autouse=True)
def no_limit():
    yield
    memory.limit_memory(None)


def system(root, groups, limits):
    """A root with /proc/self/cgroup and the files of limits."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(groups)
    for name, text in limits.items():
        (root / "sys/fs/cgroup" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "sys/fs/cgroup" / name).write_text(text)
    return root


class TestAvailable:
    @pytest.mark.parametrize(
        ("groups", "limits", "expected"),
        [
            ("0::/\n", {}, MACHINE),
            ("0::/user/job\n", {"user/job/memory.max": "3000000\n"}, 3_000_000),
            ("0::/user/job\n", {"user/job/memory.max": "max\n"}, MACHINE),
            # The tightest of those above.
            ("0::/a/b\n", {"a/b/memory.max": "9000000", "a/memory.max": "5000000"}, 5_000_000),
            # A container sees its own group as the top.
            ("0::/docker/1f\n", {"memory.max": "7000000"}, 7_000_000),
            ("4:memory:/j\n0::/\n", {"memory/j/memory.limit_in_bytes": "4000000"}, 4_000_000),
            ("4:cpu,memory:/j\n", {"memory/memory.limit_in_bytes": "4000000"}, 4_000_000),
            ("4:memory:/\n", {"memory/memory.limit_in_bytes": "9223372036854771712"}, MACHINE),
            ("4:cpu:/j\n", {"memory/j/memory.limit_in_bytes": "4000000"}, MACHINE),
        ],
    )
    def test_the_least_of_all_limits(self, tmp_path, groups, limits, expected):
        assert memory.available_memory(system(tmp_path, groups, limits)) == expected

    def test_where_there_are_no_groups(self, tmp_path):
        assert memory.available_memory(tmp_path) == MACHINE

    def test_here(self):
        assert 0 < memory.memory_limit() <= MACHINE

    def test_what_was_asked_for_goes_first(self):
        memory.limit_memory(2000)
        assert memory.memory_limit() == 2_000_000_000
        memory.limit_memory(None)
        assert memory.memory_limit() <= MACHINE


class TestErrors:
    @pytest.mark.parametrize(
        ("error", "asked"),
        [
            (MemoryError(), None),
            (MemoryError("Unable to allocate 3.00 GiB for an array with shape"), "3.2 GB"),
            (
                RuntimeError(
                    "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't"
                    " allocate memory: you tried to allocate 40000000000 bytes. Error code 12"
                ),
                "40.0 GB",
            ),
            (RuntimeError("DefaultCPUAllocator: not enough memory: you tried"), None),
            (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."), "21 MB"),
        ],
    )
    def test_one_line_with_the_image_the_bytes_and_the_keys(self, error, asked):
        memory.limit_memory(2000)
        with (
            pytest.raises(memory.OutOfMemory) as caught,
            memory.naming(lambda: "a.jpg (4×3 pixels)"),
        ):
            raise error
        message = str(caught.value)
        more = f", {asked} more were asked for" if asked else ""
        start = f"a.jpg (4×3 pixels): out of memory{more}, and the limit is 2.0 GB; "
        assert message.startswith(start)
        assert all(key in message for key in ("memory_mb", "max_side", "batch_pixels"))
        assert "\n" not in message
        assert isinstance(caught.value, InputError)

    def test_real_ones(self):
        for name, make, asked in (("b", np.empty, "8,[0-9,.]+"), ("c", torch.empty, "4,000,000.0")):
            expected = rf"^{name}: out of memory, {asked} GB more were asked for"
            with (
                pytest.raises(memory.OutOfMemory, match=expected),
                memory.naming(partial(str, name)),
            ):
                make(10**15)

    def test_the_inner_name_stays(self):
        with (
            pytest.raises(memory.OutOfMemory, match=r"^inner: "),
            memory.naming(lambda: "outer"),
            memory.naming(lambda: "inner"),
        ):
            raise MemoryError

    def test_another_error_is_left_alone(self):
        with pytest.raises(RuntimeError, match=r"^a bug$"), memory.naming(lambda: "x"):
            raise RuntimeError("a bug")
