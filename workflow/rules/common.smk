"""The checked configuration, the names in paths, and the functions that say what each job reads.

Paths are those of DESIGN.md's chain: results/{dataset}/{backbone}/{boxes}/... A refined backbone
f^h goes through extraction, heuristics and evaluation like any other; support/artifacts.py has the
form of the names.
"""

import os
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


THREADS = config["threads"]
# `auto` asks for a GPU where there is one. On a cluster, whose first node may have none: `cuda`.
GPUS = int(
    config["device"] == "cuda"
    or (config["device"] == "auto" and shutil.which("nvidia-smi") is not None)
)


def code(stage):
    """The source files that a stage is made of."""
    files = code_tracking.code_files(stage)
    # Left in when not tracked: a changed set of inputs would itself be a reason to rerun.
    return files if config["track_code"] else [ancient(file) for file in files]


# --- Datasets


def datasets_of_format(*formats):
    """A pattern for the names of the datasets of these formats."""
    return artifacts.one_of(
        name
        for name, dataset in config["datasets"].items()
        if dataset["format"] in formats
    )


def dataset_options(w, *left_out):
    """The options by which the index of a dataset is made."""
    dataset = {**config["datasets"][w.dataset], **source_files(w)}
    unused = {"label", "shards", *left_out}
    return options({key: value for key, value in dataset.items() if key not in unused})


def source_files(w):
    """The folder of a dataset, and the files beside it that describe it."""
    dataset = config["datasets"][w.dataset]
    kinds = (
        "source",
        "annotations",
        "captions",
        "image_data",
        "image_list",
        "phrases",
    )
    return {
        kind: os.path.expanduser(dataset[kind]) for kind in kinds if kind in dataset
    }


def shards(dataset):
    """How many parts a dataset is split into."""
    return config["datasets"][dataset]["shards"]


# --- Backbones


def weights_file(w):
    """The file of a backbone's weights, or nothing where they come from elsewhere."""
    base, training = artifacts.split_backbone(_backbone(w))
    if training is not None:
        return f"{training.folder(base)}/refined.safetensors"
    weights = config["backbones"][base]["weights"]
    return [] if weights in configuration.NOT_FILES else os.path.expanduser(weights)


def backbone_options(w):
    """The options that tell a stage which backbone to use."""
    base, training = artifacts.split_backbone(_backbone(w))
    if training is not None:
        return options({"weights": weights_file(w)})
    given = {
        k: v
        for k, v in config["backbones"][base].items()
        if k not in ("heuristics", "seed")
    }
    return options(given, {"weights": weights_file(w) or given["weights"]})


def initial_seed(w):
    """The seed of random weights."""
    base, _ = artifacts.split_backbone(_backbone(w))
    return options({"seed": config["backbones"][base].get("seed")})


def _backbone(w):
    # A detector and a refinement start from a configured backbone, {base}.
    return w.get("backbone") or w.base


# --- Heuristics and h


def heuristic(backbone, method):
    """A heuristic's section of the configuration, with what the backbone changes in it."""
    base, _ = artifacts.split_backbone(backbone)
    changed = config["backbones"][base]["heuristics"].get(method, {})
    return {**config["heuristics"][method], **changed}


def heuristic_options(w):
    """The options of a heuristic on a backbone."""
    section = heuristic(_backbone(w), w.method)
    return options({key: value for key, value in section.items() if key != "label"})


def variant_section(section, variant):
    """`losses`, `detector` or `refinement` as the variant has it."""
    return {**config[section], **config["variants"][variant][section]}


def training_options(section):
    """A function for the options of `detector` or `refinement`, and of the losses."""
    return lambda w: options(
        variant_section(section, w.variant), variant_section("losses", w.variant)
    )


def detector_file(w):
    """h. Variants that train it alike share the one of the first of them."""
    training = _training(w)

    def trained_like(variant):
        return [variant_section(section, variant) for section in ("losses", "detector")]

    wanted = trained_like(training.variant)
    shared = next(v for v in config["variants"] if trained_like(v) == wanted)
    return f"{replace(training, variant=shared).folder(w.base)}/detector.safetensors"


def _training(w):
    if "training" in w.keys():
        return Training.parse(w.training)
    return Training(w.dataset, w.method, w.variant, int(w.seed))


# --- What is compared


