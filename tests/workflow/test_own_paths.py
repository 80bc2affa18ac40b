"""`--config images=PATH`: the text as it was typed, from where it was typed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from support.configuration import ConfigurationError, prepare
from workflow_copies import ROOT, Repository, default_configuration, environment

SCHEMA = ROOT / "workflow" / "schemas" / "config.schema.yaml"
# What Snakemake hands on for each of them is a number, a list, a mapping or another text.
TYPED = ("my photos #1", "2024_01", "007", "1e3", "[a]", "a: b", "{x}", "true", "ü ä", "'q'", "~x")


def _prepared(folder: Path, parsed: object, *arguments: str) -> dict:
    config = default_configuration() | {"images": parsed}
    prepare(config, SCHEMA, ["snakemake", *arguments], folder)
    return config


@pytest.mark.parametrize("name", TYPED)
@pytest.mark.parametrize("form", ["images={}", "--config=images={}"])
def test_the_text_as_typed(tmp_path: Path, name: str, form: str) -> None:
    (tmp_path / name).mkdir()
    config = _prepared(tmp_path, 7, "--config", form.format(name))
    assert config["datasets"]["mine"]["source"] == str(tmp_path / name)


def test_in_the_repository_it_is_relative(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos" / "deep").mkdir(parents=True)
    for typed in ("photos/deep", str(tmp_path / "photos/deep"), "photos/../photos/deep/"):
        config = _prepared(tmp_path, typed, f"images={typed}")
        assert config["datasets"]["mine"]["source"] == "photos/deep"
    config = _prepared(tmp_path / "photos", "deep", "images=deep")
    assert config["datasets"]["mine"]["source"] == "photos/deep"


def test_names_of_classes_lie_where_they_were_typed(tmp_path: Path) -> None:
    (tmp_path / "names.json").touch()
    config = default_configuration() | {"class_names": "names.json"}
    prepare(config, SCHEMA, (), tmp_path)
    assert config["class_names"] == str(tmp_path / "names.json")


def test_refusals_quote_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"images: 'a #1': no such folder \(/.*/a #1\)"):
        _prepared(tmp_path, "a", "images=a #1")
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(ConfigurationError, match=r"images: 'photo.jpg': a file, not a folder"):
        _prepared(tmp_path, "photo.jpg", "images=photo.jpg")
    with pytest.raises(ConfigurationError, match=r"images: \['a'\] is not a path"):
        _prepared(tmp_path, ["a"])


def test_planned_from_another_folder(
    repository: Repository, tmp_path: Path, note: Callable[[str, str, str], None]
) -> None:
    typed = tmp_path / "typed here"
    folder = typed / "photos {x} [1]: #2"
    folder.mkdir(parents=True)
    Image.new("RGB", (64, 48)).save(folder / "a.jpg")
    command = repository.command(
        "results/mine/boxes.json",
        "--dry-run",
        "--directory",
        str(repository.root),
        "--snakefile",
        str(repository.root / "workflow/Snakefile"),
        "--config",
        f"images={folder.name}",
    )
    shell = environment() | {"PWD": str(typed)}  # as shells set it
    done = subprocess.run(command, cwd=typed, env=shell, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "index_dataset" in done.stdout + done.stderr
    situation = "`images=` with blanks, `#`, brackets, braces, typed in another folder"
    note(situation, "a number, a list or another text, as YAML has it", "the text as typed")


def test_snakemake_without_its_environment(repository: Repository, tmp_path: Path) -> None:
    """`python` is then another one: jobs run by Snakemake's own."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").symlink_to(shutil.which("false"))
    path = os.pathsep.join((str(tmp_path / "bin"), "/usr/bin", "/bin"))
    Image.new("RGB", (64, 48)).save(tmp_path / "a.jpg")
    command = [sys.executable, "-m", "snakemake", "results/mine/index.json", "--cores", "1"]
    command += ["--config", f"images={tmp_path}"]
    done = subprocess.run(
        command,
        cwd=repository.root,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (repository.root / "results/mine/index.json").is_file()
