"""What tests of several stages share: tiny data, stages as processes, and how failures look."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import browser
import pytest
import render_scenes
from file_server import FileServer, serve
from tiny_vit import TINY_VIT

from bbr.fetch import downloads

STAGES = Path(render_scenes.__file__).parent


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option that writes the table."""
    parser.addoption("--input-table", type=Path, help="write situation, before, now to this file")


@pytest.fixture(scope="session")
def rows(request: pytest.FixtureRequest) -> dict[str, tuple[str, str]]:
    """The table; written once all tests have ended, if none has failed."""
    found: dict[str, tuple[str, str]] = {}
    yield found
    path = request.config.getoption("--input-table", default=None)
    if path is not None and not request.session.testsfailed:
        lines = ["| situation | before | now |", "| --- | --- | --- |"]
        lines += [f"| {name} | {before} | {now} |" for name, (before, now) in sorted(found.items())]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture
def note(rows: dict[str, tuple[str, str]]) -> Callable[[str, str, str], None]:
    """Note a situation, what came of it before, and what the test has just seen come of it."""

    def add(situation: str, before: str, now: str) -> None:
        assert situation not in rows
        rows[situation] = (before, now.replace("|", "\\|"))

    return add


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The index of 20 scenes of 64 pixels; tests must not change it."""
    index = tmp_path_factory.mktemp("scenes") / "index.json"
    options = ["--preset", "scenes07", "--count", "20", "--size", "64", "--seed", "1"]
    assert render_scenes.main([*options, "--output", str(index)]) == 0
    return index


@pytest.fixture(scope="session")
def tiny_backbone() -> list[str]:
    """Options of a randomly initialised transformer: patches of 16 pixels, 2 heads."""
    return [
        "--weights",
        "random",
        "--architecture",
        "vit_tiny_patch16_224",
        "--architecture-args",
        json.dumps(TINY_VIT, separators=(",", ":")),
    ]


@pytest.fixture(scope="session")
def run_stage() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a stage as its users do, in a process of its own: name without .py, then options."""

    def run(name: str, *arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(STAGES / f"{name}.py"), *map(str, arguments)]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, **options
        )

    return run


@pytest.fixture(scope="session")
def one_line_error() -> Callable[[str, int, str], str]:
    """Check what a failed stage wrote to stderr, and give the message."""

    def check(name: str, status: int, stderr: str) -> str:
        assert status == 1
        assert "Traceback" not in stderr
        (line,) = stderr.splitlines()
        prefix = f"{name}.py: error: "
        assert line.startswith(prefix)
        return line.removeprefix(prefix)

    return check


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Browser]:
    """A window of a real browser; without one the test is skipped."""
    if browser.MISSING:
        pytest.skip(browser.MISSING)
    with browser.browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """A web server on this machine, which downloads ask again without a pause."""
    monkeypatch.setattr(downloads, "_PAUSE", 0)
    with serve() as served:
        yield served


@pytest.fixture
def refused(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    one_line_error: Callable[[str, int, str], str],
) -> Callable[..., str]:
    """Call a stage that must refuse its options in one line and leave no output; its message.

    With at_last, other lines may go before that one: of what was done until then.
    """

    def call(stage: ModuleType, *arguments: object, output: Path, at_last: bool = False) -> str:
        name = stage.__name__
        monkeypatch.setattr(sys, "argv", [f"{name}.py"])
        capsys.readouterr()
        status = stage.main([*map(str, arguments), "--output", str(output)])
        stderr = capsys.readouterr().err
        message = one_line_error(name, status, stderr.splitlines()[-1] if at_last else stderr)
        assert not output.is_file()
        left = list(output.parent.glob(f".{output.name}*")) if output.parent.is_dir() else []
        assert left == []
        return message

    return call