def labels(w):
    """What evaluate.py is told about boxes, so that tables place them."""
    base, refined = artifacts.split_backbone(w.backbone)
    method, training = artifacts.split_boxes(w.boxes)
    learned = refined or training
    name = heuristic(base, method)["label"]
    found = {
        "dataset": dataset_label(w.dataset),
        "method": name,
        "output": "method",
        "cad": "no",
    }
    if learned is not None:
        on_training_images = learned.dataset == w.dataset
        found |= {
            "dataset": dataset_label(learned.dataset),
            "method": f"Ours ({name})",
            "output": "method" if training is None else "h",
            "variant": learned.variant,
            "seed": learned.seed,
            "images": "train" if on_training_images else "held-out",
        }
    elif config["backbones"][base]["weights"] == "random":
        found["method"] = f"{name}, random-init f"
    return options({"label": [f"{key}={value}" for key, value in found.items()]})


def dataset_label(name):
    """The name of a dataset in tables."""
    return config["datasets"][name].get("label", name)


def trainings(datasets, methods, variant):
    """One training for each dataset, heuristic and seed."""
    return [
        Training(dataset, method, variant, seed)
        for dataset in datasets
        for method in methods
        for seed in config["seeds"]
    ]


def table4_metrics(w):
    """Metrics of every method, baseline and control on every dataset, and of f^h and h."""
    table = config["tables"]["table4"]
    backbone, random = table["backbone"], table["random_backbone"]
    ran = [(backbone, method) for method in [*table["methods"], *table["controls"]]]
    ran += [(own, method) for method, own in table["baselines"].items()]
    ran += [(random, method) for method in table["methods"] if random is not None]
    paths = [
        f"{dataset}/{b}/{method}" for dataset in table["datasets"] for b, method in ran
    ]
    for t in trainings(table["datasets"], table["methods"], table["variant"]):
        refined = artifacts.refined_backbone(backbone, t)
        paths.append(f"{t.dataset}/{refined}/{t.method}")
        paths.append(f"{t.dataset}/{backbone}/{artifacts.detector_boxes(t)}")
    return [f"results/{path}/metrics.json" for path in paths]


def sheets_of_table4():
    """Contact sheets before and after refinement, for the first seed."""
    table = config["tables"]["table4"]
    training = trainings(table["datasets"], table["methods"], table["variant"])[0]
    return f"{training.folder(table['backbone'])}/boxes.png"


def study_metrics(w):
    """Comparisons of f^h with f, and h, on the images refined on and on those held out."""
    study = config["study"]
    backbone, paths = study["backbone"], []
    for t in trainings(study["datasets"], study["methods"], study["variant"]):
        refined = artifacts.refined_backbone(backbone, t)
        evaluated_on = [t.dataset]
        if t.dataset in study["held_out"]:
            evaluated_on.append(study["held_out"][t.dataset])
        for dataset in evaluated_on:
            paths.append(f"{dataset}/{refined}/{t.method}/comparison.json")
            paths.append(
                f"{dataset}/{backbone}/{artifacts.detector_boxes(t)}/metrics.json"
            )
    return [f"results/{path}" for path in paths]


def compared_metrics(w):
    """Metrics of f and of f^h."""
    base, _ = artifacts.split_backbone(w.backbone)
    return {
        "baseline": f"results/{w.dataset}/{base}/{w.method}/metrics.json",
        "candidate": f"results/{w.dataset}/{w.backbone}/{w.method}/metrics.json",
    }


def refined_boxes(w):
    """f's own boxes, those of f^h and those of h."""
    training = _training(w)
    folder, own = f"results/{w.dataset}", artifacts.detector_boxes(training)
    return {
        "before": f"{folder}/{w.base}/{w.method}/boxes.json",
        "after": f"{folder}/{artifacts.refined_backbone(w.base, training)}/{w.method}/boxes.json",
        "detector": f"{folder}/{w.base}/{own}/boxes.json",
    }


def names_of_refined_boxes(w):
    """What the boxes of `refined_boxes` are called in a figure, in that order."""
    label = heuristic(w.base, w.method)["label"]
    return [f"{label}, f", f"{label}, f^h", "h"]


def own_images(w):
    """The index and the boxes of the user's own photographs."""
    if config["images"] is None:
        sys.exit(
            "results/mine needs your photographs: add --config images=PATH, their folder"
        )
    folder = f"results/{configuration.MINE}"
    boxes = f"{folder}/{config['backbone']}/{config['method']}"
    return {
        "index": f"{folder}/index.json",
        "boxes": f"{boxes}/boxes.json",
        "meta": f"{boxes}/boxes.meta.json",
    }


def pretraining_options():
    """The options of the stage that pretrains the embedded backbone."""
    return options({k: v for k, v in config["pretraining"].items() if k != "dataset"})
