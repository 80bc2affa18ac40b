"""Excitation backprop against the paper's rule, neuron by neuron, in plain Python floats."""

import pytest
import torch
import torchvision
from torch import nn

from bbr.errors import InputError
from bbr.grounding.excitation import ExcitationNetwork, winners_below


class Small(nn.Module):
    """A stem, a linear bottleneck with a sum around it, poolings and a classifier."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm, self.act = (
            nn.Conv2d(3, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU6(),
        )
        self.squeeze, self.norm2 = nn.Conv2d(4, 4, 1, bias=False), nn.BatchNorm2d(4)
        self.expand, self.act2 = nn.Conv2d(4, 8, 3, stride=2, padding=1), nn.ReLU()
        self.pool, self.flatten = nn.AdaptiveAvgPool2d(1), nn.Flatten()
        self.head = nn.Linear(8, 3)

    def forward(self, images):
        stem = self.act(self.norm(self.stem(images)))
        summed = stem + self.norm2(self.squeeze(stem))
        return self.head(self.flatten(self.pool(self.act2(self.expand(summed)))))


@pytest.fixture
def small():
    torch.manual_seed(3)
    network = Small().double().eval()
    for norm in (network.norm, network.norm2):
        nn.init.normal_(norm.weight)  # of both signs
        nn.init.normal_(norm.bias, std=0.3)
        norm.running_mean.normal_(std=0.2)
        norm.running_var.uniform_(0.5, 2)
    return network


def matrix_of(layer, x):
    """A linear layer's matrix, (outputs, inputs), one input at a time; its bias left out."""
    nothing = layer(torch.zeros_like(x))
    columns = []
    for j in range(x.numel()):
        one = torch.zeros_like(x).flatten()
        one[j] = 1
        columns.append((layer(one.view_as(x)) - nothing).flatten())
    return torch.stack(columns, dim=1).tolist()


def literal_winners(matrix, x, y, chances):
    """P(x_j) = sum over i of P(y_i) times j's share of what gives y_i its sign."""
    won = [0.0] * len(x)
    for row, out, chance in zip(matrix, y, chances, strict=True):
        sign = 1 if out >= 0 else -1
        parts = [max(0.0, sign * weight * value) for weight, value in zip(row, x, strict=True)]
        total = sum(parts)
        if total > 0:
            won = [w + chance * part / total for w, part in zip(won, parts, strict=True)]
    return won


def flat(tensor):
    return tensor.detach().flatten().tolist()


def literal_maps(network, image, wanted):
    """The MWP of a class and of all but it, at the sum of `Small`: its place is (row, column)."""
    stem = network.act(network.norm(network.stem(image)))
    summed = stem + network.norm2(network.squeeze(stem))
    expanded = network.expand(summed)
    active = network.act2(expanded)
    weight, read = network.head.weight[wanted].tolist(), flat(network.pool(active))
    maps = []
    for sign in (1, -1):
        chances = literal_winners([[sign * w for w in weight]], read, [1.0], [1.0])
        at_pool = literal_winners(matrix_of(network.pool, active), flat(active), read, chances)
        won = literal_winners(
            matrix_of(network.expand, summed), flat(summed), flat(expanded), at_pool
        )
        maps.append(torch.tensor(won, dtype=torch.float64).view_as(summed)[0].sum(dim=0))
    return maps


def test_contrast_against_literal_version(small):
    images = torch.rand(2, 3, 6, 6, dtype=torch.float64)
    network = ExcitationNetwork(small)
    seen, read = network.observe(images, stride=1)
    assert seen.shape == (2, 4, 6, 6)
    for classes in ((0, 2), (1, 1)):
        maps = network.contrast(seen, read, torch.tensor(classes))
        for image, wanted, heatmap in zip(images, classes, maps, strict=True):
            of_class, of_rest = literal_maps(small, image[None].detach(), wanted)
            expected = (of_class - of_rest).clamp(min=0)
            assert expected.max() > 0
            torch.testing.assert_close(heatmap, expected)


