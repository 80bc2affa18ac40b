"""How long files and functions may be, found from the code alone; there are no exceptions."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAX_MODULE, MAX_STAGE, MAX_FUNCTION, MAX_RULES = 300, 150, 50, 200
FILES = sorted(
    path
    for folder in ("stages", "workflow", "benchmarks")
    for path in (ROOT / folder).rglob("*.py")
    if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
)


def too_long(source: str, most: int) -> Iterator[str]:
    """A file and its functions that have too many lines, with how many they have."""
    lines = len(source.splitlines())
    if lines > most:
        yield f"{lines} lines, of at most {most}"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            lines = node.end_lineno - node.lineno + 1
            if lines > MAX_FUNCTION:
                yield f"{node.name} has {lines} lines, of at most {MAX_FUNCTION}"


def test_what_is_too_long_is_found() -> None:
    def function(name: str, lines: int) -> str:
        return f"def {name}():\n" + "    pass\n" * (lines - 1)

    assert list(too_long(function("fits", 50), 50)) == []
    nested = f"class Kiln:\n    async {function('fire', 51)}".replace("\n    p", "\n        p")
    found = list(too_long(nested, 51))
    assert found == ["52 lines, of at most 51", "fire has 51 lines, of at most 50"]


def test_there_are_files() -> None:
    assert len(FILES) > 200


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_too_long(path: Path) -> None:
    most = MAX_STAGE if path.parent == ROOT / "stages" else MAX_MODULE
    assert list(too_long(path.read_text(encoding="utf-8"), most)) == []


@pytest.mark.parametrize(
    "path", sorted((ROOT / "workflow/rules").glob("*.smk")), ids=lambda path: path.name
)
def test_no_file_of_rules_is_too_long(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_RULES


def test_the_formatter_formats_everything() -> None:
    """No layout by hand, which would make room for a line more."""
    marks = tuple(f"# fmt: {word}" for word in ("skip", "off"))
    everything = [*FILES, *(ROOT / "tests").rglob("*.py")]
    marked = [path for path in everything if any(m in path.read_text("utf-8") for m in marks)]
    assert marked == []
