"""Scenes: a rendered dataset of shaded, textured objects on cluttered photographs.

`render_scene(style, rng)` draws one scene with its ground truth; `PRESETS` holds the statistics
of each dataset. Nothing here reads or writes files, beyond the photographs in scikit-image.
"""

from .categories import CATEGORY_IDS
from .compose import Scene, SceneObject, render_scene, scene_rng
from .mentions import Mention
from .presets import PRESETS, SceneStyle

__all__ = [
    "CATEGORY_IDS",
    "PRESETS",
    "Mention",
    "Scene",
    "SceneObject",
    "SceneStyle",
    "render_scene",
    "scene_rng",
]
