"""g: sizes, the published layout, files and what is frozen."""

import pytest
import torch
from grounding_data import DIM, noise, small_grounder, unit_vectors
from torchvision import models

from bbr.errors import InputError
from bbr.grounding.network import (
    Decoder,
    Grounder,
    GrounderSpec,
    initialize_trunk,
    load_grounder,
    save_grounder,
)


@pytest.fixture(scope="module")
def paper_g():
    with torch.device("meta"):
        return Grounder(GrounderSpec())


def test_parameters_at_paper_scale(paper_g):
    # 3×3 convolutions of VGG16 up to the fourth block, in and out channels.
    vgg = [
        (3, 64),
        (64, 64),
        (64, 128),
        (128, 128),
        (128, 256),
        (256, 256),
        (256, 256),
        (256, 512),
        (512, 512),
        (512, 512),
    ]
    trunk = sum(9 * i * o + o for i, o in vgg)
    wide = 9 * 512 * 512 + 512 + 2 * 512  # a convolution to 512 channels and its batch norm
    last = 9 * 512 + 1 + 2 + 9 + 1
    counted = sum(p.numel() for p in paper_g.parameters())
    assert counted == trunk + 4 * wide + last == 17083213


def test_the_trunk_is_vgg16_up_to_index_22(paper_g):
    assert len(paper_g.E.Org_model) == 23
    assert isinstance(paper_g.E.Org_model[22], torch.nn.ReLU)
    assert sum(isinstance(m, torch.nn.MaxPool2d) for m in paper_g.E.Org_model) == 3  # stride 8


def published_state(grounder):
    """The layout of the published checkpoints: DataParallel's prefix and an unused batch norm."""
    state = {f"module.{name}": tensor for name, tensor in grounder.state_dict().items()}
    unused = torch.nn.BatchNorm2d(1).state_dict()
    return state | {f"module.D.up1.BN2.{name}": tensor for name, tensor in unused.items()}


@pytest.mark.slow
def test_the_published_layout_loads(tmp_path):
    torch.manual_seed(0)
    grounder = Grounder(GrounderSpec())
    path = tmp_path / "net_last.pth"
    torch.save(published_state(grounder), path)
    loaded = load_grounder(path)
    assert loaded.spec == GrounderSpec()
    assert not loaded.training
    for name, tensor in grounder.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name


def test_the_keys_of_the_published_layout(paper_g):
    keys = set(paper_g.state_dict())
    assert {
        "E.Org_model.0.weight",
        "E.Org_model.21.bias",
        "D.bottleneck.conv1.weight",
        "D.bottleneck.BN2.running_var",
        "D.up0.conv2.weight",
        "D.up0.BN2.weight",
        "D.up1.conv1.weight",
        "D.up1.BN1.weight",
        "D.up1.conv2.bias",
    } <= keys


def test_the_decoder_is_the_literal_one():
    torch.manual_seed(2)
    spec = GrounderSpec(text_dim=6, width=5)
    decoder = Decoder(4, spec).train()
    plane, text = torch.randn(2, 4, 3, 5), unit_vectors(2, 6)
    found = decoder(plane, text)
    b = decoder.bottleneck
    x = torch.relu(b.BN2(b.conv2(torch.relu(b.BN1(b.conv1(plane))))))
    norm = x.square().sum(dim=1, keepdim=True).sqrt().clamp(min=1e-12)  # where all are 0
    x = x * ((x / norm) * text.view(2, 6, 1, 1)).sum(dim=1, keepdim=True)
    for block in (decoder.up0, decoder.up1):
        x = torch.nn.Upsample(scale_factor=2, mode="bilinear")(x)
        x = block.conv2(torch.relu(block.BN1(block.conv1(x))))
        x = x if block.BN2 is None else torch.relu(block.BN2(x))
    torch.testing.assert_close(found, x, atol=1e-6, rtol=1e-5)
    assert found.shape == (2, 1, 12, 20)


@pytest.mark.parametrize("size", [(64, 64), (96, 64), (80, 112)])
def test_any_image_size(size):
    with torch.no_grad():
        maps = small_grounder()(noise(2, *size), unit_vectors(2))
    assert maps.shape == (2, *size)
    assert maps.min() > 0
    assert maps.max() < 1


def test_the_text_matters():
    images = noise(1).expand(2, -1, -1, -1)
    with torch.no_grad():
        maps = small_grounder()(images, unit_vectors(2))
    assert (maps[0] - maps[1]).abs().max() > 1e-4


def test_a_frozen_trunk_stays_in_evaluation_mode():
    grounder = small_grounder().train()
    assert grounder.D.training
    assert not any(module.training for module in grounder.E.modules())
    assert not any(p.requires_grad for p in grounder.E.parameters())


@pytest.mark.parametrize("frozen", [True, False])
def test_a_file_of_ours(tmp_path, frozen):
    grounder = small_grounder(frozen=frozen)
    path = tmp_path / "g.safetensors"
    save_grounder(path, grounder, {"stage": "test"})
    loaded = load_grounder(path)
    assert loaded.spec == grounder.spec
    with torch.no_grad():
        maps = [g(noise(1), unit_vectors(1)) for g in (grounder, loaded)]
    assert torch.equal(*maps)
    # A trunk that nobody changed is not stored: it comes from its package.
    assert (path.stat().st_size < 2**20) is frozen


@pytest.mark.slow
def test_vgg16_starts_from_a_file(tmp_path):
    torch.manual_seed(5)
    source = models.vgg16(weights=None).features
    path = tmp_path / "vgg16.pth"
    torch.save({f"features.{n}": t for n, t in source.state_dict().items()}, path)
    grounder = Grounder(GrounderSpec(text_dim=DIM, width=8))
    initialize_trunk(grounder, str(path))
    for name, tensor in grounder.E.Org_model.state_dict().items():
        assert torch.equal(tensor, source.state_dict()[name]), name


def test_whole_pickled_modules_are_refused(tmp_path):
    path = tmp_path / "whole.pth"
    torch.save(torch.nn.Linear(2, 2), path)
    with pytest.raises(InputError, match="import_weights"):
        load_grounder(path)


def test_other_weights_are_refused(tmp_path):
    path = tmp_path / "other.pth"
    torch.save(torch.nn.Linear(2, 2).state_dict(), path)
    with pytest.raises(InputError, match="holds no g"):
        load_grounder(path)
    with pytest.raises(InputError, match="trunk 'resnet' is unknown"):
        Grounder(GrounderSpec("resnet"))
