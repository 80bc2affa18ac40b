"""What a run that met a fault may end in: one clear line and no output, or the right result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from safetensors import safe_open
from stage_runs import STAGES, contents

# What says how an artifact came to be. It holds the digests of the inputs, which a flipped bit
# changes even where nothing reads it.
_HISTORY = {"provenance", "inputs", "content_sha256", "boxes_sha256", "metadata_sha256"}


def outcome(stage: str, status: int | None, log: str, folder: Path, expected: Path) -> str:
    """Which of the two it was.

    Args:
        status, log: of the run.
        folder: where its output was to go.
        expected: the folder of an unbroken run.

    Raises:
        AssertionError: it was neither.
    """
    if status == 0:
        wanted, found = meanings(expected), meanings(folder)
        assert found.keys() == wanted.keys(), log
        differing = [name for name in wanted if found[name] != wanted[name]]
        assert not differing, f"another {', '.join(differing)}\n{log}"
        return "same result"
    assert_refused(status, log)
    left = contents(folder) if folder.exists() else {}
    # Training states stay, to go on from; images of rendered scenes are told of by the index alone.
    assert STAGES[stage][0] not in left, log
    assert not [name for name in left if ".tmp" in name], log
    return "refused in one line"


def assert_refused(status: int | None, log: str) -> None:
    """Exit status 1, one line that says why, no traceback."""
    assert status == 1, f"exit status {status}\n{log}"
    assert "Traceback" not in log, log
    errors = [line for line in log.splitlines() if ": error: " in line]
    assert len(errors) == 1, log


def meanings(folder: Path) -> dict[str, Any]:
    """What the files below a folder say, without how they came to be."""
    files = (folder / name for name in contents(folder))
    return {str(path.relative_to(folder)): _meaning(path) for path in files}


def _meaning(path: Path) -> Any:
    if path.suffix == ".json":
        return _without_history(json.loads(path.read_bytes()))
    if path.suffix == ".h5":
        with h5py.File(path) as file:
            attributes = {k: np.asarray(v).tolist() for k, v in file.attrs.items()}
            return _without_history(attributes), {k: file[k][()].tobytes() for k in sorted(file)}
    if path.suffix == ".safetensors":
        with safe_open(path, framework="numpy") as file:
            tensors = {name: file.get_tensor(name).tobytes() for name in sorted(file.keys())}
            return _without_history(file.metadata()), tensors
    return path.read_bytes()


def _without_history(content: Any) -> Any:
    if isinstance(content, dict):
        return {k: _without_history(v) for k, v in content.items() if k not in _HISTORY}
    if isinstance(content, list):
        return [_without_history(item) for item in content]
    return content
