"""The checked configuration, the names in paths, and the functions that say what each job reads.

Paths are those of DESIGN.md's chain: results/{dataset}/{backbone}/{boxes}/... A refined backbone
f^h goes through extraction, heuristics and evaluation like any other; support/artifacts.py has the
form of the names.
"""

import os
import shutil
import sys
from dataclasses import asdict, replace
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
    kinds = ("source", "annotations", "image_list")
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
    if "checkpoint" in config["backbones"][base]:
        return f"results/resources/{base}.safetensors"
    return given_weights(base)


def given_weights(base):
    """The file of weights that a backbone's section names, or nothing."""
    weights = config["backbones"][base]["weights"]
    return [] if weights in configuration.NOT_FILES else os.path.expanduser(weights)


def backbone_options(w):
    """The options that tell a stage which backbone to use."""
    base, training = artifacts.split_backbone(_backbone(w))
    if training is not None or "checkpoint" in config["backbones"][base]:
        return options({"weights": weights_file(w)})
    return given_backbone(base)


def given_backbone(base):
    """The options for a configured backbone as its section gives it."""
    given = {
        k: v
        for k, v in config["backbones"][base].items()
        if k not in ("heuristics", "seed", "checkpoint")
    }
    return options(given, {"weights": given_weights(base) or given["weights"]})


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
    return [] if model is None else os.path.expanduser(model)


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
        variant_section(section, w.method, w.variant),
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
    init = config["cad"].get("init")
    unread = init is None or init in configuration.NOT_FILES
    return [] if unread else os.path.expanduser(init)


def cad_options(w):
    """The options of CAD's training on a dataset."""
    given = {k: v for k, v in config["cad"].items() if k != "dataset_steps"}
    steps = config["cad"]["dataset_steps"].get(w.dataset, given["steps"])
    init = cad_init_file(w) or given.get("init")
    return options(given, {"steps": steps, "init": init})


# --- What is compared


