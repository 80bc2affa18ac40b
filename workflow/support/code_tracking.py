"""Which source files a stage is made of, found from its imports.

A record of them and of their digests is an input of the stage's rule, so that an edit reruns that
stage and what follows from it, and nothing before it. One record, since Snakemake looks at every
input of every waiting job each time that a job ends: with the files themselves, of which most
stages have more than thirty, that took a second of CPU time a job.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from .records import read_record, write_record

# The repository. The working directory is another folder where the workflow is used as a module.
ROOT = Path(__file__).resolve().parents[2]


def announce_stages() -> str:
    """Put the folder of the stages into the environment of the rules' commands, and return it.

    Snakemake formats the commands of a module without the module's variables.
    """
    folder = "stages" if Path.cwd() == ROOT else str(ROOT / "stages")
    os.environ["BBR_STAGES"] = folder
    return folder


@cache
def record_code(stage: str, folder: str = "stages", records: str = "results/code") -> str:
    """Write which files a stage is made of, and their SHA-256, unless that is what is written.

    Args:
        stage, folder: see `code_files`.
        records: the folder of the records.

    Returns:
        The path of the record. Its date is that of the last change of the stage's code.
    """
    parsed = _parsed(Path(records))
    digests = {file: _digest(Path(file)) for file in code_files(stage, folder, parsed)}
    parsed.keep()
    record = Path(records, f"{stage}.json")
    write_record(record, json.dumps(digests, indent=1).encode())
    return str(record)


@cache
def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Parsed:
    """Which modules files import, by their SHA-256, and kept from one run to the next.

    Parsing the few hundred files of all stages takes a quarter of the time in which a run is
    planned, and most of them never change.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._by = _digest(Path(__file__))  # another version may read imports in another way
        kept = {} if path is None else read_record(path)
        self._known: dict[str, list[tuple[int, str]]] = kept.get(self._by, {})
        self._added = False

    def imports(self, path: Path) -> list[tuple[int, str]]:
        """Levels (dots before the name) and names of what a file imports."""
        digest = _digest(path)
        if digest not in self._known:
            self._known[digest] = list(_imports(path))
            self._added = True
        return self._known[digest]

    def keep(self) -> None:
        """Write what has been added, if that can be written; what was edited stays in it too."""
        if self._path is not None and self._added:
            with contextlib.suppress(OSError):
                write_record(self._path, json.dumps({self._by: self._known}).encode())
            self._added = False


@cache
def _parsed(records: Path) -> Parsed:
    return Parsed(records / "imports.json")


def code_files(stage: str, folder: str = "stages", parsed: Parsed | None = None) -> tuple[str, ...]:
    """The script of a stage and every module below `folder` that it imports, however indirectly.

    Imports anywhere in a file count, those inside functions too. A module brings the
    `__init__.py` of each package that it lies in. Imports by computed names are not seen.

    Args:
        stage: name of the script without its ending.
        folder: the folder of the stages, which Python puts on its path when it runs one.
        parsed: what is known of files already.

    Returns:
        Paths that begin with `folder`: the script, then the modules in alphabetical order.

    Raises:
        FileNotFoundError: there is no such script.
    """
    root = Path(folder)
    script = root / f"{stage}.py"
    known = parsed or Parsed()
    found: set[Path] = set()
    waiting = [script]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += _imported_files(path, root, known)
    return (str(script), *sorted(str(path) for path in found - {script}))


@cache
def _imported_files(path: Path, root: Path, parsed: Parsed) -> tuple[Path, ...]:
    """Files below `root` that run when a file's imports do."""
    package = path.parent.relative_to(root).parts
    names = set()
    for level, name in parsed.imports(path):
        above = package[: len(package) - level + 1] if level else ()
        names.add(".".join((*above, name) if name else above))
    return tuple({file for name in names for file in _files(name, root)})


def _imports(path: Path) -> Iterator[tuple[int, str]]:
    """(dots, name) of all modules that a file imports, or may: `from a import b` is a and a.b."""
    for node in _statements(ast.parse(path.read_bytes(), str(path))):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.level, node.module or ""
            for alias in node.names:
                yield node.level, f"{node.module}.{alias.name}" if node.module else alias.name


def _statements(parent: ast.AST) -> Iterator[ast.AST]:
    """All statements below a node, and not their expressions, which are ten times as many."""
    for block in ("body", "handlers", "orelse", "finalbody", "cases"):
        for node in getattr(parent, block, ()):
            yield node
            yield from _statements(node)


@cache
def _files(name: str, root: Path) -> tuple[Path, ...]:
    """Files below `root` that run when the module `name` is imported; none if it is elsewhere."""
    place, found = root, []
    for part in name.split("."):
        place = place / part
        found += [place.with_name(f"{part}.py"), place / "__init__.py"]
    return tuple(filter(Path.is_file, found))
