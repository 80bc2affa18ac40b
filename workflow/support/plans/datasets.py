"""What the index of a dataset is made from, and what a job that reads the dataset opens."""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import chain
from typing import Any

from snakemake.io import ancient

from .. import fingerprints
from ..artifacts import one_of
from ..command_line import options
from ..given_files import given_file, without
from ..sections import Config

DATA = "data"  # the folder of what is fetched
# The folder of a dataset, and the files beside it that describe it.
SOURCE_KINDS = ("source", "annotations", "captions", "image_data", "image_list", "phrases")
_NOT_OPTIONS = ("label", "shards", "fetch", "expected")


def of_format(config: Config, *formats: str) -> str:
    """A pattern for the names of the datasets of these formats."""
    datasets = config["datasets"]
    return one_of(name for name, dataset in datasets.items() if dataset["format"] in formats)


def in_shards(config: Config) -> str:
    """A pattern for the names of the datasets that are split into several jobs."""
    return one_of(name for name in config["datasets"] if count_shards(config, name) > 1)


def count_shards(config: Config, dataset: str) -> int:
    """How many parts a dataset is split into."""
    return config["datasets"][dataset]["shards"]


def shard_of(config: Config, dataset: str, shard: str) -> str:
    """A part of a dataset as stages are told of it, such as 0/4."""
    return f"{shard}/{count_shards(config, dataset)}"


def of_shards(config: Config, dataset: str, pattern: str) -> list[str]:
    """A file of each part of a dataset; `pattern` has {shard} in it."""
    count = count_shards(config, dataset)
    return [pattern.replace("{shard}", str(shard)) for shard in range(count)]


def label(config: Config, dataset: str) -> str:
    """The name of a dataset in tables."""
    return config["datasets"][dataset].get("label", dataset)


def source_paths(config: Config, dataset: str) -> dict[str, str]:
    """Where a dataset lies, by `SOURCE_KINDS`."""
    section = config["datasets"][dataset]
    return {kind: given_file(section[kind]) for kind in SOURCE_KINDS if kind in section}


def receipts(config: Config, dataset: str) -> list[str]:
    """The receipts of what a dataset is made of, where it is to be fetched."""
    fetched = config["datasets"][dataset].get("fetch") or []
    return [f"{DATA}/receipts/{name}.json" for name in fetched]


def all_receipts(config: Config) -> list[str]:
    """Receipts of all that the datasets are made of."""
    return sorted(set(chain.from_iterable(receipts(config, name) for name in config["datasets"])))


def source_files(config: Config, dataset: str) -> dict[str, str | list[str]]:
    """What the index of a dataset is made from: a record of the data, or receipts if fetched.

    Where a file or folder is missing, the files themselves, so that Snakemake names it.
    """
    fetched = receipts(config, dataset)
    if fetched:
        return {"receipts": fetched}
    paths = source_paths(config, dataset)
    if not all(map(os.path.exists, paths.values())):
        return {**paths}
    layout = config["datasets"][dataset]["format"]
    return {"record": fingerprints.record_source(dataset, layout, paths)}


def own_files(config: Config, dataset: str) -> str:
    """The options that name the files of a dataset that is not fetched.

    To be called by a function of a job's input: Snakemake does not compare what such functions
    give, so that data that was moved is not new.
    """
    return "" if receipts(config, dataset) else options(source_paths(config, dataset))


def index_options(config: Config, dataset: str) -> str:
    """The options by which the index is made, but for its files among the inputs."""
    section = {**config["datasets"][dataset], **source_paths(config, dataset)}
    named = () if receipts(config, dataset) else SOURCE_KINDS
    masks = _masks(config, dataset) if section["format"] == "coco" else {}
    return options(without(section, *_NOT_OPTIONS, *named), masks)


def _masks(config: Config, dataset: str) -> dict[str, bool]:
    """Whether objects have masks; a dataset may have some that are asked for nowhere else."""
    return {"masks": config["masks"] or config["datasets"][dataset].get("masks", False)}


def scene_options(config: Config, dataset: str) -> str:
    """The options by which scenes are rendered."""
    section = without(config["datasets"][dataset], *_NOT_OPTIONS, "format")
    return options(section, _masks(config, dataset))


def indexes_of_pool(config: Config, dataset: str) -> list[str]:
    """The indexes that a pool is made of."""
    return [files(config, part)["index"] for part in config["datasets"][dataset]["pool"]]


def index_memory(config: Config, dataset: str) -> int:
    """Megabytes: the annotations of Visual Genome and COCO are files of hundreds."""
    sizes = {"visual_genome": 12000, "coco": 4000}
    return sizes.get(config["datasets"][dataset]["format"], 2000)


def files(config: Config, dataset: str) -> dict[str, Any]:
    """The index of a dataset, and the images that it refers to.

    The index has a checksum of each image, so that the date of their folder says nothing. Images
    that are fetched cannot be named: their rules declare receipts.
    """
    section, found = config["datasets"][dataset], {"index": f"results/{dataset}/index.json"}
    if section["format"] == "scenes":
        found["images"] = ancient(f"results/{dataset}/images")
    elif section["format"] == "pool":
        found["images"] = files_of_all(config, section["pool"])["images"]
    elif not section.get("fetch"):
        source = given_file(section["source"])
        if not {"{", "}"} & set(source):  # which Snakemake would take for a wildcard
            found["images"] = ancient(source)
    return found


def files_of_all(config: Config, datasets: Iterable[str]) -> dict[str, list[Any]]:
    """The indices of several datasets, and all images that they refer to."""
    found = [files(config, dataset) for dataset in datasets]
    return {
        "index": [one["index"] for one in found],
        "images": list(chain.from_iterable(_listed(one.get("images", [])) for one in found)),
    }


def _listed(files: Any) -> list[Any]:
    return files if isinstance(files, list) else [files]


def images(config: Config, dataset: str) -> list[Any]:
    """The images of a dataset, where an index that lies elsewhere refers to them."""
    return files_of_all(config, [dataset])["images"]


def expected_counts(config: Config) -> dict[str, Any]:
    """The datasets that say what to expect of them, for check_data.py."""
    return {name: given for name, given in config["datasets"].items() if "expected" in given}
