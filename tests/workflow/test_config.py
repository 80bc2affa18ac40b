"""The configuration is checked, and a mistake is told in one line that names the key."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support import reference
from support.configuration import ConfigurationError, carries_architecture, complete, prepare
from workflow_copies import BELOW, ROOT, Repository, default_configuration, merge

SCHEMA = ROOT / "workflow" / "schemas" / "config.schema.yaml"
DEFAULTS = ROOT / "workflow" / "configs" / "defaults"
SCENES = {"format": "scenes", "preset": "scenes07", "count": 1}


def _config(changes: dict[str, Any] | None = None) -> dict[str, Any]:
    """The default configuration with changes, whose keys are dotted."""
    config = default_configuration()
    for key, value in (changes or {}).items():
        *parents, last = key.split(".")
        section = config
        for parent in parents:
            section = section.setdefault(parent, {})
        section[last] = copy.deepcopy(value)  # which `prepare` fills in
    return config


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "discovery.detector.num_boxs",
            3,
            "discovery.detector.num_boxs: unknown key; did you mean num_boxes?",
        ),
        ("imagse", "x", "imagse: unknown key; did you mean images?"),
        (
            "heuristics.lost.k_patchs",
            3,
            "heuristics.lost.k_patchs: unknown key; did you mean k_patches?",
        ),
        ("discovery.variants.k1", {"detctor": {}}, "discovery.variants.k1.detctor: unknown key"),
        ("tables.table9", {}, "tables.table9: unknown key"),
        ("datasets.x", SCENES | {"source": "."}, "datasets.x.source: unknown key"),
        ("datasets.x", {"format": "voc"}, "datasets.x.source: is missing"),
        ("datasets.x", {"pool": ["scenes7"]}, 'datasets.x.pool: "scenes7" is unknown; did you'),
        ("datasets.x", {"pool": ["x"]}, 'datasets.x.pool: "x" is unknown'),
        ("datasets.x", {"format": "scens"}, 'datasets.x.format: "scens" is unknown'),
        ("datasets.a b", SCENES, 'datasets: "a b": not a usable name; letters, digits'),
        ("datasets.mine", SCENES, 'datasets: "mine": not a usable name'),
        ("heuristics.new", {"tau": 0.2}, "heuristics.new.label: is missing"),
        (
            "discovery.detector.num_boxes",
            0,
            "discovery.detector.num_boxes: 0 is less than the minimum of 1",
        ),
        (
            "discovery.detector.num_boxes",
            "many",
            'discovery.detector.num_boxes: "many" is not of type integer',
        ),
        ("discovery.detector.lr", "fast", 'discovery.detector.lr: "fast" is not of type number'),
        ("seeds", [0, "x"], 'seeds.1: "x" is not of type integer'),
        ("discovery.detector", None, "discovery.detector: null is not of type object"),
        ("precision", "fp8", 'precision: "fp8" is unknown; choose from fp32, tf32, bf16, auto'),
        ("seeds", 0, "seeds: 0 is not of type array"),
        ("seeds", [0, 0], "seeds: [0, 0] has non-unique elements"),
        ("backbone", "foo", 'backbone: "foo" is unknown; choose from efficientnet_lite0,'),
        ("method", "loost", 'method: "loost" is unknown; did you mean lost?'),
        ("tables.table4.datasets", ["scenes08"], 'tables.table4.datasets: "scenes08" is unknown'),
        ("tables.table4.methods", ["foo"], 'tables.table4.methods: "foo" is unknown'),
        ("tables.table4.variant", "foo", 'tables.table4.variant: "foo" is unknown'),
        ("tables.table4.cad", ["dino_seg"], 'tables.table4.cad: "dino_seg" is unknown'),
        ("tables.table4.baseline_cad", ["move"], 'tables.table4.baseline_cad: "move" is unknown'),
        ("cad.training.dataset_steps", {"foo": 9}, 'cad.training.dataset_steps: "foo" is unknown'),
        ("tables.table4.methods", ["lod"], 'tables.table4.methods: "lod" is unknown'),
        (
            "tables.table4.baselines",
            {"edge_boxes": "dinov2_scenes"},
            'tables.table4.baselines.edge_boxes: "dinov2_scenes" is unknown; choose from pixels',
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
        ("figures.maps.figure4.dataset", "foo", 'figures.maps.figure4.dataset: "foo" is unknown'),
        ("figures.maps.figure4.methods", {"foo": "x"}, 'figures.maps.figure4.methods: "foo" is'),
        (
            "figures.maps.figure4.methods",
            {"lost": "x"},
            'figures.maps.figure4.methods.lost: "x" is unknown',
        ),
        ("figures.maps.figure4.count", 41, "figures.maps.figure4.count: 41 is greater"),
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
        (
            "captioning.communities",
            "x",
            'captioning.communities: "x" is unknown; choose from louvain,',
        ),
        ("captioning.windws", [2], "captioning.windws: unknown key; did you mean windows?"),
        ("resources.captioner.datasets", ["foo"], 'resources.captioner.datasets: "foo" is unknown'),
        ("images", "/no/such", "images: '/no/such': no such folder"),
        ("weights", "no.safetensors", "weights: 'no.safetensors': no such file"),
    ],
)
def test_a_mistake_is_told_in_one_line(key: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        prepare(_config({key: value}), SCHEMA)
    assert str(caught.value).startswith(f"config: {message}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("overlay", sorted((ROOT / "workflow" / "configs").glob("*.yaml")))
def test_overlays_name_known_keys(overlay: Path) -> None:
    config = _config()
    if overlay.stem in BELOW:
        below = overlay.with_stem(BELOW[overlay.stem])
        merge(config, yaml.safe_load(below.read_text(encoding="utf-8")))
    merge(config, yaml.safe_load(overlay.read_text(encoding="utf-8")))
    prepare(config, SCHEMA)


def test_cad_of_one_s_own_photographs_leaves_the_section(tmp_path: Path) -> None:
    above, below = tmp_path / "above.yaml", tmp_path / "below.yaml"
    above.write_text("cad: {training: {steps: 9}}")
    below.write_text("cad: {training: {steps: 1, lr: 2}}\nseeds: [0, 1]")
    config: dict[str, Any] = {"cad": True, "seeds": [5]}
    complete(config, [below], [above])
    training = {"steps": 9, "lr": 2}
    assert config == {"refine_cad": True, "seeds": [5], "cad": {"training": training}}


def test_defaults_are_filled_in() -> None:
    config = _config(
        {"datasets.x": SCENES, "discovery.variants.k1": {"detector": {"num_boxes": 1}}}
    )
    prepare(config, SCHEMA)
    filled = {"seed": 0, "size": 128, "masks": False, "shards": 1}
    assert config["datasets"]["x"] == SCENES | filled
    assert config["discovery"]["variants"]["k1"] == {
        "loss_weights": {},
        "detector": {"num_boxes": 1},
        "refinement": {},
    }


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("seeds", ["0", "1"], [0, 1]),
        ("track_code", "false", False),
        ("discovery.detector.lr", "1e-3", 1e-3),
        ("discovery.detector.lr", "5E-7", 5e-7),
        ("threads", "2", 2),
        ("backbones.dinov2_scenes.weights", "2", "2"),
        ("grounding.weights", {"captions": "null"}, {"captions": None}),
        ("tables.table4.random_backbone", "null", None),
        ("cad.training.dataset_steps", {"scenes07": "5"}, {"scenes07": 5}),
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


@pytest.mark.parametrize("path", reference.FILES)
def test_what_is_made_of_the_options_is_up_to_date(path: str) -> None:
    made = reference.FILES[path](reference.schema())
    same = (ROOT / path).read_text(encoding="utf-8") == made
    assert same, f"{path}: run `python workflow/support/reference.py`"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("detector", {"num_boxes": 1}, "detector: is discovery.detector now"),
        ("variants", {}, "variants: is discovery.variants now"),
        ("wwbl", {"beams": 2}, "wwbl: is captioning now"),
        ("map_figures", {}, "map_figures: is figures.maps now"),
        ("cad.network", "resnet50", "cad.network: is cad.training.network now"),
        ("cad_prediction", {}, "cad_prediction: is cad.prediction now"),
        ("figures.count", 3, "figures.count: is figures.boxes.count now"),
        ("grounding.figure3", {}, "grounding.figure3: is figures.phrases now"),
        ("clip_training", {}, "clip_training: is resources.clip now"),
        ("losses", {}, "losses: is discovery.loss_weights now"),
        ("heuristics.lost.lowest", 9, "heuristics.lost.lowest: is heuristics.lost.k_patches now"),
        ("grounding.losses", {}, "grounding.losses: is grounding.loss_weights now"),
        (
            "discovery.variants.k1",
            {"detector": {"schedule": "cosine"}},
            "discovery.variants.k1.detector.schedule: is"
            " discovery.variants.k1.detector.lr_schedule now",
        ),
    ],
)
def test_a_key_that_was_moved_or_renamed_is_refused_with_its_place(
    key: str, value: Any, message: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        prepare(_config({key: value}), SCHEMA)
    assert str(caught.value) == f"config: {message}"


def _leaves(section: dict[str, Any], above: str = "") -> Iterator[str]:
    for key, value in section.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}"


def test_no_default_stands_twice() -> None:
    files = [*DEFAULTS.glob("*.yaml"), ROOT / "config.yaml"]
    found = [
        key for path in files for key in _leaves(yaml.safe_load(path.read_text(encoding="utf-8")))
    ]
    assert sorted(found) == sorted(set(found))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("results/table4.csv", "--config", "dvice=1"),
            "config: dvice: unknown key; did you mean device?",
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
