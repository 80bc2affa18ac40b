"""What jobs read and where it lies: beside the workflow or, without a shared folder, in a storage.

With `--default-storage-provider` what rules make lies in a bucket, and a job works on copies of the
files that its rule declares. So rules name every file as {input.x} or {output.x}, those that stages
find beside others (images, meta files) among their inputs, and a path never stands in params alone.
"""

from pathlib import Path

from snakemake.io import sourcecache_entry

PROVIDER = workflow.storage_settings.default_storage_provider
IN_STORAGE = PROVIDER is not None

if PROVIDER == "s3":
    from snakemake_storage_plugin_s3 import StorageObject

    # The plugin (0.3.6) remembers that a folder is not there, also when a job has made it since.
    StorageObject.is_dir = lambda stored: any(stored.get_subkeys())


def outside_storage(path):
    """A file that each job finds at this path, since it came with the sources or is on a volume.

    Snakemake's `local` would say that it is on this machine alone: a job that reads it would not be
    submitted.
    """
    return sourcecache_entry(path, path) if IN_STORAGE else path


def given_file(path):
    """A file or folder that the configuration names.

    The storage has what a relative path names, but for this repository's own files; an absolute
    path is on a volume that all jobs see.
    """
    path = os.path.expanduser(path)
    of_repository = Path(path).is_relative_to("workflow")
    return outside_storage(path) if of_repository or os.path.isabs(path) else path


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


def storage_folder():
    """What stands before results/ in the path by which a job finds a file; nothing without storage."""
    return str(rules.render_scenes.output.index).removesuffix(
        "results/{dataset}/index.json"
    )


def copied_files(described):
    """What options describe, its files named by the paths at which the job finds them."""
    files = ("features", "boxes", "cad", "artifact", "benchmark")
    return {
        key: f"{storage_folder()}{value}" if key in files else value
        for key, value in described.items()
    }
