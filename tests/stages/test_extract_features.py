"""extract_features.py on the command line."""

import json
import os
import shutil
import zlib
from pathlib import Path

import extract_features
import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from bbr.backbones.build import load_backbone, save_backbone
from bbr.backbones.features_h5 import FeatureFile
from bbr.backbones.options import BackboneOptions
from bbr.data.images import read_rgb
from bbr.data.index import load_index
from bbr.storage.atomic import sha256

ROOT = Path(__file__).parents[2]


def images_of(path):
    """{image id: (size, grid, key, attention)} of a features file."""
    found = {}
    with FeatureFile(path) as file:
        for batch in file.batches(4):
            for row, image_id in enumerate(batch.image_ids):
                attention = None if batch.cls_attention is None else batch.cls_attention[row]
                size = tuple(batch.image_sizes[row].tolist())
                found[image_id] = (size, batch.grid, batch.key[row], attention)
    return found


@pytest.fixture
def extract(tiny_backbone):
    """Run the stage in this process, by default with the tiny backbone; must succeed."""

    def call(index, output, *more, backbone=tiny_backbone):
        options = ["--index", index, "--output", output, *backbone, *more]
        assert extract_features.main([str(option) for option in options]) == 0
        return output

    return call


@pytest.fixture
def photos(tmp_path):
    """Sound images of several kinds, sizes and shapes; returns their index."""
    rng = np.random.default_rng(0)
    pictures = {
        "rgb.png": Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)),
        "grey.png": Image.fromarray(rng.integers(0, 256, (64, 33), dtype=np.uint8)),
        "cmyk.jpg": Image.new("CMYK", (64, 64), (9, 99, 0, 40)),
        "dot.png": Image.new("RGB", (1, 1), "red"),
    }
    images = []
    for number, (name, picture) in enumerate(pictures.items(), 1):
        picture.save(tmp_path / name)
        size = {"width": picture.width, "height": picture.height}
        images.append({"id": number, "file_name": name, **size})
    path = tmp_path / "index.json"
    path.write_text(json.dumps({"images": images}))
    return path


