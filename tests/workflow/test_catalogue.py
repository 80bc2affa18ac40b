"""What the catalogue of Snakemake workflows looks for is there."""

from __future__ import annotations

from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]


def test_the_catalogue_finds_what_it_needs() -> None:
    stated = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text("utf-8"))
    assert set(stated["usage"]) == {"software-stack-deployment", "report"}
    assert (ROOT / "config" / "README.md").is_file()
    assert (ROOT / "workflow" / "Snakefile").is_file()


def test_the_small_configuration_is_the_one_of_the_tests() -> None:
    small = ROOT / ".test" / "config.yaml"
    assert small.resolve() == (ROOT / "workflow" / "configs" / "test.yaml").resolve()
