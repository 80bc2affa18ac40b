"""Box-based refinement as a library: the functions that the stages share.

    boxes, scores = bbr.discover("photo.jpg")                 # where an object is, without labels
    f = bbr.load_backbone("dinov2_vits14")                    # a network, to be used more than once
    boxes, scores = bbr.discover(image, "tokencut", f, max_boxes=3)
    bbr.heuristics.lost.lost_boxes(features, grid)            # a heuristic on features of your own

Each is imported when it is first asked for, so that `import bbr` takes no time. Nothing is imported
here by a statement: an edit reruns every stage that imports what was edited.
"""

import importlib

__all__ = ["Discovery", "discover", "heuristics", "load_backbone"]

_MODULES = {
    "Discovery": "bbr.discovery",
    "discover": "bbr.discovery",
    "load_backbone": "bbr.backbones.build",
}


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    if name == "heuristics":
        importlib.import_module("bbr.heuristics.registry")  # which imports all of them
        return importlib.import_module("bbr.heuristics")
    raise AttributeError(f"module 'bbr' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
