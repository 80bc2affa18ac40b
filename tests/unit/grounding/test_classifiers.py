"""Which class of a classifier a phrase asks for, and whose weights are loaded."""

import pytest
import torch
import torchvision

from bbr.errors import InputError
from bbr.grounding.classifiers import (
    asked_class,
    class_names,
    last_words,
    load_classifier,
    named_classes,
)

NAMES = ["coffee mug", "racer, race car, racing car", "sports car, sport car", "mushroom"]


def test_a_name_counts_by_its_last_word():
    by_word = last_words(NAMES)
    assert by_word == {"mug": [0], "racer": [1], "car": [1, 2], "mushroom": [3]}
    assert named_classes("A red CAR left of two mugs", by_word) == [0, 1, 2]
    assert named_classes("the coffee", by_word) == []


def test_the_likeliest_of_the_named_or_of_all():
    logits = torch.tensor([0.0, 1.0, 3.0, 9.0])
    assert asked_class(logits, [0, 1, 2]) == 2
    assert asked_class(logits, []) == 3


def test_the_names_are_imagenets():
    names = class_names()
    assert len(names) == 1000
    assert "coffee mug" in names[504]


def test_a_file_of_torchvisions_layout(tmp_path):
    network = torchvision.models.get_model("resnet18")
    torch.save(network.state_dict(), tmp_path / "w.pth")
    loaded = load_classifier("resnet18", str(tmp_path / "w.pth"))
    assert torch.equal(loaded.network.fc.weight, network.fc.weight)
    assert loaded.prepare(torch.rand(1, 3, 10, 12), 32).shape == (1, 3, 32, 32)
    with pytest.raises(InputError, match="vgg11"):
        load_classifier("vgg11", str(tmp_path / "w.pth"))


@pytest.mark.parametrize(
    ("name", "weights", "message"),
    [
        ("efficientnet_lite9", None, "neither efficientnet_lite0 nor one of torchvision's"),
        ("efficientnet_lite0", "w.pth", "come from a package"),
        ("resnet18", "none.pth", "none.pth: no such file"),
    ],
)
def test_bad_classifiers(name, weights, message):
    with pytest.raises(InputError, match=message):
        load_classifier(name, weights)
