"""What jobs read: every file that a stage opens is named by its rule as an input.

Those that stages find beside others (images, meta files) too, and a path never stands in params
alone. So a job can be given copies of what its rule declares, and Snakemake sees what is missing.
"""

from pathlib import Path


def given_file(path):
    """A file or folder that the configuration names."""
    return os.path.expanduser(path)


def file_of(weights):
    """The file that a key for weights names; nothing where they are a library's, random or none."""
    named = weights is not None and weights not in configuration.NOT_FILES
    return given_file(weights) if named else []


def without_file(section, key):
    """A section but for the file of weights that this key names: `file_options` tells it."""
    return {k: v for k, v in section.items() if k != key or not file_of(v)}


def published_file(table):
    """The paper's figures for a table, or nothing."""
    published = config["tables"][table]["published"]
    return [] if published is None else given_file(published)


def file_options(*names):
    """A function for options that name files: those among a job's inputs that it has.

    Kept apart from other options, since Snakemake does not compare params that depend on `input`.
    """
    return lambda w, input: options({name: input.get(name) or None for name in names})


def dataset_files(dataset):
    """The index of a dataset, and the images that it refers to.

    The index has a checksum of each image, so that the date of their folder says nothing. Images
    that are fetched cannot be named: their rules declare receipts.
    """
    section, files = config["datasets"][dataset], {}
    if section["format"] == "scenes":
        files["images"] = ancient(f"results/{dataset}/images")
    elif not section.get("fetch"):
        files["images"] = ancient(given_file(section["source"]))
    return {"index": f"results/{dataset}/index.json", **files}


def of_dataset(w):
    """The index and the images of a job's dataset."""
    return dataset_files(w.dataset)


def image_files(*datasets):
    """The images of datasets, where an index that lies elsewhere refers to them."""
    found = (dataset_files(dataset).get("images") for dataset in datasets)
    return [images for images in found if images is not None]


def meta_files(boxes):
    """What lies beside boxes: the images that were skipped, and a digest of the boxes."""
    return [str(Path(file).with_suffix(".meta.json")) for file in boxes]
