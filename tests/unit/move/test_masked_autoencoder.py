"""The inpainter: the public layout, soft masks, positions."""

import math
from dataclasses import replace

import pytest
import torch

from bbr.errors import InputError
from bbr.move.inpainting import hide_patches, reconstruction_loss
from bbr.move.masked_autoencoder import (
    AutoencoderSpec,
    MaskedAutoencoder,
    load_autoencoder,
    save_autoencoder,
    sine_positions,
    unpatchify,
    visible_patches,
)

SPEC = AutoencoderSpec(24, 8, 16, 2, 2, 8, 1, 2)


@pytest.fixture
def autoencoder():
    torch.manual_seed(0)
    return MaskedAutoencoder(SPEC).eval().requires_grad_(False)


def names_of_block(prefix):
    parts = ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
    return [f"{prefix}.{part}.{kind}" for part in parts for kind in ("weight", "bias")]


def test_names_are_those_of_public_checkpoints(autoencoder):
    layers = ("patch_embed.proj", "norm", "decoder_embed", "decoder_norm", "decoder_pred")
    wanted = ["cls_token", "pos_embed", "mask_token", "decoder_pos_embed"]
    wanted += [f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")]
    for block in ("blocks.0", "blocks.1", "decoder_blocks.0"):
        wanted += names_of_block(block)
    assert sorted(autoencoder.state_dict()) == sorted(wanted)


def test_sizes_of_the_paper_are_the_defaults():
    """Counted without weights: MAE ViT-L with its decoder, positions included."""
    with torch.device("meta"):
        network = MaskedAutoencoder(AutoencoderSpec())

    def block(dim):
        """qkv, projection, two layers of the MLP and two norms."""
        return 12 * dim * dim + 13 * dim

    encoder = 24 * block(1024) + 3 * 256 * 1024 + 1024 + 1024 + 197 * 1024 + 2 * 1024
    decoder = 8 * block(512) + 1024 * 512 + 512 + 512 + 197 * 512 + 2 * 512 + 512 * 768 + 768
    assert sum(p.numel() for p in network.parameters()) == encoder + decoder


def test_a_public_file_is_known_by_its_shapes(tmp_path):
    spec = AutoencoderSpec(32, 16, 768, 1, 12, 32, 1, 16)
    torch.manual_seed(1)
    saved = MaskedAutoencoder(spec)
    torch.save({"model": saved.state_dict()}, tmp_path / "mae.pth")
    loaded = load_autoencoder(tmp_path / "mae.pth")
    assert loaded.spec == spec
    assert all(torch.equal(t, loaded.state_dict()[k]) for k, t in saved.state_dict().items())


def test_an_encoder_alone_is_refused(autoencoder, tmp_path):
    encoder = {k: t for k, t in autoencoder.state_dict().items() if "decoder" not in k}
    encoder.pop("mask_token")
    torch.save({"model": encoder}, tmp_path / "mae.pth")
    with pytest.raises(InputError, match="not a masked autoencoder with its decoder"):
        load_autoencoder(tmp_path / "mae.pth")


def test_our_file(autoencoder, tmp_path):
    save_autoencoder(tmp_path / "a.safetensors", autoencoder, {})
    loaded = load_autoencoder(tmp_path / "a.safetensors")
    assert loaded.spec == SPEC
    image = torch.rand(1, 3, 24, 24)
    assert torch.equal(
        loaded.decode(loaded.encode(image)), autoencoder.decode(autoencoder.encode(image))
    )


def test_all_visible_is_the_plain_autoencoder(autoencoder):
    images = torch.rand(2, 3, 24, 24)
    plain = autoencoder.decode(autoencoder.encode(images))
    assert torch.allclose(autoencoder.decode(autoencoder.encode(images), torch.ones(2, 9)), plain)
    every = torch.arange(9).expand(2, -1)
    assert torch.allclose(autoencoder.reconstruct(images, every), plain, atol=1e-6)


def test_hidden_patches_do_not_tell(autoencoder):
    images = torch.rand(1, 3, 24, 24)
    other = images.clone()
    other[:, :, :8, 8:16] = 0  # the second patch
    kept = torch.tensor([[0, 2, 3, 4, 5, 6, 7, 8]])
    assert torch.equal(autoencoder.reconstruct(images, kept), autoencoder.reconstruct(other, kept))


def test_soft_masks_blend_tokens(autoencoder):
    """Half visible lies in the decoder's input halfway between the token and the mask token."""
    tokens = autoencoder.encode(torch.rand(1, 3, 24, 24))
    seen = []
    handle = autoencoder.decoder_blocks[0].register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    for share in (0.0, 0.5, 1.0):
        autoencoder.decode(tokens, torch.full((1, 9), share))
    handle.remove()
    assert torch.allclose(seen[1], (seen[0] + seen[2]) / 2, atol=1e-6)
    hidden = seen[0][0, 1:] - autoencoder.decoder_pos_embed[0, 1:]
    assert torch.allclose(hidden, autoencoder.mask_token[0].expand(9, -1), atol=1e-6)


def test_visible_patches_by_hand():
    mask = torch.zeros(1, 1, 4, 4)
    mask[0, 0, 0, 3], mask[0, 0, 1, 2], mask[0, 0, 3, 0] = 0.25, 0.5, 1
    assert visible_patches(mask, 2).tolist() == [[1, 0.5, 0, 1]]


def test_unpatchify_by_hand():
    patches = torch.arange(2 * 2 * 12).view(1, 4, 12).float()
    image = unpatchify(patches, 2)
    assert image.shape == (1, 3, 4, 4)
    # Patch 1 is the upper right; its second pixel's channels are its numbers 3, 4 and 5.
    assert image[0, :, 0, 3].tolist() == [15, 16, 17]
    assert image[0, :, 3, 0].tolist() == [24 + 6, 24 + 7, 24 + 8]


def test_positions_by_hand():
    positions = sine_positions(3, 8)[0]
    assert positions.shape == (10, 8)
    assert positions[0].tolist() == [0] * 8
    row, column = 2, 1
    wanted = [f(p * w) for p in (column, row) for f in (math.sin, math.cos) for w in (1, 0.01)]
    assert positions[1 + row * 3 + column].tolist() == pytest.approx(wanted, abs=1e-6)


def test_sizes_must_fit():
    with pytest.raises(InputError, match="not a multiple of patch_size"):
        MaskedAutoencoder(replace(SPEC, image_size=20))
    with pytest.raises(InputError, match="multiples of their heads"):
        MaskedAutoencoder(replace(SPEC, heads=3))


@pytest.mark.parametrize("seed", range(5))
def test_hidden_are_a_rectangle_and_more(seed):
    kept = hide_patches(6, 8, 0.5, torch.Generator().manual_seed(seed))
    assert kept.shape == (6, 32)
    assert all(len(set(row)) == 32 and sorted(row) == row for row in kept.tolist())


def test_reconstruction_loss_by_hand():
    spec = AutoencoderSpec(4, 2, std=(0.5, 0.5, 0.5))
    images, drawn = torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4)
    drawn[:, :, :2, :2] = 1  # the visible patch: an error of (1 / 0.5)² = 4
    drawn[:, :, 2:, 2:] = 0.5  # one of three hidden ones: 1
    loss = reconstruction_loss(drawn, images, torch.tensor([[0]]), spec)
    found = [loss[k].item() for k in ("visible", "hidden", "total")]
    assert found == pytest.approx([4, 1 / 3, 4 + 1 / 3])
