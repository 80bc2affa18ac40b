"""States kept of the frozen part: what comes back, for which weights, and what is refused."""

import json
import pickle
from dataclasses import replace

import h5py
import pytest
import torch
from kept_states import RESNET, SIZES, VIT, index_of, network

from bbr.backbones.base import SegmenterSpec
from bbr.backbones.frozen_states import FrozenStates, as_inputs
from bbr.backbones.states_h5 import create_states
from bbr.errors import InputError


def prepared(backbone, size, seed):
    generator = torch.Generator().manual_seed(seed)
    image = torch.randint(0, 256, (1, 3, *size), dtype=torch.uint8, generator=generator)
    return backbone.prepare(image)


@torch.no_grad()
def write(path, backbone, last=1, sizes=SIZES, index=None, dtype="float32", skipped=()):
    made = {"index": index or index_of(), "dtype": dtype, "provenance": {"stage": "test"}}
    with create_states(path, backbone=backbone, last=last, **made) as writer:
        for image_id, size in sizes.items():
            pixels = prepared(backbone, size, image_id)
            state = backbone.frozen_forward(pixels, last)[0]
            writer.append(image_id, size, backbone.patch_grid(pixels), state)
        writer.note_skipped(list(skipped))
    return path


@pytest.fixture
def path(tmp_path):
    return write(tmp_path / "states.h5", network())


class TestRoundTrip:
    @torch.no_grad()
    @pytest.mark.parametrize("last", [1, 2])
    @pytest.mark.parametrize("spec", [VIT, RESNET], ids=["vit", "resnet"])
    def test_the_last_blocks_go_on_from_there_bit_for_bit(self, tmp_path, spec, last):
        backbone = network(spec)
        write(tmp_path / "s.h5", backbone, last)
        states = FrozenStates([tmp_path / "s.h5"], backbone, index_of())
        assert states.last == last
        (window,) = states.windows(index_of().images, 64)
        assert [kept.image_id for kept in window] == list(SIZES)
        for kept in window:
            whole = backbone(prepared(backbone, SIZES[kept.image_id], kept.image_id))
            maps = backbone.trainable_forward(kept.state[None], last, kept.grid)
            assert kept.size == SIZES[kept.image_id]
            assert kept.grid == whole.grid
            assert torch.equal(maps.key, whole.key)
            assert torch.equal(maps.tokens, whole.tokens)

    @torch.no_grad()
    def test_a_segmenter_s_head(self, tmp_path):
        backbone = network(replace(VIT, segmenter=SegmenterSpec(upsamplings=2, min_width=4)))
        write(tmp_path / "s.h5", backbone)
        states = FrozenStates([tmp_path / "s.h5"], backbone, index_of())
        kept = next(states.windows(index_of().images, 1))[0]
        whole = backbone(prepared(backbone, SIZES[7], 7))
        assert torch.equal(
            backbone.trainable_forward(kept.state[None], 1, kept.grid).mask, whole.mask
        )

    def test_float16_rounds_to_11_bits(self, tmp_path):
        backbone = network()
        exact = FrozenStates([write(tmp_path / "a.h5", backbone)], backbone, index_of())
        halves = write(tmp_path / "b.h5", backbone, dtype="float16")
        half = FrozenStates([halves], backbone, index_of())
        for one, other in zip(
            *(next(s.windows(index_of().images, 9)) for s in (exact, half)), strict=True
        ):
            assert other.state.dtype == torch.float32
            assert torch.equal(other.state, one.state.half().float())

    def test_shards_together(self, tmp_path):
        backbone, first = network(), {i: SIZES[i] for i in (7, 8)}
        one = write(tmp_path / "0.h5", backbone, sizes=first)
        other = write(tmp_path / "1.h5", backbone, sizes={i: SIZES[i] for i in (9, 3)})
        states = FrozenStates([one, other], backbone, index_of())
        found = [
            [kept.image_id for kept in window] for window in states.windows(index_of().images, 3)
        ]
        assert found == [[7, 8, 9], [3]]
        alone = FrozenStates([one], backbone, index_of())
        with pytest.raises(InputError, match=r"0\.h5: lack image 9; give those of all shards"):
            list(alone.windows(index_of().images, 64))

    def test_batches_of_squares_by_position_also_in_another_process(self, tmp_path):
        backbone, sizes = network(), {5: (64, 64), 2: (64, 64), 4: (64, 64)}
        index = index_of(sizes)
        path = write(tmp_path / "s.h5", backbone, sizes=sizes, index=index)
        states = FrozenStates([path], backbone, index)
        states.require_squares(index, 64)
        assert states.square_grid == (4, 4)
        window = next(states.windows(index.images, 9))
        expected = torch.stack([window[2].state, window[0].state, window[2].state])
        states.prefetch(torch.tensor([2]))
        assert torch.equal(states.batch(torch.tensor([2, 0, 2])), expected)
        assert torch.equal(pickle.loads(pickle.dumps(states)).batch([2, 0, 2]), expected)

    def test_skipped_images_are_left_out(self, tmp_path):
        backbone, sizes = network(), {i: size for i, size in SIZES.items() if i != 8}
        skipped = [{"image_id": 8, "reason": "empty file"}]
        path = write(tmp_path / "s.h5", backbone, sizes=sizes, skipped=skipped)
        states = FrozenStates([path], backbone, index_of())
        assert states.skipped == skipped
        (window,) = states.windows(index_of().images, 64)
        assert [kept.image_id for kept in window] == [7, 9, 3]


class TestRefusals:
    def refusal(self, *given):
        with pytest.raises(InputError) as caught:
            FrozenStates(*given)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    def test_other_weights(self, path):
        message = self.refusal([path], network(seed=1), index_of())
        assert "are of other weights than these" in message

    def test_a_block_that_is_read_before_them(self, path):
        message = self.refusal([path], network(replace(VIT, block=-2)), index_of())
        assert "or of other blocks, before the last 1" in message

    def test_files_that_leave_unlike_numbers_of_blocks(self, path, tmp_path):
        other = write(tmp_path / "2.h5", network(), last=2)
        assert "other blocks" in self.refusal([path, other], network(), index_of())

    def test_other_images(self, path):
        other = index_of({**SIZES, 8: (64, 65)})
        assert "are of other images" in self.refusal([path], network(), other)

    def test_the_blocks_that_move_must_be_those_that_are_left(self, path):
        states = FrozenStates([path], network(), index_of())
        states.require_last(1)
        message = "leave the last 1 blocks to run, but 2 are trained; make them with"
        with pytest.raises(InputError, match=message):
            states.require_last(2)

    def test_images_that_are_no_squares(self, path):
        states = FrozenStates([path], network(), index_of())
        with pytest.raises(InputError, match="image 7 is 40x30, but h reads 64x64; leave"):
            states.require_squares(index_of(), 64)

    def test_an_unfinished_file(self, path):
        with h5py.File(path, "r+") as file:
            del file.attrs["complete"]
        assert "not marked complete" in self.refusal([path], network(), index_of())

    def test_parts_that_do_not_fit_together(self, path):
        with h5py.File(path, "r+") as file:
            file["shape"][0] += 1
        assert "do not fit together" in self.refusal([path], network(), index_of())

    def test_no_such_file(self, tmp_path):
        assert "no such file" in self.refusal([tmp_path / "x.h5"], network(), index_of())


def test_provenance_and_roles(path):
    with h5py.File(path) as file:
        assert json.loads(file.attrs["provenance"]) == {"stage": "test"}
    assert as_inputs([path, path]) == {"states0": path, "states1": path}
