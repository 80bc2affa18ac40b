"""A page of photographs with their boxes, from the least certain to the most certain.

One static HTML file beside a folder of thumbnails, which a browser loads as they come into sight.
j and k, or the arrow keys, move from one photograph to the next; without its script, Tab does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from ..storage.boxes_json import Record
from .page_shell import page_renderer


@dataclass(frozen=True)
class Listed:
    """One photograph of the page.

    Attributes:
        name: shown as it is.
        file: the photograph, relative to the page.
        size: (height, width) in pixels, as boxes have them.
        thumbnail: relative to the page; None where the photograph cannot be read.
        boxes: of each set of boxes those of this photograph, best first; there may be none.
    """

    name: str
    file: str
    size: tuple[int, int]
    thumbnail: str | None
    boxes: Sequence[Sequence[Record]]

    @property
    def certainty(self) -> float:
        """The best score of the last set of boxes; -1 without a box."""
        return max((box["score"] for box in self.boxes[-1]), default=-1.0)


def box_page(
    photographs: Sequence[Listed],
    names: Sequence[str],
    title: str,
    left_out: Sequence[dict[str, Any]] = (),
) -> bytes:
    """The page, UTF-8. It forbids itself whatever is not of its own place.

    Args:
        photographs: in any order; the least certain come first, of equals the earlier one.
        names: what the sets of boxes are called, in their order.
        left_out: files that could not be used: [{"file_name", "reason"}].
    """
    ordered = sorted(photographs, key=lambda shown: shown.certainty)
    without = sum(shown.certainty < 0 for shown in ordered)
    return _RENDER(
        title=title, photographs=ordered, names=names, left_out=left_out, without=without
    )


def _link(path: str) -> str:
    """A relative path as the address of a link, whatever its name has in it."""
    address = quote(path.encode("utf-8", "surrogateescape"))
    return f"./{address}" if not path.startswith(("/", ".")) else address


def _where(boxes: Sequence[Record]) -> str:
    """In words, for those who do not see the box: its score and place, and how many more."""
    if not boxes:
        return "no box"
    x, y, width, height = (round(side) for side in boxes[0]["bbox"])
    more = f", and {len(boxes) - 1} more" if len(boxes) > 1 else ""
    return f"score {boxes[0]['score']:.2f}, {width} × {height} pixels at {x}, {y}{more}"


_STYLE = """
ol { list-style: none; margin: 1.5rem 0; padding: 0; display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, var(--sets) * 21rem), 1fr)); }
li.photograph { padding: .3rem; content-visibility: auto; contain-intrinsic-size: auto 24rem; }
h2 { font-size: 1.05rem; margin: 0 0 .4rem; }
a:focus { outline: 3px solid; outline-offset: 2px; }
.sets { display: flex; gap: 1rem; }
figure { margin: 0; flex: 0 1 30rem; min-width: 0; }
.picture { position: relative; }
.picture img { display: block; width: 100%; height: auto; }
.picture svg { position: absolute; inset: 0; width: 100%; height: 100%; }
.edge { stroke: black; }
.line { stroke: #ffd02f; stroke-width: 2.5px; }
.more .line { stroke-dasharray: 6 5; }
figcaption { font-size: .9rem; }
kbd { border: 1px solid; border-radius: .25rem; padding: 0 .3rem; }
"""

# Modifiers belong to the browser. Focus alone would move the page no further than it must.
_SCRIPT = """
const links = [...document.querySelectorAll("li.photograph a")];
const steps = {j: 1, ArrowDown: 1, ArrowRight: 1, k: -1, ArrowUp: -1, ArrowLeft: -1};
document.addEventListener("keydown", event => {
  const step = steps[event.key];
  if (!step || !links.length || event.ctrlKey || event.altKey || event.metaKey) return;
  event.preventDefault();
  const here = links.indexOf(document.activeElement);
  const next = here < 0 ? 0 : Math.min(Math.max(here + step, 0), links.length - 1);
  links[next].focus({preventScroll: true});
  links[next].closest("li").scrollIntoView({block: "center"});
});
"""

_BLOCKS = """
{% block introduction %}
{{ photographs | length }} photographs, from the least certain to the most certain
{%- if without %}; {{ without }} without a box come first{% endif %}. <kbd>j</kbd> and
<kbd>k</kbd>, or the arrow keys, go to the next and back; <kbd>Enter</kbd> opens the photograph.
A score says how far an object stands out, from 0 to 1; it is no probability.
{%- endblock %}
{% block main %}
<ol style="--sets: {{ names | length }}">
{% for shown in photographs %}
<li class="photograph">
<h2><a href="{{ address(shown.file) }}">{{ shown.name }}</a></h2>
<div class="sets">
{% for name, boxes in zip(names, shown.boxes) %}
<figure>
{% if shown.thumbnail is not none %}
<div class="picture">
<img loading="lazy" alt="" width="{{ shown.size[1] }}" height="{{ shown.size[0] }}"
 src="{{ address(shown.thumbnail) }}">
<svg viewBox="0 0 {{ shown.size[1] }} {{ shown.size[0] }}" preserveAspectRatio="none"
 aria-hidden="true">
{% for box in boxes | reverse %}
<g{% if not loop.last %} class="more"{% endif %}>
{% for edge in ("edge", "line") %}
<rect class="{{ edge }}" x="{{ box.bbox[0] }}" y="{{ box.bbox[1] }}" width="{{ box.bbox[2] }}"\
 height="{{ box.bbox[3] }}"/>
{% endfor %}
</g>
{% endfor %}
</svg>
</div>
{% else %}
<p>The photograph cannot be read.</p>
{% endif %}
<figcaption>{{ name }}: {{ where(boxes) }}</figcaption>
</figure>
{% endfor %}
</div>
</li>
{% endfor %}
</ol>
{% if left_out %}
<h2>Left out</h2>
<ul>
{% for file in left_out %}
<li>{{ file.file_name }}: {{ file.reason }}</li>
{% endfor %}
</ul>
{% endif %}
{% endblock %}
"""

_RENDER = page_renderer(
    _BLOCKS, style=_STYLE, images="'self' file:", script=_SCRIPT, address=_link, where=_where
)
