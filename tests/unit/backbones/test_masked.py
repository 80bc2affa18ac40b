"""MOVE's segmenter: the head, its place among backbones, and the published layout."""

import argparse
from dataclasses import replace

import pytest
import torch

from bbr.backbones.base import BackboneSpec, SegmenterSpec
from bbr.backbones.build import build_backbone, load_backbone, save_backbone
from bbr.backbones.masked import MaskHead, full_upsamplings
from bbr.errors import InputError
from bbr.fetch.segmenter_layout import load_published_segmenter
from bbr.move.discriminator import ProjectedDiscriminator, discriminator_loss

VIT = BackboneSpec(
    "vit_tiny_patch16_224",
    {"patch_size": 8, "img_size": 32, "embed_dim": 32, "depth": 3, "num_heads": 2},
)
RESNET = BackboneSpec("resnet18", {"out_indices": [2]}, normalization="layernorm")


@pytest.fixture(params=[VIT, RESNET], ids=["vit", "resnet"])
def segmenter(request):
    torch.manual_seed(0)
    spec = replace(request.param, segmenter=SegmenterSpec(upsamplings=3, min_width=4))
    return build_backbone(spec).eval()


def images_of(*size):
    return torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8)


def test_layers_as_stated():
    """For ViT-S/8, d = 384: 4 blocks of 192, 128, 128, 128, the last not upsampling."""
    head = MaskHead(384, SegmenterSpec(full_upsamplings(8)))
    shapes = {k: tuple(t.shape) for k, t in head.state_dict().items() if t.ndim == 4}
    assert shapes == {
        "model.0.1.weight": (192, 384, 3, 3),
        "model.1.1.weight": (128, 192, 3, 3),
        "model.2.1.weight": (128, 128, 3, 3),
        "model.3.0.weight": (128, 128, 3, 3),
        "model.4.weight": (1, 128, 1, 1),
    }
    assert head.eval()(torch.rand(1, 384, 2, 3)).shape == (1, 16, 24)


def test_its_maps_are_those_of_f_and_a_mask(segmenter):
    pixels = segmenter.prepare(images_of(32, 48))
    with torch.no_grad():
        maps, own = segmenter(pixels), segmenter.features(pixels)
    assert torch.equal(maps.key, own.key)
    assert torch.equal(maps.tokens, own.tokens)
    rows, columns = maps.grid
    assert maps.mask.shape == (2, rows * 8, columns * 8)
    assert maps.mask.min() >= 0
    assert maps.mask.max() <= 1


def test_a_transformer_is_read_at_its_penultimate_block():
    torch.manual_seed(0)
    segmenter = build_backbone(replace(VIT, segmenter=SegmenterSpec(0, 4))).eval()
    pixels = segmenter.prepare(images_of(16, 24))
    network = segmenter.features.network
    with torch.no_grad():
        tokens = segmenter.features.frozen_forward(pixels, 3)
        for block in network.blocks[:2]:
            tokens = block(tokens)
        plane = tokens[:, 1:].view(2, 2, 3, 32)
        wanted = segmenter.head(segmenter.norm(plane).permute(0, 3, 1, 2)).sigmoid()
        assert torch.allclose(segmenter(pixels).mask, wanted, atol=1e-6)


def test_padding_is_mirrored_and_cropped_again():
    segmenter = build_backbone(replace(VIT, segmenter=SegmenterSpec(3, 4))).eval()
    images = images_of(30, 33)
    pixels = segmenter.prepare(images)
    assert pixels.shape[-2:] == (32, 40)
    assert torch.equal(pixels[..., 30:, :33], pixels[..., 27:29, :33].flip(-2))
    assert torch.equal(pixels[..., 33:], pixels[..., 25:32].flip(-1))
    mask = torch.rand(32, 40)
    assert torch.equal(segmenter.image_mask(mask, (30, 33)), mask[:30, :33])
    assert segmenter.prepare(images_of(3, 3)).shape[-2:] == (8, 8)


def test_a_mask_of_a_scaled_image_comes_back_to_its_pixels():
    spec = replace(VIT, scale=2.0, segmenter=SegmenterSpec(1, 4))
    segmenter = build_backbone(spec).eval()
    # 10 x 12 pixels enter as 20 x 24, padded to 24 x 24: a grid of 3 x 3, a mask of 6 x 6.
    mask = torch.zeros(6, 6)
    mask[:, 3:] = 1
    found = segmenter.image_mask(mask, (10, 12))
    assert found.shape == (10, 12)
    assert found[:, :5].max() < 0.5 < found[:, 7:].min()


