"""Which files a stage depends on, from its imports."""

from __future__ import annotations

import ast
import json
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from support import code_tracking
from support.code_tracking import code_files, record_code
from workflow_copies import ROOT, Repository

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


# One process for all stages, since torch and timm take seconds to import; the folder it runs in has
# the stages.
_IMPORT_EACH = """
import importlib, json, sys
found = {}
sys.path[0] = ""
for stage in sys.argv[1:]:
    for name in [n for n in sys.modules if n.partition(".")[0] == "bbr"]:
        del sys.modules[name]
    importlib.import_module(stage)
    found[stage] = [n for n in sys.modules if n.partition(".")[0] == "bbr"]
print(json.dumps(found))
"""


def test_nothing_that_a_stage_really_imports_is_missed(tmp_path: Path) -> None:
    script = tmp_path / "import_each.py"
    script.write_text(_IMPORT_EACH)
    output = subprocess.run(
        [Repository.warm_python(), script, *STAGES],
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
        _as_in_a_new_run()
        path = Path(record_code("stage", str(folder), str(records)))
        return path.stat().st_mtime_ns, json.loads(path.read_text())

    first = record()
    assert list(first[1]) == [str(folder / "stage.py"), str(folder / "part.py")]
    (folder / "stage.py").touch()
    (folder / "other.py").write_text("y = 2\n")
    assert record() == first
    (folder / "part.py").write_text("x = 3\n")
    assert record() != first
    assert {file.name for file in records.iterdir()} == {"stage.json", "imports.json"}


@pytest.mark.parametrize("content", ["", "[1, 2]", '{"another version": {"x": 1}}'])
def test_what_is_kept_of_imports_may_be_cut_off_or_of_another_version(
    tmp_path: Path, content: str
) -> None:
    folder = _write(tmp_path / "stages", {"stage.py": "import part", "part.py": ""})
    kept = tmp_path / "imports.json"
    _as_in_a_new_run()
    first = Path(record_code("stage", folder, str(tmp_path))).read_text()
    written = kept.read_bytes()
    kept.write_text(content)
    _as_in_a_new_run()
    assert Path(record_code("stage", folder, str(tmp_path))).read_text() == first
    assert kept.read_bytes() == written


def test_what_is_kept_of_imports_need_not_be_written(tmp_path: Path) -> None:
    """Records that are as they should be are enough."""
    folder = _write(tmp_path / "stages", {"stage.py": "import part", "part.py": ""})
    _as_in_a_new_run()
    record = Path(record_code("stage", folder, str(tmp_path)))
    written = record.stat().st_mtime_ns
    (tmp_path / "imports.json").unlink()
    (tmp_path / "imports.json").mkdir()
    _as_in_a_new_run()
    record_code("stage", folder, str(tmp_path))
    assert record.stat().st_mtime_ns == written


def test_files_that_have_not_changed_are_not_parsed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"stage.py": "from bbr import part", "bbr/__init__.py": "part = 1", "bbr/part.py": ""}
    folder = _write(tmp_path / "stages", files)
    parsed: list[str] = []

    def parse(source: bytes, name: str) -> ast.AST:
        parsed.append(Path(name).name)
        return ast.parse(source)

    monkeypatch.setattr(code_tracking, "ast", SimpleNamespace(**vars(ast) | {"parse": parse}))
    found = []
    for _ in range(2):
        _as_in_a_new_run()
        found.append(Path(record_code("stage", folder, str(tmp_path))).read_text())
    assert sorted(parsed) == ["__init__.py", "part.py", "stage.py"]
    assert found[0] == found[1]
    # A name that was an attribute, and is now a module, is seen without a change of who imports it.
    (tmp_path / "stages/bbr/part.py").unlink()
    (tmp_path / "stages/bbr/part").mkdir()
    (tmp_path / "stages/bbr/part/__init__.py").write_text("")
    _as_in_a_new_run()
    record_code("stage", folder, str(tmp_path))
    assert len(parsed) == 3  # the new one is as empty as the old one
    assert "bbr/part/__init__.py" in (tmp_path / "stage.json").read_text()


def _as_in_a_new_run() -> None:
    for function in (
        record_code,
        code_tracking._digest,
        code_tracking._parsed,
        code_tracking._imported_files,
        code_tracking._files,
    ):
        function.cache_clear()
