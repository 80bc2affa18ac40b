"""Which source files a stage is made of, found from its imports.

They are inputs of the stage's rule, so that an edit reruns that stage and what follows from it,
and nothing before it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path


@cache
def code_files(stage: str, folder: str = "stages") -> tuple[str, ...]:
    """The script of a stage and every module below `folder` that it imports, however indirectly.

    Imports anywhere in a file count, those inside functions too. A module brings the
    `__init__.py` of each package that it lies in. Imports by computed names are not seen.

    Args:
        stage: name of the script without its ending.
        folder: the folder of the stages, which Python puts on its path when it runs one.

    Returns:
        Paths that begin with `folder`: the script, then the modules in alphabetical order.

    Raises:
        FileNotFoundError: there is no such script.
    """
    root = Path(folder)
    script = root / f"{stage}.py"
    found: set[Path] = set()
    waiting = [script]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += (file for name in _imports(path, root) for file in _files(name, root))
    return (str(script), *sorted(str(path) for path in found - {script}))


def _imports(path: Path, root: Path) -> Iterator[str]:
    """Dotted names of all modules that a file imports, or may: `from a import b` is a and a.b."""
    package = path.parent.relative_to(root).parts
    for node in ast.walk(ast.parse(path.read_bytes(), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*above, node.module) if node.module else above)
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def _files(name: str, root: Path) -> Iterator[Path]:
    """Files below `root` that run when the module `name` is imported; none if it is elsewhere."""
    place = root
    for part in name.split("."):
        place = place / part
        if (module := place.with_name(f"{part}.py")).is_file():
            yield module
        if (package := place / "__init__.py").is_file():
            yield package