def test_only_norm_and_head_move(segmenter):
    segmenter.requires_grad_(False)
    segmenter.trainable(1).requires_grad_(True)
    state = segmenter.frozen_forward(segmenter.prepare(images_of(32, 32)), 1)
    segmenter.trainable_forward(state, 1, (32 // segmenter.stride,) * 2).mask.sum().backward()
    moved = {name for name, p in segmenter.named_parameters() if p.grad is not None}
    wanted = {n for n, _ in segmenter.named_parameters() if n.startswith(("norm.", "head."))}
    assert moved == wanted
    assert not segmenter.train().features.training


def test_reset_forgets_the_head_alone(segmenter):
    before = {k: t.clone() for k, t in segmenter.network.state_dict().items()}
    segmenter.reset()
    after = segmenter.network.state_dict()
    changed = {k for k in before if not torch.equal(before[k], after[k])}
    assert changed
    assert all(k.startswith("head.") for k in changed)


def test_our_file(segmenter, tmp_path):
    save_backbone(tmp_path / "s.safetensors", segmenter, {})
    loaded = load_backbone(str(tmp_path / "s.safetensors"))
    assert loaded.spec == segmenter.spec
    pixels = segmenter.prepare(images_of(32, 32))
    with torch.no_grad():
        assert torch.equal(loaded(pixels).mask, segmenter(pixels).mask)


def test_upsamplings_beyond_the_input_are_refused():
    with pytest.raises(InputError, match="must be 0 to 3"):
        build_backbone(replace(VIT, segmenter=SegmenterSpec(4)))


def test_a_segmenter_reads_the_last_block():
    spec = replace(VIT, block=-2, segmenter=SegmenterSpec(upsamplings=3, min_width=4))
    with pytest.raises(InputError, match="block -2: a segmenter reads the last one, -1"):
        build_backbone(spec)


class TestPublished:
    """A checkpoint in the layout of MOVE's training, written here."""

    @pytest.fixture
    def f(self):
        torch.manual_seed(1)
        return build_backbone(VIT).eval()

    @pytest.fixture
    def published(self, f):
        """Names of the published segmenter, by hand, for patches of 8 and widths 16, 8, 8, 8."""
        tensors = {f"feature_extractor.norm.{kind}": torch.rand(32) for kind in ("weight", "bias")}
        widths = [32, 16, 8, 8, 8]
        for i in range(4):
            conv = 1 if i < 3 else 0  # behind the upsampling where there is one
            names = (f"segmenter_head.model.{i}.{conv}.", f"segmenter_head.model.{i}.{conv + 1}.")
            tensors[f"{names[0]}weight"] = torch.randn(widths[i + 1], widths[i], 3, 3)
            tensors[f"{names[0]}bias"] = torch.randn(widths[i + 1])
            for part in ("weight", "bias", "running_mean", "running_var"):
                tensors[f"{names[1]}{part}"] = torch.rand(widths[i + 1])
            tensors[f"{names[1]}num_batches_tracked"] = torch.tensor(7)
        tensors["segmenter_head.model.4.weight"] = torch.randn(1, 8, 1, 1)
        tensors["segmenter_head.model.4.bias"] = torch.randn(1)
        return tensors

    def test_key_for_key(self, f, published, tmp_path):
        """With prefixes of wrappers, the MAE's weights and the training's arguments beside it."""
        model = {f"module.segmenter.{name}": tensor for name, tensor in published.items()}
        model["module.mae_model.cls_token"] = torch.zeros(1, 1, 4)
        content = {"model": model, "epoch": 3, "args": argparse.Namespace(lr=2e-4)}
        torch.save(content, tmp_path / "move.pth")
        segmenter = load_published_segmenter(tmp_path / "move.pth", f)
        assert segmenter.spec.segmenter == SegmenterSpec(3, 8)
        for name, tensor in segmenter.norm.state_dict().items():
            assert torch.equal(tensor, published[f"feature_extractor.norm.{name}"])
        head = segmenter.head.state_dict()
        assert {f"segmenter_head.{k}" for k in head} | {
            "feature_extractor.norm.weight",
            "feature_extractor.norm.bias",
        } == set(published)
        assert all(torch.equal(t, published[f"segmenter_head.{k}"]) for k, t in head.items())

    def test_f_of_the_file_replaces_ours(self, f, published, tmp_path):
        torch.manual_seed(2)
        theirs = build_backbone(VIT).network.state_dict()
        inside = {f"feature_extractor.model.{k}": t for k, t in theirs.items()}
        torch.save(published | inside, tmp_path / "move.pth")
        segmenter = load_published_segmenter(tmp_path / "move.pth", f)
        ours = segmenter.features.network.state_dict()
        assert all(torch.equal(t, ours[k]) for k, t in theirs.items())

    def test_the_head_that_the_release_refined(self, f, published, tmp_path):
        """f^h of MOVE: the whole module, with the head that it was refined from beside it."""
        refined = {
            name.replace("segmenter_head.", "random_segmenter."): torch.rand(tensor.shape)
            if tensor.is_floating_point()
            else tensor
            for name, tensor in published.items()
            if name.startswith("segmenter_head.")
        }
        whole = {f"module.{name}": tensor for name, tensor in (published | refined).items()}
        torch.save(whole, tmp_path / "move.pt")
        segmenter = load_published_segmenter(tmp_path / "move.pt", f)
        head = segmenter.head.state_dict()
        assert all(torch.equal(t, refined[f"random_segmenter.{k}"]) for k, t in head.items())

    def test_of_another_width_is_refused(self, published, tmp_path):
        torch.save(published, tmp_path / "move.pth")
        other = build_backbone(replace(VIT, arguments=VIT.arguments | {"embed_dim": 48}))
        with pytest.raises(InputError, match="do not fit architecture"):
            load_published_segmenter(tmp_path / "move.pth", other)

    def test_whole_modules_are_read_and_ours_is_of_other_names(self, f, segmenter, tmp_path):
        torch.save(segmenter, tmp_path / "move.pt")
        with pytest.raises(InputError, match="holds no feature_extractor"):
            load_published_segmenter(tmp_path / "move.pt", f)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ({"model": {"x": torch.zeros(1)}}, "holds no feature_extractor"),
            ({"epoch": 3}, "holds no tensors"),
            ([1, 2], "holds no state dict"),
        ],
    )
    def test_other_files_are_refused(self, f, tmp_path, content, message):
        torch.save(content, tmp_path / "x.pth")
        with pytest.raises(InputError, match=message):
            load_published_segmenter(tmp_path / "x.pth", f)

    def test_damage_is_refused(self, f, tmp_path):
        (tmp_path / "x.pth").write_bytes(b"PK\x03\x04 and then nothing")
        with pytest.raises(InputError, match=r"x\.pth: (not a readable|holds pickled)"):
            load_published_segmenter(tmp_path / "x.pth", f)


