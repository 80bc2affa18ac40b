"""Networks of transformers in folders that a person names, as `save_pretrained` writes them.

Nothing is fetched, and nothing is unpickled.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from ..errors import InputError
from ..storage.json_files import read_json

WEIGHTS = "model.safetensors"
# Of each, the files of one of these ways; without its words a tokenizer would know none, silently.
_NEEDED = [
    (("config.json",),),
    ((WEIGHTS,),),
    (("processor_config.json",), ("preprocessor_config.json",)),
]
_WORDS = (("tokenizer.json",), ("vocab.txt",), ("vocab.json", "merges.txt"))


def weights_in(folder: Path) -> Path:
    """The file of a folder whose digest provenance keeps."""
    return folder.expanduser() / WEIGHTS


def load_parts(
    folder: Path,
    names: tuple[str, ...],
    network: type[PreTrainedModel],
    *others: type,
) -> tuple[Any, ...]:
    """What a folder holds: the network, in evaluation mode and float32, then the `others`.

    Args:
        names: what its config.json may call the network (`model_type`).
        others: of transformers: classes of tokenizers and of image processors.

    Raises:
        InputError: it is no such folder, another network's, or damaged.
    """
    folder = folder.expanduser()
    words = any(issubclass(kind, PreTrainedTokenizerBase) for kind in others)
    _require_files(folder, names, words)
    # It would tell of every tensor that is not used, and draw bars of its own.
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        beside = [kind.from_pretrained(folder, local_files_only=True) for kind in others]  # type: ignore[attr-defined]
        # A pair, with output_loading_info, which the annotation does not say.
        both: Any = network.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except Exception as error:  # parsers of configurations, words and weights raise their own
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(
            f"--weights {folder}: {network.__name__} cannot be read from it ({why[:120]});"
            " get its files again"
        ) from error
    model, loading = both
    missing = sorted(loading["missing_keys"])
    if missing:
        raise InputError(
            f"--weights {folder}: {len(missing)} tensors of {network.__name__} are missing (first:"
            f" {missing[0]}); get its files again"
        )
    return model.eval().requires_grad_(False), *beside


def _require_files(folder: Path, names: tuple[str, ...], words: bool) -> None:
    needed = [*_NEEDED, _WORDS] if words else _NEEDED
    for ways in needed:
        if not any(all((folder / name).is_file() for name in way) for way in ways):
            raise InputError(
                f"--weights {folder}: has no {' or '.join(map(' with '.join, ways))}; name a folder"
                " as transformers' save_pretrained writes it: config.json, one model.safetensors,"
                " and the files of its processor"
            )
    config = read_json(folder / "config.json")
    found = config.get("model_type") if isinstance(config, dict) else None
    if found not in names:
        raise InputError(
            f"--weights {folder}: its config.json is of {found!r}, not of {' or '.join(names)};"
            " name that network's folder"
        )
