"""What is found in the user's own photographs."""

from __future__ import annotations

import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest
import train_detector
from small_configuration import small_configuration
from support.plans import own_images
from workflow_copies import Repository

from bbr.command_line.parser import build_parser, parse
from bbr.reporting.exports import FORMATS


def test_without_photographs_the_run_ends_with_a_line_that_asks_for_them() -> None:
    config = small_configuration()
    for plan in (own_images.boxes, own_images.page, own_images.phrases, own_images.descriptions):
        with pytest.raises(SystemExit, match="--config images=PATH"):
            plan(config)
    config["images"] = "photos"
    with pytest.raises(SystemExit, match="phrases=PATH"):
        own_images.phrases(config)


def test_files() -> None:
    config = small_configuration() | {"images": "photos", "phrases": "asked.txt"}
    config["datasets"]["mine"] = {"format": "folder", "source": "photos", "shards": 1}
    assert own_images.boxes(config) == {
        "index": "results/mine/index.json",
        "images": "photos",
        "boxes": "results/mine/vit/lost/boxes.json",
        "meta": "results/mine/vit/lost/boxes.meta.json",
    }
    assert own_images.box_names(config) == "--names LOST"
    assert own_images.page(config) == {
        "index": "results/mine/index.json",
        "images": "photos",
        "boxes": "results/mine/boxes.json",
        "meta": "results/mine/boxes.meta.json",
    }
    assert own_images.phrases(config)["heatmaps"] == "results/mine/grounding/g.b/heatmaps.h5"
    for own, given in (("gem", {}), ("b", {"b": "gem"})):
        of_clip = {**config, "grounding": config["grounding"] | {"own": own, "weights": given}}
        maps = "results/mine/grounding/gem/heatmaps.h5"
        assert own_images.phrases(of_clip)["heatmaps"] == maps
        maps = "results/mine/wwbl/gem/heatmaps.h5"
        assert own_images.descriptions(of_clip)["heatmaps"] == maps
    assert own_images.descriptions(config) == {
        "descriptions": "results/mine/wwbl/descriptions.json",
        "images": ["photos"],
        "heatmaps": "results/mine/wwbl/g.b/heatmaps.h5",
        "boxes": "results/mine/wwbl/g.b/boxes.json",
        "meta": "results/mine/wwbl/g.b/boxes.meta.json",
    }


def test_refined_boxes_beside_f_s_own() -> None:
    config = small_configuration() | {"images": "photos", "refine": True, "refine_cad": True}
    config["datasets"]["mine"] = {"format": "folder", "source": "photos", "shards": 1}
    seed = config["seeds"][0]
    refined = f"results/mine/vit+mine.lost.default.{seed}"
    assert own_images.boxes(config) == {
        "index": "results/mine/index.json",
        "images": "photos",
        "boxes": f"{refined}/cad.lost.{seed}/boxes.json",
        "meta": f"{refined}/cad.lost.{seed}/boxes.meta.json",
        "before": "results/mine/vit/lost/boxes.json",
        "meta_before": "results/mine/vit/lost/boxes.meta.json",
        "refined": f"results/mine/vit/lost/default/seed{seed}/refined.safetensors",
    }
    assert own_images.box_names(config) == "--names 'LOST, f' 'LOST, f^h + CAD'"
    assert own_images.page(config)["before"] == "results/mine/vit/lost/boxes.json"
    assert own_images.page(config)["boxes"] == "results/mine/boxes.json"
    config["discovery"]["refinement"]["select"] = "last"  # then no states are compared
    assert "refined" not in own_images.boxes(config)
    config["method"] = "selective_search"
    with pytest.raises(SystemExit, match="method selective_search"):
        own_images.boxes(config)


def test_h_refuses_a_handful_of_photographs_alone() -> None:
    config = small_configuration()
    assert own_images.fewest_images(config, "mine") == "--min-images 50"
    assert own_images.fewest_images(config, "a") == ""


def test_the_configured_number_of_photographs_comes_last(repository: Repository) -> None:
    (repository.root / "photos").mkdir()
    options = ("images=photos", "refine=true", "discovery={detector: {min_images: 7}}")
    shown = repository.snakemake(
        "results/mine/boxes.json", "--dry-run", "--printshellcmds", "--config", *options
    ).stdout
    commands = [line for line in shown.splitlines() if "train_detector.py" in line]
    assert commands
    parser = build_parser(train_detector.run, None, "train_detector")
    for command in commands:
        words = shlex.split(command.split(" --threads ")[0].partition('.py" ')[2])
        chosen, _ = parse(train_detector.run, parser, words)
        assert chosen["recipe"].targets.min_images == 7


