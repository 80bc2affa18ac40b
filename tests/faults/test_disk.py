"""A disk that is full, at once or half-way, and one that cannot be written to: a small tmpfs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from outcomes import outcome
from stage_runs import Runs, contents

_PAGE = 4096
_SIZE = 128 * 2**20  # room for training states with an EfficientNet in them


@pytest.fixture(scope="module")
def mounted(runs: Runs) -> Iterator[Path]:
    """A small file system in memory, beside the unbroken runs, as paths in indices are relative."""
    if os.getuid() != 0:
        pytest.skip("needs root, to mount a small file system")
    place = runs.root / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", str(place)]
    if (done := subprocess.run(mount, capture_output=True, text=True)).returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.fixture
def disk(mounted: Path) -> Iterator[Path]:
    """That, empty."""
    yield mounted
    for path in mounted.iterdir():
        subprocess.run(["rm", "-r", str(path)], check=True)


def leave_room(disk: Path, room: int) -> Path:
    """Fill a disk but for this many bytes, rounded down to pages; the file that fills it."""
    filler = disk / "filler"
    with open(filler, "wb") as handle:
        free = os.statvfs(disk)
        os.posix_fallocate(handle.fileno(), 0, (free.f_bavail - room // _PAGE) * _PAGE)
    return filler


@pytest.mark.parametrize("part", [0, 0.5])
def test_a_full_disk(runs: Runs, table, stage, disk, part):
    expected = runs.output(stage).parent
    arguments = runs.arguments(stage, disk)
    filler = leave_room(disk, int(part * sum(map(len, contents(expected).values()))))
    found = outcome(stage, *runs.attempt(stage, arguments), disk, expected)
    assert found == "refused in one line"
    filler.unlink()
    # With room again, the same command finishes.
    status, log = runs.attempt(stage, arguments)
    assert status == 0, log
    assert contents(disk) == contents(expected)
    table.note("disk full, at once or half-way; then room again", stage, found)


def test_a_read_only_disk(runs: Runs, table, stage, disk):
    expected = runs.output(stage).parent
    arguments = runs.arguments(stage, disk)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    try:
        found = outcome(stage, *runs.attempt(stage, arguments), disk, expected)
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    assert found == "refused in one line"
    table.note("output folder read-only", stage, found)
