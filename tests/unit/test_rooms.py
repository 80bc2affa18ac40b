"""What the rooms of bbr may import, found from the code alone."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STAGES = ROOT / "stages"
FILES = {
    ".".join(path.relative_to(STAGES).with_suffix("").parts): path
    for path in sorted(STAGES.glob("bbr/**/*.py"))
}
MODULES = {name: path for name, path in FILES.items() if path.name != "__init__.py"}
ROOMS = sorted({name.split(".")[1] for name in MODULES if name.count(".") > 1})
MOST_MODULES = 20


def imported(name: str) -> Iterator[str]:
    """Dotted names of what a module imports, or may: `from a import b` is a and a.b."""
    package = name.split(".")[:-1]
    for node in ast.walk(ast.parse(FILES[name].read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*above, node.module] if node.module else above)
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


IMPORTS = {name: set(imported(name)) for name in MODULES}


def room_of(name: str) -> str:
    """The room of a module; bbr's own modules are rooms of themselves."""
    return name.split(".")[1]


def find_circle(edges: dict[str, set[str]]) -> list[str]:
    """Names that lead back to the first of them; empty if there are none."""
    done: set[str] = set()

    def follow(trail: list[str]) -> list[str]:
        for following in sorted(edges.get(trail[-1], ())):
            if following in trail:
                return [*trail[trail.index(following) :], following]
            if following not in done and (found := follow([*trail, following])):
                return found
        done.add(trail[-1])
        return []

    return next((found for name in sorted(edges) if (found := follow([name]))), [])


def test_a_circle_is_found() -> None:
    assert find_circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert find_circle({"a": {"b", "c"}, "b": {"c"}}) == []


def test_modules_make_no_circle() -> None:
    assert find_circle({name: used & set(MODULES) for name, used in IMPORTS.items()}) == []


def test_rooms_make_no_circle() -> None:
    edges: dict[str, set[str]] = {}
    for name, used in IMPORTS.items():
        others = {room_of(other) for other in used & set(MODULES)}
        edges.setdefault(room_of(name), set()).update(others - {room_of(name)})
    assert find_circle(edges) == []


def test_nothing_imports_stages() -> None:
    stages = {path.stem for path in STAGES.glob("*.py")}
    assert {name: used & stages for name, used in IMPORTS.items() if used & stages} == {}


def test_storage_knows_no_method() -> None:
    for name in MODULES:
        if room_of(name) == "storage":
            used = {room_of(other) for other in IMPORTS[name] & set(MODULES)}
            assert used <= {"storage", "errors"}, name


def test_only_modules_of_files_know_hdf5() -> None:
    knowing = {name for name in MODULES if IMPORTS[name] & {"h5py", "bbr.storage.hdf5"}}
    assert [n for n in sorted(knowing) if room_of(n) != "storage" and not n.endswith("_h5")] == []


def test_heuristics_see_arrays_only() -> None:
    for name in MODULES:
        if room_of(name) == "heuristics":
            assert not any(other.endswith("_h5") for other in IMPORTS[name]), name


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_is_small_and_says_what_belongs_there(room: str) -> None:
    inits = [name for name in FILES if name.startswith(f"bbr.{room}.") and name not in MODULES]
    assert inits
    for init in inits:
        (docstring,) = ast.parse(FILES[init].read_bytes()).body
        assert isinstance(docstring, ast.Expr)
        assert len(list(FILES[init].parent.glob("*.py"))) - 1 <= MOST_MODULES


def test_pytest_looks_into_every_folder_of_tests() -> None:
    """They are listed one by one, by how long they take."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    files = (ROOT / "tests").rglob("test_*.py")
    folders = {"/".join(path.relative_to(ROOT).parts[:2]) for path in files}
    assert set(listed["testpaths"]) == folders | {"benchmarks"}
