"""cache_states.py on the command line, and the stages that read its file: the same as without."""

import json

import cache_detector_inputs
import cache_states
import extract_features
import h5py
import numpy as np
import pytest
import refine_backbone
import torch
from PIL import Image
from safetensors.torch import load_file
from small_runs import ARCHITECTURE, ONE_THREAD, command, make_chain

from bbr.backbones.build import load_backbone, save_backbone
from bbr.backbones.features_h5 import FeatureFile
from bbr.detector.inputs_h5 import DetectorInputs


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Squares of 64 pixels, f as a file, boxes, an h, and states of f's last block."""
    folder = tmp_path_factory.mktemp("data")
    found = make_chain(folder)
    return found | {"states": run(cache_states, folder / "states.h5", found, last_blocks=1)}


def run(stage, output, data, *names, **options):
    """Run a stage on what it reads of the data, and give its output."""
    chosen = {name: data[name] for name in ("index", "weights", *names)} | options
    assert stage.main([*command(output=output, **chosen), *ONE_THREAD]) == 0
    return output


def features(path):
    """All that is stored of each image but how it was made."""
    with FeatureFile(path) as file:
        return {
            batch.image_ids[0]: (
                batch.image_sizes.tolist(),
                batch.grid,
                batch.key,
                batch.cls_attention,
            )
            for batch in file.batches(1)
        }


def refine(output, data, *names, **options):
    options = {
        "image_size": 64,
        "k_patches": 5,
        "steps": 4,
        "batch_size": 4,
        "lr": 1e-3,
        "trainable_blocks": 1,
    } | options
    return run(refine_backbone, output, data, "boxes", "detector", *names, **options)


def assert_same_features(path, other):
    """Bit for bit: the same batches go through the same blocks."""
    found, expected = features(path), features(other)
    assert list(found) == list(expected)
    for image_id, (size, grid, key, attention) in expected.items():
        assert found[image_id][:2] == (size, grid)
        assert torch.equal(found[image_id][2], key)
        assert torch.equal(found[image_id][3], attention)


def test_same_bytes_each_time(data, tmp_path):
    paths = [run(cache_states, tmp_path / name, data, last_blocks=1) for name in ("a.h5", "b.h5")]
    assert paths[0].read_bytes() == paths[1].read_bytes() == data["states"].read_bytes()


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_features_of_f(data, tmp_path, dtype):
    direct = run(extract_features, tmp_path / "a.h5", data, dtype=dtype)
    cached = run(extract_features, tmp_path / "b.h5", data, "states", dtype=dtype)
    assert_same_features(cached, direct)
    inputs = json.loads(h5py.File(cached).attrs["provenance"])["inputs"]
    assert inputs.keys() == {"index", "weights", "states0"}


def test_features_of_f_h_and_the_same_f_h(data, tmp_path):
    plain = refine(tmp_path / "plain.safetensors", data)
    refined = refine(tmp_path / "fh.safetensors", data, "states")
    one, other, start = map(load_file, (plain, refined, data["weights"]))
    assert not torch.equal(one["norm.weight"], start["norm.weight"])
    for name, tensor in one.items():
        # States are made in batches of another size, which may add in another order.
        torch.testing.assert_close(other[name], tensor, atol=2e-6, rtol=1e-5)
    of_it = data | {"weights": refined}
    direct = run(extract_features, tmp_path / "a.h5", of_it, dtype="float32")
    cached = run(extract_features, tmp_path / "b.h5", of_it, "states", dtype="float32")
    assert_same_features(cached, direct)


def test_inputs_of_h(data, tmp_path):
    options = {"image_size": 64, "dtype": "float32"}
    direct = run(cache_detector_inputs, tmp_path / "a.h5", data, **options)
    cached = run(cache_detector_inputs, tmp_path / "b.h5", data, "states", **options)
    with DetectorInputs(direct) as one, DetectorInputs(cached) as other:
        everything = torch.arange(len(one))
        assert (one.grid, one.shape) == (other.grid, other.shape)
        expected = one.batch(everything)
        torch.testing.assert_close(other.batch(everything), expected, atol=1e-5, rtol=1e-5)


