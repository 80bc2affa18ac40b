"""cache_detector_inputs.py on the command line."""

import json

import cache_detector_inputs
import numpy as np
import pytest
import torch
from PIL import Image
from small_runs import (
    BACKBONE,
    ONE_THREAD,
    assert_refused,
    command,
    kill_when_there,
    make_index,
)
from tiny_vit import write_tiny_vit

from bbr.backbones.build import load_backbone
from bbr.detector.inputs_h5 import DetectorInputs
from bbr.storage.json_files import read_json

COUNT = 6


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return make_index(tmp_path_factory.mktemp("data"), COUNT)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """The tiny backbone as a file of ours, another seed than BACKBONE's."""
    folder = tmp_path_factory.mktemp("weights")
    return write_tiny_vit(folder / "f.safetensors", seed=11, normalization="center")


def arguments(index, output, backbone=BACKBONE, **changes):
    chosen = {"index": index, "output": output, "image_size": 64} | changes
    return [*command(**chosen), *backbone, *ONE_THREAD]


def cache(*given, **changes):
    status = cache_detector_inputs.main(arguments(*given, **changes))
    assert status == 0
    return given[1]


def read(path):
    with DetectorInputs(path) as inputs:
        return inputs.batch(torch.arange(len(inputs)))


def test_same_bytes_each_time(index, tmp_path):
    first, second = cache(index, tmp_path / "a.h5"), cache(index, tmp_path / "b.h5")
    assert first.read_bytes() == second.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.h5", "b.h5"]


def resized_pixels(index, size):
    """Every image, by way of Pillow alone: (n, 3, size, size) uint8."""
    content = read_json(index)
    folder = index.parent / content["info"]["image_root"]
    images = [Image.open(folder / image["file_name"]) for image in content["images"]]
    pixels = [np.array(image.convert("RGB").resize((size, size), 3)) for image in images]
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)


