"""Whether pretrained weights can be had, asked before a library tries for most of a minute."""

from __future__ import annotations

import timm
from huggingface_hub import HfApi, try_to_load_from_cache

_FILES = ("model.safetensors", "pytorch_model.bin")  # in the order in which timm looks for them
_PATIENCE = 10  # seconds


def reachable(architecture: str) -> bool:
    """Whether timm's pretrained weights of an architecture lie in the cache, or the hub answers.

    timm tries again and again, for 45 seconds and more, before it says that there is no network.
    """
    trained = timm.get_pretrained_cfg(architecture)
    # From elsewhere, and timm does not insist, where there is no repository.
    return trained is None or not trained.hf_hub_id or repository_reachable(trained.hf_hub_id)


def repository_reachable(repository: str) -> bool:
    """Whether a repository's weights lie in the cache, or the hub answers and has it."""
    try:
        if any(isinstance(try_to_load_from_cache(repository, name), str) for name in _FILES):
            return True
        HfApi().model_info(repository, timeout=_PATIENCE)
    except Exception:  # of many libraries; whatever it is, there will be no weights
        return False
    return True
