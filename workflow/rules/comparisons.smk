"""What is compared in tables and figures: the functions that say which files they read."""

from dataclasses import asdict


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


def table7_jobs():
    """What table 7 counts, and where it is told: each job's output and benchmark file."""
    table, jobs = config["tables"]["table4"], {}
    for t in trainings(table["datasets"], table["methods"], table["variant"]):
        backbone = backbone_of(table, t.method)
        place = {"dataset": t.dataset, "base": backbone, **shared_training(t)}
        refined = artifacts.refined_backbone(backbone, t)
        for network, rule, seed, more in (
            ("h", "extract_features", "", {"backbone": backbone}),
            ("h", "pseudo_boxes", "", {"backbone": backbone}),
            ("h", "cache_detector_inputs", "", {"inputs": detector_inputs(t.method)}),
            ("h", "train_detector", t.seed, {}),
            ("f^h or g^h", "refine_backbone", t.seed, {"variant": t.variant}),
            ("boxes of f^h", "extract_features", t.seed, {"backbone": refined}),
            ("boxes of f^h", "pseudo_boxes", t.seed, {"backbone": refined}),
        ):
            job = {
                "network": network,
                "task": f"object discovery, {config['heuristics'][t.method]['label']}",
                "dataset": dataset_label(t.dataset),
                "stage": rule,
                **files_of_job(rule, {**place, **more}),
                "seed": seed,
            }
            jobs[tuple(job.values())] = job
    return list(jobs.values())


def shared_training(t):
    """The wildcards of a training; its variant is the one whose h it uses."""
    variant = first_like(t.variant, [t.method], "losses", "detector")
    return {"method": t.method, "variant": variant, "seed": t.seed}


def files_of_job(rule, wildcards):
    """The first output and the benchmark file of a rule; `{shard}` stays, and is counted."""
    proxy = getattr(rules, rule)
    artifact, benchmark = (
        str(file).format(**wildcards, shard="{shard}")
        for file in (proxy.output[0], proxy.benchmark)
    )
    count = shards(wildcards["dataset"]) if "{shard}" in artifact else 1
    return {"artifact": artifact, "benchmark": benchmark, "shards": count}


def table7_files(w):
    """What the jobs of table 7 make.

    Where it is told how long they took may be missing, and is no reason to run them again.
    """
    made = [
        job["artifact"].replace("{shard}", str(shard))
        for job in table7_jobs()
        for shard in range(job["shards"])
    ]
    return {
        "artifacts": made,
        "meta": meta_files(file for file in made if file.endswith(".json")),
    }


def table7_options(w):
    """Each job of table 7 as an option of the stage."""
    return " ".join(
        options({"job": [f"{key}={value}" for key, value in job.items()]})
        for job in table7_jobs()
    )


def sheets_of_table4():
    """Contact sheets before and after refinement, for the first seed."""
    table = config["tables"]["table4"]
    training = trainings(table["datasets"], table["methods"], table["variant"])[0]
    return f"{training.folder(backbone_of(table, training.method))}/boxes.png"


def study_metrics(w):
    """Comparisons of f^h with f, and h, on the images refined on and on those held out.

    CAD is trained on the images that it is applied to: there is none on those held out.
    """
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
        if t.method in cad_methods(study):
            cad = artifacts.cad_boxes(t.method, t.seed)
            paths.append(f"{t.dataset}/{refined}/{cad}/comparison.json")
    return [f"results/{path}" for path in paths]


def compared_metrics(w):
    """Metrics of boxes on f and on f^h."""
    base, _ = artifacts.split_backbone(w.backbone)
    return {
        "baseline": f"results/{w.dataset}/{base}/{w.boxes}/metrics.json",
        "candidate": f"results/{w.dataset}/{w.backbone}/{w.boxes}/metrics.json",
    }


def refined_boxes(w):
    """f's own boxes, those of f^h and those of h."""
    training = _training(w)
    folder, own = f"results/{w.dataset}", artifacts.detector_boxes(training)
    refined = artifacts.refined_backbone(w.base, training)
    boxes = {
        "before": f"{folder}/{w.base}/{w.method}/boxes.json",
        "after": f"{folder}/{refined}/{w.method}/boxes.json",
        "detector": f"{folder}/{w.base}/{own}/boxes.json",
    }
    return {**boxes, "meta": meta_files(boxes.values())}


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
                    **{k: v for k, v in section.items() if k not in METHOD_KEYS},
                }
            )
    return panels


def map_files(w):
    """The index, the features and the boxes that a figure of maps shows."""
    dataset, panels = config["map_figures"][w.figure]["dataset"], map_panels(w)
    boxes = [panel[key] for panel in panels for key in ("boxes", "cad") if key in panel]
    return {
        **dataset_files(dataset),
        "features": [
            panel["features"].replace("{shard}", str(shard))
            for panel in panels
            for shard in range(panel["shards"])
        ],
        "boxes": boxes,
        "meta": meta_files(boxes),
        **phrase_files(config["map_figures"][w.figure]["phrase"]),
    }


def phrase_files(shown):
    """What the lower row of a figure of maps shows: a phrase by g and g^h, if there is one."""
    if shown is None:
        return {}
    return {f"phrase_{kind}": files for kind, files in g_and_refined(shown).items()}


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
        **dataset_files(configuration.MINE),
        "boxes": f"{boxes}/boxes.json",
        "meta": f"{boxes}/boxes.meta.json",
    }


def resource_options(section):
    """The options of a stage that makes embedded weights."""
    not_options = ("dataset", "backbone", "inpainter")
    given = {k: v for k, v in config[section].items() if k not in not_options}
    return options(without_file(given, "discriminator_weights"))
