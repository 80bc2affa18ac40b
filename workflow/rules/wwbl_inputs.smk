"""What each job of "what is where by looking" reads; the rules are in wwbl.smk.

Captions are found once for a dataset, whatever g locates them afterwards: {maps} is as in
grounding, support/grounding_names.py.
"""


def captioner_files():
    """The file of the captioner's weights, or the one in its folder; nothing where a hub has them."""
    given = config["wwbl"]["captioner"]
    if given.endswith(".safetensors"):
        return {"captioner": given_file(given)}
    kinds = ("model.safetensors", "pytorch_model.bin")
    inside = [os.path.join(os.path.expanduser(given), name) for name in kinds]
    found = [given_file(file) for file in inside if os.path.isfile(file)]
    return {"captioner_weights": found[:1]}


def captioning_options():
    """How images are described, but for a file of weights."""
    named = "captioner" in captioner_files()
    section = {**config["wwbl"], "captioner": None} if named else config["wwbl"]
    return options(section, clip_section())


def described_shards(w):
    """The descriptions of all shards of a dataset."""
    folder = f"results/{w.dataset}/wwbl"
    return [f"{folder}/descriptions.{shard}.json" for shard in range(shards(w.dataset))]


def caption_files(w):
    """What evaluate.py is given: the heatmaps of captions, or their boxes."""
    folder = f"results/{w.dataset}/wwbl/{w.maps}"
    if w.task == "pointing_game":
        return {"heatmaps": f"{folder}/heatmaps.h5"}
    return {"boxes": f"{folder}/boxes.json", "meta": f"{folder}/boxes.meta.json"}


def caption_labels(w):
    """What a score is of: as of grounding with the same maps, without the ablation's row."""
    named = type(w)(fromdict={"dataset": w.dataset, "scored": w.maps, "task": w.task})
    labels = {k: v for k, v in grounding_labels(named).items() if k != "ablation"}
    return options({"label": [f"{k}={v}" for k, v in labels.items()]})


def caption_pair(w):
    """Metrics of g and of g^h."""
    folder = f"results/{w.dataset}/wwbl"
    return {
        "baseline": f"{folder}/g.{Teaching.parse(w.taught).dataset}/{w.task}.json",
        "candidate": f"{folder}/gh.{w.taught}/{w.task}.json",
    }


def table3_metrics(w):
    """Both metrics of g and g^h on every test set."""
    table = config["tables"]["table3"]
    maps = []
    for dataset in table["train"]:
        maps.append(f"g.{dataset}")
        maps += [f"gh.{t}" for t in teachings([dataset], table["variant"])]
    return [
        f"results/{test}/wwbl/{m}/{task}.json"
        for task in ("pointing_game", "bbox_accuracy")
        for test in table["test"]
        for m in maps
    ]


def own_descriptions(w):
    """What was found in the user's own photographs."""
    if config["images"] is None:
        sys.exit(
            "results/mine/descriptions needs your photographs: add --config images=PATH"
        )
    folder = f"results/{configuration.MINE}/wwbl"
    maps = f"{folder}/g.{config['grounding']['own']}"
    return {
        "descriptions": f"{folder}/descriptions.json",
        "images": image_files(configuration.MINE),
        "heatmaps": f"{maps}/heatmaps.h5",
        "boxes": f"{maps}/boxes.json",
        "meta": f"{maps}/boxes.meta.json",
    }