def test_half_precision_states_are_near(data, tmp_path):
    halves = run(cache_states, tmp_path / "s.h5", data, last_blocks=1, dtype="float16")
    assert halves.stat().st_size < 0.6 * data["states"].stat().st_size
    direct = run(extract_features, tmp_path / "a.h5", data, dtype="float32")
    of_halves = data | {"states": halves}
    cached = run(extract_features, tmp_path / "b.h5", of_halves, "states", dtype="float32")
    for one, other in zip(features(direct).values(), features(cached).values(), strict=True):
        torch.testing.assert_close(one[2], other[2], atol=5e-3, rtol=5e-3)


def test_photographs_of_many_sizes_one_of_them_damaged(data, tmp_path):
    images = []
    for number, size in enumerate([(40, 50), (64, 33), (50, 40), (40, 50), (48, 64)]):
        rng = np.random.default_rng(number)
        picture = Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8))
        picture.save(tmp_path / f"{number}.png")
        images.append(
            {"id": number, "file_name": f"{number}.png", "width": size[1], "height": size[0]}
        )
    (tmp_path / "2.png").write_bytes(b"")
    (tmp_path / "index.json").write_text(json.dumps({"images": images}))
    photos = data | {"index": tmp_path / "index.json"}
    options = {"max_skipped": 1}
    photos["states"] = run(cache_states, tmp_path / "s.h5", photos, last_blocks=1, **options)
    direct = run(extract_features, tmp_path / "a.h5", photos, dtype="float32", **options)
    cached = run(extract_features, tmp_path / "b.h5", photos, "states", dtype="float32", **options)
    assert_same_features(cached, direct)
    with FeatureFile(direct) as one, FeatureFile(cached) as other:
        assert one.skipped == other.skipped
        assert [image["image_id"] for image in one.skipped] == [2]


def test_shards(data, tmp_path):
    whole = features(run(extract_features, tmp_path / "a.h5", data))
    parts = {}
    for shard in ("0/2", "1/2"):
        name = f"s{shard[0]}.h5"
        states = run(cache_states, tmp_path / name, data, last_blocks=1, shard=shard)
        of_shard = data | {"states": states}
        parts |= features(
            run(extract_features, tmp_path / f"f{shard[0]}.h5", of_shard, "states", shard=shard)
        )
    assert list(parts) == list(whole)
    options = [
        "--index",
        data["index"],
        "--weights",
        data["weights"],
        "--image-size",
        64,
        "--output",
        tmp_path / "i.h5",
        "--states",
        tmp_path / "s0.h5",
        tmp_path / "s1.h5",
    ]
    assert cache_detector_inputs.main([*map(str, options), *ONE_THREAD]) == 0


class TestRefusals:
    def options(self, data, *names, **changes):
        chosen = {name: data[name] for name in ("index", "weights", "states", *names)} | changes
        return command(**chosen)

    def test_states_of_other_weights(self, data, tmp_path, refused):
        torch.manual_seed(1)
        other = load_backbone("random", ARCHITECTURE[1], json.loads(ARCHITECTURE[3]))
        save_backbone(tmp_path / "g.safetensors", other, {})
        options = self.options(data, weights=tmp_path / "g.safetensors")
        message = refused(extract_features, *options, output=tmp_path / "f.h5")
        assert "are of other weights than these" in message

    def test_images_of_another_size_than_h_reads(self, data, tmp_path, refused):
        options = self.options(data, image_size=96)
        message = refused(cache_detector_inputs, *options, output=tmp_path / "i.h5")
        assert "is 64x64, but h reads 96x96; leave --states out" in message

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"trainable_blocks": 0}, "leave the last 1 blocks to run, but 2 are trained"),
            ({"augmentation": "crop_flip"}, "--augmentation crop_flip needs images"),
        ],
    )
    def test_refinement_that_they_do_not_fit(self, data, tmp_path, refused, change, message):
        chosen = {"image_size": 64, "steps": 1, "trainable_blocks": 1} | change
        options = self.options(data, "boxes", "detector", **chosen)
        assert message in refused(refine_backbone, *options, output=tmp_path / "f.st")

    @pytest.mark.parametrize("blocks", [3, 99])
    def test_more_blocks_than_there_are(self, data, tmp_path, refused, blocks):
        options = command(index=data["index"], weights=data["weights"], last_blocks=blocks)
        message = refused(cache_states, *options, output=tmp_path / "s.h5")
        assert f"--last-blocks {blocks}: the backbone has 2 blocks" in message
