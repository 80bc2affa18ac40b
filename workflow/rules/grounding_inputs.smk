"""What each job of phrase grounding reads, and by which options; the rules are in grounding.smk.

g is trained on one dataset (or its weights are given), and h on the maps that g draws of that
dataset's texts; g^h draws maps like any other g. support/grounding_names.py has the names in paths.
"""

from support import grounding_names
from support.grounding_names import Teaching


wildcard_constraints:
    **grounding_names.wildcard_patterns(
        config["datasets"], config["grounding"]["variants"]
    ),


def grounding_section(section, variant):
    """`losses`, `detector` or `refinement` as a variant has it."""
    settings = config["grounding"]
    return {**settings[section], **settings["variants"][variant][section]}


def clip_file():
    """The file of CLIP's weights, or nothing where open_clip downloads them."""
    weights = config["grounding"]["clip"]["clip"]
    of_file = weights.endswith((".safetensors", ".pt", ".pth", ".bin"))
    return given_file(weights) if of_file else []


def clip_section():
    """What else tells a stage which CLIP to use."""
    section = config["grounding"]["clip"]
    return {**section, "clip": None} if clip_file() else section


def grounder_file(dataset):
    """g that was trained on a dataset: configured, or trained here."""
    given = config["grounding"]["weights"].get(dataset)
    if given is not None:
        return given_file(given)
    return f"results/{dataset}/grounding/grounder.safetensors"


def datasets_in_shards():
    """A pattern for the names of the datasets that are split into several jobs."""
    return artifacts.one_of(name for name in config["datasets"] if shards(name) > 1)


def shard_option(w):
    """Which part of a dataset a job is for."""
    return options({"shard": f"{w.shard}/{shards(w.dataset)}"})


def map_source(w):
    """The weights that draw heatmaps; none for CLIP's relevancy."""
    kind, taught = grounding_names.split_scored(w.maps)
    if kind == grounding_names.GAE:
        return []
    if kind == "g":
        return grounder_file(taught.dataset)
    return f"{taught.folder}/refined.safetensors"


def map_source_options(w):
    """How extract_heatmaps.py is told what kind they are."""
    return options({"source": "g" if map_source(w) else "relevancy"})


def classifier_file():
    """The file of a classifier's weights, or nothing."""
    weights = config["grounding"]["classifier"]["classifier_weights"]
    return [] if weights is None else given_file(weights)


def classifier_options():
    """Options of the classifier's maps, which are of the size of all others."""
    left_out = ("label", "classifier_weights")
    section = config["grounding"]["classifier"]
    given = {k: v for k, v in section.items() if k not in left_out}
    return options(given, {"size": config["grounding"]["heatmaps"]["size"]})


def heatmap_options():
    """Options of every heatmap: CLIP, and sizes."""
    return options(clip_section(), config["grounding"]["heatmaps"])


def contour_options(w):
    """How boxes are made of maps; their threshold is the configured one if their name has none."""
    named = w.get("threshold", config["grounding"]["box_threshold"])
    return options(
        {"nms_boxes": config["grounding"]["nms_boxes"], "box_threshold": named}
    )


def taught_by(w):
    """The h of a teaching. Variants that train it alike share the one of the first of them."""
    wanted = Teaching.parse(w.taught)

    def trained_like(variant):
        return [grounding_section(s, variant) for s in ("losses", "detector")]

    variants = config["grounding"]["variants"]
    shared = next(
        v for v in variants if trained_like(v) == trained_like(wanted.variant)
    )
    return f"{replace(wanted, variant=shared).folder}/detector.safetensors"


def teacher_of(w):
    """The h that refines g."""
    return taught_by(
        type(w)(fromdict={"taught": str(Teaching(w.dataset, w.lesson, int(w.seed)))})
    )


def scored_file(w):
    """What evaluate.py is given: heatmaps or boxes; nothing for a control."""
    kind, _ = grounding_names.split_scored(w.scored)
    if kind in grounding_names.CONTROLS:
        return {}
    folder = f"results/{w.dataset}/grounding/{w.scored}"
    task, threshold = grounding_names.split_task(w.task)
    if task == "pointing_game":
        return {"heatmaps": f"{folder}/heatmaps.h5"}
    boxes = f"{folder}/boxes.{threshold}.json" if threshold else f"{folder}/boxes.json"
    return {"boxes": boxes, "meta": meta_files([boxes])}


def scored_options(w):
    """What is scored, and the labels that place it in tables."""
    control = w.scored if w.scored in grounding_names.CONTROLS else None
    return " ".join(
        [
            options({"control": control}),
            options({"least_area": config["grounding"]["least_area"]}),
            options({"label": [f"{k}={v}" for k, v in grounding_labels(w).items()]}),
        ]
    )