@pytest.mark.parametrize("parts", ["k", "qkv"])
@pytest.mark.parametrize(("size", "batch_size"), [(64, 1), (64, 4), (96, 64)])
def test_maps_are_those_of_f_image_by_image(index, weights, tmp_path, parts, size, batch_size):
    options = {"image_size": size, "parts": parts, "batch_size": batch_size, "dtype": "float32"}
    path = cache(index, tmp_path / "inputs.h5", ["--weights", str(weights)], **options)
    backbone = load_backbone(str(weights))
    rows = []
    with torch.no_grad():
        for image in resized_pixels(index, size):
            maps = backbone(backbone.prepare(image[None]))
            wanted = [maps.key] if parts == "k" else [maps.query, maps.key, maps.value]
            rows.append(torch.cat(wanted))
    # Products of other batch sizes may add in another order.
    torch.testing.assert_close(read(path), torch.stack(rows), atol=1e-5, rtol=1e-4)
    with DetectorInputs(path) as inputs:
        assert inputs.grid == (size // 16, size // 16)
        assert (inputs.parts, inputs.image_size) == (parts, size)
        ids = [image["id"] for image in json.loads(index.read_text())["images"]]
        assert inputs.image_id.tolist() == ids


def test_half_precision_is_rounded_and_no_more(index, tmp_path):
    half = read(cache(index, tmp_path / "half.h5", dtype="float16"))
    full = read(cache(index, tmp_path / "full.h5", dtype="float32"))
    assert torch.equal(half, full.half().float())
    assert not torch.equal(half, full)


def test_seed_makes_the_random_backbone(index, tmp_path):
    zero, one = (cache(index, tmp_path / f"{seed}.h5", seed=seed) for seed in (0, 1))
    assert not torch.equal(read(zero), read(one))


def test_size_that_the_patches_do_not_divide(index, tmp_path):
    """72 pixels take 5 patches of 16 a side: the last ones are padded, as in feature extraction."""
    with DetectorInputs(cache(index, tmp_path / "inputs.h5", image_size=72)) as inputs:
        assert inputs.grid == (5, 5)
        assert tuple(inputs.shape) == (3, 25, 32)


def test_convolutional_backbone(index, tmp_path, capsys):
    network = ["--weights", "random", "--architecture", "tf_efficientnet_lite0"]
    with DetectorInputs(cache(index, tmp_path / "k.h5", network, parts="k")) as inputs:
        assert inputs.parts == "k"
        assert tuple(inputs.shape) == (1, 16, 112)
    output = tmp_path / "qkv.h5"
    status = cache_detector_inputs.main(arguments(index, output, network, parts="qkv"))
    assert_refused(status, capsys.readouterr().err, "use parts: k", output)


def test_killed_while_writing(index, tmp_path):
    many = tmp_path / "many.json"
    content = read_json(index)
    content["info"]["image_root"] = str(index.parent / content["info"]["image_root"])
    content["images"] = [
        image | {"id": 1000 * turn + image["id"]}
        for turn in range(100)
        for image in content["images"]
    ]
    content["annotations"] = []
    many.write_text(json.dumps(content))
    killed = tmp_path / "killed" / "inputs.h5"
    given = arguments(many, killed, batch_size=2)
    kill_when_there("cache_detector_inputs", given, ".inputs.h5.*tmp.h5", killed.parent)
    assert not killed.exists()
    assert cache_detector_inputs.main(given) == 0
    whole = cache(many, tmp_path / "whole.h5", batch_size=2)
    assert killed.read_bytes() == whole.read_bytes()
    assert [path.name for path in killed.parent.iterdir()] == ["inputs.h5"]


@pytest.fixture
def broken_index(index, tmp_path):
    """The third image is half a JPEG."""
    content = read_json(index)
    folder = tmp_path / "images"
    folder.mkdir()
    for image in content["images"]:
        source = index.parent / content["info"]["image_root"] / image["file_name"]
        (folder / image["file_name"]).write_bytes(source.read_bytes())
    path = folder / content["images"][2]["file_name"]
    path.write_bytes(path.read_bytes()[:600])
    content["info"]["image_root"] = "images"
    (tmp_path / "broken.json").write_text(json.dumps(content))
    return tmp_path / "broken.json"


def test_image_that_cannot_be_read(broken_index, tmp_path, capsys):
    output = tmp_path / "inputs.h5"
    status = cache_detector_inputs.main(arguments(broken_index, output))
    assert_refused(status, capsys.readouterr().err, r"000003\.jpg: damaged", output)


def test_weights_that_are_not_there_or_do_not_fit(index, weights, tmp_path, capsys):
    output = tmp_path / "inputs.h5"
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(weights.read_bytes()[:-50])
    other = ["--architecture", "vit_tiny_patch16_224"]
    for backbone, message in [
        (["--weights", str(tmp_path / "none.st")], "none.st: no such file"),
        (["--weights", str(cut)], "not a complete safetensors file"),
        (["--weights", str(weights), *other], "tensors do not fit architecture vit_tiny"),
        (["--weights", "random"], "add --architecture"),
        (["--weights", "random", "--architecture", "vit_huge_of_mine"], "not one of timm's models"),
        (["--weights", "random", *other, "--architecture-args", '{"depht": 2}'], "bad arguments"),
    ]:
        status = cache_detector_inputs.main(arguments(index, output, backbone))
        assert_refused(status, capsys.readouterr().err, message, output)


def test_index_without_images(tmp_path, capsys):
    (tmp_path / "index.json").write_text('{"images": []}')
    output = tmp_path / "inputs.h5"
    status = cache_detector_inputs.main(arguments(tmp_path / "index.json", output))
    assert_refused(status, capsys.readouterr().err, "lists no images", output)


def test_output_that_cannot_be_written(index, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    status = cache_detector_inputs.main(arguments(index, tmp_path / "file" / "inputs.h5"))
    assert status == 1
    assert "cannot make its folder" in capsys.readouterr().err
