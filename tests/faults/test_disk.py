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
_SIZE = 8 * 2**20


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file system of 8 MB in memory."""
    if os.getuid() != 0:
        pytest.skip("needs root, to mount a small file system")
    place = tmp_path_factory.mktemp("disk")
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", str(place)]
    if (done := subprocess.run(mount, capture_output=True, text=True)).returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


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
    folder = disk / stage
    arguments = runs.arguments(stage, folder)
    filler = leave_room(disk, int(part * sum(map(len, contents(expected).values()))))
    found = outcome(stage, *runs.attempt(stage, arguments), folder, expected)
    assert found == "refused in one line"
    filler.unlink()
    # With room again, the same command finishes.
    assert runs.attempt(stage, arguments)[0] == 0
    assert contents(folder) == contents(expected)
    subprocess.run(["rm", "-r", str(folder)], check=True)
    table.note("disk full, at once or half-way; then room again", stage, found)


def test_a_read_only_disk(runs: Runs, table, stage, disk):
    expected = runs.output(stage).parent
    arguments = runs.arguments(stage, disk / stage)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    try:
        found = outcome(stage, *runs.attempt(stage, arguments), disk / stage, expected)
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    assert found == "refused in one line"
    table.note("output folder read-only", stage, found)
