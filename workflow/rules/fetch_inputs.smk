"""Where datasets and weights come from: files of the user's, or what the rules of fetch.smk bring."""

import json
from itertools import chain

from support import sources

DATA = "data"  # the folder of what is fetched
DATASET_SOURCES = "workflow/sources/datasets.yaml"
WEIGHT_REGISTRY = "workflow/sources/weights.yaml"
DOWNLOADS = f"{DATA}/downloads"
# The file of ours that each entry of the registry becomes; a folder has the entry's name.
WEIGHTS = sources.weight_files(sources.WEIGHTS)


# The folder of a dataset, and the files beside it that describe it.
SOURCE_KINDS = (
    "source",
    "annotations",
    "captions",
    "image_data",
    "image_list",
    "phrases",
)


def source_paths(w):
    """Where a dataset lies, by `SOURCE_KINDS`."""
    dataset = config["datasets"][w.dataset]
    return {kind: given_file(dataset[kind]) for kind in SOURCE_KINDS if kind in dataset}


def source_files(w):
    """What the index of a dataset is made from: the data, or receipts of what is fetched."""
    fetched = receipts(w.dataset)
    return {"receipts": fetched} if fetched else source_paths(w)


def receipts(dataset):
    """The receipts of what a dataset is made of, where it is to be fetched."""
    return [
        f"{DATA}/receipts/{name}.json"
        for name in config["datasets"][dataset].get("fetch") or []
    ]


def index_memory(w, attempt):
    """Megabytes: the annotations of Visual Genome and COCO are files of hundreds."""
    sizes = {"visual_genome": 12000, "coco": 4000}
    return attempt * sizes.get(config["datasets"][w.dataset]["format"], 2000)


def weights_name(file):
    """The entry of the registry that a file of ours is made of."""
    return next(name for name, made in WEIGHTS.items() if made == file)


def local_weights(w):
    """The published file that the user names, or nothing where it is downloaded."""
    named = config["local_weights"].get(weights_name(w.file))
    return [] if named is None else given_file(named)


def weights_needed(w):
    """The weights that these are built on, or nothing."""
    needs = sources.read(sources.WEIGHTS)[weights_name(w.file)].get("needs")
    return [] if needs is None else f"{DATA}/weights/{WEIGHTS[needs]}"


def weights_of_configuration():
    """Every file below data/weights that some key names."""
    return sorted(set(_texts_below(config, f"{DATA}/weights/")))


def _texts_below(value, prefix):
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return list(chain.from_iterable(_texts_below(item, prefix) for item in value))
    return [value] if isinstance(value, str) and value.startswith(prefix) else []


def data_of_configuration():
    """Receipts of all that the datasets are made of."""
    return sorted(set(chain.from_iterable(map(receipts, config["datasets"]))))


def datasets_to_check():
    """The datasets that say what to expect of them, as JSON for check_data.py."""
    described = {
        name: dataset
        for name, dataset in config["datasets"].items()
        if "expected" in dataset
    }
    return shlex.quote(json.dumps(described))
