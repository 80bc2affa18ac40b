"""The checked configuration, the names in paths, and the functions that say what each job reads.

Paths say what an artifact is: results/{dataset}/{backbone}/{boxes}/... A refined backbone
f^h goes through extraction, heuristics and evaluation like any other; support/artifacts.py has the
form of the names.
"""

import os
import shlex
import shutil
import sys
from dataclasses import replace
from pathlib import Path

from support import artifacts, code_tracking, configuration
from support.artifacts import Training
from support.command_line import options

try:
    configuration.prepare(
        config, Path(workflow.basedir, "schemas", "config.schema.yaml")
    )
except configuration.ConfigurationError as mistake:
    sys.exit(str(mistake))


wildcard_constraints:
    **artifacts.wildcard_patterns(
        config["datasets"],
        config["backbones"],
        config["heuristics"],
        config["variants"],
    ),
    inputs=artifacts.one_of(["default", *config["heuristics"]]),


THREADS = config["threads"]
# Of the rules from features to f^h, which most else waits for: started last, they would be left for
# the end, one by one.
CHAIN = 10
# `auto` asks for a GPU where there is one. On a cluster, whose first node may have none: `cuda`.
GPUS = int(
    config["device"] == "cuda"
    or (config["device"] == "auto" and shutil.which("nvidia-smi") is not None)
)


def growing(amount):
    """A resource that grows with each attempt (`--retries`): the last one may have lacked it."""
    return lambda w, attempt: amount * attempt


def code(stage):
    """The record of the source files that a stage is made of."""
    record = code_tracking.record_code(stage)
    # Left in when not tracked: a changed set of inputs would itself be a reason to rerun.
    return record if config["track_code"] else ancient(record)


# --- Datasets


def datasets_of_format(*formats):
    """A pattern for the names of the datasets of these formats."""
    return artifacts.one_of(
        name
        for name, dataset in config["datasets"].items()
        if dataset["format"] in formats
    )


def dataset_options(w, *left_out):
    """The options by which the index of a dataset is made, but for its files among the inputs."""
    dataset = {**config["datasets"][w.dataset], **source_paths(w)}
    unused = {"label", "shards", "fetch", "expected", *source_files(w), *left_out}
    return options({key: value for key, value in dataset.items() if key not in unused})


def shards(dataset):
    """How many parts a dataset is split into."""
    return config["datasets"][dataset]["shards"]


# --- Backbones


def weights_file(w):
    """The file of a backbone's weights, or nothing where they come from elsewhere."""
    base, training = artifacts.split_backbone(_backbone(w))
    if training is not None:
        return f"{training.folder(base)}/refined.safetensors"
    if "checkpoint" in config["backbones"][base]:
        return f"results/resources/{base}.safetensors"
    return given_weights(base)


def given_weights(base):
    """The file of weights that a backbone's section names, or nothing."""
    return file_of(config["backbones"][base]["weights"])


def backbone_options(w):
    """The options that tell a stage which backbone to use, but for its file of weights."""
    base, training = artifacts.split_backbone(_backbone(w))
    if training is not None or "checkpoint" in config["backbones"][base]:
        return ""
    return given_backbone(base)


def given_backbone(base):
    """The options for a configured backbone as its section gives it, but for a file of weights."""
    given = {
        k: v
        for k, v in config["backbones"][base].items()
        if k not in ("heuristics", "seed", "checkpoint")
    }
    return options(without_file(given, "weights"))


def initial_seed(w):
    """The seed of random weights."""
    base, _ = artifacts.split_backbone(_backbone(w))
    return options({"seed": config["backbones"][base].get("seed")})


def _backbone(w):
    # A detector and a refinement start from a configured backbone, {base}.
    return w.get("backbone") or w.base


# --- Heuristics and h

LAYER = configuration.LAYER


def heuristic(backbone, method):
    """A heuristic's section of the configuration, with what the backbone changes in it."""
    base, _ = artifacts.split_backbone(backbone)
    changed = config["backbones"][base]["heuristics"].get(method, {})
    return {**config["heuristics"][method], **changed}