class TestFeatures:
    @torch.no_grad()
    def test_each_image_alone_at_its_native_size(self, extract, photos, tmp_path, tiny_backbone):
        """Batched extraction against the network on one image at a time."""
        found = images_of(extract(photos, tmp_path / "f.h5", "--dtype", "float32"))
        options = dict(zip(tiny_backbone[::2], tiny_backbone[1::2], strict=True))
        arguments = json.loads(options["--architecture-args"])
        backbone = BackboneOptions("random", options["--architecture"], arguments).load()
        index = load_index(photos)
        assert list(found) == [image["id"] for image in index.images]
        for image in index.images:
            pixels = read_rgb(index.image_path(image))
            maps = backbone(backbone.prepare(torch.from_numpy(pixels).permute(2, 0, 1)[None]))
            size, grid, key, attention = found[image["id"]]
            assert size == (image["height"], image["width"])
            assert grid == (-(-image["height"] // 16), -(-image["width"] // 16)) == maps.grid
            # Other batch sizes take other kernels: float32 rounding.
            torch.testing.assert_close(key, maps.key[0], atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(attention, maps.cls_attention[0], atol=1e-5, rtol=1e-5)

    def test_the_facet_asked_for_is_stored_and_recorded(self, extract, scenes, tmp_path):
        plain = extract(scenes, tmp_path / "a.h5", "--dtype", "float32")
        chosen = ("--facet", "value", "--block", "-1", "--dtype", "float32")
        value = extract(scenes, tmp_path / "b.h5", *chosen)
        with FeatureFile(plain) as one, FeatureFile(value) as other:
            assert (one.facet, one.block) == ("key_without_bias", -1)
            assert (other.facet, other.block) == ("value", -1)
            assert not torch.equal(next(one.batches(1)).key, next(other.batches(1)).key)
        recorded = json.loads(h5py.File(value).attrs["provenance"])["parameters"]
        assert (recorded["facet"], recorded["block"]) == ("value", -1)

    def test_same_bytes_again_in_another_process_and_place(
        self, scenes, tmp_path, run_stage, tiny_backbone
    ):
        shutil.copytree(scenes.parent, tmp_path / "moved")
        contents = set()
        for index, output in ((scenes, "a.h5"), (tmp_path / "moved" / "index.json", "b.h5")):
            options = ["--index", index, *tiny_backbone, "--threads", 1]
            done = run_stage("extract_features", *options, "--output", tmp_path / output)
            assert done.returncode == 0, done.stderr
            contents.add((tmp_path / output).read_bytes())
        assert len(contents) == 1

    @pytest.mark.parametrize("shards", [3, 30])
    def test_shards_together_are_one_run(self, extract, scenes, tmp_path, shards):
        # Half precision hides that batches of other sizes round differently in float32.
        whole = images_of(extract(scenes, tmp_path / "whole.h5"))
        parts = {}
        for i in range(shards):
            found = images_of(extract(scenes, tmp_path / f"{i}.h5", "--shard", f"{i}/{shards}"))
            assert not found.keys() & parts.keys()
            parts |= found
        assert list(parts) == list(whole)
        for image_id, (size, grid, key, attention) in whole.items():
            assert parts[image_id][:2] == (size, grid)
            # One unit in float16's last place, near 1.
            torch.testing.assert_close(parts[image_id][2], key, atol=1e-3, rtol=1e-3)
            torch.testing.assert_close(parts[image_id][3], attention, atol=1e-3, rtol=1e-3)

    def test_windows_smaller_than_the_dataset(self, extract, scenes, tmp_path, monkeypatch):
        whole = extract(scenes, tmp_path / "a.h5", "--batch-size", 3)
        monkeypatch.setattr(extract_features, "WINDOW", 6)  # so that batches stay the same
        windows = extract(scenes, tmp_path / "b.h5", "--batch-size", 3)
        assert windows.read_bytes() == whole.read_bytes()

    def test_provenance(self, extract, scenes, tmp_path):
        output = extract(scenes, tmp_path / "f.h5", "--seed", 3)
        with h5py.File(output) as file:
            made = json.loads(file.attrs["provenance"])
        assert made["stage"] == "extract_features"
        assert made["inputs"] == {"index": sha256(scenes)}
        assert (made["parameters"]["seed"], made["parameters"]["dtype"]) == (3, "float16")
        assert str(tmp_path) not in json.dumps(made)

    def test_a_convolutional_backbone_has_no_attention(self, extract, scenes, tmp_path):
        backbone = ["--weights", "random", "--architecture", "resnet18"]
        found = images_of(extract(scenes, tmp_path / "f.h5", backbone=backbone))
        size, grid, key, attention = found[1]
        assert (size, grid, key.shape, attention) == ((64, 64), (4, 4), (16, 256), None)


class TestReuse:
    """With --reuse, images that are as they were are not seen again."""

    @pytest.fixture
    def code(self, tmp_path):
        path = tmp_path / "code.json"
        path.write_text("{}")
        return path

    @pytest.fixture
    def again(self, extract, photos, tmp_path, code, capsys):
        """Index the photographs as they are now, extract, and say what was done."""

        def call(*more, **options):
            images = []
            for number, path in enumerate(sorted(photos.parent.glob("*.[jp][pn]g")), 1):
                with Image.open(path) as image:
                    size = {"width": image.width, "height": image.height}
                crc32 = zlib.crc32(path.read_bytes())
                images.append({"id": number, "file_name": path.name, "crc32": crc32, **size})
            photos.write_text(json.dumps({"images": images}))
            capsys.readouterr()
            output = extract(photos, tmp_path / "f.h5", "--reuse", code, *more, **options)
            (tmp_path / "fresh.h5").unlink(missing_ok=True)
            fresh = extract(photos, tmp_path / "fresh.h5", "--reuse", code, *more, **options)
            found, expected = images_of(output), images_of(fresh)
            assert list(found) == list(expected) == [image["id"] for image in images]
            for image_id, (size, grid, key, attention) in expected.items():
                assert found[image_id][:2] == (size, grid)
                # One unit in float16's last place, near 1: batches may be of other sizes.
                torch.testing.assert_close(found[image_id][2], key, atol=1e-3, rtol=1e-3)
                torch.testing.assert_close(found[image_id][3], attention, atol=1e-3, rtol=1e-3)
            return capsys.readouterr().err

        return call

    def test_one_more_in_the_middle(self, again, photos):
        assert "as they were" not in again()
        Image.new("RGB", (40, 30), "blue").save(photos.parent / "ink.png")
        assert "4 of 5 images are as they were" in again()
        assert "5 of 5 images are as they were" in again()

    def test_removed_replaced_and_renamed(self, again, photos):
        again()
        (photos.parent / "dot.png").unlink()
        assert "3 of 3 images are as they were" in again()
        Image.new("RGB", (50, 40), "blue").save(photos.parent / "rgb.png")
        assert "2 of 3 images are as they were" in again()
        (photos.parent / "grey.png").rename(photos.parent / "zebra.png")
        assert "2 of 3 images are as they were" in again()

    @pytest.mark.parametrize("changed", ["facet", "code", "dtype"])
    def test_nothing_where_anything_else_has_changed(self, again, code, changed):
        again()
        if changed == "code":
            code.write_text('{"a.py": "1"}')
        more = {"facet": ("--facet", "value"), "dtype": ("--dtype", "float32")}
        assert "0 of 4 images are as they were" in again(*more.get(changed, ()))

    def test_a_damaged_file_is_made_anew(self, again, tmp_path):
        again()
        (tmp_path / "f.h5").write_bytes(b"no HDF5")
        assert "all features are computed anew: features" in again()

    def test_damage_that_shows_late_is_told(
        self, again, photos, code, tmp_path, tiny_backbone, capsys
    ):
        again()
        content = bytearray((tmp_path / "f.h5").read_bytes())
        with h5py.File(tmp_path / "f.h5") as file:
            place = file["key"].id.get_chunk_info(0).byte_offset
        content[place] ^= 1
        (tmp_path / "f.h5").write_bytes(content)
        options = ["--index", photos, *tiny_backbone, "--reuse", code, "--output"]
        assert extract_features.main([*map(str, options), str(tmp_path / "f.h5")]) == 1
        assert "delete it" in capsys.readouterr().err

    def test_without_checksums_nothing_is_known(self, extract, photos, tmp_path, code, capsys):
        for _ in range(2):
            extract(photos, tmp_path / "f.h5", "--reuse", code)
        assert "0 of 4 images are as they were" in capsys.readouterr().err

    def test_masks_of_a_segmenter_stay_to_the_byte(self, extract, scenes, tmp_path, code):
        masks = []
        segmenter = ["--weights", ROOT / "workflow/resources/scenes_move.safetensors"]
        for _ in range(2):
            extract(scenes, tmp_path / "f.h5", "--reuse", code, backbone=segmenter)
            with h5py.File(tmp_path / "f.h5") as file:
                masks.append(file["mask"][:].tobytes())
        assert masks[0] == masks[1]


class TestUnreadableImages:
    @pytest.fixture
    def damaged(self, photos):
        (photos.parent / "cmyk.jpg").write_bytes((photos.parent / "cmyk.jpg").read_bytes()[:400])
        return photos

    def test_are_skipped_and_listed_where_allowed(self, extract, damaged, tmp_path, capsys):
        output = extract(damaged, tmp_path / "f.h5", "--max-skipped", 1)
        assert sorted(images_of(output)) == [1, 2, 4]
        with FeatureFile(output) as file:
            (skipped,) = file.skipped
        assert skipped["image_id"] == 3
        assert skipped["reason"].startswith("damaged: ")
        assert "skipped: " in capsys.readouterr().err

    def test_end_the_run_where_not(self, refused, damaged, tmp_path, tiny_backbone):
        options = ["--index", damaged, *tiny_backbone]
        message = refused(extract_features, *options, output=tmp_path / "f.h5")
        assert "1 images cannot be read" in message
        assert "cmyk.jpg" in message
        assert "--max-skipped" in message


class TestBadInput:
    """Exit status 1, one line on stderr and nothing else, and no output."""

    @pytest.fixture
    def fails(self, refused, scenes, tmp_path):
        def call(*options, output=tmp_path / "f.h5"):
            return refused(extract_features, "--index", scenes, *options, output=output)

        return call

    def test_as_a_process(self, run_stage, one_line_error, tmp_path):
        options = ["--index", "none.json", "--weights", "efficientnet_lite0", "--output", "f.h5"]
        done = run_stage("extract_features", *options, cwd=tmp_path)
        message = one_line_error("extract_features", done.returncode, done.stderr)
        assert message == "none.json: cannot be read (No such file or directory)"
        assert os.listdir(tmp_path) == []

    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
    def test_no_gpu(self, fails, tiny_backbone):
        assert "no CUDA device" in fails(*tiny_backbone, "--device", "cuda")

    def test_weights_of_another_architecture(self, fails, tiny_backbone, tmp_path):
        weights = tmp_path / "f.safetensors"
        save_backbone(weights, load_backbone("random", "resnet18"), {})
        message = fails(*tiny_backbone[2:], "--weights", weights)
        assert "do not fit architecture vit_tiny_patch16_224" in message

    @pytest.mark.parametrize("output", ["file/f.h5", "."])
    def test_output_that_cannot_be_written(self, fails, tiny_backbone, tmp_path, output):
        (tmp_path / "file").touch()
        message = fails(*tiny_backbone, output=tmp_path / output)
        assert "cannot make its folder" in message or "is a folder" in message

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--weights", "none.safetensors"], "none.safetensors: no such file"),
            (["--weights", "random"], "add --architecture"),
            (["--weights", "random", "--architecture", "vit"], "not one of timm's models"),
            (["--weights", "efficientnet_lite0", "--scale", "0"], "--scale 0 is not above 0"),
            (["--weights", "random", "--architecture-args", "{"], "is not JSON"),
        ],
    )
    def test_backbone_options(self, fails, options, message):
        assert message in fails(*options)

    def test_no_images(self, refused, tmp_path, tiny_backbone):
        (tmp_path / "index.json").write_text('{"images": []}')
        options = ["--index", tmp_path / "index.json", *tiny_backbone]
        assert "lists no images" in refused(extract_features, *options, output=tmp_path / "f.h5")

    @pytest.mark.parametrize("option", ["--shard 2/2", "--dtype int8"])
    def test_usage_errors_exit_with_2(self, scenes, tiny_backbone, tmp_path, option):
        options = ["--index", str(scenes), *tiny_backbone, "--output", str(tmp_path / "f.h5")]
        with pytest.raises(SystemExit) as caught:
            extract_features.main([*options, *option.split()])
        assert caught.value.code == 2
