"""Writing HDF5: whole files, and a full disk that is told once."""

import subprocess
import sys

import h5py
import numpy as np
import pytest

from bbr.storage import hdf5
from bbr.storage.hdf5 import GrowingFile, create_hdf5

# A process of its own, whose files may not grow beyond 64 KiB. It checks what it sees, and its
# exit status tells a crash in HDF5's own clean-up.
FULL_DISK = """
import errno, resource, sys
import numpy as np
from bbr.storage.hdf5 import create_hdf5

resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, 2**16))
check = sys.argv[2] == "check"
batches = 0
try:
    with create_hdf5(sys.argv[1]) as file:
        rows = file.create_dataset("rows", (2000, 1000), "f4", chunks=(1, 1000), fletcher32=True)
        for start in range(0, 2000, 100):
            rows[start : start + 100] = np.ones((100, 1000), "f4")
            batches += 1
            if check:
                file.flush()
                file.check()
except OSError as error:
    assert error.errno == errno.EFBIG, error
    assert batches == (1 if check else 20), batches
else:
    sys.exit("the failed write was not told")
"""


def test_a_file_is_whole_when_the_block_ends(tmp_path):
    path = tmp_path / "a.h5"
    with create_hdf5(path) as file:
        file.attrs["name"] = "value"
        file["rows"] = [1, 2, 3]
        file.check()
    with h5py.File(path) as file:
        assert file.attrs["name"] == "value"
        assert file["rows"][:].tolist() == [1, 2, 3]


def test_an_exception_in_the_block_passes_through(tmp_path):
    with pytest.raises(ZeroDivisionError), create_hdf5(tmp_path / "a.h5"):
        raise ZeroDivisionError


def test_a_folder_that_does_not_exist(tmp_path):
    with pytest.raises(FileNotFoundError), create_hdf5(tmp_path / "none" / "a.h5"):
        pass


@pytest.mark.parametrize("way", ["check", "end"])
def test_a_full_disk_is_an_os_error_and_nothing_else(tmp_path, way):
    folder = str(hdf5.__file__).rsplit("/bbr/", 1)[0]
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path / "a.h5"), way],
        env={"PYTHONPATH": folder},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


class TestGrowing:
    """Chunks of 4 rows."""

    @pytest.fixture
    def grown(self, tmp_path):
        """Appends these many rows at a time, and gives what another reader finds in the end."""

        def grow(*counts):
            path, given = tmp_path / "a.h5", np.arange(sum(counts), dtype=np.int64)
            with create_hdf5(path) as file, GrowingFile(file) as growing:
                growing.create("n", np.int64, (), rows=4)
                for rows in np.split(given, np.cumsum(counts)[:-1]):
                    growing.append_rows("n", rows)
                assert growing.count("n") == len(given)
                assert len(file["n"]) == len(given) // 4 * 4  # the rest waits
            with h5py.File(path) as file:
                return file["n"][:].tolist()

        return grow

    @pytest.mark.parametrize(
        "counts", [(1,), (4,), (1, 1, 1, 1, 1), (3, 3), (9,), (2, 11, 3), (0, 5)]
    )
    def test_all_rows_are_there_in_order(self, grown, counts):
        assert grown(*counts) == list(range(sum(counts)))

    def test_no_rows(self, tmp_path):
        with create_hdf5(tmp_path / "a.h5") as file, GrowingFile(file) as growing:
            growing.create("n", np.float32, (2, 3), rows=4)
        with h5py.File(tmp_path / "a.h5") as file:
            assert file["n"].shape == (0, 2, 3)

    def test_after_an_exception_nothing_more_is_written(self, tmp_path):
        def fail(file):
            with GrowingFile(file) as growing:
                growing.create("n", np.int64, (), rows=4)
                growing.append_rows("n", np.arange(5))
                raise ZeroDivisionError

        with create_hdf5(tmp_path / "a.h5") as file, pytest.raises(ZeroDivisionError):
            fail(file)
        with h5py.File(tmp_path / "a.h5") as file:
            assert len(file["n"]) == 4

    def test_what_waits_holds_no_more_than_itself(self, tmp_path):
        with create_hdf5(tmp_path / "a.h5") as file, GrowingFile(file) as growing:
            growing.create("n", np.int64, (), rows=4)
            growing.append_rows("n", np.arange(4001))
            (waiting,) = growing._datasets["n"]._waiting
            assert waiting.base is None
            assert waiting.tolist() == [4000]
