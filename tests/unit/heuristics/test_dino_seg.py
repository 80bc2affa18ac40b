"""DINO-seg: masks and boxes by hand, and against a version that goes patch by patch.

Attention is in small integers and mass in quarters, so that sums and comparisons are exact.
"""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from literal import bounding_box, components

from bbr.heuristics.dino_seg import attention_masks, dino_seg_boxes


def kept_patches(attention, mass):
    """Fewest patches with at least `mass` of the attention; of equals, the later ones stay."""
    weakest_first = sorted(range(len(attention)), key=lambda p: attention[p])
    total = sum(attention)
    kept = set(weakest_first)
    for patch in weakest_first[:-1]:
        if sum(attention[p] for p in kept - {patch}) < mass * total:
            break
        kept.remove(patch)
    return kept


class TestMasks:
    def test_by_hand(self):
        attention = torch.tensor([[5.0, 1.0, 3.0, 1.0]])
        # 5 holds half of 10; 5 + 3 hold 8; 3/4 needs both.
        expected = {0.5: [1, 0, 0, 0], 0.75: [1, 0, 1, 0], 1.0: [1, 1, 1, 1]}
        for mass, mask in expected.items():
            assert attention_masks(attention, (2, 2), mass).flatten().int().tolist() == mask

    def test_scale_of_the_attention_does_not_matter(self):
        attention = torch.rand(3, 12, generator=torch.Generator().manual_seed(0))
        small, large = (attention_masks(attention * scale, (3, 4)) for scale in (1, 1024))
        assert torch.equal(small, large)

    def test_one_patch_stays_at_least(self):
        assert attention_masks(torch.tensor([[1.0, 98.0, 1.0]]), (1, 3), 0.01).sum() == 1

    @given(
        st.lists(st.integers(0, 9), min_size=1, max_size=12).filter(any),
        st.sampled_from([0.25, 0.5, 0.75]),
    )
    def test_equals_going_patch_by_patch(self, attention, mass):
        mask = attention_masks(torch.tensor([attention]).float(), (1, len(attention)), mass)
        assert set(mask.flatten().nonzero().flatten().tolist()) == kept_patches(attention, mass)


class TestBoxes:
    def test_largest_component_wins_over_the_strongest_patch(self):
        attention = torch.tensor(
            [
                [
                    [9.0, 0.0, 0.0, 0.0],
                    [0.0, 0.0, 4.0, 0.0],
                    [0.0, 0.0, 4.0, 4.0],
                ]
            ]
        )
        box = dino_seg_boxes(attention.flatten(1), (3, 4), attention_mass=1.0)
        assert box.tolist() == [[2, 1, 4, 3]]

    def test_no_attention_at_all_gives_a_box(self):
        assert dino_seg_boxes(torch.zeros(1, 6), (2, 3)).shape == (1, 4)

    @pytest.mark.parametrize("mass", [0.25, 0.5, 0.75])
    def test_batch_equals_going_image_by_image(self, mass):
        attention = torch.randint(0, 50, (20, 42), generator=torch.Generator().manual_seed(3))
        got = dino_seg_boxes(attention.float(), (6, 7), mass)
        for row, box in zip(attention.tolist(), got.tolist(), strict=True):
            cells = {divmod(patch, 7) for patch in kept_patches(row, mass)}
            assert box == bounding_box(max(components(cells), key=len))
