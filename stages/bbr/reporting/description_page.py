"""A page of photographs with what is in them: one static HTML file that needs nothing else.

A caption's heatmap and boxes lie over its photograph while the pointer or the focus is on it, and
stay when it is chosen. The captions of a photograph are radio buttons, so that all of this works
from the keyboard and without any script.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from PIL import Image

from .page_shell import page_renderer

_JPEG_QUALITY = 85
# As in the figures: colours that differ in lightness for every eye.
_PALETTE = (np.array(colormaps["viridis"](np.arange(256))[:, :3]) * 255).round().astype(np.uint8)


@dataclass(frozen=True)
class Caption:
    """What was found, and where.

    Attributes:
        text: in words, shown as they are.
        boxes: (n, 4) xywh in pixels of the photograph, best first; n may be 0.
        scores: (n,) of the boxes.
        heatmap: (H, W) in [0, 1].
        regions: how many regions of the photograph were described in this way.
    """

    text: str
    boxes: np.ndarray
    scores: np.ndarray
    heatmap: np.ndarray
    regions: int


@dataclass(frozen=True)
class Photograph:
    """One photograph of the page.

    Attributes:
        name: shown as it is.
        pixels: (h, w, 3) uint8 RGB, perhaps shrunk.
        size: (height, width) in pixels, as boxes have them.
        captions: in the order in which they are listed; there may be none.
    """

    name: str
    pixels: np.ndarray
    size: tuple[int, int]
    captions: Sequence[Caption]


def description_page(photographs: Iterable[Photograph], title: str) -> bytes:
    """The page, UTF-8. It forbids itself whatever is not in it: other hosts, files and scripts."""
    return _RENDER(title=title, photographs=photographs)


def _where(caption: Caption) -> str:
    """In words, for those who do not see the box: where it is, its score, and how many agree."""
    regions = f"{caption.regions} region{'s' * (caption.regions != 1)}"
    if not len(caption.boxes):
        return f"no box, {regions}"
    x, y, width, height = caption.boxes[0].round().astype(int).tolist()
    more = f" and {len(caption.boxes) - 1} more" if len(caption.boxes) > 1 else ""
    return f"{width} × {height} pixels at {x}, {y}{more}, score {caption.scores[0]:.2f}, {regions}"


def _jpeg(pixels: np.ndarray) -> str:
    return _data_uri(Image.fromarray(pixels), "jpeg", quality=_JPEG_QUALITY)


def _png(heatmap: np.ndarray) -> str:
    """A heatmap in colours, of one byte a pixel."""
    levels = (heatmap.clip(0, 1) * (len(_PALETTE) - 1)).round().astype(np.uint8)
    image = Image.fromarray(levels, mode="P")
    image.putpalette(_PALETTE.tobytes())
    return _data_uri(image, "png", optimize=True)


def _data_uri(image: Image.Image, kind: str, **options: object) -> str:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(content.getvalue()).decode()}"


# The overlay lies in the list item, so that no more than the item's state is needed to show it, and
# has the place of the photograph, which is the top left corner of the pair.
_STYLE = """
:root { --share: 60%; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
.pair { position: relative; display: flex; gap: 1rem; align-items: flex-start; }
.pair > img { width: var(--share); height: auto; aspect-ratio: var(--ratio); flex: none; }
fieldset { border: 0; margin: 0; padding: 0; min-width: 0; flex: 1; }
legend { font-weight: 600; padding: 0; }
ul { list-style: none; margin: .25rem 0 0; padding: 0; }
label { display: flex; gap: .5rem; padding: .3rem .4rem; border-radius: .3rem; cursor: pointer; }
label:hover, label:focus-within { background: color-mix(in srgb, currentColor 12%, transparent); }
label:focus-within { outline: 2px solid currentColor; }
label input { outline: none; flex: none; }
small { display: block; opacity: .8; }
.found { position: absolute; left: 0; top: 0; width: var(--share); height: auto;
  aspect-ratio: var(--ratio); visibility: hidden; pointer-events: none; }
.found image { opacity: .55; }
.edge { stroke: white; }
.line { stroke: black; stroke-width: 2px; }
li:hover > .found, label:has(:checked) + .found, label:focus-within + .found {
  visibility: visible; }
ul:has(li:hover) > li:not(:hover) > .found { visibility: hidden; }
@media (max-width: 45rem) {
  :root { --share: 100%; }
  .pair { flex-direction: column; }
}
"""

_BLOCKS = """
{% block introduction %}
Point at a caption, or choose it, to see where it is: bright in the heatmap, and in the box. From
the keyboard: Tab to a photograph, then the arrow keys.
{%- endblock %}
{% block main %}
{% for shown in photographs %}
{% set number = loop.index %}
{% set height, width = shown.size %}
<section aria-labelledby="h{{ number }}">
<h2 id="h{{ number }}">{{ shown.name }}</h2>
<div class="pair" style="--ratio: {{ width }} / {{ height }}">
<img alt="{{ shown.name }}" width="{{ width }}" height="{{ height }}"
 src="{{ jpeg(shown.pixels) }}">
{% if shown.captions %}
<fieldset><legend>Captions</legend>
<ul>
<li><label><input type="radio" name="p{{ number }}" checked>
<span>the photograph alone</span></label></li>
{% for caption in shown.captions %}
<li><label><input type="radio" name="p{{ number }}" value="{{ loop.index }}">
<span>{{ caption.text }} <small>{{ where(caption) }}</small></span></label>
<svg class="found" viewBox="0 0 {{ width }} {{ height }}" preserveAspectRatio="none"
 aria-hidden="true">
<image width="{{ width }}" height="{{ height }}" preserveAspectRatio="none"
 href="{{ png(caption.heatmap) }}"/>
{% for box in caption.boxes.tolist() %}
{% for edge in ("edge", "line") %}
<rect class="{{ edge }}" x="{{ box[0] }}" y="{{ box[1] }}" width="{{ box[2] }}"\
 height="{{ box[3] }}"/>
{% endfor %}
{% endfor %}
</svg></li>
{% endfor %}
</ul>
</fieldset>
{% else %}
<p>No region of this photograph was described.</p>
{% endif %}
</div>
</section>
{% endfor %}
{% endblock %}
"""

_RENDER = page_renderer(_BLOCKS, style=_STYLE, images="data:", where=_where, jpeg=_jpeg, png=_png)