def labels(w):
    """What evaluate.py is told about boxes, so that tables place them."""
    base, refined = artifacts.split_backbone(w.backbone)
    method, training = artifacts.split_boxes(w.boxes)
    learned = refined or training
    name = method_name(base, method)
    found = {
        "dataset": dataset_label(w.dataset),
        "method": name,
        "heuristic": name,
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
    cad_seed = artifacts.cad_seed(w.boxes)
    if cad_seed is not None:
        found |= {"cad": "yes", "seed": cad_seed}
    return options({"label": [f"{key}={value}" for key, value in found.items()]})


def dataset_label(name):
    """The name of a dataset in tables."""
    return config["datasets"][name].get("label", name)


def trainings(datasets, methods, variant):
    """One training for each dataset, heuristic and seed; variants that are alike are one."""
    variant = first_like(variant, methods, "losses", "detector", "refinement")
    return [
        Training(dataset, method, variant, seed)
        for dataset in datasets
        for method in methods
        for seed in config["seeds"]
    ]


def table4_metrics(w):
    """CorLoc of all that Table 4 compares."""
    return [f"{folder}/metrics.json" for folder in table4_folders()]


def average_precision_metrics(w):
    """Average precision of all that Table 4 compares."""
    return [f"{folder}/average_precision.json" for folder in table4_folders()]


def table4_folders():
    """Every method, baseline and control on every dataset, f^h and h, and CAD on f and f^h."""
    table = config["tables"]["table4"]
    backbone, random = table["backbone"], table["random_backbone"]
    ran = [
        (backbone_of(table, method), method)
        for method in [*table["methods"], *table["controls"]]
    ]
    ran += [(own, method) for method, own in table["baselines"].items()]
    # A method on a backbone of its own needs what a random one does not have.
    ran += [
        (random, method)
        for method in table["methods"]
        if random is not None and backbone_of(table, method) == backbone
    ]
    paths = [
        f"{dataset}/{b}/{method}" for dataset in table["datasets"] for b, method in ran
    ]
    for t in trainings(table["datasets"], table["methods"], table["variant"]):
        own = backbone_of(table, t.method)
        refined = artifacts.refined_backbone(own, t)
        paths.append(f"{t.dataset}/{refined}/{t.method}")
        paths.append(f"{t.dataset}/{own}/{artifacts.detector_boxes(t)}")
    for t in trainings(table["datasets"], cad_methods(table), table["variant"]):
        own = backbone_of(table, t.method)
        for learned_from in (own, artifacts.refined_backbone(own, t)):
            paths.append(
                f"{t.dataset}/{learned_from}/{artifacts.cad_boxes(t.method, t.seed)}"
            )
    return [f"results/{path}" for path in paths]


def cad_methods(table):
    """The methods that CAD is trained for: some, all or none of the table's."""
    if isinstance(table["cad"], bool):
        return table["methods"] if table["cad"] else []
    return table["cad"]


def table6_metrics(w):
    """Metrics of f, and of f^h of each variant."""
    table = config["tables"]["table6"]
    ran = []
    for variant in table["ablations"]:
        for t in trainings(table["datasets"], table["methods"], variant):
            refined = artifacts.refined_backbone(backbone_of(table, t.method), t)
            ran.append(f"{t.dataset}/{refined}/{t.method}")
    ran += [
        f"{dataset}/{backbone_of(table, method)}/{method}"
        for dataset in table["datasets"]
        for method in table["methods"]
    ]
    return [f"results/{path}/metrics.json" for path in dict.fromkeys(ran)]


def names_of_ablations():
    """What table 6 calls each variant, or the one that stands for it."""
    table = config["tables"]["table6"]
    return [
        f"{first_like(variant, table['methods'], 'losses', 'detector', 'refinement')}={name}"
        for variant, name in table["ablations"].items()
    ]


def sheets_of_table4():
    """Contact sheets before and after refinement, for the first seed."""
    table = config["tables"]["table4"]
    training = trainings(table["datasets"], table["methods"], table["variant"])[0]
    return f"{training.folder(backbone_of(table, training.method))}/boxes.png"


def study_metrics(w):
    """Comparisons of f^h with f, and h, on the images refined on and on those held out."""
    study, paths = config["study"], []
    for t in trainings(study["datasets"], study["methods"], study["variant"]):
        backbone = backbone_of(study, t.method)
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


def map_panels(w):
    """The columns of a figure of maps, for the first seed: each heuristic on f and on f^h."""
    figure, panels = config["map_figures"][w.figure], []
    dataset = figure["dataset"]
    for method, base in figure["methods"].items():
        t = trainings([dataset], [method], figure["variant"])[0]
        section = heuristic(base, method)
        for network, backbone in (
            ("f", base),
            ("f^h", artifacts.refined_backbone(base, t)),
        ):
            folder = f"results/{dataset}/{backbone}"
            cad = figure["cad"] and figure["cad"].format(**asdict(t))
            panels.append(
                {
                    "title": section["label"],
                    "network": network,
                    "method": method,
                    "features": f"{folder}/features/{{shard}}.h5",
                    "shards": shards(dataset),
                    "boxes": f"{folder}/{method}/boxes.json",
                    **({"cad": f"{folder}/{cad}/boxes.json"} if cad else {}),
                    **{key: value for key, value in section.items() if key != "label"},
                }
            )
    return panels


def map_files(w):
    """The index, the features and the boxes that a figure of maps shows."""
    dataset, panels = config["map_figures"][w.figure]["dataset"], map_panels(w)
    return {
        "index": f"results/{dataset}/index.json",
        "features": [
            panel["features"].replace("{shard}", str(shard))
            for panel in panels
            for shard in range(panel["shards"])
        ],
        "boxes": [
            panel[key] for panel in panels for key in ("boxes", "cad") if key in panel
        ],
    }


def map_options(w):
    """The options by which a figure of maps is drawn."""
    figure = config["map_figures"][w.figure]
    names = ("count", "seed", "image_ids", "width")
    panels = (
        options({"panel": [f"{key}={value}" for key, value in panel.items()]})
        for panel in map_panels(w)
    )
    return " ".join([*panels, options({name: figure[name] for name in names})])


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


def resource_options(section):
    """The options of a stage that makes embedded weights."""
    not_options = ("dataset", "backbone", "inpainter")
    return options({k: v for k, v in config[section].items() if k not in not_options})
