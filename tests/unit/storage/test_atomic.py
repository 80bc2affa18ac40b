"""bbr.storage.atomic: a file that exists is complete, whatever happens while it is written."""

import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from bbr.errors import InputError
from bbr.storage import atomic
from bbr.storage.atomic import (
    PatientFile,
    atomic_path,
    only_user_of,
    require_writable,
    sha256,
    write_bytes,
)
from bbr.storage.json_files import encode_json, read_json, write_json

# Writes half of a file, says so, and is then killed by the test.
HALF = """
import sys
from bbr.storage.atomic import atomic_path
with atomic_path(sys.argv[1]) as temporary:
    temporary.write_bytes(b"half")
    print(temporary.name, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def dead_pid():
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def neighbour(path, pid, host=None):
    host = host or socket.gethostname()
    left = path.with_name(f".{path.name}.{host}-{pid}.tmp{path.suffix}")
    left.write_text("part of a file")
    return left


class TestAtomicPath:
    def test_new_folders_are_made_and_nothing_else_is_left(self, tmp_path):
        path = tmp_path / "a" / "b" / "c.json"
        with atomic_path(path) as temporary:
            assert temporary.parent == path.parent
            assert temporary.suffix == ".json"
            temporary.write_text("new")
            assert not path.exists()
        assert path.read_text() == "new"
        assert list(path.parent.iterdir()) == [path]

    @pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
    def test_an_exception_leaves_the_old_file(self, tmp_path, error):
        path = tmp_path / "a.json"
        path.write_text("old")

        def write_half():
            with atomic_path(path) as temporary:
                temporary.write_text("half")
                raise error

        with pytest.raises(error):
            write_half()
        assert path.read_text() == "old"
        assert list(tmp_path.iterdir()) == [path]

    def test_a_kill_leaves_the_old_file_and_the_next_run_sweeps(self, tmp_path):
        path = tmp_path / "a [1].json"
        path.write_text("old")
        process = subprocess.Popen(
            [sys.executable, "-c", HALF, str(path)],
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={"PYTHONPATH": str(atomic.__file__).rsplit("/bbr/", 1)[0]},
        )
        with process:
            left = tmp_path / process.stdout.readline().strip()
            process.send_signal(signal.SIGKILL)
        assert path.read_text() == "old"
        assert left.read_text() == "half"
        write_bytes(path, b"new")
        assert path.read_text() == "new"
        assert list(tmp_path.iterdir()) == [path]

    def test_only_what_dead_processes_of_this_machine_left_is_swept(self, tmp_path, dead_pid):
        path = tmp_path / "a.json"
        stale = neighbour(path, dead_pid)
        kept = [
            neighbour(path, os.getppid()),
            neighbour(path, dead_pid, host="elsewhere"),
            neighbour(tmp_path / "b.json", dead_pid),
            neighbour(path, "note"),
        ]
        write_bytes(path, b"new")
        assert not stale.exists()
        assert all(left.exists() for left in kept)

    def test_two_writers_do_not_meet(self, tmp_path):
        with atomic_path(tmp_path / "a.json") as first:
            neighbour(tmp_path / "a.json", os.getpid() + 1)
            first.write_text("whole")
        assert (tmp_path / "a.json").read_text() == "whole"

    @pytest.mark.parametrize("output", ["file/a.json", "file/deeper/a.json"])
    def test_a_folder_that_cannot_be_made(self, tmp_path, output):
        (tmp_path / "file").touch()
        with pytest.raises(InputError, match="cannot make its folder"):
            write_bytes(tmp_path / output, b"")

    def test_a_folder_that_cannot_be_written_to(self, tmp_path, monkeypatch):
        # Permissions do not hold for root, as whom tests may run.
        monkeypatch.setattr(os, "access", lambda path, mode: False)
        with pytest.raises(InputError, match="is not writable; choose another --output"):
            write_bytes(tmp_path / "a.json", b"")

    def test_a_folder_as_output(self, tmp_path):
        with pytest.raises(InputError, match="is a folder; name a file in it"):
            write_bytes(tmp_path, b"")

    def test_writable_can_be_asked_for_before(self, tmp_path):
        require_writable(tmp_path / "new" / "folder" / "a.json")
        require_writable("a.json")
        assert list(tmp_path.iterdir()) == []

    def test_a_failed_write_says_where(self, tmp_path):
        with pytest.raises(OSError, match="No space") as caught, atomic_path(tmp_path / "a.json"):
            raise OSError(28, "No space left on device")
        assert caught.value.filename == str(tmp_path / "a.json")


class TestJson:
    def test_round_trip_and_bytes(self, tmp_path):
        content = {"b": [1, 2.5, None, True], "a": "ä😀"}
        write_json(tmp_path / "a.json", content)
        assert read_json(tmp_path / "a.json") == content
        write_json(tmp_path / "list.json", [content])
        assert (tmp_path / "list.json").read_bytes() == encode_json([content])
        # The order is the content's own, and text stays readable.
        assert encode_json(content).decode() == '{"b": [1, 2.5, null, true], "a": "ä😀"}\n'

    @pytest.mark.parametrize("content", [{}, {"a": 1}, {"a": {"content_sha256": "inner"}}])
    def test_an_object_ends_in_the_digest_of_the_rest(self, tmp_path, content):
        write_json(tmp_path / "a.json", content)
        assert read_json(tmp_path / "a.json") == content
        assert list(json.loads((tmp_path / "a.json").read_bytes()))[-1] == "content_sha256"

    def test_no_flipped_bit_changes_what_is_read(self, tmp_path):
        path, content = tmp_path / "a.json", {"score": 50.25, "labels": {"seed": "0"}}
        write_json(path, content)
        whole = path.read_bytes()
        for bit in range(8 * len(whole)):
            damaged = bytearray(whole)
            damaged[bit // 8] ^= 1 << bit % 8
            path.write_bytes(damaged)
            try:
                found = read_json(path)
            except InputError:
                continue
            # All that can pass is a flip in the name of the digest's own member.
            assert {key: found[key] for key in content} == content
            assert b"content_sha256" not in damaged

    def test_an_edited_file_is_refused_until_its_digest_is_deleted(self, tmp_path):
        path = tmp_path / "a.json"
        write_json(path, {"score": 50})
        edited = json.loads(path.read_bytes()) | {"score": 51}
        path.write_text(json.dumps(edited))
        with pytest.raises(InputError, match=r"was edited; .* delete its member content_sha256"):
            read_json(path)
        del edited["content_sha256"]
        path.write_text(json.dumps(edited))
        assert read_json(path) == {"score": 51}

    def test_not_a_number_is_refused_and_leaves_nothing(self, tmp_path):
        with pytest.raises(ValueError, match="not JSON compliant"):
            write_json(tmp_path / "a.json", float("nan"))
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("content", [b"", b"{", b'{"a": 1', b"\xff\xfe", b"[1] 2"])
    def test_damaged(self, tmp_path, content):
        (tmp_path / "a.json").write_bytes(content)
        with pytest.raises(InputError, match=r"a\.json: not valid JSON"):
            read_json(tmp_path / "a.json")

    def test_missing_or_a_folder(self, tmp_path):
        with pytest.raises(InputError, match=r"a\.json: cannot be read"):
            read_json(tmp_path / "a.json")
        with pytest.raises(InputError, match="cannot be read"):
            read_json(tmp_path)


def test_sha256_of_the_empty_file_and_of_abc(tmp_path):
    """The first two examples of FIPS 180-4."""
    for content, digest in ((b"", "e3b0c442"), (b"abc", "ba7816bf")):
        (tmp_path / "a").write_bytes(content)
        assert sha256(tmp_path / "a").startswith(digest)
        assert len(sha256(tmp_path / "a")) == 64


def test_a_folder_has_one_user_at_a_time(tmp_path):
    with (
        only_user_of(tmp_path),
        pytest.raises(InputError, match="another run works there"),
        only_user_of(tmp_path),
    ):
        pass
    with only_user_of(tmp_path):
        assert list(tmp_path.iterdir()) == []


def test_a_patient_file_tells_of_a_failed_write_when_asked():
    with PatientFile("/dev/full", "w") as file:
        assert file.write(b"lost") == 4
        assert file.write(b"too") == 3
        with pytest.raises(OSError, match="No space"):
            file.check()
