"""What a long stage has finished so far, beside its output, so that a killed run goes on."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from .command_line.cli import log


class Journal:
    """Finished entries in order, one line of JSON each, until the output exists.

    The first line is a fingerprint of what determines the run: a journal of another run is begun
    anew. A line that a killed process left unfinished is dropped.
    """

    def __init__(self, output: Path | str, identity: dict[str, Any]) -> None:
        output = Path(output)
        self.path = output.with_name(f".{output.name}.journal")
        encoded = json.dumps(identity, sort_keys=True).encode()
        self._head = _line({"fingerprint": hashlib.sha256(encoded).hexdigest()})

    def resume(self) -> list[Any]:
        """The entries that are there already."""
        lines = self._whole_lines()
        if lines[:1] != [self._head]:
            if self.path.is_file():
                log.warning("%s: journal of another run ignored", self.path)
            self.discard()
            return []
        self.path.write_bytes(b"".join(lines))
        entries = [json.loads(line) for line in lines[1:]]
        log.info("resuming after %d parts from %s", len(entries), self.path)
        return entries

    def append(self, entry: Any) -> None:
        """Add an entry; it survives whatever happens next."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "ab") as file:
            file.write(_line(entry) if file.tell() else self._head + _line(entry))
            file.flush()
            os.fsync(file.fileno())

    def discard(self) -> None:
        """Remove the file, once the output stands."""
        self.path.unlink(missing_ok=True)

    def _whole_lines(self) -> list[bytes]:
        if not self.path.is_file():
            return []
        whole = []
        for line in self.path.read_bytes().splitlines(keepends=True):
            try:
                json.loads(line)
            except ValueError:
                break
            if not line.endswith(b"\n"):
                break
            whole.append(line)
        return whole


def _line(entry: Any) -> bytes:
    return (json.dumps(entry, ensure_ascii=True, allow_nan=False) + "\n").encode()
