"""Rows of networks that learned from people's boxes and masks, and what their jobs read."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_configuration import small_configuration
from support.grounding_names import SUPERVISED
from support.plans import phrase_tables, upper_bounds

from bbr.upper_bounds.registry import NETWORKS


def test_names_are_those_of_the_stage() -> None:
    assert tuple(SUPERVISED) == NETWORKS


def test_only_those_that_are_configured_have_rows(tmp_path: Path) -> None:
    config = small_configuration()
    before = phrase_tables.table1(config), phrase_tables.table2(config)
    assert upper_bounds.phrase_networks(config) == []
    config["supervised"] |= {"sam3": str(tmp_path), "sam": str(tmp_path)}
    assert upper_bounds.phrase_networks(config) == ["sam3"]
    after = phrase_tables.table1(config), phrase_tables.table2(config)
    tasks = ("pointing_game", "bbox_accuracy")
    for old, new, task in zip(before, after, tasks, strict=True):
        assert new == [*old, f"results/b/grounding/sam3/{task}.json"]


def test_what_a_job_reads_of_a_folder(tmp_path: Path) -> None:
    for name in ("config.json", "merges.txt", "pytorch_model.bin", "README.md"):
        (tmp_path / name).touch()
    config = small_configuration()
    config["supervised"] |= {"sam3": str(tmp_path)}
    names = ("config.json", "merges.txt", "model.safetensors")  # the last is missed by its name
    expected = [str(tmp_path / name) for name in names]
    assert upper_bounds.network_files(config, "sam3") == expected
    assert upper_bounds.network_options(config, "sam3") == f"--weights {tmp_path} --batch-size 8"


def test_a_folder_that_is_not_there_or_not_named(tmp_path: Path) -> None:
    config = small_configuration()
    with pytest.raises(SystemExit, match=r"supervised\.owlv2: names no folder; add --config"):
        upper_bounds.network_files(config, "owlv2")
    config["supervised"]["owlv2"] = str(tmp_path / "no")
    with pytest.raises(SystemExit, match=r"supervised\.owlv2: .*no such folder"):
        upper_bounds.network_files(config, "owlv2")