def heuristic_options(w):
    """The options of a heuristic on a backbone."""
    section = heuristic(_backbone(w), w.method)
    return options({k: v for k, v in section.items() if k not in METHOD_KEYS})


def method_name(backbone, method):
    """What a method is called in tables; that says what it runs on where this changes it."""
    section = heuristic(backbone, method)
    if section.get(LAYER) is not None:
        return f"{section['label']}+"
    if "model" in section and section["model"] is None:
        return f"{section['label']} (gradient edges)"
    return section["label"]


def edge_model(w):
    """The file of a method's model of edges, or nothing."""
    model = heuristic(artifacts.PIXELS, w.method).get("model")
    return [] if model is None else given_file(model)


def feature_files(dataset, backbone):
    """The features of all shards of a dataset."""
    folder = f"results/{dataset}/{backbone}/features"
    return [f"{folder}/{shard}.h5" for shard in range(shards(dataset))]


def second_features(w):
    """The features of the other layer that a method reads, or nothing."""
    layer = heuristic(w.backbone, w.method).get(LAYER)
    return [] if layer is None else feature_files(w.dataset, layer)


def max_boxes(w):
    """How many boxes of an image: several of the user's own photographs, one of others."""
    return config["max_boxes"] if w.dataset == configuration.MINE else 1


# Keys of a heuristic's section that are no options of its own.
METHOD_KEYS = (
    "label",
    "backbone",
    "detector_inputs",
    "detector",
    "refinement",
    LAYER,
)


def method_section(section, method):
    """`detector_inputs`, `losses`, `detector` or `refinement` as the method has it."""
    return {**config[section], **config["heuristics"][method].get(section, {})}


def variant_section(section, method, variant):
    """`losses`, `detector` or `refinement` as the variant has it, on top of the method's."""
    return {
        **method_section(section, method),
        **config["variants"][variant][section],
    }


def training_options(section):
    """A function for the options of `detector` or `refinement`, and of the losses."""
    return lambda w: options(
        without_file(variant_section(section, w.method, w.variant), "init"),
        variant_section("losses", w.method, w.variant),
    )


def backbone_of(section, method):
    """Where a table or study runs a method: on its own backbone, or on the method's."""
    return config["heuristics"][method].get("backbone", section["backbone"])


def detector_inputs(method):
    """The name of what h reads: `default`, or the method where it has settings of its own."""
    return method if config["heuristics"][method].get("detector_inputs") else "default"


def detector_inputs_file(w):
    """What h reads, and was or is to be trained on."""
    name = detector_inputs(_training(w).method)
    return f"results/{w.dataset}/{w.base}/detector_inputs/{name}.h5"


def detector_inputs_section(w):
    """`detector_inputs` of the configuration for one of those names."""
    if w.inputs == "default":
        return config["detector_inputs"]
    return method_section("detector_inputs", w.inputs)


def detector_file(w):
    """h. Variants that train it alike share the one of the first of them."""
    training = _training(w)
    shared = first_like(training.variant, [training.method], "losses", "detector")
    return f"{replace(training, variant=shared).folder(w.base)}/detector.safetensors"


def init_file(section):
    """The file of weights that a network starts from, or nothing where there is none."""
    return file_of(section.get("init"))


def detector_init_file(w):
    """The file that h starts from, or nothing."""
    return init_file(variant_section("detector", w.method, w.variant))


def first_like(variant, methods, *sections):
    """The first configured variant that has these sections as this one, for these methods."""

    def settings(name):
        return [
            variant_section(section, method, name)
            for section in sections
            for method in methods
        ]

    return next(v for v in config["variants"] if settings(v) == settings(variant))


def _training(w):
    if "training" in w.keys():
        return Training.parse(w.training)
    return Training(w.dataset, w.method, w.variant, int(w.seed))


# --- CAD


def cad_init_file(w):
    """The file that CAD starts from, or nothing where its weights come from elsewhere."""
    return init_file(config["cad"])


def cad_options(w):
    """The options of CAD's training on a dataset."""
    given = {k: v for k, v in config["cad"].items() if k != "dataset_steps"}
    steps = config["cad"]["dataset_steps"].get(w.dataset, given["steps"])
    return options(without_file(given, "init"), {"steps": steps})
