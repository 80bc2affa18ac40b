"""The configuration: checked against the schema, completed with defaults, names resolved."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .artifacts import IMAGE_METHODS, PIXELS
from .code_tracking import ROOT
from .references import references
from .validation import ConfigurationError, not_one_of, validate
from .yaml_files import read_yaml

MINE = "mine"  # the dataset of a user's own photographs
OWN_PATHS = ("images", "phrases", "weights", "class_names")
CUSTOM = "custom"  # the backbone of a user's own weights
# Of a backbone's section, what stays where the weights are another network's.
_KEPT = ("heuristics", "detector_inputs", "refinement")
NOT_FILES = ("timm", "random", "efficientnet_lite0", "dinov2_vits14", "none", "imagenet")


def default_files() -> list[Path]:
    """The files below every configuration, the last one on top."""
    names = ("discovery", "grounding", "captioning", "cad", "tables", "figures", "resources")
    defaults = ROOT / "workflow" / "configs" / "defaults"
    return [*(defaults / f"{name}.yaml" for name in names), ROOT / "config.yaml"]


def complete(config: dict[str, Any], below: Iterable[Path], overlays: Iterable[Path] = ()) -> None:
    """Lay a configuration on top of files, key by key, as `--configfile` does.

    Not by `configfile:`, which is not read where another workflow uses this one as a module.

    Args:
        config: changed in place. On the command line, cad=true is about one's own photographs;
            elsewhere `cad` is a section.
        below: YAML files, the last one on top.
        overlays: those of `--configfile`, likewise, whose section `cad` that took the place of.
    """
    if str(config.get("cad")).lower() in ("true", "false"):
        config["refine_cad"] = config.pop("cad")
        for path in reversed(list(overlays)):
            section = read_yaml(path).get("cad")
            if isinstance(section, dict):
                _fill(config, {"cad": section})
    for path in reversed(list(below)):
        _fill(config, read_yaml(path))


def _fill(section: dict[str, Any], below: dict[str, Any]) -> None:
    for key, value in below.items():
        if isinstance(value, dict) and isinstance(section.get(key), dict):
            _fill(section[key], value)
        else:
            section.setdefault(key, value)


def prepare(
    config: dict[str, Any],
    schema: Path | str,
    arguments: Sequence[str] = (),
    folder: Path | str = ".",
) -> None:
    """Check a configuration, fill in the schema's defaults and add the user's own images.

    Args:
        config: changed in place.
        schema: a YAML file that holds a JSON schema.
        arguments: what was typed, of which paths are taken as they stand there.
        folder: where it was typed, which relative paths of one's own files start from.

    Raises:
        ConfigurationError: a key is unknown, missing or of the wrong kind, or a name that one key
            refers to is not configured.
    """
    _restore_typed_paths(config, arguments)
    _name_pools(config)
    validate(config, read_yaml(schema))
    _drop_nulls(config)
    config["backbones"][PIXELS] = {"weights": "none", "heuristics": {}}
    _add_own_images(config, Path(folder))
    for key, name, allowed in references(config):
        if name not in allowed:
            raise ConfigurationError(f"config: {key}: {not_one_of(name, allowed)}")


def folder_of_command(arguments: Sequence[str], environment: Mapping[str, str]) -> str:
    """Where the command was typed: with --directory, Snakemake has left it by now."""
    elsewhere = any(a in ("-d", "--directory") or a.startswith("--directory=") for a in arguments)
    return environment.get("PWD", ".") if elsewhere else "."


def _restore_typed_paths(config: dict[str, Any], arguments: Sequence[str]) -> None:
    """Set the paths of `--config KEY=PATH` to the text that was typed.

    Snakemake reads it as a number or as YAML where it can: 2024_01 becomes 202401, and `a #1` ends
    at the blank.
    """
    for argument in arguments:
        for key in OWN_PATHS:
            for start in (f"{key}=", f"--config={key}=", f"-C{key}="):
                if argument.startswith(start) and config.get(key) is not None:
                    config[key] = argument.removeprefix(start)
    for key in OWN_PATHS:
        if isinstance(config.get(key), (dict, list)):
            raise ConfigurationError(
                f"config: {key}: {config[key]!r} is not a path; put it in quotes in the file"
            )
        if config.get(key) is not None:
            config[key] = str(config[key])


def _own_path(text: str, folder: Path) -> str:
    """A path of the user's: relative to the repository if it is in it, and else absolute.

    So that a moved repository has the same paths.
    """
    path = os.path.normpath(folder / os.path.expanduser(text))
    here = os.path.relpath(path)
    return path if here.startswith("..") else here


def _name_pools(config: dict[str, Any]) -> None:
    """Say of datasets that pool others that this is their format."""
    datasets = config.get("datasets")
    for dataset in datasets.values() if isinstance(datasets, dict) else ():
        if isinstance(dataset, dict) and "pool" in dataset:
            dataset.setdefault("format", "pool")


def _drop_nulls(config: dict[str, Any]) -> None:
    """Leave out what a file on top set to null: the only way to take an entry of a mapping back."""
    mappings = [(table, "baselines") for table in config["tables"].values()]
    mappings += [(table, "ablations") for table in config["tables"].values()]
    mappings += [(config["study"], "held_out")]
    mappings += [(figure, "methods") for figure in config["figures"]["maps"].values()]
    for section, key in mappings:
        if key in section:
            section[key] = {k: v for k, v in section[key].items() if v is not None}


def _add_own_images(config: dict[str, Any], folder: Path) -> None:
    """Make the dataset of --config images=PATH and the backbone of --config weights=FILE."""
    if config["images"] is not None:
        source = _own_path(config["images"], folder)
        if not os.path.isdir(source):
            kind = "a file, not a folder" if os.path.exists(source) else "no such folder"
            raise ConfigurationError(
                f"config: images: {config['images']!r}: {kind} ({os.path.abspath(source)})"
            )
        config["datasets"][MINE] = {
            "label": MINE,
            "format": "folder",
            "source": source,
            "shards": 1,
        }
        if config["phrases"] is not None:
            config["datasets"][MINE]["phrases"] = _own_file(config, "phrases", folder)
    if config["class_names"] is not None:
        config["class_names"] = _own_file(config, "class_names", folder)
    if config["weights"] is not None:
        weights = _own_file(config, "weights", folder)
        base = config["backbones"].get(config["backbone"], {})
        kept = base
        if carries_architecture(weights):  # the rest of the section is of another network
            kept = {key: base[key] for key in _KEPT if key in base}
        config["backbones"][CUSTOM] = {"heuristics": {}, **kept, "weights": weights}
        config["backbone"] = CUSTOM
    if config["method"] in IMAGE_METHODS:
        config["backbone"] = PIXELS


def _own_file(config: dict[str, Any], key: str, folder: Path) -> str:
    """The path of a file of the user's, which is there."""
    path = _own_path(config[key], folder)
    if not os.path.isfile(path):
        raise ConfigurationError(
            f"config: {key}: {config[key]!r}: no such file ({os.path.abspath(path)})"
        )
    return path


def carries_architecture(weights: str) -> bool:
    """Whether a weights file says in its metadata which network it is for, as ours do."""
    try:
        with open(weights, "rb") as handle:
            size = int.from_bytes(handle.read(8), "little")
            metadata = json.loads(handle.read(min(size, 2**24))).get("__metadata__") or {}
    except (OSError, ValueError):
        return False  # the stage that reads it says what is wrong with the file
    return "backbone" in metadata
