"""The configuration is checked, and a mistake is told in one line that names the key."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.configuration import ConfigurationError, carries_architecture, prepare
from workflow_copies import BELOW, ROOT, Repository

SCHEMA = ROOT / "workflow" / "schemas" / "config.schema.yaml"
SCENES = {"format": "scenes", "preset": "scenes07", "count": 1}


def _config(changes: dict[str, Any] | None = None) -> dict[str, Any]:
    """The default configuration with changes, whose keys are dotted."""
    config = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    for key, value in (changes or {}).items():
        *parents, last = key.split(".")
        section = config
        for parent in parents:
            section = section[parent]
        section[last] = value
    return config


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("detector.num_boxs", 3, "detector.num_boxs: unknown key; did you mean num_boxes?"),
        ("imagse", "x", "imagse: unknown key; did you mean images?"),
        ("heuristics.lost.lowst", 3, "heuristics.lost.lowst: unknown key; did you mean lowest?"),
        ("variants.k1", {"detctor": {}}, "variants.k1.detctor: unknown key"),
        ("tables.table9", {}, "tables.table9: unknown key"),
        ("datasets.x", SCENES | {"source": "."}, "datasets.x.source: unknown key"),
        ("datasets.x", {"format": "voc"}, "datasets.x.source: is missing"),
        ("datasets.x", {"format": "scens"}, 'datasets.x.format: "scens" is unknown'),
        ("datasets.a b", SCENES, 'datasets: "a b": not a usable name; letters, digits'),
        ("datasets.mine", SCENES, 'datasets: "mine": not a usable name'),
        ("heuristics.new", {"tau": 0.2}, "heuristics.new.label: is missing"),
        ("detector.num_boxes", 0, "detector.num_boxes: 0 is less than the minimum of 1"),
        ("detector.num_boxes", "many", 'detector.num_boxes: "many" is not of type integer'),
        ("detector.lr", "fast", 'detector.lr: "fast" is not of type number'),
        ("seeds", [0, "x"], 'seeds.1: "x" is not of type integer'),
        ("detector", None, "detector: null is not of type object"),
        ("precision", "fp8", 'precision: "fp8" is unknown; choose from fp32, bf16'),
        ("seeds", 0, "seeds: 0 is not of type array"),
        ("seeds", [0, 0], "seeds: [0, 0] has non-unique elements"),
        ("backbone", "foo", 'backbone: "foo" is unknown; choose from efficientnet_lite0,'),
        ("method", "loost", 'method: "loost" is unknown; did you mean lost?'),
        ("tables.table4.datasets", ["scenes08"], 'tables.table4.datasets: "scenes08" is unknown'),
        ("tables.table4.methods", ["foo"], 'tables.table4.methods: "foo" is unknown'),
        ("tables.table4.variant", "foo", 'tables.table4.variant: "foo" is unknown'),
        ("tables.table4.cad", ["dino_seg"], 'tables.table4.cad: "dino_seg" is unknown'),
        ("cad.dataset_steps", {"foo": 9}, 'cad.dataset_steps: "foo" is unknown'),
        ("tables.table4.methods", ["lod"], 'tables.table4.methods: "lod" is unknown'),
        (
            "tables.table4.baselines",
            {"edge_boxes": "scenes_vit"},
            'tables.table4.baselines.edge_boxes: "scenes_vit" is unknown; choose from pixels',
        ),
        (
            "tables.table4.baselines",
            {"lod": "pixels"},
            'tables.table4.baselines.lod: "pixels" is unknown; choose from efficientnet_lite0,',
        ),
        ("heuristics.ddt.second_layer", "x", 'heuristics.ddt.second_layer: "x" is unknown'),
        ("tables.table6.datasets", ["scenes08"], 'tables.table6.datasets: "scenes08" is unknown'),
        ("tables.table6.ablations", {"k2": "k=2"}, 'tables.table6.ablations: "k2" is unknown'),
        ("tables.table6.variant", "k1", "tables.table6.variant: unknown key"),
        ("map_figures.figure4.dataset", "foo", 'map_figures.figure4.dataset: "foo" is unknown'),
        ("map_figures.figure4.methods", {"foo": "x"}, 'map_figures.figure4.methods: "foo" is'),
        (
            "map_figures.figure4.methods",
            {"lost": "x"},
            'map_figures.figure4.methods.lost: "x" is unknown',
        ),
        ("map_figures.figure4.count", 41, "map_figures.figure4.count: 41 is greater"),
        ("study.held_out", {"scenes07": "foo"}, 'study.held_out.scenes07: "foo" is unknown'),
        ("grounding.variants.x", {"refinment": {}}, "grounding.variants.x.refinment: unknown key"),
        ("grounding.own", "foo", 'grounding.own: "foo" is unknown'),
        ("tables.table1.train", ["foo"], 'tables.table1.train: "foo" is unknown'),
        ("tables.table5.ablations", {"foo": "Foo"}, 'tables.table5.variant: "foo" is unknown'),
        (
            "local_weights",
            {"dino": "x"},
            'local_weights: "dino" is unknown; choose from dino_vits16,',
        ),
        (
            "datasets.x",
            {"format": "voc", "source": ".", "fetch": ["voc"]},
            'datasets.x.fetch: "voc" is unknown; did you mean',
        ),
        ("tables.table3.test", ["foo"], 'tables.table3.test: "foo" is unknown'),
        ("wwbl.communities", "x", 'wwbl.communities: "x" is unknown; choose from louvain,'),
        ("wwbl.windws", [2], "wwbl.windws: unknown key; did you mean windows?"),
        ("captioner_training.datasets", ["foo"], 'captioner_training.datasets: "foo" is unknown'),
        ("images", "/no/such", "images: /no/such: no such folder"),
        ("weights", "no.safetensors", "weights: no.safetensors: no such file"),
    ],
)
def test_a_mistake_is_told_in_one_line(key: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        prepare(_config({key: value}), SCHEMA)
    assert str(caught.value).startswith(f"config: {message}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("overlay", sorted((ROOT / "workflow" / "configs").glob("*.yaml")))
def test_overlays_name_known_keys(overlay: Path) -> None:
    def merge(below: dict[str, Any], above: dict[str, Any]) -> None:
        for key, value in above.items():
            if isinstance(value, dict) and isinstance(below.get(key), dict):
                merge(below[key], value)
            else:
                below[key] = value

    config = _config()
    if overlay.stem in BELOW:
        below = overlay.with_stem(BELOW[overlay.stem])
        merge(config, yaml.safe_load(below.read_text(encoding="utf-8")))
    merge(config, yaml.safe_load(overlay.read_text(encoding="utf-8")))
    prepare(config, SCHEMA)


def test_defaults_are_filled_in() -> None:
    config = _config({"datasets.x": dict(SCENES), "variants.k1": {"detector": {"num_boxes": 1}}})
    prepare(config, SCHEMA)
    assert config["datasets"]["x"] == SCENES | {"seed": 0, "size": 128, "shards": 1}
    assert config["variants"]["k1"] == {
        "losses": {},
        "detector": {"num_boxes": 1},
        "refinement": {},
    }


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("seeds", ["0", "1"], [0, 1]),
        ("track_code", "false", False),
        ("detector.lr", "1e-3", 1e-3),
        ("detector.lr", "5E-7", 5e-7),
        ("threads", "2", 2),
        ("backbones.scenes_vit.weights", "2", "2"),
        ("grounding.weights", {"captions": "null"}, {"captions": None}),
        ("tables.table4.random_backbone", "null", None),
        ("cad.dataset_steps", {"scenes07": "5"}, {"scenes07": 5}),
    ],
)
def test_text_is_read_as_what_the_key_asks_for(key: str, text: Any, value: Any) -> None:
    config = _config({key: text})
    prepare(config, SCHEMA)
    for part in key.split("."):
        config = config[part]
    assert config == value


def test_a_new_heuristic_needs_no_change_of_the_schema() -> None:
    prepare(_config({"heuristics.new": {"label": "New", "tau": 0.2}}), SCHEMA)


def _write_weights(path: Path, metadata: dict[str, str]) -> str:
    header = json.dumps({"__metadata__": metadata}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    return str(path)


def test_own_weights_replace_those_of_the_backbone(tmp_path: Path) -> None:
    weights = _write_weights(tmp_path / "dino.safetensors", {"format": "pt"})
    config = _config({"weights": weights, "backbone": "dino_vits16"})
    prepare(config, SCHEMA)
    own = config["backbones"][config["backbone"]]
    assert own["weights"] == weights
    assert own["architecture"] == "vit_small_patch16_224.dino"
    assert config["backbones"]["dino_vits16"]["weights"] == "timm"


def test_own_weights_that_say_their_architecture(tmp_path: Path) -> None:
    weights = _write_weights(tmp_path / "ours.safetensors", {"backbone": "{}"})
    config = _config({"weights": weights})
    prepare(config, SCHEMA)
    assert "architecture" not in config["backbones"][config["backbone"]]


def test_a_damaged_weights_file_is_left_to_the_stage(tmp_path: Path) -> None:
    (tmp_path / "bad").write_bytes(b"\xff" * 20)
    assert not carries_architecture(str(tmp_path / "bad"))


# Sections of the schema, and the stages whose options their keys are.
_STAGES_OF_SECTIONS = {
    "features": ("extract_features", "cache_states"),
    "states": ("cache_states",),
    "detector_inputs": ("cache_detector_inputs",),
    "losses": ("train_detector", "refine_backbone"),
    "detector": ("train_detector",),
    "refinement": ("refine_backbone",),
    "cad": ("train_cad",),
    "cad_prediction": ("predict_cad",),
    "pretraining": ("pretrain_backbone",),
    "inpainter_training": ("pretrain_inpainter",),
    "segmenter_training": ("train_segmenter",),
    "move": ("pseudo_boxes", "train_detector", "refine_backbone"),
    "clip_training": ("train_clip",),
    "captioner_training": ("train_captioner",),
    "wwbl": ("describe_regions",),
    "description_page": ("draw_descriptions",),
    "figures": ("draw_boxes",),
    "map_figure": ("draw_maps",),
    "scenes": ("render_scenes",),
    "voc": ("index_dataset",),
    "coco": ("index_dataset",),
    "folder": ("index_dataset",),
    "flickr30k": ("index_dataset",),
    "visual_genome": ("index_dataset",),
    "referit": ("index_dataset",),
    "clip": ("extract_heatmaps", "train_grounder", "refine_grounder"),
    "heatmaps": ("extract_heatmaps",),
    "classifier": ("excite_classifier",),
    "grounder": ("train_grounder",),
    "grounder_refinement": ("refine_grounder",),
    "figure3": ("draw_groundings",),
    "backbone": ("extract_features", "cache_detector_inputs", "cache_states"),
    "lost": ("pseudo_boxes", "train_detector", "refine_backbone"),
    "tokencut": ("pseudo_boxes", "train_detector", "refine_backbone"),
    "dino_seg": ("pseudo_boxes", "train_detector", "refine_backbone"),
    "center": ("pseudo_boxes", "train_detector", "refine_backbone"),
    "selective_search": ("propose_regions",),
    "edge_boxes": ("propose_regions",),
    "ddt": ("discover_objects",),
    "lod": ("discover_objects",),
}
_NOT_OPTIONS = {
    "label",
    "format",
    "shards",
    "heuristics",
    "dataset",
    "backbone",
    "checkpoint",
    "detector_inputs",
    "detector",
    "refinement",
    "dataset_steps",
    "second_layer",
    "variant",
    "methods",
    "cad",
    "cache_states",
    "datasets",
    "train",
    "fetch",
    "expected",
    "phrase",
}
_SHOW_HELP = """
import contextlib, importlib, io, json, sys
found = {}
for stage in sys.argv[1:]:
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        importlib.import_module(stage).main(["--help"])
    found[stage] = text.getvalue()
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def help_texts() -> dict[str, str]:
    """What each stage says to --help; from one process, since torch takes seconds to import."""
    stages = sorted({stage for stages in _STAGES_OF_SECTIONS.values() for stage in stages})
    output = subprocess.run(
        [sys.executable, "-c", _SHOW_HELP, *stages],
        cwd=ROOT / "stages",
        env=os.environ | {"COLUMNS": "300"},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    return json.loads(output)


@pytest.mark.parametrize("section", _STAGES_OF_SECTIONS)
def test_keys_and_choices_are_those_of_the_stages(section: str, help_texts: dict[str, str]) -> None:
    schema = yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))
    keys = schema["$defs"].get(section) or schema["properties"][section]
    for key, allowed in keys["properties"].items():
        if key in _NOT_OPTIONS:
            continue
        for stage in _STAGES_OF_SECTIONS[section]:
            option = key.replace("_", "-")
            usage = re.search(rf"--{option}\b( {{(?P<choices>.*?)}})?", help_texts[stage])
            assert usage, f"{stage}.py has no option for {section}.{key}"
            if "$ref" in allowed:
                allowed = schema["$defs"][allowed["$ref"].rpartition("/")[2]]
            if usage["choices"] and "enum" in allowed:
                assert set(usage["choices"].split(",")) == set(allowed["enum"]), f"{section}.{key}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("results/table4.csv", "--config", "detctor=1"),
            "config: detctor: unknown key; did you mean detector?",
        ),
        (
            ("results/mine/boxes.json",),
            "results/mine needs your photographs: add --config images=PATH, their folder",
        ),
    ],
)
def test_snakemake_ends_with_that_line(
    pristine: Repository, arguments: tuple[str, ...], message: str
) -> None:
    done = pristine.snakemake(*arguments, "--dry-run", check=False)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].startswith(message)
    assert "Traceback" not in done.stdout