def test_without_contrast_the_class_alone_counts(small):
    """Two channels alike, one for the class and one against it; half of the class is a bias's."""
    with torch.no_grad():
        small.expand.weight[1], small.expand.weight[2] = small.expand.weight[0], 0
        small.expand.bias.copy_(torch.tensor([9.0, 9, 9, 0, 0, 0, 0, 0]))
        small.head.weight[0] = torch.tensor([1.0, -1, 1, 0, 0, 0, 0, 0])
    image = torch.rand(1, 3, 2, 2, dtype=torch.float64)
    network = ExcitationNetwork(small)
    seen, read = network.observe(image, stride=1)
    of_class, of_rest = literal_maps(small, image.detach(), 0)
    assert of_class.max() > 0
    assert (of_rest >= of_class).all()
    torch.testing.assert_close(network.contrast(seen, read, torch.tensor([0]))[0], of_class)


def test_chances_below_a_sum_and_folded_norms(small):
    """From the sum down to the stem: half of the way is a bottleneck with negative outputs."""
    images = torch.rand(1, 3, 5, 5, dtype=torch.float64)
    network = ExcitationNetwork(small)
    network.observe(images, stride=1)
    values = {node.name: value for node, value in network.env.items()}
    stem, bottleneck, summed = values["act"], values["norm2"], values["add"]
    chances = torch.rand_like(summed)
    (won,) = torch.autograd.grad(summed, stem, chances, retain_graph=True)

    x, b, y = flat(stem), flat(bottleneck), flat(summed)
    assert min(b) < 0
    shares = [
        literal_winners([[1.0, 1.0]], (p, q), (s,), (c,))
        for p, q, s, c in zip(x, b, y, flat(chances), strict=True)
    ]
    squeezed = matrix_of(lambda t: small.norm2(small.squeeze(t)), stem.detach())
    through = literal_winners(squeezed, x, b, [share[1] for share in shares])
    expected = [share[0] + other for share, other in zip(shares, through, strict=True)]
    torch.testing.assert_close(won.flatten(), torch.tensor(expected, dtype=torch.float64))


def test_an_input_that_does_not_excite_wins_nothing():
    """Worked by hand: y = 2·3 - 1·5 + 4·1 = 5; 6 and 4 of 10 excite it."""
    x, weight = torch.tensor([[3.0, 5.0, 1.0]]), torch.tensor([[2.0, -1.0, 4.0]])
    won = winners_below(x, x @ weight.T, weight, torch.ones(1, 1), nn.functional.linear)
    torch.testing.assert_close(won, torch.tensor([[0.6, 0.0, 0.4]]))
    # A neuron below 0 wins by what lowers it.
    won = winners_below(x, torch.tensor([[-1.0]]), weight, torch.ones(1, 1), nn.functional.linear)
    torch.testing.assert_close(won, torch.tensor([[0.0, 1.0, 0.0]]))


def test_what_only_a_bias_explains_is_lost():
    x, weight = torch.tensor([[3.0]]), torch.tensor([[-2.0]])
    won = winners_below(x, torch.tensor([[1.0]]), weight, torch.ones(1, 1), nn.functional.linear)
    assert won.tolist() == [[0.0]]


@pytest.mark.parametrize(
    ("name", "options"),
    [("resnet18", {}), ("googlenet", {"aux_logits": False, "init_weights": False})],
)
def test_nothing_is_lost_without_biases(name, options):
    """In networks of ReLUs the chances of a layer add up to those of the class."""
    torch.manual_seed(0)
    network = ExcitationNetwork(torchvision.models.get_model(name, num_classes=7, **options))
    images = torch.randn(1, 3, 64, 64)
    seen, read = network.observe(images, stride=16)
    assert seen.shape[2:] == (4, 4)
    torch.testing.assert_close(network.last(read), network.module(images), rtol=0, atol=0)
    excited = (read * network.last.weight[3]).clamp(min=0)
    (won,) = torch.autograd.grad(read, seen, (excited / excited.sum()).detach())
    assert float(won.sum()) == pytest.approx(1, abs=1e-3)
    assert float(won.min()) >= 0


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "squeezenet1_0"])
def test_other_layers_are_refused(name):
    with pytest.raises(InputError, match=r"excitation backprop: .* is of no known kind"):
        ExcitationNetwork(torchvision.models.get_model(name)).observe(torch.rand(1, 3, 64, 64), 16)
