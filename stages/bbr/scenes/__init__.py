"""Scenes: a rendered dataset of shaded, textured objects on cluttered photographs.

`compose.render_scene(style, rng)` draws one scene with its ground truth; `presets.PRESETS` holds
the statistics of each dataset. Nothing here reads or writes files, beyond the photographs in
scikit-image.
"""
