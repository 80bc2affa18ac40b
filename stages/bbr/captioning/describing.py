"""An image alone in, captions of its regions out.

"What is where by looking", docs/protocol.md#3-what-is-where-by-looking-wwbl.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch

from ..clip.network import Clip, prompt
from ..data.loading import chunks, resize
from .blip import Captioner, CaptionOptions
from .communities import CommunityOptions, find_communities, representatives
from .proposals import ProposalOptions, propose_regions, stand_ins


@dataclass(frozen=True)
class Description:
    """A community of captions.

    Attributes:
        caption: the one nearest to the mean of all.
        regions: (n, 4) float64 xyxy of each caption's region, in pixels of the image.
    """

    caption: str
    regions: np.ndarray


@dataclass
class Describer:
    """All that turns images into descriptions.

    Attributes:
        image_size: side of the square that an image is resized to before all else.
        same_iou: regions that overlap so much share a caption; None: each has its own.
        batch_size: crops, or texts, that a network sees at once.
        bare: CLIP is shown captions as they are, without its prompt.
        seconds: spent so far on each step.
    """

    captioner: Captioner
    clip: Clip
    proposals: ProposalOptions
    captions: CaptionOptions
    communities: CommunityOptions
    image_size: int
    same_iou: float | None
    batch_size: int
    bare: bool = False
    seconds: dict[str, float] = field(default_factory=dict)

    def describe(self, images: Sequence[np.ndarray]) -> list[list[Description]]:
        """Descriptions of images (H, W, 3) uint8 of any sizes, the largest community first.

        The crops of all images share batches. An image without a region has no description.
        """
        squares = [resize(image, self.image_size) for image in images]
        with self._timed("proposals"):
            regions = [propose_regions(square, self.proposals) for square in squares]
            owners = [stand_ins(boxes, self.same_iou) for boxes in regions]
        crops = [
            square[y1:y2, x1:x2]
            for square, boxes, owner in zip(squares, regions, owners, strict=True)
            for x1, y1, x2, y2 in boxes[np.unique(owner)]
        ]
        captions = iter(self._caption(crops))
        described = []
        for image, boxes, owner in zip(images, regions, owners, strict=True):
            own = {i: next(captions) for i in np.unique(owner).tolist()}
            height, width = image.shape[:2]
            scaled = boxes * np.tile((width / self.image_size, height / self.image_size), 2)
            described.append(self._group([own[i] for i in owner.tolist()], scaled))
        return described

    def _caption(self, crops: list[np.ndarray]) -> list[str]:
        """A caption of each crop."""
        texts: list[str] = []
        for batch in chunks(crops, self.batch_size):
            with self._timed("crops for the captioner"):
                observed = self.captioner.observe(batch)
            with self._timed("captions"):
                texts += self.captioner.generate(observed, self.captions)
        return texts

    def _group(self, captions: list[str], regions: np.ndarray) -> list[Description]:
        with self._timed("embeddings of captions"):
            embeddings = embed_texts(self.clip, captions, self.batch_size, self.bare)
        with self._timed("communities"):
            found = find_communities(embeddings, self.communities)
            chosen = representatives(embeddings, found)
        # One caption may stand for two communities, such as where CLIP's context cuts it short.
        merged: dict[str, list[int]] = {}
        for community, position in zip(found, chosen, strict=True):
            merged.setdefault(captions[position], []).extend(community)
        return [Description(caption, regions[members]) for caption, members in merged.items()]

    @contextmanager
    def _timed(self, step: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[step] = self.seconds.get(step, 0.0) + time.perf_counter() - start


@torch.no_grad()
def embed_texts(
    clip: Clip, texts: Sequence[str], batch_size: int, bare: bool = False
) -> np.ndarray:
    """Unit embeddings (n, d) float32 of texts in CLIP's prompt, or bare; each is looked at once."""
    shown = list(texts) if bare else [prompt(text) for text in texts]
    distinct = list(dict.fromkeys(shown))
    parts = [clip.encode_texts(part).float().cpu() for part in chunks(distinct, batch_size)]
    if not parts:
        return np.zeros((0, 1), dtype=np.float32)
    numbers = {text: i for i, text in enumerate(distinct)}
    return torch.cat(parts).numpy()[[numbers[text] for text in shown]]