def grounding_labels(w):
    """What a score is of."""
    kind, taught = grounding_names.split_scored(w.scored)
    own = config["grounding"]["label"]
    method, backbone = {
        "random": ("Random", "Random"),
        "center": ("Center", "Center"),
        "td": ("TD", config["grounding"]["classifier"]["label"]),
        "gae": ("GAE", "CLIP"),
        "g": ("WWbL", own),
        "gh": ("Ours", own),
        "h": ("Ours", own),
    }[kind]
    found = {
        "test": dataset_label(w.dataset),
        "train": "any" if taught is None else dataset_label(taught.dataset),
        "method": method,
        "backbone": backbone,
        "output": "h" if kind == "h" else "map",
    }
    task, threshold = grounding_names.split_task(w.task)
    if task == "bbox_accuracy":
        found["box_threshold"] = threshold or config["grounding"]["box_threshold"]
    if kind in ("gh", "h"):
        rows = config["tables"]["table5"]["ablations"]
        found |= {
            "variant": taught.variant,
            "ablation": rows.get(taught.variant, taught.variant),
            "seed": taught.seed,
        }
    return found


def teachings(datasets, variant):
    """One for each training set and seed."""
    return [Teaching(d, variant, seed) for d in datasets for seed in config["seeds"]]


def grounding_scores(datasets, scored, task):
    """The metrics of all of `scored` on all of `datasets`."""
    return [f"results/{d}/grounding/{s}/{task}.json" for d in datasets for s in scored]


def table1_metrics(w):
    """The pointing game of controls, a classifier, CLIP, g and g^h on every test set."""
    table = config["tables"]["table1"]
    scored = [*grounding_names.CONTROLS, grounding_names.TD, grounding_names.GAE]
    scored += [f"g.{d}" for d in table["train"]]
    scored += [f"gh.{t}" for t in teachings(table["train"], table["variant"])]
    return grounding_scores(table["test"], scored, "pointing_game")


def table2_metrics(w):
    """The box accuracy of g, g^h and h on every test set."""
    table = config["tables"]["table2"]
    scored = []
    for dataset in table["train"]:
        scored.append(f"g.{dataset}")
        for t in teachings([dataset], table["variant"]):
            scored += [f"gh.{t}", f"h.{t}"]
    return grounding_scores(table["test"], scored, "bbox_accuracy")


def table5_metrics(w):
    """Both metrics of g^h of each variant on every test set."""
    table = config["tables"]["table5"]
    scored = [
        f"gh.{t}" for v in table["ablations"] for t in teachings([table["train"]], v)
    ]
    return [
        path
        for task in grounding_names.TASKS
        for path in grounding_scores(table["test"], scored, task)
    ]


def grounding_study_metrics(w):
    """Comparisons of g^h with g for what Table 2 lists, and on all its training sets for the
    ablations of Table 5; and the box accuracy of h."""
    main, ablated = config["tables"]["table2"], config["tables"]["table5"]
    paths = []
    for task in grounding_names.study_tasks(config["grounding"]["box_threshold"]):
        for dataset in main["train"]:
            taught = teachings([dataset], main["variant"])
            names = [f"gh.{t}" for t in taught]
            paths += grounding_scores(main["test"], names, f"{task}.comparison")
            if task == "bbox_accuracy":
                paths += grounding_scores(
                    main["test"], [f"h.{t}" for t in taught], task
                )
        names = [
            f"gh.{t}"
            for variant in ablated["ablations"]
            for t in teachings(main["train"], variant)
        ]
        paths += grounding_scores(ablated["test"], names, f"{task}.comparison")
    return list(dict.fromkeys(paths))


def grounding_pair(w):
    """Metrics of g and of g^h."""
    taught = Teaching.parse(w.taught)
    folder = f"results/{w.dataset}/grounding"
    return {
        "baseline": f"{folder}/g.{taught.dataset}/{w.task}.json",
        "candidate": f"{folder}/gh.{taught}/{w.task}.json",
    }


def figure3_files(w):
    """What figure 3 shows."""
    return g_and_refined(config["grounding"]["figure3"])


def g_and_refined(figure):
    """An index of phrases, and the boxes and heatmaps of g and of g^h of the first seed."""
    folder = f"results/{figure['dataset']}/grounding"
    taught = teachings([figure["train"]], figure["variant"])[0]
    shown = [f"g.{figure['train']}", f"gh.{taught}"]
    boxes = [f"{folder}/{s}/boxes.json" for s in shown]
    return {
        **dataset_files(figure["dataset"]),
        "boxes": boxes,
        "meta": meta_files(boxes),
        "heatmaps": [f"{folder}/{s}/heatmaps.h5" for s in shown],
    }


def own_phrases(w):
    """The index, heatmaps and boxes of the user's own photographs and phrases."""
    if config["images"] is None or config["phrases"] is None:
        sys.exit(
            "results/mine/grounding.json needs your photographs and what to look for in them: add"
            " --config images=PATH phrases=PATH, a text file of phrases, one a line"
        )
    folder = f"results/{configuration.MINE}"
    maps = f"{folder}/grounding/g.{config['grounding']['own']}"
    return {
        "index": f"{folder}/index.json",
        "heatmaps": f"{maps}/heatmaps.h5",
        "boxes": f"{maps}/boxes.json",
        "meta": f"{maps}/boxes.meta.json",
    }
