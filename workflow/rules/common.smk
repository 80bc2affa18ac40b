"""The checked configuration, the names in paths, and what all rules share.

Paths say what an artifact is: results/{dataset}/{backbone}/{boxes}/... A refined backbone
f^h goes through extraction, heuristics and evaluation like any other; support/artifacts.py has the
form of the names. Which files a job reads, support/plans says: every file that a stage opens is an
input of its rule, also those that it finds beside others (images, meta files), and a path never
stands in params alone.
"""

import json
import os
import shlex
import shutil
import sys
from pathlib import Path

from support import (
    artifacts,
    code_tracking,
    configuration,
    given_files,
    grounding_names,
    jobs,
    own_python,
    references,
    sections,
    sources,
    variants,
)
from support.artifacts import PIXELS, Training
from support.command_line import options
from support.jobs import logged
from support.plans import (
    backbones,
    comparisons,
    datasets,
    detectors,
    discovery_tables,
    embedded_weights,
    facets,
    fetching,
    figures,
    grounding,
    labels,
    metric_tables,
    own_images,
    proposals,
    runtime_table,
    states,
    upper_bounds,
    wwbl,
)

STAGES = code_tracking.announce_stages()
jobs.announce_reasons()

try:
    configuration.complete(
        config, configuration.default_files(), workflow.overwrite_configfiles
    )
    own_python.lead_path(
        conda_deployed=bool(workflow.deployment_settings.deployment_method)
    )
    configuration.prepare(
        config,
        code_tracking.ROOT / "workflow/schemas/config.schema.yaml",
        sys.argv,
        configuration.folder_of_command(sys.argv, os.environ),
    )
except configuration.ConfigurationError as mistake:
    sys.exit(str(mistake))


wildcard_constraints:
    **artifacts.wildcard_patterns(
        config["datasets"],
        config["backbones"],
        config["heuristics"],
        config["discovery"]["variants"],
    ),
    **grounding_names.wildcard_patterns(
        config["datasets"], config["grounding"]["variants"]
    ),
    inputs=artifacts.one_of(["default", *config["heuristics"]]),
    left=r"\d+",


THREADS = config["threads"]
# Of the rules from features to f^h, which most else waits for: started last, they would be left for
# the end, one by one.
CHAIN = 10
# `auto` asks for a GPU where there is one. On a cluster, whose first node may have none: `cuda`.
GPUS = int(
    config["device"] == "cuda"
    or (config["device"] == "auto" and shutil.which("nvidia-smi") is not None)
)


def with_device(command):
    """The command of a stage that computes on a GPU where there is one."""
    return logged(f"{command} --device {{resources.device}}")


def with_precision(command):
    """The command of a stage that runs a network."""
    return with_device(f"{command} --precision {{params.precision}}")


def capped(mem_mb):
    """Megabytes that a job asks for, no more than there are."""
    return min(mem_mb, jobs.most_memory(config, workflow.local_exec))


def growing(mem_mb, runtime):
    """Memory and minutes that grow with each attempt: the last one may have lacked them."""
    return {
        "mem_mb": lambda w, attempt: capped(mem_mb * attempt),
        "runtime": lambda w, attempt: runtime * attempt,
        "memory_limit": jobs.memory_limit(config),
    }


def on_device(mem_mb, runtime, gpu=GPUS):
    """Resources of a job that runs on a GPU where there is one."""
    return {**growing(mem_mb, runtime), "gpu": gpu, "device": config["device"]}


def code(stage):
    """The record of the source files that a stage is made of."""
    record = code_tracking.record_code(stage, STAGES)
    # Left in when not tracked: a changed set of inputs would itself be a reason to rerun.
    return record if config["track_code"] else ancient(record)


def file_options(*names):
    """A function for options that name files: those among a job's inputs that it has.

    Kept apart from other options, since Snakemake does not compare params that depend on `input`.
    """
    return lambda w, input: options({name: input.get(name) or None for name in names})


def of_dataset(w):
    """The index and the images of a job's dataset."""
    return datasets.files(config, w.dataset)


def shard(w):
    """Which part of a dataset a job is for, as stages are told; the only one where none is named."""
    return datasets.shard_of(config, w.dataset, w.get("shard", "0"))
