"""What a killed run leaves behind, and what the next one makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bbr.journal import Journal


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "output.json"


def written(output: Path, *entries: object) -> Journal:
    journal = Journal(output, {"seed": 0})
    assert journal.resume() == []
    for entry in entries:
        journal.append(entry)
    return journal


def test_entries_come_back_in_order(output: Path) -> None:
    written(output, {"a": 1}, ["é", None])
    journal = Journal(output, {"seed": 0})
    assert journal.resume() == [{"a": 1}, ["é", None]]
    journal.append(3)
    assert Journal(output, {"seed": 0}).resume() == [{"a": 1}, ["é", None], 3]


@pytest.mark.parametrize("cut", [1, 2, 5])
def test_a_torn_line_is_dropped_and_written_again(output: Path, cut: int) -> None:
    journal = written(output, [1], [2, 3, 4])
    content = journal.path.read_bytes()
    journal.path.write_bytes(content[:-cut])
    assert journal.resume() == [[1]]
    journal.append([2, 3, 4])
    assert journal.path.read_bytes() == content


def test_another_run_begins_anew(output: Path) -> None:
    written(output, 1, 2)
    assert Journal(output, {"seed": 1}).resume() == []
    assert Journal(output, {"seed": 0}).resume() == []


@pytest.mark.parametrize("content", [b"", b"\x00\xff\n", b"{}\n[1]\n", b"[]"])
def test_what_is_no_journal_begins_anew(output: Path, content: bytes) -> None:
    journal = written(output, 1)
    journal.path.write_bytes(content)
    assert journal.resume() == []


def test_nothing_is_left_in_the_end(output: Path) -> None:
    journal = written(output, 1)
    journal.discard()
    assert list(output.parent.iterdir()) == []
    journal.discard()
