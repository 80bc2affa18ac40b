"""YAML files, read at the start of every run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

# libyaml's, where PyYAML was built with it: the schema then takes 0.05 s instead of 0.8.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(path: Path | str) -> Any:
    """What a YAML file holds.

    Raises:
        OSError: it cannot be read.
        yaml.YAMLError: it is no YAML.
    """
    return yaml.load(Path(path).read_text(encoding="utf-8"), Loader=_LOADER)