def test_a_handful_of_photographs_is_refused_before_anything_is_done(
    repository: Repository,
) -> None:
    (repository.root / "photos").mkdir()
    for i in range(3):
        (repository.root / "photos" / f"{i}.jpg").write_bytes(b"")
    options = ("--dry-run", "--config", "images=photos", "refine=true")
    done = repository.snakemake("results/mine/boxes.json", *options, check=False)
    assert done.returncode != 0
    assert "refine=true: 3 photographs, and h learns nothing" in done.stdout
    assert "Traceback" not in done.stdout


def test_how_long_it_will_take_is_said_where_features_are_to_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    config = small_configuration() | {"images": "photos", "threads": 1}
    config["datasets"]["mine"] = {"format": "folder", "source": "photos", "shards": 1}
    wildcards = SimpleNamespace(dataset="mine", backbone="vit")
    job = SimpleNamespace(rule=SimpleNamespace(name="extract_own_features"), wildcards=wildcards)
    own_images.announce(config, [job], 2)  # nothing is known of the folder
    (tmp_path / "results/sources").mkdir(parents=True)
    (tmp_path / "results/sources/mine.json").write_text('{"files": {"image/a.jpg": ""}}')
    own_images.announce(config, [], 2)
    own_images.announce(config | {"images": None}, [job], 2)
    assert capsys.readouterr().err == ""
    own_images.announce(config, [job], 2)
    assert capsys.readouterr().err == "1 photograph\n"
    config["cad"]["training"]["network"] = "tf_efficientnet_lite0"
    own_images.announce(config | {"refine_cad": True}, [job], 2)
    assert "worse by this small CAD" in capsys.readouterr().err
    own_images.announce(config | {"refine_cad": True, "masks": True}, [job], 2)
    assert capsys.readouterr().err.endswith("\nmasks=true: boxes of CAD have none\n")
    config["cad"]["training"]["network"] = "resnet50"
    own_images.announce(config | {"refine_cad": True}, [job], 2)
    assert capsys.readouterr().err == "1 photograph\n"


def test_a_run_ends_with_where_its_results_lie(capsys: pytest.CaptureFixture[str]) -> None:
    boxes = SimpleNamespace(output=["results/mine/boxes.json", "results/mine/boxes.meta.json"])
    table = SimpleNamespace(output=["results/table4.csv"])
    own_images.conclude([table])
    assert capsys.readouterr().err == ""
    own_images.conclude([table, boxes])
    assert capsys.readouterr().err == "your photographs: results/mine/boxes.json\n"


def test_clusters() -> None:
    config = small_configuration() | {"images": "photos", "class_names": None}
    config["datasets"]["mine"] = {"format": "folder", "source": "photos", "shards": 1}
    with pytest.raises(SystemExit, match=r"how many clusters to make: add .* clusters=8"):
        own_images.clusters(config)
    for more in ({"export": {"min_score": 0.5}}, {"export": {}, "min_score": 0.5}):
        options = own_images.export_options(config | more).split(" --")
        assert {"min-score 0.5", "clusters 1"} == {each.removeprefix("--") for each in options}
    config |= {"clusters": 4, "export": {}}
    assert own_images.clusters(config) == {
        "index": "results/mine/index.json",
        "images": "photos",
        # All of them: what `min_score` leaves out does not change what a cluster is.
        "boxes": "results/mine/vit/lost/boxes.json",
        "meta": "results/mine/vit/lost/boxes.meta.json",
        "features": ["results/mine/cnn/features/0.h5"],
    }
    assert own_images.exported(config, "coco")["boxes"] == "results/mine/clusters.json"
    assert own_images.exported(config, "coco")["meta"] == "results/mine/clusters.meta.json"
    assert own_images.export_options(config) == "--clusters 4 --min-score 0"


def test_exports_that_there_are() -> None:
    config = small_configuration() | {"images": "photos", "class_names": None}
    config["datasets"]["mine"] = {"format": "folder", "source": "photos", "shards": 1}
    assert own_images.exported(config, "yolo")["boxes"] == "results/mine/boxes.json"
    with pytest.raises(SystemExit, match="one of coco, yolo, labelme, fiftyone"):
        own_images.exported(config, "yolov5")
    assert tuple(FORMATS) == own_images.EXPORTS
