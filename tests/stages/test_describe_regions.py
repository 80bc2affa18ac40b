"""describe_regions.py through its command line, and its shards joined."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import describe_regions
import extract_heatmaps
import merge_shards
import pytest
import render_scenes
from captioner_data import tiny_captioner, write_published
from grounding_data import small_grounder, tiny_clip
from small_runs import command

from bbr.captioning.blip import save_small_captioner
from bbr.clip.network import save_small_clip
from bbr.data.index import load_index
from bbr.grounding.heatmaps_h5 import HeatmapFile
from bbr.grounding.network import save_grounder

COUNT = 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scenes, a captioner and a CLIP, all tiny; tests must not change it."""
    made = tmp_path_factory.mktemp("wwbl")
    scenes = command(preset="regions_test", count=COUNT, size=48, output=made / "index.json")
    assert render_scenes.main(scenes) == 0
    save_small_captioner(made / "captioner.safetensors", tiny_captioner(), {})
    save_small_clip(made / "clip.safetensors", tiny_clip(), {})
    assert describe(made, made / "wwbl" / "whole.json") == 0
    return made


def arguments(folder: Path, output: Path, *more: object) -> list[str]:
    options = command(
        index=folder / "index.json",
        captioner=folder / "captioner.safetensors",
        clip=folder / "clip.safetensors",
        image_size=48,
        same_iou=0.6,
        max_length=8,
        batch_size=16,
        device="cpu",
        threads=1,
    )
    return [*options, *map(str, more), "--output", str(output)]


def describe(folder: Path, output: Path, *more: object) -> int:
    return describe_regions.main(arguments(folder, output, *more))


def test_the_output_is_an_index_that_is_its_own_question(folder: Path, tmp_path: Path) -> None:
    index, given = load_index(folder / "wwbl" / "whole.json"), load_index(folder / "index.json")
    assert [i["id"] for i in index.images] == [i["id"] for i in given.images]
    assert index.annotations == []
    for image, before in zip(index.images, given.images, strict=True):
        assert index.image_path(image).samefile(given.image_path(before))
        assert len(image["phrases"]) == len(image["regions"]) > 0
        for x, y, width, height in (box for own in image["regions"] for box in own):
            assert 0 <= x <= x + width <= 48.01
            assert 0 <= y <= y + height <= 48.01
            assert width * height > 0.1 * 48 * 48 - 1
    save_grounder(tmp_path / "g.safetensors", small_grounder(), {})
    maps = command(
        index=folder / "wwbl" / "whole.json",
        weights=tmp_path / "g.safetensors",
        clip=folder / "clip.safetensors",
        image_size=64,
        size=16,
        output=tmp_path / "maps.h5",
    )
    assert extract_heatmaps.main([*maps, "--threads", "1"]) == 0
    with HeatmapFile(tmp_path / "maps.h5") as file:
        assert len(file) == sum(len(image["phrases"]) for image in index.images)


def test_no_ground_truth_is_read(folder: Path, tmp_path: Path) -> None:
    content = json.loads((folder / "index.json").read_text())
    content["annotations"] = []
    content.pop("content_sha256")
    (tmp_path / "bare.json").write_text(json.dumps(content))
    shutil.copytree(folder / "images", tmp_path / "images")
    options = arguments(folder, tmp_path / "out.json")
    options[options.index(str(folder / "index.json"))] = str(tmp_path / "bare.json")
    assert describe_regions.main(options) == 0
    assert (
        load_index(tmp_path / "out.json").images
        == load_index(folder / "wwbl" / "whole.json").images
    )


def test_shards_are_parts_of_the_whole(folder: Path) -> None:
    whole = load_index(folder / "wwbl" / "whole.json").images
    parts = [folder / "wwbl" / f"{i}.json" for i in range(2)]
    for i, part in enumerate(parts):
        assert describe(folder, part, "--shard", f"{i}/2") == 0
    merged = folder / "wwbl" / "merged.json"
    assert merge_shards.main(["--shards", *map(str, parts), "--output", str(merged)]) == 0
    assert load_index(merged).images == whole
    assert len(load_index(merged).info["provenance"]["sources"]) == 2


def test_unreadable_images_are_listed_or_refused(
    folder: Path, tmp_path: Path, refused: object
) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    content = json.loads((folder / "index.json").read_text())
    (tmp_path / "copy" / "images" / content["images"][1]["file_name"]).write_bytes(b"")
    copy = tmp_path / "copy"
    message = refused(
        describe_regions, *arguments(copy, copy / "x.json")[:-2], output=copy / "fresh" / "x.json"
    )
    assert "1 images cannot be read" in message
    assert "raise --max-skipped" in message
    assert describe(copy, copy / "y.json", "--max-skipped", 1) == 0
    index = load_index(copy / "y.json")
    assert len(index.images) == COUNT - 1
    assert [entry["reason"] for entry in index.info["skipped"]] == ["empty file"]


def test_images_without_a_region_have_no_phrases(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "none.json"
    assert describe(folder, output, "--min-area", 0.9999, "--windows") == 0
    found = [image["phrases"] for image in load_index(output).images]
    assert found.count([]) > 0 or all(len(phrases) == 1 for phrases in found)


def test_a_published_captioner(folder: Path, tmp_path: Path) -> None:
    write_published(tmp_path / "blip")
    output = tmp_path / "out.json"
    options = arguments(folder, output)
    options[options.index(str(folder / "captioner.safetensors"))] = str(tmp_path / "blip")
    assert describe_regions.main(options) == 0
    index = load_index(output)
    assert all(image["phrases"] for image in index.images)
    assert "captioner" in index.info["provenance"]["inputs"]


def test_mistakes_are_told_in_one_line(folder: Path, tmp_path: Path, refused: object) -> None:
    output = tmp_path / "out.json"
    options = arguments(folder, output, "--max-length", 40)[:-2]
    assert "--max-length 40: this captioner says 32 tokens at most" in refused(
        describe_regions, *options, output=tmp_path / "fresh" / "out.json"
    )
    options = arguments(folder, output, "--captioner", folder / "clip.safetensors")[:-2]
    assert "holds no captioner" in refused(describe_regions, *options, output=output)
