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
    repository = timm.get_pretrained_cfg(architecture).hf_hub_id
    if not repository:
        return True  # from elsewhere, and timm does not insist
    if any(isinstance(try_to_load_from_cache(repository, name), str) for name in _FILES):
        return True
    try:
        HfApi().model_info(repository, timeout=_PATIENCE)
    except Exception:  # of many libraries; whatever it is, there will be no weights
        return False
    return True
