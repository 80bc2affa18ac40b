"""Holds stages at the end of their work, for tests that decide what becomes of them meanwhile.

Python runs this as it starts, in whatever has this folder in PYTHONPATH. A stage with a file of its
name in `held/` of its working folder waits there before it renames an output, its temporary files
written and its memory in use, until the test removes that file.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

_script = Path(*sys.orig_argv[1:2])
_held = Path("held", _script.stem)


def _hold(event: str, _: tuple[object, ...]) -> None:
    if event == "os.rename" and _held.exists():
        _held.with_suffix(".reached").touch()
        while _held.exists():
            time.sleep(0.1)


if _script.parent == Path("stages"):
    sys.addaudithook(_hold)
