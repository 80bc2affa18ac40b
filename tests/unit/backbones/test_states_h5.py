"""States on disk: for which frozen part and images they are, and what is refused."""

from dataclasses import replace

import pytest
import torch
from kept_states import RESNET, VIT, index_of, network

from bbr.backbones.states_h5 import create_states, frozen_digest, images_digest, last_blocks
from bbr.errors import InputError


class TestDigestOfTheFrozenPart:
    def change(self, backbone, name):
        with torch.no_grad():
            backbone.network.get_parameter(name).add_(1)
        return backbone

    @pytest.mark.parametrize("name", ["blocks.2.attn.qkv.weight", "norm.bias"])
    def test_what_moves_does_not_count(self, name):
        assert frozen_digest(self.change(network(), name), 1) == frozen_digest(network(), 1)

    @pytest.mark.parametrize("name", ["blocks.1.attn.qkv.weight", "pos_embed", "cls_token"])
    def test_what_does_not_move_counts(self, name):
        assert frozen_digest(self.change(network(), name), 1) != frozen_digest(network(), 1)

    def test_of_a_convolutional_network_batch_norms_count_too(self):
        changed = network(RESNET)
        changed.network.bn1.running_mean.add_(1)
        assert frozen_digest(changed, 1) != frozen_digest(network(RESNET), 1)

    def test_how_many_blocks_count(self):
        assert frozen_digest(network(), 1) != frozen_digest(network(), 2)

    @pytest.mark.parametrize("change", [{"scale": 2.0}, {"mean": (0, 0, 0)}, {"std": (1, 1, 1)}])
    def test_what_is_done_to_pixels_counts(self, change):
        assert frozen_digest(network(replace(VIT, **change)), 1) != frozen_digest(network(), 1)

    @pytest.mark.parametrize("change", [{"facet": "value"}, {"normalization": "center"}])
    def test_what_is_read_of_the_last_blocks_does_not(self, change):
        assert frozen_digest(network(replace(VIT, **change)), 1) == frozen_digest(network(), 1)


@pytest.mark.parametrize("asked", [0, 4])
def test_so_many_blocks(asked):
    with pytest.raises(InputError, match=f"--last-blocks {asked}: the backbone has 3 blocks"):
        last_blocks(network(), asked)


def test_values_beyond_float16(tmp_path):
    made = {"index": index_of(), "dtype": "float16", "provenance": {}}
    path = tmp_path / "s.h5"
    with (
        pytest.raises(InputError, match="state of image 1 is not finite as float16"),
        create_states(path, backbone=network(), last=1, **made) as writer,
    ):
        writer.append(1, (64, 64), (4, 4), torch.full((17, 32), 1e5))
    assert not path.exists()


def test_a_block_that_is_read_is_left_to_run():
    assert last_blocks(network(replace(VIT, block=-3)), 1) == 3
    assert last_blocks(network(replace(VIT, block=-2)), 3) == 3


def test_an_index_is_known_by_its_images_not_by_their_names():
    renamed = index_of()
    for image in renamed.images:
        image["file_name"] = "x" + image["file_name"]
    assert images_digest(renamed) == images_digest(index_of())
    for image in renamed.images:
        del image["crc32"]
    unchecked = images_digest(renamed)
    renamed.images[0]["file_name"] = "y.png"
    assert images_digest(renamed) != unchecked