class TestDiscriminator:
    @pytest.fixture
    def discriminator(self):
        torch.manual_seed(0)
        return ProjectedDiscriminator(build_backbone(BackboneSpec("resnet18")), 32, 8)

    def test_judges_maps_from_a_quarter_on(self, discriminator):
        # Maps of 8, 4 and 2 pixels; the first is halved once. Each pixel then has its logit.
        logits = discriminator(torch.rand(2, 3, 24, 24))
        assert logits.shape == (2, 4 * 4 + 4 * 4 + 2 * 2)

    def test_only_its_judges_learn(self, discriminator):
        images = torch.rand(2, 3, 32, 32, requires_grad=True)
        discriminator(images).sum().backward()
        assert images.grad.abs().sum() > 0
        learnt = {
            n.partition(".")[0] for n, p in discriminator.named_parameters() if p.requires_grad
        }
        assert learnt == {"judges"}
        assert not any("features" in name for name in discriminator.state_dict())

    def test_hinge_by_hand(self):
        real = [torch.tensor([[2.0, 0.5]]), torch.tensor([[1.0]])]
        fake = [torch.tensor([[-3.0]]), torch.tensor([[0.0, -0.5]])]
        # ((0 + 0.5) / 2 + 0) / 2 and (0 + (1 + 0.5) / 2) / 2
        assert discriminator_loss(real, fake).item() == pytest.approx(0.125 + 0.375)
