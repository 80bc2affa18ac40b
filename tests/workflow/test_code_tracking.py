"""Which files a stage depends on, from its imports."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support import code_tracking
from support.code_tracking import code_files, record_code
from workflow_copies import ROOT

STAGES = sorted(path.stem for path in (ROOT / "stages").glob("*.py"))


def _write(folder: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(folder)


def _found(folder: str, stage: str = "stage") -> list[str]:
    return [str(Path(path).relative_to(folder)) for path in code_files(stage, folder)]


@pytest.mark.parametrize(
    "statement",
    [
        "import bbr.used",
        "import bbr.used as other",
        "from bbr import used",
        "from bbr.used import thing",
        "def later():\n    from bbr import used",
        "try:\n    import bbr.used\nexcept ImportError:\n    pass",
    ],
)
def test_every_way_of_importing_counts(tmp_path: Path, statement: str) -> None:
    folder = _write(
        tmp_path,
        {"stage.py": statement, "bbr/__init__.py": "", "bbr/used.py": "", "bbr/unused.py": ""},
    )
    assert _found(folder) == ["stage.py", "bbr/__init__.py", "bbr/used.py"]


@pytest.mark.parametrize(
    ("place", "statement"),
    [
        ("bbr/direct.py", "from .used import thing"),
        ("bbr/direct.py", "from . import used"),
        ("bbr/deep/__init__.py", "from ..used import thing"),
        ("bbr/deep/__init__.py", "from .. import used"),
        ("bbr/deep/inner.py", "from ..used import thing"),
    ],
)
def test_relative_imports_are_resolved(tmp_path: Path, place: str, statement: str) -> None:
    module = place.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    files = {"stage.py": f"import {module}", "bbr/__init__.py": "", "bbr/used.py": ""}
    if "deep" in place:
        files["bbr/deep/__init__.py"] = ""
    folder = _write(tmp_path, files | {place: statement})
    assert set(_found(folder)) == {*files, place}


def test_imports_of_imports_and_cycles(tmp_path: Path) -> None:
    folder = _write(
        tmp_path,
        {
            "stage.py": "from bbr import a",
            "bbr/__init__.py": "from . import always",
            "bbr/always.py": "",
            "bbr/a.py": "from .b import thing",
            "bbr/b.py": "import numpy\nfrom .a import other",
            "bbr/c.py": "",
        },
    )
    assert set(_found(folder)) == {
        "stage.py",
        "bbr/__init__.py",
        "bbr/always.py",
        "bbr/a.py",
        "bbr/b.py",
    }


def test_a_script_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        code_files("stage", str(tmp_path))


# One process for all stages, since torch and timm take seconds to import.
_IMPORT_EACH = """
import importlib, json, sys
found = {}
for stage in sys.argv[1:]:
    for name in [n for n in sys.modules if n.partition(".")[0] == "bbr"]:
        del sys.modules[name]
    importlib.import_module(stage)
    found[stage] = [n for n in sys.modules if n.partition(".")[0] == "bbr"]
print(json.dumps(found))
"""


def test_nothing_that_a_stage_really_imports_is_missed() -> None:
    output = subprocess.run(
        [sys.executable, "-c", _IMPORT_EACH, *STAGES],
        cwd=ROOT / "stages",
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    for stage, modules in json.loads(output).items():
        files = code_files(stage, str(ROOT / "stages"))
        found = {str(Path(path).relative_to(ROOT / "stages")) for path in files}
        for module in modules:
            path = module.replace(".", "/")
            assert {f"{path}.py", f"{path}/__init__.py"} & found, f"{stage}: {module}"


def test_the_record_changes_with_the_code_alone(tmp_path: Path) -> None:
    folder, records = tmp_path / "stages", tmp_path / "records"
    folder.mkdir()
    (folder / "stage.py").write_text("import part\n")
    (folder / "part.py").write_text("x = 1\n")

    def record() -> tuple[int, dict[str, str]]:
        for function in (record_code, code_files, code_tracking._digest, code_tracking._imports):
            function.cache_clear()  # as a new run of Snakemake has it
        path = Path(record_code("stage", str(folder), str(records)))
        return path.stat().st_mtime_ns, json.loads(path.read_text())

    first = record()
    assert list(first[1]) == [str(folder / "stage.py"), str(folder / "part.py")]
    (folder / "stage.py").touch()
    (folder / "other.py").write_text("y = 2\n")
    assert record() == first
    (folder / "part.py").write_text("x = 3\n")
    assert record() != first
    assert [file.name for file in records.iterdir()] == ["stage.json"]
