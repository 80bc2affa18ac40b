"""bbr.command_line.cli: exit statuses, one line for each error, threads and progress."""

import errno
import os
import signal
import sys
from dataclasses import dataclass

import pytest
import torch

from bbr.command_line import cli
from bbr.errors import InputError
from bbr.options import option


@dataclass(frozen=True)
class Count:
    """How many."""

    number: int = option(3, "of things")
    thing: str | None = option(None, "what", parse=lambda text: refuse(text))
    output: str | None = option(None, "where")


def refuse(text):
    raise InputError(f"{text} is bad")


def stage(work, *argv):
    """A stage with options of its own, through `execute`."""

    def run(count: Count):
        work(count.number)

    return cli.execute(run, "Do something.", list(argv))


@pytest.fixture(autouse=True)
def name_of_the_program(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["stage.py"])


def failing(error):
    def run(number):
        raise error

    return run


@pytest.fixture(autouse=True)
def restored():
    """The signal handler and the thread counts that `execute` changes."""
    handler, threads = signal.getsignal(signal.SIGTERM), torch.get_num_threads()
    yield
    signal.signal(signal.SIGTERM, handler)
    torch.set_num_threads(threads)
    cli.limit_threads(None)


class TestExecute:
    def test_success_passes_options_by_name(self, capsys):
        seen = {}
        assert stage(lambda number: seen.update(number=number), "--number", "5") == 0
        assert seen == {"number": 5}
        assert capsys.readouterr().err == ""

    def test_input_errors_are_one_line(self, capsys):
        assert stage(failing(InputError("file x:\n  is bad;  mend it"))) == 1
        assert capsys.readouterr().err == "stage.py: error: file x: is bad; mend it\n"

    def test_input_errors_of_option_types_too(self, capsys):
        assert stage(lambda number: None, "--thing", "it") == 1
        assert capsys.readouterr().err == "stage.py: error: it is bad\n"

    def test_an_output_that_cannot_be_written_is_refused_before_the_work(self, capsys, tmp_path):
        (tmp_path / "file").touch()
        worked = []
        assert stage(worked.append, "--output", str(tmp_path / "file" / "a.json")) == 1
        assert "cannot make its folder" in capsys.readouterr().err
        assert worked == []

    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EFBIG])
    def test_what_a_user_can_mend_about_files_is_one_line(self, capsys, number):
        error = OSError(number, os.strerror(number), "out/boxes.json")
        assert stage(failing(error)) == 1
        expected = f"stage.py: error: out/boxes.json: {os.strerror(number)}\n"
        assert capsys.readouterr().err == expected

    def test_without_a_file_name(self, capsys):
        assert stage(failing(OSError(errno.ENOSPC, "No space left on device"))) == 1
        assert capsys.readouterr().err == "stage.py: error: No space left on device\n"

    @pytest.mark.parametrize("error", [OSError(errno.EIO, "I/O"), OSError("?"), KeyError("bug")])
    def test_anything_else_keeps_its_traceback(self, error):
        with pytest.raises(type(error)):
            stage(failing(error))

    def test_interrupt(self, capsys):
        assert stage(failing(KeyboardInterrupt())) == 130
        assert capsys.readouterr().err == "stage.py: error: interrupted\n"

    def test_sigterm_leaves_through_finally(self):
        left = []

        def run(number):
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                signal.pause()
            finally:
                left.append(True)

        with pytest.raises(SystemExit) as caught:
            stage(run)
        assert (caught.value.code, left) == (143, [True])

    @pytest.mark.parametrize("argv", [["--nope"], ["--number", "x"], ["--threads", "0"]])
    def test_usage_errors(self, capsys, argv):
        with pytest.raises(SystemExit) as caught:
            stage(lambda number: None, *argv)
        assert caught.value.code == 2
        assert "stage.py: error: " in capsys.readouterr().err.splitlines()[-1]


class TestThreads:
    def test_given(self):
        seen = []
        stage(
            lambda number: seen.append((torch.get_num_threads(), cli.thread_count())),
            "--threads",
            "1",
        )
        assert seen == [(1, 1)]

    def test_default_is_what_the_process_may_use(self):
        seen = []
        stage(lambda number: seen.append(cli.thread_count()))
        assert seen == [len(os.sched_getaffinity(0))]


class TestPaths:
    def test_existing_file(self, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path))
        (tmp_path / "a").touch()
        assert cli.existing_file("~/a", "--file") == tmp_path / "a"
        with pytest.raises(InputError, match=r"--file .*/b: no such file"):
            cli.existing_file(tmp_path / "b", "--file")


class TestProgress:
    @pytest.fixture(autouse=True)
    def terminal(self, caplog, monkeypatch):
        """Whether stderr is one: at first it is not, as in a log."""
        caplog.set_level("INFO", logger="bbr")
        monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)

    def test_a_line_each_tenth(self, caplog):
        assert list(cli.progress(range(20), 20, "things")) == list(range(20))
        assert caplog.messages == [f"things: {n} of 20" for n in range(2, 21, 2)]

    def test_few_items_have_a_line_each(self, caplog):
        assert list(cli.progress("abc", 3, "things")) == ["a", "b", "c"]
        assert caplog.messages == ["things: 1 of 3", "things: 2 of 3", "things: 3 of 3"]

    def test_unknown_totals_double(self, caplog):
        assert len(list(cli.progress(range(9), None, "things"))) == 9
        assert caplog.messages == [f"things: {n}" for n in (1, 2, 4, 8)]

    def test_nothing(self, caplog):
        assert list(cli.progress([], 0, "things")) == []
        assert caplog.messages == []

    def test_a_bar_on_a_terminal(self, caplog, monkeypatch):
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
        assert list(cli.progress(range(3), 3, "things")) == [0, 1, 2]
        assert caplog.messages == []
